"""A long job is told of a faster way, by a trial that changes nothing."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from tiny_models import TEXTS, save

from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local import quicker
from rmaudit.scoring import Request, engine, score

MANY = [*TEXTS, *(Text(f"prompt {i}", "word " * (1 + i % 9) + str(i)) for i in range(30))]


@pytest.fixture
def able(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor with bfloat16, on which any job is long and any way is fast enough."""
    monkeypatch.setattr(quicker, "bfloat16_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(quicker, "LONG", 0.0)
    monkeypatch.setattr(quicker, "FASTER", 0.0)


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_the_trial_says_how_far_rewards_move_and_changes_none(able, tmp_path, kind):
    model = load_reward_model(save(tmp_path, kind))
    batch = model.encode(MANY)
    before = model.forward(batch)
    said = model.quicker(batch, 1_000_000)
    assert said is not None
    for part in ("(avx512_bf16)", "--dtype bfloat16", f"a trial on {len(MANY)} of the texts"):
        assert part in said
    moved = float(said.split("at most ")[1].split(",")[0])
    rounded = load_reward_model(save(tmp_path, kind), dtype="bfloat16")
    apart = np.abs(rounded.forward(batch) - before).max()
    if "--backend" not in said:  # the largest of 40 errors of rounding: sums of other shapes differ
        assert apart / 2 <= moved <= 2 * apart
    assert 0 < moved < 0.1
    assert model.forward(batch).tolist() == before.tolist()


def test_nothing_is_tried_on_another_processor_or_for_a_short_job(able, tmp_path, monkeypatch):
    model = load_reward_model(save(tmp_path, "bert"))
    batch = model.encode(MANY)
    monkeypatch.setattr(quicker, "LONG", 1e9)
    assert model.quicker(batch, 1_000_000) is None
    monkeypatch.setattr(quicker, "LONG", 0.0)
    monkeypatch.setattr(quicker, "FASTER", 1e9)
    assert model.quicker(batch, 1_000_000) is None
    monkeypatch.setattr(quicker, "FASTER", 0.0)
    monkeypatch.setattr(quicker, "bfloat16_flags", set)
    assert model.quicker(batch, 1_000_000) is None
    assert load_reward_model(save(tmp_path, "bert"), dtype="bfloat16").quicker(batch, 9) is None


def test_a_long_pass_says_it_once(able, tmp_path, monkeypatch, caplog):
    model = load_reward_model(save(tmp_path, "bert"))
    ids = [str(i) for i in range(len(MANY))]
    request = Request("chosen", ids, [t.prompt for t in MANY], [t.output for t in MANY])
    with caplog.at_level(logging.WARNING, "rmaudit"):
        score(model, [request])
    assert "times as fast" not in caplog.text
    monkeypatch.setattr(engine, "LONG_JOB", 10)
    with caplog.at_level(logging.WARNING, "rmaudit"):
        score(model, [request])
    assert caplog.text.count("times as fast") == 1
