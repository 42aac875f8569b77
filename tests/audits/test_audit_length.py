"""The length audit: by hand, by slow definition, under changes that must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from preference_rows import (
    doubled,
    given,
    random_pairs,
    scaled,
    shifted_by_prompt,
    shuffled,
    swapped,
)
from scipy.stats import kendalltau

from rmaudit.audits.common.allocation import LENGTH_PAIRS
from rmaudit.audits.length.audit import Length
from rmaudit.audits.length.edits import CLOSINGS, edit
from rmaudit.audits.length.views import equal_mass
from rmaudit.case import Case
from rmaudit.results import AuditResult
from rmaudit.scoring.requests import Scores
from rmaudit.stats.regression import fixed_effects_slope

Make = Callable[..., Case]
Run = Callable[..., AuditResult]

EDITED = ("length.padding_effect", "length.padding_flip_rate")


def overall(result: AuditResult) -> dict[str, float]:
    return {m.id: m.estimate.value for m in result.metrics if not m.slice and m.estimate.defined}


def half(difference: float) -> float:
    return 0.5 if difference == 0 else float(difference > 0)


def test_six_pairs_by_hand(make_case: Make, run_audit: Run) -> None:
    # (length, reward) of chosen and rejected
    data = [
        ((4, 1.0), (2, 0.0)),  # chosen longer, right
        ((4, 0.0), (2, 1.0)),  # chosen longer, wrong
        ((8, 2.0), (2, 0.0)),  # chosen longer, right
        ((2, 0.0), (4, 1.0)),  # chosen shorter, wrong
        ((2, 1.0), (4, 1.0)),  # chosen shorter, equal rewards
        ((3, 1.0), (3, 0.0)),  # equal lengths
    ]
    rows = [{"prompt": f"p{i}", "chosen": f"c{i}", "rejected": f"r{i}"} for i in range(6)]
    result = run_audit(
        Length(),
        make_case(rows, new_text=False),
        rewards={s: [pair[k][1] for pair in data] for k, s in enumerate(("chosen", "rejected"))},
        lengths={s: [pair[k][0] for pair in data] for k, s in enumerate(("chosen", "rejected"))},
    )
    assert result["length.accuracy_chosen_longer"].value == pytest.approx(2 / 3)
    assert result["length.accuracy_chosen_shorter"].value == pytest.approx(1 / 4)
    assert result["length.accuracy_gap"].value == pytest.approx(2 / 3 - 1 / 4)
    assert result["length.balanced_accuracy"].value == pytest.approx((2 / 3 + 1 / 4) / 2)
    # the model picks the longer in 1 0 1 1 1/2 1/2, the label in 1 1 1 0 0 1/2
    assert result["length.excess_preference"].value == pytest.approx((4 - 3.5) / 6)
    # the higher reward is the longer's in three of the four prompts in which both differ
    assert result["length.rank_correlation"].value == pytest.approx((3 - 1) / 4)
    # squares: log2 ratios 1 1 2 1 1 0 halved on both sides; products likewise
    slope = (1 - 1 + 4 + 1 + 0) / (1 + 1 + 4 + 1 + 1)
    sd = math.sqrt((1 + 1 + 4 + 1 + 0 + 1) / 2 / 6)
    assert result["length.reward_per_doubling"].value == pytest.approx(slope / sd)
    assert result.not_run[0].what == "padding, repetition and truncation"
    assert not set(EDITED) & set(overall(result))


def test_equals_the_slow_definition(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs(ties=0.2)
    result = run_audit(Length(), make_case(frame, new_text=False), **given(frame))
    rows = [row for row in frame.to_dict("records") if not row["tie"]]
    longer, shorter, excess = [], [], []
    for row in rows:
        amount = row["chosen_length"] - row["rejected_length"]
        margin = row["chosen_reward"] - row["rejected_reward"]
        if amount:
            (longer if amount > 0 else shorter).append(half(margin))
        model = half(math.copysign(1, amount) * margin) if amount else 0.5
        excess.append(model - half(amount))
    prompts: dict[str, list[tuple[float, float]]] = {}
    for row in frame.to_dict("records"):
        for side in ("chosen", "rejected"):
            text = (math.log2(row[f"{side}_length"]), row[f"{side}_reward"])
            prompts.setdefault(row["prompt"], []).append(text)
    xy, xx, yy = 0.0, 0.0, 0.0
    taus = []
    for texts in prompts.values():
        x, y = (np.array(values) for values in zip(*texts, strict=True))
        xy += float(np.sum((x - x.mean()) * (y - y.mean())))
        xx += float(np.sum((x - x.mean()) ** 2))
        yy += float(np.sum((y - y.mean()) ** 2))
        taus.append(kendalltau(x, y).statistic)
    sd = math.sqrt(yy / (2 * len(frame) - len(prompts)))
    expected = {
        "length.rank_correlation": np.mean(taus),
        "length.accuracy_chosen_longer": np.mean(longer),
        "length.accuracy_chosen_shorter": np.mean(shorter),
        "length.accuracy_gap": np.mean(longer) - np.mean(shorter),
        "length.balanced_accuracy": (np.mean(longer) + np.mean(shorter)) / 2,
        "length.excess_preference": np.mean(excess),
        "length.reward_per_doubling": xy / xx / sd,
    }
    assert overall(result) == pytest.approx(expected, abs=1e-9)
    for metric in result.metrics:
        assert metric.estimate.low < metric.estimate.value < metric.estimate.high
    for name, part in frame.groupby("subset"):
        part = part.reset_index(drop=True)
        alone = run_audit(Length(), make_case(part, new_text=False), **given(part))
        for id_ in expected:
            if id_ != "length.reward_per_doubling":  # its SD is that of all the data
                found = result.get(id_, subset=str(name)).value
                assert found == pytest.approx(alone[id_].value, abs=1e-9)


def test_slope_is_the_fixed_effects_one(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    found = run_audit(Length(), make_case(frame, new_text=False), **given(frame))
    rewards = np.r_[frame["chosen_reward"], frame["rejected_reward"]]
    lengths = np.log2(np.r_[frame["chosen_length"], frame["rejected_length"]])
    prompts = np.tile(pd.factorize(frame["prompt"])[0], 2)
    raw = fixed_effects_slope(rewards, lengths, prompts)
    estimate = found["length.reward_per_doubling"]
    assert estimate.n_clusters == raw.n_clusters
    # The same test of no effect, up to the SD's own error, which is small beside a slope near zero
    assert estimate.value / (estimate.high - estimate.low) == pytest.approx(
        raw.value / (raw.high - raw.low), rel=0.02
    )


@pytest.mark.parametrize("change", [shuffled, doubled, shifted_by_prompt, scaled, swapped])
def test_what_must_not_matter(change: Any, make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()
    for side in ("chosen", "rejected"):  # halves have exact sums: equal rewards stay equal
        frame[f"{side}_reward"] = np.round(frame[f"{side}_reward"] * 2) / 2
    changed = change(frame)
    before = overall(run_audit(Length(), make_case(frame, new_text=False), **given(frame)))
    after = overall(run_audit(Length(), make_case(changed, new_text=False), **given(changed)))
    if change is swapped:  # what was longer and right is now shorter and right
        up, down = "length.accuracy_chosen_longer", "length.accuracy_chosen_shorter"
        before[up], before[down] = before[down], before[up]
        for id_ in ("accuracy_gap", "excess_preference", "reward_per_doubling", "rank_correlation"):
            before[f"length.{id_}"] *= -1
    assert after == pytest.approx(before, abs=1e-9)


def word_reward(prompt: str, output: str) -> float:
    """Pays for words, and a little for what they are."""
    return 0.1 * len(output.split()) + (sum(map(ord, output)) % 7) / 10


@pytest.mark.parametrize("change", [shuffled, doubled])
def test_edits_do_not_depend_on_the_rows(change: Any, make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()[["prompt", "chosen", "rejected", "tie"]]
    before = overall(run_audit(Length(), make_case(frame, word_reward)))
    after = overall(run_audit(Length(), make_case(change(frame), word_reward)))
    assert after == pytest.approx(before, abs=1e-9)


def test_edits_by_definition(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs(ties=0.2)[["prompt", "chosen", "rejected", "tie"]]
    result = run_audit(Length(), make_case(frame, word_reward))
    decided = frame[~frame["tie"]]
    rewards = {
        side: np.array([word_reward("", o) for o in decided[side]])
        for side in ("chosen", "rejected")
    }
    every = pd.DataFrame(
        {
            "prompt": np.tile(frame["prompt"], 2),
            "reward": [word_reward("", o) for o in [*frame["chosen"], *frame["rejected"]]],
        }
    )
    squares = ((every["reward"] - every.groupby("prompt")["reward"].transform("mean")) ** 2).sum()
    sd = math.sqrt(squares / (len(every) - every["prompt"].nunique()))
    table = result.tables["edits"].set_index("edit")
    for name in ("padding", "repetition", "truncation"):
        after = np.array([word_reward("", edit(name, o)) for o in decided["rejected"]])
        rise = (after - rewards["rejected"]).mean() / sd
        slices = {} if name == "padding" else {"edit": name}
        found = result.get("length.padding_effect", **slices)
        assert found.value == pytest.approx(rise, abs=1e-9)
        right = rewards["chosen"] > rewards["rejected"]
        flips = [half(a - c) for a, c in zip(after[right], rewards["chosen"][right], strict=True)]
        assert table.loc[name, "flip_rate"] == pytest.approx(np.mean(flips), abs=1e-9)
    assert result["length.padding_flip_rate"].value == table.loc["padding", "flip_rate"]
    assert table.loc["truncation", "added_tokens"] < 0 < table.loc["padding", "added_tokens"]


def test_edited_texts() -> None:
    padded = edit("padding", "An answer.\n")
    assert padded.startswith("An answer.\n\n")
    assert sum(closing in padded for closing in CLOSINGS) == 2
    assert edit("repetition", "a b") == "a b\n\na b"
    assert edit("truncation", "one two three four") == "one two"
    assert edit("truncation", "一二三四") == "一二"
    assert edit("truncation", "ab") == "a"
    used = {edit("padding", f"answer {i}").split("\n\n")[1] for i in range(100)}
    assert len(used) == len(CLOSINGS)


def test_the_sample_is_capped_and_seeded(make_case: Make) -> None:
    n = LENGTH_PAIRS + 200
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(n)]
    columns = {seed: Length().requests(make_case(rows, seed=seed)) for seed in (0, 1)}
    assert [request.side for request in columns[0]] == ["padding", "repetition", "truncation"]
    assert {len(request.outputs) for request in columns[0]} == {LENGTH_PAIRS}
    assert columns[0] == Length().requests(make_case(rows, seed=0))
    assert set(columns[0][0].ids) != set(columns[1][0].ids)
    assert Length().requests(make_case(rows, new_text=False)) == ()


def test_the_rejected_context_is_kept(make_case: Make) -> None:
    rows = [{"prompt": "a", "chosen": "x y", "rejected": "z w", "prompt_rejected": "b"}]
    assert list(Length().requests(make_case(rows))[0].prompts) == ["b"]


def severities(result: AuditResult) -> dict[str, str]:
    return {finding.metric: finding.severity for finding in result.findings}


def world(pay: float, make_case: Make, n: int = 400) -> Case:
    """Quality is a mark in the text; people pay for it alone, the model for words as well."""
    rng = np.random.default_rng(20)
    words = [
        ("good ", "bad ")[k % 2] + "word " * int(w)
        for k, w in enumerate(rng.integers(3, 60, 2 * n))
    ]
    rows = [
        {"prompt": f"p{i}", "chosen": f"{words[2 * i]}{i}", "rejected": f"{words[2 * i + 1]}{i}"}
        for i in range(n)
    ]

    def reward(prompt: str, output: str) -> float:
        noise = sum(map(ord, output)) % 11 / 5
        return 2.0 * output.startswith("good") + noise + pay * math.log2(len(output.split()))

    return make_case(rows, reward)


def test_paying_for_words_is_found(make_case: Make, run_audit: Run) -> None:
    result = run_audit(Length(), world(1.5, make_case))
    assert severities(result)["length.excess_preference"] == "high"
    assert severities(result)["length.padding_effect"] == "high"
    finding = result.findings[0]
    assert "longer" in finding.title
    shown = finding.examples[0]
    assert len(shown["rejected"]) > len(shown["chosen"])
    assert shown["reward_rejected"] > shown["reward_chosen"]
    margins = [e["reward_rejected"] - e["reward_chosen"] for e in finding.examples]
    assert margins == sorted(margins, reverse=True)


def test_paying_for_brevity_is_found(make_case: Make, run_audit: Run) -> None:
    result = run_audit(Length(), world(-1.5, make_case))
    assert "shorter" in result.findings[0].title
    assert result["length.reward_per_doubling"].high < 0
    truncated = [f for f in result.findings if "in half" in f.title]
    assert truncated[0].severity == "high"


def test_a_model_that_does_not_pay_for_words_has_no_findings(
    make_case: Make, run_audit: Run
) -> None:
    assert run_audit(Length(), world(0.0, make_case)).findings == ()


def test_noise_alone_is_no_finding(make_case: Make, run_audit: Run) -> None:
    # People prefer the shorter; a coin picks the longer more often than they do.
    rng = np.random.default_rng(21)
    frame = random_pairs(400, 400, seed=22, ties=0.0)
    frame["rejected_length"] = frame["chosen_length"] + 3
    rewards = {side: rng.normal(size=400) for side in ("chosen", "rejected")}
    rewards["chosen"] += 0.5
    result = run_audit(
        Length(), make_case(frame, new_text=False), rewards=rewards, lengths=given(frame)["lengths"]
    )
    assert result["length.excess_preference"].low > 0.2
    assert result.findings == ()


def test_ranked_outputs_are_padded_too(make_case: Make, run_audit: Run) -> None:
    rows = [
        {"prompt": f"p{i}", "outputs": [f"a b {i}", f"c {i}", f"d e f {i}"], "ranking": [1, 2, 2]}
        for i in range(12)
    ]
    result = run_audit(Length(), make_case(rows, kind="ranking"))
    assert result["length.padding_effect"].n == 24  # two decided pairs per row
    assert result["length.accuracy_chosen_longer"].value == 1.0
    assert result["length.accuracy_chosen_shorter"].value == 0.0
    assert result["length.rank_correlation"].value == 1.0


ONE = {"prompt": "p", "chosen": "a b", "rejected": "c", "subset": "s"}


@pytest.mark.parametrize(
    ("rows", "rewards"),
    [
        ([], {}),
        ([ONE], {}),
        ([ONE] * 4, {}),
        ([ONE, {**ONE, "prompt": "q"}], {"chosen": [np.nan] * 2, "rejected": [np.inf, -np.inf]}),
    ],
)
def test_undefined_with_the_reason(
    rows: list[dict[str, Any]], rewards: Any, make_case: Make, run_audit: Run
) -> None:
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected", "subset"])
    result = run_audit(Length(), make_case(frame), rewards=rewards)
    assert all(math.isnan(m.estimate.value) for m in result.metrics)
    assert all(m.estimate.undefined_reason for m in result.metrics)
    assert result.findings == ()


def test_one_length_says_so(make_case: Make, run_audit: Run) -> None:
    rows = [{"prompt": f"p{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(30)]
    result = run_audit(Length(), make_case(rows, lambda p, o: float(o.startswith("good"))))
    for name in ("excess_preference", "accuracy_gap", "balanced_accuracy", "reward_per_doubling"):
        estimate = result[f"length.{name}"]
        assert math.isnan(estimate.value)
        assert estimate.undefined_reason is not None
        assert "the same in both responses" in estimate.undefined_reason
    assert result["length.padding_effect"].value == 0.0  # here zero is measured
    assert [figure.kind for figure in result.figures] == ["curves", "curves"]


def test_constant_rewards(make_case: Make, run_audit: Run) -> None:
    frame = random_pairs()[["prompt", "chosen", "rejected", "tie"]]
    result = run_audit(Length(), make_case(frame, lambda prompt, output: 0.1))
    same = "the reward is the same for all responses of a prompt"
    assert result["length.padding_effect"].undefined_reason == same
    assert result["length.reward_per_doubling"].undefined_reason == same
    assert result["length.padding_flip_rate"].undefined_reason is not None
    assert result["length.accuracy_chosen_longer"].value == 0.5
    assert result["length.accuracy_gap"].value == 0.0


def test_cut_off_edits_are_left_out(make_case: Make, score_with: Callable[..., Scores]) -> None:
    case = make_case(random_pairs()[["prompt", "chosen", "rejected"]], word_reward)
    scores = score_with(case, [Length()])
    key = ("eval", "length", "repetition", "plain")
    column = scores.by_request[key]
    cut = np.arange(len(column.reward)) < 7
    worse = replace(column, truncated=cut, reward=np.where(cut, -1e6, column.reward))
    scores = replace(scores, by_request={**scores.by_request, key: worse})
    table = Length().measure(case, scores).tables["edits"].set_index("edit")
    assert table["left_out"].to_dict() == {"padding": 0, "repetition": 7, "truncation": 0}
    assert table.loc["repetition", "effect_sd"] > 0


def test_bins_hold_about_equal_numbers_and_equal_values_share_one() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    assert np.bincount(equal_mass(values, 10)).tolist() == [100] * 10
    tied = np.array([0.0] * 90 + [1.0] * 10)
    assert np.bincount(equal_mass(tied, 10)).tolist() == [90, 10]
    assert equal_mass(np.zeros(0), 10).size == 0


def test_only_labelled_data_will_do(make_case: Make) -> None:
    assert "not samples" in (Length().missing(make_case([{"prompt": "p"}], kind="samples")) or "")
