"""Batches hold every pair once, keep to their budget and pad on the right."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from rmaudit.rewards.batching import length_batches
from rmaudit.rewards.local.devices import bfloat16_flags
from rmaudit.training.reward.loop import epoch_batches, micro_batches, uses_bfloat16

LENGTHS = np.random.default_rng(0).integers(5, 300, size=203)


def test_an_epoch_holds_every_pair_once() -> None:
    batches = epoch_batches(LENGTHS, 16, np.random.default_rng(1))
    assert sorted(np.concatenate(batches)) == list(range(203))
    assert sorted(map(len, batches)) == [11] + [16] * 12


def test_batches_are_of_similar_length_in_shuffled_order() -> None:
    batches = epoch_batches(LENGTHS, 16, np.random.default_rng(1))
    padded = sum(len(batch) * LENGTHS[batch].max() for batch in batches)
    assert padded / LENGTHS.sum() < 1.15  # unsorted batches of 16 would waste about 90 %
    means = [LENGTHS[batch].mean() for batch in batches]
    assert means != sorted(means)
    again = epoch_batches(LENGTHS, 16, np.random.default_rng(1))
    other = epoch_batches(LENGTHS, 16, np.random.default_rng(2))
    assert all(np.array_equal(a, b) for a, b in zip(batches, again, strict=True))
    assert {tuple(sorted(b)) for b in batches} != {tuple(sorted(b)) for b in other}


def test_cuts_keep_to_the_budget() -> None:
    batch = np.arange(40)
    cuts = micro_batches(batch, LENGTHS, 1000)
    assert sorted(np.concatenate(cuts)) == list(range(40))
    for cut in cuts:
        assert 2 * len(cut) * LENGTHS[cut].max() <= 1000
    # by hand: lengths 3, 4, 9 under a budget of 16: 2 x 2 x 4 = 16 fits, 9 stands alone
    by_hand = micro_batches(np.array([0, 1, 2]), np.array([9, 3, 4]), 16)
    assert [cut.tolist() for cut in by_hand] == [[1, 2], [0]]


def test_texts_are_batched_in_order_of_length() -> None:
    batches = length_batches(LENGTHS, 1000, 7)
    assert sorted(np.concatenate(batches)) == list(range(203))
    assert np.all(np.diff(LENGTHS[np.concatenate(batches)]) >= 0)
    for batch, following in itertools.pairwise(batches):
        assert len(batch) <= 7
        assert len(batch) * LENGTHS[batch].max() <= 1000
        # none is smaller than it must be: one text more would be too many or too long
        assert len(batch) == 7 or (len(batch) + 1) * LENGTHS[following[0]] > 1000
    assert [b.tolist() for b in length_batches([9, 3, 4], 8)] == [[1, 2], [0]]
    assert [b.tolist() for b in length_batches([3, 2, 3], 99, equal=True)] == [[1], [0, 2]]
    assert length_batches([], 8) == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx512_bf16 sse", {"avx512_bf16"}),
        ("amx_bf16", {"amx_bf16"}),
        ("avx512f avx512_bf16x", set()),
    ],
)
def test_bfloat16_is_read_from_the_processor(
    tmp_path: Path, flags: str, expected: set[str]
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    assert bfloat16_flags(cpuinfo) == expected
    assert bfloat16_flags(tmp_path / "absent") == set()


def test_precision_as_asked() -> None:
    cpu = torch.device("cpu")
    assert uses_bfloat16("bfloat16", cpu)
    assert not uses_bfloat16("float32", cpu)
    assert uses_bfloat16("auto", cpu) == bool(bfloat16_flags())
    assert not uses_bfloat16("auto", torch.device("meta"))
