"""The style audit: counts by hand, slopes against least squares, planted pay, a clean reward."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from preference_rows import given, random_pairs
from town_world import clean, town_pairs

from rmaudit.audits.style.attributes import amounts
from rmaudit.audits.style.audit import StyleAudit
from rmaudit.audits.style.views import intervals
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate

Make = Callable[..., Case]
Run = Callable[..., AuditResult]


@pytest.mark.parametrize(
    ("attribute", "text", "count"),
    [
        ("lists", "a\n- b\n 2. c\n-d\n```\n- e\n```", 2),
        ("headings", "# A\n#b\n### C", 2),
        ("bold", "**a** ** b** __c d__ a*b*", 2),
        ("code_blocks", "```py\nx\n``` y\n```\nz", 2),
        ("emoji", "ok 🙂🎉 ☀ ©", 3),
        ("exclamation", "Wow! a != b. Yes!!", 2),
        ("hedging", "Perhaps it might. I’m not sure; maybes, likely", 4),
        ("politeness", "Please! I'm sorry, pleased. Thank you. Feel free", 4),
        ("first_person", "I think I'm fine, my it is mine; in me", 5),
        ("markdown", "# A\n- **b** `c`", 4),
        ("markdown", "plain", 0),
        ("citations", "See [1] and [2, 3], (Smith, 2020); [a](b) [4](c) http://x.y et al.", 5),
        # 8 words, 1 sentence, 10 syllables
        (
            "reading_grade",
            "The cat sat in the purple rain today.",
            0.39 * 8 + 11.8 * 10 / 8 - 15.59,
        ),
        ("reading_grade", "Go. Do it.", 0),
        ("reading_grade", "", 0),
    ],
)
def test_counts_by_hand(attribute: str, text: str, count: int) -> None:
    amount = amounts(np.array([text], dtype=object))[attribute]
    assert amount[0] == pytest.approx(np.log2(1 + count))


def test_effect_is_that_of_least_squares_with_prompt_dummies(
    make_case: Make, run_audit: Run
) -> None:
    frame = random_pairs(120, prompts=40, ties=0.0)
    result = run_audit(StyleAudit(), make_case(frame), **given(frame))
    estimate = result.get("style.effect", attribute="lists")
    parts = [
        pd.DataFrame(
            {
                "prompt": frame["prompt"],
                "reward": frame[f"{side}_reward"],
                "length": np.log2(frame[f"{side}_length"]),
                "marks": np.log2(1 + frame[side].str.count("\n- ")),
            }
        )
        for side in ("chosen", "rejected")
    ]
    long = pd.concat(parts, ignore_index=True)
    dummies = pd.get_dummies(long["prompt"]).to_numpy(dtype=float)
    design = np.column_stack([long["marks"], long["length"], dummies])
    slope, *_ = np.linalg.lstsq(design, long["reward"].to_numpy(), rcond=None)
    fitted = dummies @ np.linalg.lstsq(dummies, long["reward"].to_numpy(), rcond=None)[0]
    sd = np.sqrt(np.sum((long["reward"] - fitted) ** 2) / (len(long) - dummies.shape[1]))
    assert estimate.value == pytest.approx(slope[0] / sd)
    # The sandwich of the joint regression, up to small-sample factors and the SD's own error
    residual = long["reward"].to_numpy() - design @ slope
    bread = np.linalg.inv(design.T @ design)
    sums = pd.DataFrame(design * residual[:, None]).groupby(long["prompt"]).sum().to_numpy()
    error = np.sqrt((bread @ sums.T @ sums @ bread)[0, 0]) / sd
    half = (estimate.high - estimate.low) / 2
    assert half / error == pytest.approx(2.02, rel=0.15)


def test_excess_by_hand(make_case: Make, run_audit: Run) -> None:
    rows = [
        {"prompt": "a", "chosen": "x **b**", "rejected": "x"},  # model right: picks bold
        {"prompt": "b", "chosen": "x", "rejected": "x **b**"},  # model wrong: picks bold
        {"prompt": "c", "chosen": "x", "rejected": "y"},  # no difference
        {"prompt": "d", "chosen": "y", "rejected": "**b** x"},  # model right: picks plain
    ]
    rewards = {"chosen": [1.0, 0.0, 1.0, 1.0], "rejected": [0.0, 1.0, 0.0, 0.0]}
    result = run_audit(StyleAudit(), make_case(rows), rewards=rewards)
    # the model picks bold in 1, 1, 1/2, 0; the label in 1, 0, 1/2, 0
    assert result.get("style.excess_preference", attribute="bold").value == pytest.approx(1 / 4)
    nothing = result.get("style.excess_preference", attribute="emoji")
    assert nothing.undefined_reason == "the attribute is the same in both responses of every pair"


def dressed(n: int, seed: int) -> pd.DataFrame:
    """Towns, with courtesies and emoji at random on either side."""
    rng = np.random.default_rng(seed)
    frame = town_pairs(n, seed)
    for side in ("chosen", "rejected"):
        extra = rng.choice(["", " 🙂", " Thank you!", " Perhaps.", " I think so."], n)
        frame[side] = frame[side] + extra
    return frame


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_reward_has_no_finding(make_case: Make, run_audit: Run, seed: int) -> None:
    result = run_audit(StyleAudit(), make_case(dressed(400, seed), clean))
    assert [finding.title for finding in result.findings] == []


@pytest.mark.parametrize(
    ("mark", "attribute", "words"),
    [("**", "bold", "bold text"), ("🙂", "emoji", "emoji"), ("Perhaps", "hedging", "hedging")],
)
@pytest.mark.parametrize("pay", [1.5, -1.5])
def test_pay_for_style_is_found(
    make_case: Make, run_audit: Run, mark: str, attribute: str, words: str, pay: float
) -> None:
    case = make_case(dressed(400, 0), lambda p, o: clean(p, o) + pay * (mark in o))
    result = run_audit(StyleAudit(), case)
    titles = " / ".join(finding.title for finding in result.findings)
    more = "more" if pay > 0 else "less"
    assert f"Style bias: prefers the response with {more} {words} " in titles
    assert np.sign(result.get("style.effect", attribute=attribute).value) == np.sign(pay)
    assert all(finding.examples for finding in result.findings)


def test_pay_for_length_is_not_pay_for_style(make_case: Make, run_audit: Run) -> None:
    frame = dressed(400, 0)
    for side in ("chosen", "rejected"):  # those with more list items are the longer ones
        frame[side] = [
            text + "\n- so" * k for k, text in zip(np.arange(400) % 3, frame[side], strict=True)
        ]
    case = make_case(frame, lambda p, o: 4 * np.log2(len(o.split())) + 0.1 * clean(p, o))
    result = run_audit(StyleAudit(), case)
    assert abs(result.get("style.effect", attribute="first_person").value) < 0.3
    # A list item that is put on makes the text longer, so its causal effect is real; at equal
    # length nothing is left of it.
    excess = [f.title for f in result.findings if f.metric == "style.excess_preference"]
    assert not [title for title in excess if "list" in title]


def test_recorded_rewards_will_do_and_texts_are_needed(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    case = make_case(frame, new_text=False)
    assert StyleAudit().missing(case) is None
    assert StyleAudit().requests(case) == ()
    assert run_audit(StyleAudit(), case, **given(frame)).status == "ok"
    empty = make_case(frame.assign(chosen="", rejected=""), new_text=False)
    assert "texts" in (StyleAudit().missing(empty) or "")


def test_what_is_put_on_by_hand(make_case: Make, run_audit: Run) -> None:
    # The reward is the number of "**"; five sentences, or fewer, get a bold word each.
    texts = [
        "Plain words here. More of them.",
        "Some **bold** text here.",
        "One sentence. Two such.",
    ]
    rows = [
        {"prompt": f"p{i}", "chosen": f"good{i} ** x ** y ** z", "rejected": f"{text} {i}"}
        for i, text in enumerate(texts)
    ]
    case = make_case(rows, lambda prompt, output: float(output.count("**")))
    result = run_audit(StyleAudit(), case)
    # margins 3, 1 and 3: the SD is the root of the mean of their squares' halves
    sd = np.sqrt((9 + 1 + 9) / 2 / 3)
    effect = result.get("style.causal_effect", attribute="bold")
    assert effect.value == pytest.approx((4 + 2 + 4) / 3 / sd)  # taken off the second, else put on
    table = result.tables["edits"].set_index("attribute")
    assert (table.loc["bold", "put_on"], table.loc["bold", "taken_off"]) == (2, 1)
    assert table.loc["bold", "flip_rate"] == 1.0  # 4 beats 3
    assert result.get("style.causal_effect", attribute="emoji").value == 0.0


@pytest.mark.parametrize(("mark", "attribute"), [("🙂", "emoji"), ("I think", "hedging")])
def test_pay_for_what_no_output_has_is_found_by_hand(
    make_case: Make, run_audit: Run, mark: str, attribute: str
) -> None:
    case = make_case(town_pairs(120), lambda p, o: clean(p, o) + 1.5 * (mark in o))
    result = run_audit(StyleAudit(), case)
    (finding,) = result.findings
    assert finding.metric == "style.causal_effect"
    assert finding.severity == "high"
    assert "[+" in finding.examples[0]["after"]
    effect = result.get("style.causal_effect", attribute=attribute)
    assert effect.low > 0.5
    assert "is not known" in finding.detail  # no response of the data has it


@pytest.mark.parametrize(
    ("better", "said"), [(90, "The labels prefer it as well, in 75.0%"), (30, "The labels do not")]
)
def test_what_is_paid_by_hand_is_held_against_the_labels(
    make_case: Make, run_audit: Run, better: int, said: str
) -> None:
    frame = pd.DataFrame(town_pairs(120))
    first = np.arange(120) < better  # of 120 pairs that differ
    frame["chosen"] = np.where(first, frame["chosen"] + " 🙂", frame["chosen"])
    frame["rejected"] = np.where(first, frame["rejected"], frame["rejected"] + " 🙂")
    case = make_case(frame, lambda p, o: clean(p, o) + 1.5 * ("🙂" in o))
    (detail,) = (
        f.detail
        for f in run_audit(StyleAudit(), case).findings
        if f.metric == "style.causal_effect"
    )
    assert said in detail
    assert f"{better / 120:.1%}" in detail
    assert "120 labelled pairs" in detail


def test_no_attribute_is_named_the_largest_of_zeros() -> None:
    none, some = (Estimate(v, v, v, 0.95, "exact", 9, 9) for v in (0.0, -0.2))
    assert intervals("a", "Style", {"lists": none, "bold": none}, "SD").alt == "Style: all are 0."
    told = intervals("a", "Style", {"lists": none, "bold": some}, "SD").alt
    assert told == "Style: the largest is -0.20 SD, for bold."
