"""Annotators: the krippendorff package, slow definitions, a planted minority, bad input."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import krippendorff
import numpy as np
import pytest
from scipy.stats import foldnorm, spearmanr

from rmaudit.audits.annotators.audit import Annotators
from rmaudit.case import Case

Make = Callable[..., Case]
PEOPLE = ["ann", "bob", "cid"]


def voted(n: int, seed: int, noise: float = 0.3) -> list[dict[str, Any]]:
    """Pairs that differ by a margin; people see it with noise, and the more do, the clearer."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        margin = float(rng.normal()) * 2
        votes = ["chosen" if margin + noise * 3 * rng.normal() > 0 else "rejected" for _ in PEOPLE]
        if Counter(votes)["chosen"] < 2:
            votes = ["rejected" if v == "chosen" else "chosen" for v in votes]
            margin = -margin
        rows.append(
            {
                "prompt": f"question {i // 2}",
                "chosen": f"{margin:.6f}",
                "rejected": "0.0",
                "annotator_votes": votes,
                "annotators": PEOPLE,
            }
        )
    return rows


def reward(prompt: str, output: str) -> float:
    return float(output)


def test_alpha_is_that_of_the_package_on_both_orders(make_case: Make, run_audit: Any) -> None:
    rows = voted(150, 0)
    rows[3]["annotator_votes"] = ["chosen", None, "chosen"]
    rows[4]["annotator_votes"] = ["chosen", "tie", "chosen"]
    found = run_audit(Annotators(), make_case(rows, reward))["annotators.alpha"]
    names = ["chosen", "rejected", "tie"]
    counts = np.array([[row["annotator_votes"].count(n) for n in names] for row in rows])
    expected = krippendorff.alpha(
        value_counts=np.concatenate([counts, counts[:, [1, 0, 2]]]),
        value_domain=names,
        level_of_measurement="nominal",
    )
    # Doubling the table by its mirror image leaves observed disagreement; of 2 N votes in place of
    # N the expected one has the denominator 2 N - 1 where the audit's has N - 1.
    n = counts[counts.sum(axis=1) >= 2].sum()
    expected = 1 - (1 - expected) * (2 * (n - 1)) / (2 * n - 1)
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("raters", [3, 123])
def test_alpha_of_ratings_is_the_packages(make_case: Make, run_audit: Any, raters: int) -> None:
    rng = np.random.default_rng(raters)
    votes = np.clip(rng.integers(1, 6, (40, 1)) + rng.integers(-1, 2, (40, raters)), 1, 5)
    rows = [
        {"prompt": f"p{i}", "output": "o", "rating": float(v.mean()), "annotator_votes": v.tolist()}
        for i, v in enumerate(votes)
    ]
    result = run_audit(Annotators(), make_case(rows, kind="rating"))
    expected = krippendorff.alpha(votes.T.astype(float), level_of_measurement="interval")
    assert result["annotators.alpha"].value == pytest.approx(expected, abs=1e-9)
    assert not result.not_run


def test_each_number_is_its_definition(make_case: Make, run_audit: Any) -> None:
    rows = voted(200, 1)
    result = run_audit(Annotators(), make_case(rows, reward))
    margin = np.array([float(row["chosen"]) for row in rows])
    share = np.array([row["annotator_votes"].count("chosen") / 3 for row in rows])
    right = (margin > 0).astype(float)
    ceiling = np.mean(
        [
            # Two others: both agree with the third, or part and are right by half.
            np.mean([v == other for j, other in enumerate(row["annotator_votes"]) if j != i])
            for row in rows
            for i, v in enumerate(row["annotator_votes"])
        ]
    )
    p = 1 / (1 + np.exp(-np.abs(margin)))
    folded = np.where(margin > 0, share, 1 - share)
    bins = np.array_split(np.argsort(p), 15)
    sizes = [len(b) for b in bins]
    assert max(sizes) - min(sizes) <= 1
    expected = {
        "noise_ceiling": ceiling,
        "accuracy_unanimous": right[share == 1].mean(),
        "accuracy_split": right[share < 1].mean(),
        "margin_agreement_correlation": spearmanr(np.abs(margin), share).statistic,
    }
    for name, value in expected.items():
        estimate = result[f"annotators.{name}"]
        assert estimate.value == pytest.approx(value, abs=1e-9), name
        assert estimate.low <= value <= estimate.high
    places = np.arange(200) * 15 // 200  # equal-mass bins by rank
    order = np.argsort(p, kind="stable")
    ece = 0.0
    for b in range(15):
        rows = order[places == b]
        off = (p - folded)[rows].sum() / 200
        by_prompt = [(p - folded)[rows[rows // 2 == c]].sum() - 2 * off for c in range(100)]
        error = math.sqrt(sum(s**2 for s in by_prompt)) / 200
        ece += 2 * abs(off) - foldnorm.mean(abs(off) / error, scale=error)
    assert result["annotators.vote_ece"].value == pytest.approx(ece, abs=1e-9)


def test_a_minority_that_the_reward_never_follows(make_case: Make, run_audit: Any) -> None:
    """Cid wants the opposite of the others; with demographics the same shows by group."""
    rows = voted(120, 2, noise=0.0)
    for row in rows:
        row["annotator_votes"] = ["chosen", "chosen", "rejected"]
        row["annotator_age"] = ["old", "old", "young"]
        row["chosen"] = f"{abs(float(row['chosen'])):.6f}"
    result = run_audit(Annotators(), make_case(rows, reward))
    table = result.tables["by_annotator"].set_index(["attribute", "group"])["accuracy"]
    assert table["annotator", "ann"] == 1
    assert table["annotator", "cid"] == 0
    assert table["age", "young"] == 0
    assert result["annotators.worst_group_accuracy"].value == 0
    titles = [f.title for f in result.findings if f.metric == "annotators.worst_group_accuracy"]
    assert len(titles) == 1
    assert "is served worst" in titles[0]
    assert math.isnan(result["annotators.accuracy_unanimous"].value)
    assert result["annotators.accuracy_unanimous"].undefined_reason == "no unanimous item"


def test_of_many_equal_annotators_none_is_served_worst(make_case: Make, run_audit: Any) -> None:
    """40 annotators, alike; then one of them means the opposite. One in 20 sets may err."""
    names = [f"a{k}" for k in range(40)]
    told = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        rows = []
        for i in range(400):
            margin = float(rng.normal())
            who = rng.choice(40, 5, replace=False)
            votes = rng.random(5) < 1 / (1 + np.exp(-margin))
            rows.append(
                {
                    "prompt": f"q{i}",
                    "chosen": f"{margin:.6f}",
                    "rejected": "0.0",
                    "annotator_votes": ["chosen" if v else "rejected" for v in votes],
                    "annotators": [names[k] for k in who],
                }
            )
        result = run_audit(Annotators(), make_case(rows, reward))
        told.append("annotators.worst_group_accuracy" in [f.metric for f in result.findings])
    assert sum(told) <= 1
    for row in rows:
        row["annotator_votes"] = [
            {"chosen": "rejected", "rejected": "chosen"}[v] if name == "a7" else v
            for v, name in zip(row["annotator_votes"], row["annotators"], strict=True)
        ]
        margin = float(row["chosen"])
        row["chosen"] = f"{4 * margin:.6f}"
    result = run_audit(Annotators(), make_case(rows, reward))
    (worst,) = [f for f in result.findings if f.metric == "annotators.worst_group_accuracy"]
    assert worst.title.startswith("annotator a7 is served worst")
    assert worst.p is not None
    assert worst.p < 0.01


def test_contested_items_are_kept_first(make_case: Make, run_audit: Any) -> None:
    rows = voted(60, 3, noise=0.0)
    for row in rows:
        row["annotator_votes"] = ["chosen"] * 3
    rows[7]["annotator_votes"] = ["chosen", "rejected", "tie"]
    rows[9]["annotator_votes"] = ["chosen", "chosen", "rejected"]
    table = run_audit(Annotators(), make_case(rows, reward)).tables["contested"]
    assert table["id"].tolist()[:2] == ["row7", "row9"]
    assert table["votes"].iloc[0] == "1 chosen, 1 rejected, 1 tie"
    assert table["agreement"].tolist()[:2] == pytest.approx([1 / 3, 2 / 3])


def test_a_reward_that_is_surest_where_people_part_is_found(
    make_case: Make, run_audit: Any
) -> None:
    rows = voted(300, 4)
    rng = np.random.default_rng(4)
    for row in rows:
        contested = len(set(row["annotator_votes"])) > 1
        row["chosen"] = f"{1 + contested + rng.random():.6f}"
    result = run_audit(Annotators(), make_case(rows, reward))
    titles = [f.title for f in result.findings]
    assert any("as sure on contested items" in title for title in titles)


def test_source_names_on_tied_rows_are_sides(make_case: Make, run_audit: Any) -> None:
    """`response_1` is the chosen side there; the row has no majority and takes no accuracy."""
    rows = voted(40, 5, noise=0.0)
    for row in rows:
        row["annotator_votes"] = ["chosen"] * 3
    rows[0] |= {"annotator_votes": ["response_1", "response_2", "tie"], "tie": True}
    for row in rows[1:]:
        row["tie"] = False
    result = run_audit(Annotators(), make_case(rows, reward))
    assert result.tables["contested"]["votes"].iloc[0] == "1 chosen, 1 rejected, 1 tie"
    assert result["annotators.accuracy_unanimous"].n == 39


def test_one_annotator_no_vote_and_no_column(make_case: Make, run_audit: Any) -> None:
    rows = voted(30, 6)
    without = [{k: v for k, v in row.items() if not k.startswith("annot")} for row in rows]
    assert "annotator_votes" in (Annotators().missing(make_case(without)) or "")
    empty = [{**row, "annotator_votes": []} for row in rows]
    assert "no row" in (Annotators().missing(make_case(empty)) or "")
    one = [{**row, "annotator_votes": ["chosen"], "annotators": ["ann"]} for row in rows]
    result = run_audit(Annotators(), make_case(one, reward))
    for name in ("alpha", "noise_ceiling", "accuracy_unanimous", "margin_agreement_correlation"):
        estimate = result[f"annotators.{name}"]
        assert math.isnan(estimate.value), name
        assert estimate.undefined_reason


def test_constant_and_broken_rewards(make_case: Make, run_audit: Any) -> None:
    rows = voted(60, 7)
    constant = run_audit(Annotators(), make_case(rows, lambda prompt, output: 1.0))
    assert constant["annotators.accuracy_split"].value == 0.5
    assert math.isnan(constant["annotators.margin_agreement_correlation"].value)
    broken = run_audit(Annotators(), make_case(rows, lambda prompt, output: math.nan))
    for name in ("accuracy_unanimous", "accuracy_split", "vote_ece", "worst_group_accuracy"):
        estimate = broken[f"annotators.{name}"]
        assert math.isnan(estimate.value), name
        assert estimate.undefined_reason
    assert broken["annotators.alpha"].defined  # people's agreement needs no reward


def test_one_prompt_is_undefined(make_case: Make, run_audit: Any) -> None:
    rows = [{**row, "prompt": "the same"} for row in voted(60, 8)]
    result = run_audit(Annotators(), make_case(rows, reward))
    for metric in result.metrics:
        assert math.isnan(metric.estimate.value), metric.id
        assert metric.estimate.undefined_reason


def test_real_votes_agree_with_the_package(
    shared_data: Any, make_case: Make, run_audit: Any
) -> None:
    """123 raters an item, nominal: unsafe, safe, unsure."""
    from rmaudit.data import load

    data = load(shared_data / "dices" / "dices_350.jsonl.gz")
    case = make_case(data.frame, lambda prompt, output: 0.0, kind=data.type)
    found = run_audit(Annotators(), case)["annotators.alpha"]
    names = sorted({v for votes in data.frame["annotator_votes"] for v in votes})
    counts = np.array([[list(v).count(n) for n in names] for v in data.frame["annotator_votes"]])
    expected = krippendorff.alpha(
        value_counts=counts, value_domain=names, level_of_measurement="nominal"
    )
    assert found.value == pytest.approx(expected, abs=1e-9)
