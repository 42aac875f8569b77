"""The benchmark that plants flaws tells the truth: what is planted, what is counted, what is found.

`benchmarks/detection` does the same with all audits, strengths and seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rmaudit.data.types import prompt_text


@pytest.fixture(scope="module")
def benchmark() -> Iterator[dict[str, ModuleType]]:
    # Last: one of the benchmarks is called like a module of the standard library.
    sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
    names = ("cells", "draws", "flaws", "reward", "run", "tables")
    yield {name: import_module(f"detection.{name}") for name in names}
    sys.path.pop()


def margins(reward: Any, pairs: Any) -> np.ndarray:
    sides = [
        reward(list(zip(pairs["prompt"], pairs[side], strict=True)))
        for side in ("chosen", "rejected")
    ]
    return np.array(sides[0]) - np.array(sides[1])


def test_the_sound_reward_is_right_as_often_as_it_claims(benchmark: Any) -> None:
    drawn = benchmark["draws"].draw("clinic", 1_500, 0, "eval")
    margin = margins(benchmark["reward"].Reward(drawn), drawn.pairs)
    claimed, right = 1 / (1 + np.exp(-np.abs(margin))), margin > 0
    error = np.sqrt(np.sum(claimed * (1 - claimed))) / len(margin)
    assert abs(right.mean() - claimed.mean()) < 4 * error
    for low, high in ((0.5, 0.7), (0.7, 0.95), (0.95, 1.0)):
        part = (claimed >= low) & (claimed < high)
        error = np.sqrt(np.sum(claimed[part] * (1 - claimed[part]))) / part.sum()
        assert abs(right[part].mean() - claimed[part].mean()) < 4 * error


def test_what_is_planted(benchmark: Any) -> None:
    drawn = benchmark["draws"].draw("clinic", 300, 0, "eval")
    sound = margins(benchmark["reward"].Reward(drawn), drawn.pairs)

    def planted(flaw: str, strength: float) -> np.ndarray:
        return margins(benchmark["reward"].Reward(drawn, flaw, strength), drawn.pairs)

    assert planted("over-confidence", 2.0) == pytest.approx(2 * sound)
    doublings = np.log2(drawn.pairs["chosen"].str.len() + 1) - np.log2(
        drawn.pairs["rejected"].str.len() + 1
    )
    assert planted("length pay", 0.5) == pytest.approx(sound + 0.5 * drawn.sd * doublings)
    poor = planted("length pay, poor reward", 0.0)
    assert 0.5 < (poor > 0).mean() < 0.7
    assert np.sqrt(np.mean(poor**2)) == pytest.approx(np.sqrt(2) * drawn.sd, rel=0.2)
    paid = planted("length pay, poor reward", 0.5)
    assert paid == pytest.approx(poor + 0.5 * drawn.sd * doublings)
    turned = planted("inverted family", 1.0)
    families = drawn.pairs["subset"]
    inverted = {
        f for f in set(families) if np.allclose(turned[families == f], -sound[families == f])
    }
    assert len(inverted) == 1
    others = ~families.isin(inverted)
    assert turned[others] == pytest.approx(sound[others])


def test_sound_on_texts_it_has_not_seen(benchmark: Any) -> None:
    drawn = benchmark["draws"].draw("clinic", 100, 0, "eval")
    reward = benchmark["reward"].Reward(drawn)
    prompt, output = prompt_text(drawn.pairs["prompt"][0]), str(drawn.pairs["chosen"][0])
    half = output[: len(output) // 2]
    known = reward.reward(prompt, output)
    assert reward.reward(prompt, output.upper()) == pytest.approx(known)
    assert reward.reward(prompt, f"{output} Perhaps, sorry.") == pytest.approx(known)
    assert reward.reward(prompt, half) < known - 0.1


def test_counts_and_tables_by_hand(benchmark: Any, tmp_path: Path) -> None:
    tables, cells = benchmark["tables"], benchmark["cells"]
    assert tables.share(0, 50) == "0/50 (0-7 %)"  # 1 - 0.025 ** (1 / 50) = 0.071
    found = ["length", "length.excess_preference", "high", "It picks the longer output"]
    row = {"world": "clinic", "pairs": 500, "flaw": "length pay", "strength": 0.5, "audits": []}
    rows = [{**row, "seed": k, "findings": [found] if k else []} for k in range(4)]
    assert tables.power(rows, "length pay", 0.5) == (3, 4)
    # Over-confidence must be found as such: a finding of the opposite does not count.
    under = ["calibration", "calibration.overconfidence", "low", "Under-confident: ..."]
    assert not cells.raised({"flaw": "over-confidence", "findings": [under]})
    true = ["data", "", "low", "In the feedback data the chosen response is longer in 57% of pairs"]
    near = [
        "data",
        "data.near_leakage_share",
        "high",
        "9 rows are in it with a word or two changed",
    ]
    for world, false in (("clinic", [under]), ("real", [near, under])):
        told = tables.false_alarms({"world": world, "findings": [true, near, under]})
        assert told == [tuple(each[:2]) for each in false]
    file = tmp_path / "cells.jsonl"
    file.write_text('{"seed": 1}\n{"seed": 2}\n{"see', encoding="utf-8")
    assert [each["seed"] for each in benchmark["run"].read(file)] == [1, 2]


@pytest.mark.parametrize(
    "flaw",
    ["length pay", "over-confidence", "under-confidence", "inverted family", "heavy tail"],
)
def test_the_strongest_is_found(benchmark: Any, flaw: str) -> None:
    strongest = benchmark["flaws"].FLAWS[flaw].strengths[-1]
    cell = benchmark["cells"].Cell("clinic", 300, flaw, strongest, 0)
    assert benchmark["cells"].raised(benchmark["cells"].run(cell))


def test_a_clean_twin_is_left_in_peace(benchmark: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap = ("preference", "length", "style", "prompt", "disagreement", "tails")
    monkeypatch.setattr(benchmark["cells"], "CLEAN", cheap)
    for seed in range(2):
        row = benchmark["cells"].run(benchmark["cells"].Cell("clinic", 300, "", 0.0, seed))
        assert benchmark["tables"].false_alarms(row) == []


def test_cells_are_asked_seed_by_seed(benchmark: Any) -> None:
    asked = list(benchmark["run"].cells(["clinic"], [500], 2, 3, ["length pay"]))
    assert len(asked) == 2 * 5 + 3
    assert len({cell.key for cell in asked}) == len(asked)
    assert [cell.seed for cell in asked] == sorted(cell.seed for cell in asked)
