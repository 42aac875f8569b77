"""Sparsity: a planted late reward, an early one, slow definitions, bad input."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_rewards import score_case
from scipy.stats import spearmanr

from rmaudit.audits.common.allocation import PREFIX_PAIRS
from rmaudit.audits.sparsity import POSITIONS, Sparsity, prefix, sampled_rows
from rmaudit.case import Case

Make = Callable[..., Case]
WORDS = [f"w{i}" for i in range(40)]


def value(word: str) -> float:
    """What a word is worth, between -1 and 1; sums of halves have no rounding."""
    return (int(word.strip("w")) * 7 % 40 - 19.5) / 32


def pairs(n: int, seed: int = 0, length: int = 20) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        texts = [" ".join(rng.choice(WORDS, length)) for _ in range(2)]
        rows.append({"prompt": f"p{i // 2}", "chosen": texts[0], "rejected": texts[1]})
    return rows


def even(prompt: str, output: str) -> float:
    """Each word pays its value as it comes."""
    return sum(value(word) for word in output.split())


def early(prompt: str, output: str) -> float:
    """The first two words say it all; what follows adds a trifle."""
    words = [value(word) for word in output.split()]
    return sum(words[:2]) + 1e-3 * sum(words[2:])


def late(prompt: str, output: str) -> float:
    """Only the last word of twenty pays."""
    words = output.split()
    return value(words[-1]) * 5 if len(words) == 20 else 0.001 * len(words)


def test_a_prefix_keeps_the_text_as_it_is() -> None:
    text = "one  two\nthree four five"
    assert prefix(text, 0.4) == "one  two"
    assert prefix(text, 0.1) == "one"  # at least one word
    assert prefix(text, 1.0) == text
    assert prefix("  one two ", 0.5) == "  one"


def test_each_number_is_its_definition(make_case: Make, run_audit: Any) -> None:
    rows = pairs(PREFIX_PAIRS)
    result = run_audit(Sparsity(), make_case(rows, even))

    def rewards(side: str) -> np.ndarray:
        return np.array(
            [
                [even("", " ".join(row[side].split()[: round(20 * s)])) for s in POSITIONS]
                for row in rows
            ]
        )

    chosen, rejected = rewards("chosen"), rewards("rejected")
    margins = chosen - rejected
    correlations = [spearmanr(column, margins[:, -1]).statistic for column in margins.T]
    table = result.tables["by_position"]
    np.testing.assert_allclose(table["rank_correlation_with_final"], correlations, atol=1e-9)
    settled = [i for i in range(10) if all(c >= 0.9 for c in correlations[i:])]
    assert result["sparsity.arrival_position"].value == POSITIONS[settled[0]]
    for i, position in enumerate(POSITIONS):
        right = np.where(margins[:, i] == 0, 0.5, margins[:, i] > 0)
        found = result.get("sparsity.prefix_accuracy", position=f"{position:.1f}")
        assert found.value == pytest.approx(right.mean(), abs=1e-9)
    moves = np.abs(np.diff(np.concatenate([chosen, rejected]), axis=1))
    expected = moves[:, -1].sum() / moves.sum()
    estimate = result["sparsity.late_share"]
    assert estimate.value == pytest.approx(expected, abs=1e-9)
    # An even reward moves one ninth of its way in each of nine steps.
    assert estimate.low < 1 / 9 < estimate.high
    assert result.findings == ()


def test_a_planted_late_reward_is_found(make_case: Make, run_audit: Any) -> None:
    result = run_audit(Sparsity(), make_case(pairs(80), late))
    assert result["sparsity.late_share"].value > 0.98
    assert result["sparsity.arrival_position"].value == 1.0
    assert {f.metric for f in result.findings} == {
        "sparsity.late_share",
        "sparsity.arrival_position",
    }
    half = result.get("sparsity.prefix_accuracy", position="0.5")
    assert half.value == 0.5  # equal prefixes: nothing is said yet


def test_words_that_each_count_for_themselves_arrive_at_nine_tenths_and_are_no_fault(
    make_case: Make, run_audit: Any
) -> None:
    # Correlation sqrt(0.8) = 0.894 at the eighth tenth, sqrt(0.9) = 0.949 at the ninth.
    rng = np.random.default_rng(0)
    rows = [
        {
            "prompt": f"p{i}",
            **{
                side: " ".join(f"{w:.4f}" for w in rng.normal(size=100))
                for side in ("chosen", "rejected")
            },
        }
        for i in range(250)
    ]

    def by_word(prompt: str, output: str) -> float:
        return sum(map(float, output.split()))

    result = run_audit(Sparsity(), make_case(rows, by_word))
    assert result["sparsity.arrival_position"].value in (0.8, 0.9)
    assert result.findings == ()


def test_an_early_reward_arrives_early(make_case: Make, run_audit: Any) -> None:
    result = run_audit(Sparsity(), make_case(pairs(80), early))
    assert result["sparsity.arrival_position"].value == POSITIONS[0]
    assert result["sparsity.late_share"].value < 0.2
    assert result.findings == ()


def test_the_figure_shows_real_outputs(make_case: Make, run_audit: Any) -> None:
    rows = pairs(30)
    result = run_audit(Sparsity(), make_case(rows, even))
    figure = next(f for f in result.figures if f.name == "reward_along_output")
    assert len(figure.data["series"]) == 8
    line = figure.data["series"][0]
    assert (line["name"], line["end"]) == ("chosen", "pair 1")
    assert {each["name"] for each in figure.data["series"]} == {"chosen", "rejected", ""}
    name = re.search(r"rows row(\d+)", figure.alt)  # row ids are told, and are no legend
    assert name
    text = rows[int(name[1])]["chosen"].split()
    expected = [even("", " ".join(text[: round(20 * s)])) for s in POSITIONS]
    assert line["y"] == pytest.approx(expected)


def test_rows_that_are_used(make_case: Make) -> None:
    """Short outputs and labelled ties are left out; of many rows a sample is drawn."""
    rows = pairs(4)
    rows[1]["chosen"] = "too short"
    rows[2]["tie"] = True
    for row in (rows[0], rows[1], rows[3]):
        row["tie"] = False
    assert sampled_rows(make_case(rows, even)).tolist() == [0, 3]
    many = make_case(pairs(300), even)
    drawn = sampled_rows(many)
    assert drawn.size == PREFIX_PAIRS
    assert (np.diff(drawn) > 0).all()
    wanted = Sparsity().requests(many)
    assert len(wanted) == 18
    assert all(len(request.outputs) == PREFIX_PAIRS for request in wanted)


def test_bad_input(make_case: Make, run_audit: Any) -> None:
    short = make_case([{"prompt": "p", "chosen": "a b", "rejected": "c"}])
    assert "ten words" in (Sparsity().missing(short) or "")
    assert "score new text" in (Sparsity().missing(make_case(pairs(3), new_text=False)) or "")
    rating = make_case([{"prompt": "p", "output": "o", "rating": 1.0}], kind="rating")
    assert "pairs" in (Sparsity().missing(rating) or "")
    broken = run_audit(Sparsity(), make_case(pairs(20), lambda prompt, output: math.nan))
    assert broken.status == "not_run"
    assert "finite" in (broken.reason or "")


def test_undefined_is_not_zero(make_case: Make, run_audit: Any) -> None:
    constant = run_audit(Sparsity(), make_case(pairs(40), lambda prompt, output: 3.0))
    for name in ("arrival_position", "late_share"):
        estimate = constant[f"sparsity.{name}"]
        assert math.isnan(estimate.value), name
        assert estimate.undefined_reason
    assert constant.get("sparsity.prefix_accuracy", position="0.3").value == 0.5
    one = run_audit(Sparsity(), make_case([{**row, "prompt": "p"} for row in pairs(20)], even))
    for metric in one.metrics:
        assert math.isnan(metric.estimate.value), metric.id
        assert metric.estimate.undefined_reason


def test_a_broken_prefix_leaves_out_its_pair_only(make_case: Make) -> None:
    rows = pairs(40)
    cut = prefix(rows[5]["chosen"], 0.3)

    def broken(prompt: str, output: str) -> float:
        return math.inf if output == cut else even(prompt, output)

    case = make_case(rows, broken)
    result = Sparsity().measure(case, score_case(case, [Sparsity()]))
    assert result["sparsity.late_share"].n == 2 * 39
