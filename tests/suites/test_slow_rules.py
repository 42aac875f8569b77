"""Official numbers against a second, slow implementation of each rule on random score files."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from published_rows import write
from random_rows import ROWS, Draw
from slow_rules import (
    Numbers,
    Row,
    judgebench,
    m_rewardbench,
    ppe,
    rewardbench,
    rewardbench2,
    rm_bench,
    rmb,
)
from slow_step_rules import prmbench, processbench, rewardmath

from rmaudit.suites import SUITES
from rmaudit.suites.entries import read_entries
from rmaudit.suites.run import as_dataset, items_of, recorded_rewards
from rmaudit.suites.scored import Official, Scored

RULES: dict[str, Callable[[Sequence[Row]], Numbers]] = {
    "rewardbench": rewardbench,
    "rewardbench2": rewardbench2,
    "rm-bench": rm_bench,
    "rmb": rmb,
    "ppe": ppe,
    "judgebench": judgebench,
    "rewardmath": rewardmath,
    "processbench": processbench,
    "prmbench": prmbench,
    "m-rewardbench": m_rewardbench,
}
FILES = 30  # a suite; benchmarks/suites.py does 1,000


def fast(suite_name: str, path: Path) -> Official:
    """The official numbers without what stands beside them."""
    suite = SUITES[suite_name]()
    entries, source = read_entries(path)
    items = items_of(suite, entries, source)
    rewards = recorded_rewards(suite, items, source)
    clusters = as_dataset(items, source).clusters
    return suite.official(Scored(items, rewards, clusters, recorded=True))


def differences(suite: str, seed: int, path: Path) -> list[str]:
    """Numbers that differ from the slow rule's by more than 1e-9, by name."""
    rows = ROWS[suite](Draw(zlib.crc32(f"{suite} {seed}".encode())))
    numbers = fast(suite, write(path, rows))
    found = []
    for name, wanted in RULES[suite](rows).items():
        number = numbers.get(name)
        got = None if number is None or math.isnan(number.value) else number.value
        same = got is None if wanted is None else got is not None and abs(got - wanted) <= 1e-9
        if not same:
            found.append(f"{name}: {got}, by the slow rule {wanted} (seed {seed})")
        if number is not None and number.defined and number.terms:
            whole = math.fsum(
                t.weight * t.numerator.sum() / t.denominator.sum() for t in number.terms
            )
            if abs(whole - number.value) > 1e-9:
                found.append(f"{name}: its terms add to {whole}, not {number.value}")
    return found


def test_every_suite_has_a_slow_rule() -> None:
    assert set(RULES) == set(ROWS) == {cls.name for cls in SUITES.values()}


@pytest.mark.parametrize("suite", list(RULES))
def test_the_official_numbers_are_those_of_the_slow_rule(suite: str, tmp_path: Path) -> None:
    found = [
        line for seed in range(FILES) for line in differences(suite, seed, tmp_path / "rows.json")
    ]
    assert not found, found[:5]


@pytest.mark.parametrize("suite", ["rewardbench", "rewardbench2", "rm-bench", "rmb", "rewardmath"])
def test_every_pair_that_is_lost_for_a_tie_is_half_won_by_our_rule(
    suite: str, tmp_path: Path
) -> None:
    """With all rewards equal and none missing, ties one half gives what chance gives."""
    rows = ROWS[suite](Draw(3))
    path = write(tmp_path / "rows.json", rows)
    declared = SUITES[suite]()
    entries, source = read_entries(path)
    items = items_of(declared, entries, source)
    equal = [np.zeros(item.size) for item in items]
    clusters = as_dataset(items, source).clusters
    fair = declared.official(Scored(items, equal, clusters, fair=True))
    official = declared.official(Scored(items, equal, clusters))
    for name, number in fair.items():
        if name.startswith(("subset.", "domain.c", "pairwise.")) and number.defined:
            assert number.value == pytest.approx(0.5), name
            assert official[name].value == 0, name
