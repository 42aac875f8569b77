"""samples.html: every item with its own rewards, safe whatever the texts hold, small."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import ATTACK

import rmaudit as rma
from rmaudit.report import browser
from rmaudit.report.browser import PAGE_BYTES, items, worst_rows


def _rows(page: str) -> list[dict[str, Any]]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    rows: list[dict[str, Any]] = json.loads(found[1])
    return rows


def _audit(frame: pd.DataFrame, folder: Path) -> str:
    report = rma.audit("recorded", rma.load(frame), only=["preference"], cache=False)
    report.save(folder)
    return (folder / "samples.html").read_text()


def test_every_pair_stands_with_its_rewards_smallest_margin_first(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "prompt": ["p", "q", ATTACK],
            "chosen": ["yes", "no", ATTACK],
            "rejected": ["x", "y", "z"],
            "subset": ["s", "t", "s"],
            "chosen_reward": [1.0, 0.5, np.nan],
            "rejected_reward": [0.25, 2.0, 1.0],
        }
    )
    page = _audit(frame, tmp_path)
    rows = _rows(page)
    # By hand: 1 - 0.25, 0.5 - 2, and no margin where a reward is missing, which comes last.
    assert [(row["id"], row["margin"]) for row in rows] == [("b", -1.5), ("a", 0.75), ("c", None)]
    assert [r["reward"] for r in rows[1]["responses"]] == [1.0, 0.25]
    assert [r["text"] for r in rows[1]["responses"]] == ["yes", "x"]
    assert "<img" not in page.partition("<body>")[2].replace("&lt;img", "")
    assert 'href="samples.html"' in (tmp_path / "report.html").read_text()


def test_a_ranking_is_held_by_its_best_against_the_highest_other() -> None:
    frame = pd.DataFrame(
        {"prompt": ["p"], "outputs": [["a", "b", "c"]], "ranking": [[2, 1, 2]], "id": ["r"]}
    )
    scores = pd.DataFrame(
        {
            "id": ["r"] * 3,
            "side": ["output_0", "output_1", "output_2"],
            "reward": [0.5, 2.0, 1.25],
            "request": [""] * 3,
        }
    )
    data = rma.load(frame)
    (row,) = items(data, worst_rows(data, scores)[0], {"r": [3]})
    assert row["margin"] == 0.75  # 2.0 - max(0.5, 1.25)
    assert row["findings"] == [3]
    assert [r["text"] for r in row["responses"]] == ["a", "b", "c"]


@pytest.mark.parametrize("again", [False, True])
def test_a_report_saved_over_itself_keeps_its_samples(tmp_path: Path, again: bool) -> None:
    frame = pd.DataFrame(
        {
            "prompt": ["p", "q"],
            "chosen": ["a", "b"],
            "rejected": ["c", "d"],
            "chosen_reward": [1.0, 2.0],
            "rejected_reward": [0.0, 3.0],
        }
    )
    page = _audit(frame, tmp_path)
    if again:
        rma.Report.load(tmp_path).save(tmp_path)
    assert (tmp_path / "samples.html").read_text() == page
    assert 'href="samples.html"' in (tmp_path / "report.html").read_text()


def test_five_thousand_long_pairs_stay_under_five_megabytes(tmp_path: Path) -> None:
    n = 5_200
    long = "word " * 400
    frame = pd.DataFrame(
        {
            "prompt": [f"{i} {long}" for i in range(n)],
            "chosen": long,
            "rejected": "short",
            "chosen_reward": np.arange(n, dtype=float),
            "rejected_reward": 0.0,
        }
    )
    page = _audit(frame, tmp_path)
    assert len(page.encode()) < PAGE_BYTES + 200_000
    rows = _rows(page)
    assert len(rows) == 5_000
    assert rows[-1]["margin"] == 4_999.0  # the smallest margins are kept
    assert "200 more with larger margins" in page


def test_samples_with_the_ids_of_the_evaluation_data_are_none_of_its_responses(
    tmp_path: Path,
) -> None:
    pairs = [{"id": f"r{i}", "prompt": f"{i}?", "chosen": "aa", "rejected": "b"} for i in range(12)]
    samples = [
        {"id": f"r{i}", "prompt": f"{i}?", "outputs": ["a" * j + str(i) for j in range(1, 6)]}
        for i in range(12)
    ]
    reward = lambda pairs: [float(len(output)) for _, output in pairs]  # noqa: E731
    report = rma.audit(reward, pairs, samples=samples, only=["teacher"], cache=False)
    report.save(tmp_path)
    rows = _rows((tmp_path / "samples.html").read_text(encoding="utf-8"))
    assert {tuple(r["side"] for r in row["responses"]) for row in rows} == {("chosen", "rejected")}


def _samples(prompts: int, each: int) -> pd.DataFrame:
    rewards = np.random.default_rng(0).normal(size=(prompts, each))
    return pd.DataFrame(
        {
            "prompt": [f"question {i}" for i in range(prompts)],
            "outputs": [[f"answer {i} {j}" for j in range(each)] for i in range(prompts)],
            "rewards": rewards.tolist(),
        }
    )


def test_of_many_responses_the_lowest_and_highest_are_shown(tmp_path: Path) -> None:
    few = pd.DataFrame({"prompt": ["q"], "outputs": [["a", "b"]], "rewards": [[1.0, 2.0]]})
    frame = pd.concat([_samples(1, 500), few], ignore_index=True)
    report = rma.audit("recorded", rma.load(frame), only=["length"], cache=False)
    report.save(tmp_path)
    page = (tmp_path / "samples.html").read_text()
    first, second = _rows(page)
    rewards = np.array(frame["rewards"][0])
    ends = np.sort(np.argsort(rewards)[[*range(32), *range(-32, 0)]])
    assert [r["side"] for r in first["responses"]] == [f"output_{j}" for j in ends]
    assert [r["reward"] for r in first["responses"]] == rewards[ends].tolist()
    assert first["more"] == 436
    assert (len(second["responses"]), second["more"]) == (2, 0)
    assert page.count("436 more responses") == 1


def test_rows_of_many_responses_are_fewer_where_the_page_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browser, "PAGE_BYTES", 200_000)
    report = rma.audit("recorded", rma.load(_samples(60, 64)), only=["length"], cache=False)
    report.save(tmp_path)
    page = (tmp_path / "samples.html").read_text()
    rows = _rows(page)
    assert len(page.encode()) < 200_000
    assert 1 < len(rows) < 60
    assert f"{60 - len(rows)} more with larger margins" in page


def test_the_rewards_are_the_models_own_and_not_a_members(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "prompt": ["p", "q"],
            "chosen": ["a", "b"],
            "rejected": ["c", "d"],
            "scores": [
                {"one": {"chosen": 1.0, "rejected": 0.0}, "two": {"chosen": 9.0, "rejected": 7.0}},
                {"one": {"chosen": 2.0, "rejected": 3.0}, "two": {"chosen": 9.0, "rejected": 5.0}},
            ],
        }
    )
    report = rma.audit(
        "recorded:one",
        rma.load(frame),
        ensemble=["recorded:two"],
        only=["preference", "disagreement"],
        cache=False,
    )
    report.save(tmp_path)
    rows = _rows((tmp_path / "samples.html").read_text())
    assert [row["margin"] for row in rows] == [-1.0, 1.0]
    assert [[r["reward"] for r in row["responses"]] for row in rows] == [[2.0, 3.0], [1.0, 0.0]]
