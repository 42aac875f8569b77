"""Ratings and their votes: slow definitions, a planted group, the sense of votes, coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from rmaudit.audits.annotators.audit import Annotators
from rmaudit.case import Case

Make = Callable[..., Case]
PEOPLE = [f"p{k}" for k in range(12)]


def reward(prompt: str, output: str) -> float:
    return float(output)


def rated(
    n: int, seed: int, *, each: int = 4, per_prompt: int = 1, noise: float = 0.7
) -> list[dict[str, Any]]:
    """Responses of a quality that annotators see with noise, on five levels; some are young."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        quality = float(rng.normal())
        who = [int(k) for k in rng.choice(len(PEOPLE), each, replace=False)]
        votes = np.clip(np.round(3 + quality + noise * rng.normal(size=each)), 1, 5).astype(int)
        rows.append(
            {
                "prompt": f"q{i // per_prompt}",
                "output": f"{quality:.6f}",
                "rating": float(votes.mean()),
                "annotators": [PEOPLE[k] for k in who],
                "annotator_age": ["old" if k % 4 else "young" for k in who],
                "annotator_votes": votes.tolist(),
            }
        )
    return rows


def slow(rows: list[dict[str, Any]], of: Callable[[Mapping[str, Any], int], float]) -> float:
    """Share of all comparisons of one annotator, within a prompt, that `of` orders alike."""
    agrees = []
    for first, second in combinations(rows, 2):
        if first["prompt"] != second["prompt"]:
            continue
        for name in set(first["annotators"]) & set(second["annotators"]):
            i, j = first["annotators"].index(name), second["annotators"].index(name)
            voted = np.sign(first["annotator_votes"][i] - second["annotator_votes"][j])
            if voted:
                ranked = np.sign(of(first, i) - of(second, j))
                agrees.append(0.5 if ranked == 0 else float(ranked == voted))
    return float(np.mean(agrees))


def others(row: Mapping[str, Any], place: int) -> float:
    rest = [vote for k, vote in enumerate(row["annotator_votes"]) if k != place]
    return float(np.mean(rest))


@pytest.mark.parametrize("per_prompt", [4, 60])
def test_concordance_is_its_definition(make_case: Make, run_audit: Any, per_prompt: int) -> None:
    rows = rated(60, 1, per_prompt=per_prompt)
    if per_prompt == 60:  # no prompt has two rows: all rows are compared
        rows = [{**row, "prompt": f"own {i}"} for i, row in enumerate(rows)]
    result = run_audit(Annotators(), make_case(rows, reward, kind="rating"))
    if per_prompt == 60:
        rows = [{**row, "prompt": ""} for row in rows]
    expected = slow(rows, lambda row, _: float(row["output"]))
    assert result["annotators.concordance"].value == pytest.approx(expected, abs=1e-12)
    ceiling = result["annotators.concordance_ceiling"].value
    assert ceiling == pytest.approx(slow(rows, others), abs=1e-12)
    assert result["annotators.alpha"].defined
    assert [part.what for part in result.not_run] == []


def test_a_group_that_means_the_opposite_is_named(make_case: Make, run_audit: Any) -> None:
    rows = rated(300, 2)
    equal = run_audit(Annotators(), make_case(rows, reward, kind="rating"))
    assert [f for f in equal.findings if f.metric == "annotators.worst_group_accuracy"] == []
    for row in rows:
        row["annotator_votes"] = [
            6 - vote if age == "young" else vote
            for vote, age in zip(row["annotator_votes"], row["annotator_age"], strict=True)
        ]
        row["rating"] = float(row["output"])  # the old's taste is the label
    result = run_audit(Annotators(), make_case(rows, reward, kind="rating"))
    (finding,) = [f for f in result.findings if f.metric == "annotators.worst_group_accuracy"]
    assert finding.severity == "high"
    assert finding.p is not None
    assert finding.p < 0.001
    table = result.tables["by_annotator"].set_index(["attribute", "group"])
    assert table.loc[("age", "young"), "accuracy"] < 0.3
    assert table.loc[("age", "old"), "accuracy"] > 0.7
    assert result["annotators.worst_group_accuracy"].value == table["accuracy"].min()


def test_votes_that_run_against_the_ratings_are_reversed(make_case: Make, run_audit: Any) -> None:
    rows = rated(80, 3)
    as_they_are = run_audit(Annotators(), make_case(rows, reward, kind="rating"))
    turned = [
        {**row, "annotator_votes": [6 - vote for vote in row["annotator_votes"]]} for row in rows
    ]
    result = run_audit(Annotators(), make_case(turned, reward, kind="rating"))
    assert result["annotators.concordance"] == as_they_are["annotators.concordance"]
    assert "reversed" in result.figures[0].alt
    rng = np.random.default_rng(0)
    unrelated = [{**row, "rating": float(rng.normal())} for row in rows]
    result = run_audit(Annotators(), make_case(unrelated, reward, kind="rating"))
    assert "votes and ratings of a row do not agree" in result.not_run[0].needs


def test_categories_count_as_the_ratings_of_their_rows(make_case: Make, run_audit: Any) -> None:
    """Safe, unsure, unsafe, with ratings that are the share of unsafe: safe is the worst."""
    names = np.array(["safe", "unsure", "unsafe"])
    rows = rated(80, 4)
    level = [np.digitize(row["annotator_votes"], [2.5, 3.5]) for row in rows]
    numbers = [
        {**row, "annotator_votes": at.tolist(), "rating": float(at.mean())}
        for row, at in zip(rows, level, strict=True)
    ]
    words = [
        {**row, "annotator_votes": names[at].tolist()}
        for row, at in zip(numbers, level, strict=True)
    ]
    by_number, by_word = (
        run_audit(Annotators(), make_case(some, reward, kind="rating")) for some in (numbers, words)
    )
    assert by_word["annotators.concordance"].value == by_number["annotators.concordance"].value


def test_without_names_the_mean_vote_is_held_against_the_reward(
    make_case: Make, run_audit: Any
) -> None:
    rows = [
        {key: value for key, value in row.items() if not key.startswith("annotator_a")}
        for row in rated(40, 5)
    ]
    for row in rows:
        del row["annotators"]
    result = run_audit(Annotators(), make_case(rows, reward, kind="rating"))
    pairs = [
        (np.sign(float(a["output"]) - float(b["output"])) == np.sign(a["rating"] - b["rating"]))
        for a, b in combinations(rows, 2)
        if a["rating"] != b["rating"]
    ]
    assert result["annotators.concordance"].value == pytest.approx(np.mean(pairs), abs=1e-12)
    for name in ("concordance_ceiling", "worst_group_accuracy"):
        estimate = result[f"annotators.{name}"]
        assert math.isnan(estimate.value)
        assert "annotators" in (estimate.undefined_reason or "")


def test_interval_holds_the_population_value(make_case: Make, run_audit: Any) -> None:
    """Noisy reward and votes of a normal quality: concordance of two correlated normals."""
    held, draws, n = 0, 60, 120
    # One annotator rates all, without rounding; corr(reward, vote) = 0.5, so Kendall's
    # tau = 2 / pi * asin(0.5) and the concordance (1 + tau) / 2 = 2 / 3.
    truth = (1 + 2 / math.pi * math.asin(0.5)) / 2
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=n)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=n)
        rows = [
            {
                "prompt": f"q{i}",
                "output": f"{x[i]:.9f}",
                "rating": float(y[i]),
                "annotators": ["ann"],
                "annotator_votes": [float(y[i])],
            }
            for i in range(n)
        ]
        case = make_case(rows, reward, kind="rating", resamples=20)
        estimate = run_audit(Annotators(), case)["annotators.concordance"]
        held += estimate.low <= truth <= estimate.high
    assert binom.ppf(0.0005, draws, 0.93) <= held <= binom.ppf(0.9995, draws, 0.97)
