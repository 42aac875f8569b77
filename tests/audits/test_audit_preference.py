"""The preference audit: by hand, by slow definition, under changes that must not matter."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from preference_rows import (
    FIVE,
    Make,
    Run,
    doubled,
    given,
    random_pairs,
    scaled,
    shifted_by_prompt,
    shuffled,
    swapped,
)
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import roc_auc_score

from rmaudit.audits.preference.audit import Preference
from rmaudit.audits.preference.views import separation
from rmaudit.results import AuditResult
from rmaudit.stats.extremes import lowest_mean
from rmaudit.stats.scale import within_prompt_sd


def overall(result: AuditResult) -> dict[str, float]:
    """Values of the overall metrics that are defined."""
    return {m.id: m.estimate.value for m in result.metrics if not m.slice and m.estimate.defined}


def half(a: float, b: float) -> float:
    return 0.5 if a == b else float(a > b)


def test_five_pairs_by_hand(make_case: Make, run_audit: Run) -> None:
    rows = [{"tie": False, **row} for row in FIVE]
    result = run_audit(Preference(), make_case(rows))  # the reward is the number of words
    assert result["preference.accuracy"].value == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert result["preference.accuracy"].n == 4
    assert result["preference.accuracy"].n_clusters == 3
    assert result["preference.tie_rate"].value == pytest.approx(1 / 4)
    assert result["preference.blind_longer"].value == pytest.approx(2.5 / 4)
    assert result["preference.blind_shorter"].value == pytest.approx(1.5 / 4)
    assert result["preference.blind_markdown"].value == 0.5
    # Rewards of p: 3 1 2 2, of q: 1 2, of r: 4 1, of s: 2 1. Squares 2 + 1/2 + 9/2 + 1/2 on
    # 3 + 1 + 1 + 1 degrees of freedom; the mean margin is (2 + 0 - 1 + 3) / 4.
    assert result["preference.margin_mean"].value == pytest.approx(1 / math.sqrt(7.5 / 6))
    assert result.get("preference.accuracy", subset="code").value == pytest.approx(1 / 2)
    # chat is one prompt: no interval, so it takes no part in the averages
    assert not result.get("preference.accuracy", subset="chat").defined
    assert result["preference.macro_accuracy"].value == pytest.approx(1 / 2)
    ties = result.tables["labelled_ties"].set_index("what")
    assert ties.loc["share_below_median", "pairs"] == 1
    counts = result.tables["pairs"].set_index("what")["pairs"]
    assert counts.tolist() == [4, 1, 1, 0]


def test_equals_the_slow_definition(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    result = run_audit(Preference(), make_case(frame), **given(frame))
    rows = [row for row in frame.to_dict("records") if not row["tie"]]
    right = [half(row["chosen_reward"], row["rejected_reward"]) for row in rows]
    by_subset: dict[str, list[float]] = {}
    for row, value in zip(rows, right, strict=True):
        by_subset.setdefault(row["subset"], []).append(value)
    within: dict[str, list[float]] = {}
    for row in frame.to_dict("records"):
        within.setdefault(row["prompt"], []).extend([row["chosen_reward"], row["rejected_reward"]])
    squares = sum((r - np.mean(group)) ** 2 for group in within.values() for r in group)
    sd = math.sqrt(squares / (2 * len(frame) - len(within)))
    margins = [row["chosen_reward"] - row["rejected_reward"] for row in rows]
    marks = [[row[side].count("\n- ") for side in ("chosen", "rejected")] for row in rows]
    lengths = [(row["chosen_length"], row["rejected_length"]) for row in rows]
    expected = {
        "preference.accuracy": np.mean(right),
        "preference.tie_rate": np.mean([m == 0 for m in margins]),
        "preference.margin_mean": np.mean(margins) / sd,
        "preference.macro_accuracy": np.mean([np.mean(v) for v in by_subset.values()]),
        "preference.worst_subset_accuracy": min(np.mean(v) for v in by_subset.values()),
        "preference.blind_longer": np.mean([half(a, b) for a, b in lengths]),
        "preference.blind_shorter": np.mean([half(b, a) for a, b in lengths]),
        "preference.blind_markdown": np.mean([half(a, b) for a, b in marks]),
    }
    assert overall(result) == pytest.approx(expected, abs=1e-9)
    for name, values in by_subset.items():
        found = result.get("preference.accuracy", subset=name)
        assert found.value == pytest.approx(np.mean(values), abs=1e-9)
    for metric in result.metrics:
        if metric.estimate.defined:
            assert metric.estimate.low <= metric.estimate.value <= metric.estimate.high


def test_labelled_ties_by_definition(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs(ties=0.3)
    table = run_audit(Preference(), make_case(frame), **given(frame)).tables["labelled_ties"]
    found = table.set_index("what")["value"]
    size = (frame["chosen_reward"] - frame["rejected_reward"]).abs().to_numpy()
    tied = frame["tie"].to_numpy()
    middle = np.median(size[~tied])
    assert found["share_below_median"] == pytest.approx(
        np.mean([half(middle, s) for s in size[tied]]), abs=1e-9
    )
    assert found["auroc"] == pytest.approx(roc_auc_score(~tied, size), abs=1e-9)
    ratio = found["mean_size_ties"] / found["mean_size_decided"]
    assert ratio == pytest.approx(size[tied].mean() / size[~tied].mean(), abs=1e-9)


@pytest.mark.parametrize("change", [shuffled, doubled, shifted_by_prompt, scaled, swapped])
def test_what_must_not_matter(change: Any, make_case: Make, run_audit: Run) -> None:
    # PromptHalves have exact sums, so that equal rewards stay equal under a shift.
    frame = random_pairs()
    for side in ("chosen", "rejected"):
        frame[f"{side}_reward"] = np.round(frame[f"{side}_reward"] * 2) / 2
    changed = change(frame)
    before = overall(run_audit(Preference(), make_case(frame), **given(frame)))
    after = overall(run_audit(Preference(), make_case(changed), **given(changed)))
    if change is swapped:
        for rule in ("blind_longer", "blind_shorter", "blind_markdown"):
            before[f"preference.{rule}"] = 1 - before[f"preference.{rule}"]
    assert after == pytest.approx(before, abs=1e-9)


def test_doubling_the_data_keeps_the_intervals(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    twice = doubled(frame)
    once = run_audit(Preference(), make_case(frame), **given(frame))["preference.accuracy"]
    both = run_audit(Preference(), make_case(twice), **given(twice))["preference.accuracy"]
    assert both.ci == pytest.approx(once.ci, abs=1e-9)


STYLES = ("concise", "detailed_plain", "detailed_markdown")


def style_rows(items: int = 30, seed: int = 1) -> pd.DataFrame:
    """Complete sets of three styles, with rewards that pay for style."""
    rng = np.random.default_rng(seed)
    rows = []
    for item, (level, style) in itertools.product(range(items), enumerate(STYLES)):
        rows.append(
            {
                "prompt": f"item {item}",
                "group": f"g{item}",
                "style": style,
                "subset": "chat" if item % 2 else "code",
                "chosen": f"right {item} {style}",
                "rejected": f"wrong {item} {style}",
                "chosen_reward": rng.normal(0.5 + level),
                "rejected_reward": rng.normal(level),
            }
        )
    return pd.DataFrame(rows)


def slow_style_matrix(frame: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Every chosen output against every rejected one of its group."""
    cells: dict[tuple[int, int], list[float]] = {}
    for _, group in frame.groupby("group"):
        records = group.to_dict("records")
        for a, b in itertools.product(records, records):
            place = (STYLES.index(a["style"]), STYLES.index(b["style"]))
            cells.setdefault(place, []).append(half(a["chosen_reward"], b["rejected_reward"]))
    return np.array([[np.mean(cells[i, j]) for j in range(3)] for i in range(3)])


def check_styles(frame: pd.DataFrame, result: AuditResult) -> None:
    matrix = slow_style_matrix(frame)
    found = result.tables["style_matrix"]["accuracy"].to_numpy().reshape(3, 3)
    np.testing.assert_allclose(found, matrix, atol=1e-9)
    easy = np.mean([matrix[1, 0], matrix[2, 0], matrix[2, 1]])
    hard = np.mean([matrix[0, 1], matrix[0, 2], matrix[1, 2]])
    assert result["preference.style_easy"].value == pytest.approx(easy, abs=1e-9)
    assert result["preference.style_normal"].value == pytest.approx(np.trace(matrix) / 3, abs=1e-9)
    assert result["preference.style_hard"].value == pytest.approx(hard, abs=1e-9)


def test_style_matrix_by_definition(make_case: Make, run_audit: Run) -> None:
    frame = shuffled(style_rows())
    sides = {side: frame[f"{side}_reward"].to_numpy() for side in ("chosen", "rejected")}
    result = run_audit(Preference(), make_case(frame), rewards=sides)
    check_styles(frame, result)
    chat = frame[frame["subset"] == "chat"]
    found = result.get("preference.style_hard", subset="chat").value
    matrix = slow_style_matrix(chat)
    assert found == pytest.approx(np.mean([matrix[0, 1], matrix[0, 2], matrix[1, 2]]), abs=1e-9)
    assert any(f.metric == "preference.style_hard" and f.examples for f in result.findings)
    heat = next(f for f in result.figures if f.kind == "heatmap")
    assert heat.data["rows"] == list(STYLES)


def test_style_matrix_of_real_sets(shared_data: Path, make_case: Make, run_audit: Run) -> None:
    with gzip.open(shared_data / "rm_bench" / "pairs.jsonl.gz", "rt", encoding="utf-8") as file:
        frame = pd.DataFrame([json.loads(line) for line in file])
    for side in ("chosen", "rejected"):
        frame[f"{side}_reward"] = frame[side].str.len().astype(float)
    case = make_case(frame, lambda prompt, output: float(len(output)))
    result = run_audit(Preference(), case)
    check_styles(frame, result)
    assert result["preference.style_easy"].n_clusters == 798
    assert any("Style beats substance" in f.title for f in result.findings)


def test_two_styles_have_a_matrix_but_no_difficulty(make_case: Make, run_audit: Run) -> None:
    frame = style_rows()
    frame = frame[frame["style"] != "concise"].replace({"style": {"detailed_plain": "formal"}})
    result = run_audit(Preference(), make_case(frame))
    assert len(result.tables["style_matrix"]) == 4
    assert "easy, normal and hard averages" in {part.what for part in result.not_run}
    assert "preference.style_hard" not in overall(result)


def test_ranking_counts_all_pairs_and_kendall(make_case: Make, run_audit: Run) -> None:
    rng = np.random.default_rng(5)
    rows = [
        {
            "prompt": f"p{i}",
            "outputs": [f"o{j} " + "x " * int(k) for j, k in enumerate(rng.integers(1, 9, size))],
            "ranking": rng.integers(1, 4, size).tolist(),
        }
        for i, size in enumerate(rng.integers(2, 6, 40))
    ]
    result = run_audit(Preference(), make_case(rows, kind="ranking"))
    right, taus, tied = [], [], 0
    for row in rows:
        rewards = [len(o.split()) for o in row["outputs"]]
        for i, j in itertools.combinations(range(len(rewards)), 2):
            a, b = (i, j) if row["ranking"][i] < row["ranking"][j] else (j, i)
            if row["ranking"][a] == row["ranking"][b]:
                tied += 1
            else:
                right.append(half(rewards[a], rewards[b]))
        if len(set(rewards)) > 1 and len(set(row["ranking"])) > 1:
            taus.append(kendalltau(rewards, [-r for r in row["ranking"]]).statistic)
    assert result["preference.accuracy"].value == pytest.approx(np.mean(right), abs=1e-9)
    assert result["preference.accuracy"].n == len(right)
    assert result["preference.rank_correlation"].value == pytest.approx(np.mean(taus), abs=1e-9)
    assert result.tables["pairs"]["pairs"].tolist()[2] == tied


def test_rating_is_spearman_within_prompt(make_case: Make, run_audit: Run) -> None:
    rng = np.random.default_rng(6)
    frame = pd.DataFrame(
        {
            "prompt": [f"p{i}" for i in rng.integers(0, 20, 90)],
            "output": [f"{i} " + "y " * int(k) for i, k in enumerate(rng.integers(1, 9, 90))],
            "rating": rng.integers(1, 6, 90).astype(float),
        }
    )
    result = run_audit(Preference(), make_case(frame, kind="rating"))
    frame["reward"] = frame["output"].str.split().str.len()
    rhos = [
        spearmanr(g["reward"], g["rating"]).statistic
        for _, g in frame.groupby("prompt")
        if g["reward"].nunique() > 1 and g["rating"].nunique() > 1
    ]
    assert result["preference.rank_correlation"].value == pytest.approx(np.mean(rhos), abs=1e-9)


def test_labels_pair_positives_with_negatives_of_a_prompt(make_case: Make, run_audit: Run) -> None:
    rows = [
        {"prompt": "p", "output": "one two three", "label": True},
        {"prompt": "p", "output": "one two", "label": True},
        {"prompt": "p", "output": "four five", "label": False},
        {"prompt": "p", "output": "six", "label": False},
        {"prompt": "q", "output": "one", "label": True},
        {"prompt": "q", "output": "one two", "label": False},
        {"prompt": "r", "output": "three four", "label": True},
        {"prompt": "r", "output": "three", "label": False},
        {"prompt": "s", "output": "alone", "label": True},
    ]
    result = run_audit(Preference(), make_case(rows, kind="unpaired"))
    # p: 3 > 2, 3 > 1, 2 = 2, 2 > 1; q: 1 < 2; r: 2 > 1; s has nothing to compare
    assert result["preference.accuracy"].value == pytest.approx(4.5 / 6)
    assert result["preference.accuracy"].n == 6


def test_area_under_the_curve_covers_as_resampling_does() -> None:
    rng = np.random.default_rng(7)
    clusters = np.arange(300) % 100
    label = rng.random(300) < 0.4
    score = rng.normal(size=300) + 0.8 * label + 0.5 * rng.normal(size=100)[clusters]
    found = separation(score, label, clusters, 0.95)
    assert found.value == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    draws = []
    for _ in range(1000):
        picked = np.concatenate([np.flatnonzero(clusters == c) for c in rng.integers(0, 100, 100)])
        draws.append(roc_auc_score(label[picked], score[picked]))
    width = np.quantile(draws, 0.975) - np.quantile(draws, 0.025)
    # the bootstrap's own error is about 5 % of the width
    assert found.high - found.low == pytest.approx(width, rel=0.15)


def test_worst_subset_interval_holds_the_true_minimum() -> None:
    # Five subsets of 40 prompts, all of accuracy 0.7; the lowest of the five is about 0.62.
    rng = np.random.default_rng(8)
    runs = 600
    right = (rng.random((runs, 5, 40)) < 0.7).astype(float)
    held, values = 0, []
    for run in right:
        found = lowest_mean([(part, np.arange(40) + 40 * k) for k, part in enumerate(run)], 0.95)
        assert found.value == run.mean(axis=1).min()
        values.append(found.value)
        held += found.low <= 0.7 <= found.high
    assert held / runs >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)
    assert np.mean(values) < 0.65  # the value itself is too low, as the audit says


def test_sd_is_the_shared_one_and_its_error_counts(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    result = run_audit(Preference(), make_case(frame), **given(frame))
    rewards = np.r_[frame["chosen_reward"], frame["rejected_reward"]]
    prompts = np.tile(pd.factorize(frame["prompt"])[0], 2)
    texts = pd.factorize(np.r_[frame["chosen"], frame["rejected"]])[0]
    decided = frame[~frame["tie"]]
    mean = (decided["chosen_reward"] - decided["rejected_reward"]).mean()
    sd = within_prompt_sd(rewards, prompts, texts)
    assert result["preference.margin_mean"].value == pytest.approx(mean / sd, abs=1e-9)
    # Large margins make up the SD: their quotient is nearly exact (one pair a prompt: the square
    # root of 2), though the mean margin is not.
    n = 100
    rng = np.random.default_rng(9)
    rows = [{"prompt": f"p{i}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(n)]
    margin = rng.normal(10, 1, n)
    sides = {"chosen": margin, "rejected": np.zeros(n)}
    found = run_audit(Preference(), make_case(rows), rewards=sides)["preference.margin_mean"]
    assert found.value == pytest.approx(math.sqrt(2), abs=0.02)
    assert found.high - found.low < 0.3 * (2 * 1.96 * 0.1 / 10 * math.sqrt(2))
