"""Coverage: shares counted by hand, a planted hole, a guarantee by simulation, and bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_rewards import table
from scipy.stats import binom

from rmaudit.audits.common.support import contexts
from rmaudit.audits.coverage.audit import Coverage, good_turing
from rmaudit.audits.coverage.families import hole_count, rarer
from rmaudit.case import Case
from rmaudit.support.conformal import support_share

FAMILIES = {
    "booking": "please book a visit with the doctor on",
    "billing": "the invoice charged me twice for",
    "urgent": "sudden chest pain and bleeding since",
}
WORDS = [f"{a}{b}" for a in ("red", "blue", "green", "gold", "grey") for b in ("oak", "elm", "fir")]
Make = Callable[..., Case]


def prompts(counts: dict[str, int], seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    rows = [
        {"prompt": f"{FAMILIES[name]} {' '.join(rng.choice(WORDS, 3))}", "family": name}
        for name, count in counts.items()
        for _ in range(count)
    ]
    return [rows[i] for i in rng.permutation(len(rows))]


def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "chosen": "a good reply here", "rejected": "bad reply"} for row in rows]


def test_finds_the_planted_hole_and_suggests_it(make_case: Make, run_audit: Any) -> None:
    deployment = prompts({"booking": 80, "billing": 60, "urgent": 60}, 1)
    case = make_case(
        pairs(prompts({"booking": 30, "billing": 30, "urgent": 30}, 2)),
        lambda prompt, output: len(output.split()) * (-1.0 if "bleeding" in prompt else 1.0),
        feedback=table(pairs(prompts({"booking": 200, "billing": 99, "urgent": 1}, 3))),
        deployment=table(deployment, "deployment"),
    )
    result = run_audit(Coverage(), case)
    ledger = result.tables["ledger"].set_index("family")
    assert result["coverage.holes"].value == 1
    assert ledger["hole"].to_dict() == {"booking": False, "billing": False, "urgent": True}
    assert ledger.loc["urgent", "feedback_share"] == pytest.approx(1 / 300)
    assert ledger.loc["urgent", "deployment_share"] == pytest.approx(0.3)
    assert (ledger.loc["urgent", "accuracy"], ledger.loc["billing", "accuracy"]) == (0, 1)
    finding = result.findings[0]
    assert finding.severity == "high"
    assert finding.title == (
        "Coverage gap in urgent: 0.3% of feedback, 30.0% of deployment, "
        "accuracy 0.0% against 100.0%"
    )
    assert len(finding.examples) == 5
    assert all("bleeding" in shown["prompt"] for shown in finding.examples)
    # Nearly all that is outside is urgent: 60 of 200, and a few by chance.
    kappa = result["coverage.kappa"]
    assert 0.6 <= kappa.value <= 0.72
    assert result["coverage.kappa_deficit"].value == pytest.approx(0.95 - kappa.value)
    assert result["coverage.kappa_mass"].value == 1
    suggested = result.tables["label_next"]
    assert suggested["prompt"].is_unique
    # Urgent is the only family with more of the deployment than of the feedback but billing,
    # whose share is 0.30 against 0.33: all that is suggested is urgent.
    assert set(suggested["family"]) == {"urgent"}
    assert {figure.kind for figure in result.figures} == {"curves", "bars", "scatter"}
    assert [part.what for part in result.not_run] == ["rho"]


def test_no_hole_between_draws_of_one_distribution(make_case: Make, run_audit: Any) -> None:
    """60 families, Zipf: by the shares alone several lack in the feedback, for certain none."""
    chances = 1 / np.arange(1, 61)
    told, points = 0, 0.0
    for seed in range(4):
        rng = np.random.default_rng(seed)

        def draw(n: int, rng: np.random.Generator = rng) -> list[dict[str, Any]]:
            picked = rng.choice(60, n, p=chances / chances.sum())
            return [
                {"prompt": f"family {k} {rng.choice(WORDS)} {i}", "family": f"f{k}"}
                for i, k in enumerate(picked)
            ]

        case = make_case(
            pairs(draw(30)),
            feedback=table(pairs(draw(150))),
            deployment=table(draw(300), "deployment"),
        )
        result = run_audit(Coverage(), case)
        holes = result["coverage.holes"]
        points += holes.value
        told += any(f.metric == "coverage.holes" for f in result.findings)
        assert holes.low == 0
        assert holes.more_than is not None
        assert holes.more_than[0] > 0.05
    assert points > 0
    assert told == 0


def test_other_prompts_that_lie_no_farther_are_told_by_a_classifier(
    make_case: Make, run_audit: Any
) -> None:
    """All of deployment is like three in ten of the feedback: near those, and another mix."""
    rng = np.random.default_rng(4)

    def draw(n: int, praise: float) -> list[dict[str, Any]]:
        kinds = rng.random(n) < praise
        own = [" ".join(f"w{rng.integers(10**9)}" for _ in range(4)) for _ in range(n)]
        return [
            {
                "prompt": f"so true and well said {rng.choice(WORDS)} {rng.choice(WORDS)}"
                if kind
                else words
            }
            for kind, words in zip(kinds, own, strict=True)
        ]

    told = []
    for praise in (0.95, 0.3):
        case = make_case(
            pairs(draw(20, 0.3)),
            feedback=table(pairs(draw(200, 0.3))),
            deployment=table(draw(200, praise), "deployment"),
        )
        result = run_audit(Coverage(), case)
        assert result["coverage.kappa_deficit"].low <= 0  # the distances show nothing
        told.append([f for f in result.findings if f.metric == "coverage.shift_auroc"])
        shift = result["coverage.shift_auroc"]
        assert (shift.low > 0.6) == (praise == 0.95)
    [finding], nothing = told
    assert nothing == []
    assert finding.p is not None
    assert finding.p < 0.001
    assert "though they lie no farther" in finding.title


def test_types_are_counted_by_prompt() -> None:
    """Three labels of one prompt are one draw of its type."""
    shown = good_turing(["a", "a", "a", "b", "c"], ["x", "x", "x", "y", "y"]).set_index("of")
    assert shown.loc["type", "n"] == 3
    assert shown.loc["type", "seen_once"] == 1  # x, by the prompt a
    assert shown.loc["context", "n"] == 5


def test_rarer_is_the_exact_conditional_test() -> None:
    # 1 of 300 in the feedback, 60 of 200 in deployment; at a tenth: odds 30 to 200.
    assert rarer((1, 300), (60, 200), 0.1) == pytest.approx(binom.cdf(1, 61, 30 / 230))
    assert rarer((0, 10), (0, 10), 0.1) == 1


def test_more_holes_than_so_many_is_a_partial_conjunction() -> None:
    table_ = pd.DataFrame(
        {
            "hole": [True, True, False],
            "hole_certain": [True, False, False],
            "hole_possible": [True, True, True],
            "hole_p_alone": [0.001, 0.04, 0.5],
        }
    )
    found = hole_count(table_, 10, 10, 0.95)
    assert (found.value, found.low, found.high) == (2, 1, 3)
    assert found.more_than == pytest.approx((0.003, 0.08, 0.5))


def test_what_is_labelled_is_not_suggested(make_case: Make, run_audit: Any) -> None:
    known, new = prompts({"urgent": 40}, 1), prompts({"urgent": 60}, 9)
    case = make_case(
        pairs(known[:20]),
        feedback=table(pairs(known + prompts({"booking": 100}, 3))),
        deployment=table(known + new, "deployment"),
    )
    suggested = set(run_audit(Coverage(), case).tables["label_next"]["prompt"])
    assert suggested
    assert not suggested & {row["prompt"] for row in known}


def test_exact_shares_by_hand(make_case: Make, run_audit: Any) -> None:
    rows = prompts({"booking": 60}, 0)
    seen = [f"one {WORDS[i % 15]} two {i}" for i in range(40)]
    feedback = table(pairs(rows) + pairs([{"prompt": p, "family": "booking"} for p in seen]))
    # 30 prompts are known but for white space, 10 are new; the first known ones hold a known reply.
    deployment = [
        {"prompt": f"  {p} ", "outputs": ["a good  reply here" if i < 12 else "no", "nor this"]}
        for i, p in enumerate(seen[:30])
    ] + [{"prompt": f"never seen {i}", "outputs": ["a good reply here", "x"]} for i in range(10)]
    case = make_case(pairs(rows), feedback=feedback, deployment=table(deployment, "deployment"))
    result = run_audit(Coverage(), case)
    assert result["coverage.kappa_exact"].value == 30 / 40
    assert result["coverage.rho_exact"].value == 12 / 60  # outputs of the 30 known contexts
    assert result["coverage.rho"].n == 60
    assert result["coverage.kappa_exact"].low < 0.75 < result["coverage.kappa_exact"].high


def test_deployment_like_the_feedback_is_inside(make_case: Make, run_audit: Any) -> None:
    """The embedder is fitted on both, so at most 5 % lie outside in expectation: 30 draws."""
    outside = []
    for seed in range(30):
        rows = prompts({"booking": 120, "billing": 60, "urgent": 10}, seed)
        case = make_case(
            pairs(rows[120:]),  # the evaluation may repeat the deployment: that must not matter
            feedback=table(pairs(rows[:120])),
            deployment=table(rows[120:], "deployment"),
            seed=seed,
        )
        outside.append(1 - run_audit(Coverage(), case)["coverage.kappa"].value)
    error = np.std(outside, ddof=1) / math.sqrt(30)
    assert np.mean(outside) <= 0.05 + 4 * error


def names(n: int, rng: np.random.Generator) -> list[str]:
    """Distinct prompts of a few common words and a few rare ones."""
    rare = ["".join(rng.choice(list("bcdfghlmnprst"), 6)) for _ in range(3 * n)]
    return [
        f"tell me {' '.join(rng.choice(WORDS, 3))} {' '.join(rng.choice(rare, 2))} {i}"
        for i in range(n)
    ]


@pytest.mark.parametrize("rows", [1, 3, 10])
def test_kappa_of_exchangeable_prompts_is_the_promised_one(
    make_case: Make, run_audit: Any, rows: int
) -> None:
    """Two-sided, however many pairs a prompt has: 1 - floor(0.05 (m + 1)) / (m + 1)."""
    kappa = []
    for seed in range(20):
        prompts = names(160, np.random.default_rng([seed, rows]))
        case = make_case(
            pairs([{"prompt": "q"}]),
            feedback=table(pairs([{"prompt": p} for p in prompts[:120] for _ in range(rows)])),
            deployment=table([{"prompt": p} for p in prompts[120:]], "deployment"),
            seed=seed,
        )
        where = contexts(case)
        codes = np.arange(40)
        kappa.append(support_share(where.distances["deployment"], where.calibration, codes).value)
    error = np.std(kappa, ddof=1) / math.sqrt(len(kappa))
    assert abs(np.mean(kappa) - (1 - 2 / 41)) <= 4 * error  # 40 prompts are held out
    assert error < 0.015


def test_thirty_prompts_are_too_few_however_many_rows(make_case: Make, run_audit: Any) -> None:
    prompts = names(90, np.random.default_rng(0))
    case = make_case(
        pairs([{"prompt": p} for p in prompts[:30]]),
        feedback=table(pairs([{"prompt": p} for p in prompts[:30] * 3])),
        deployment=table([{"prompt": p} for p in prompts[30:]], "deployment"),
    )
    result = run_audit(Coverage(), case)
    for name in ("kappa", "kappa_deficit"):
        assert "30 distinct prompts" in str(result[f"coverage.{name}"].undefined_reason)
    assert not any("unlike the feedback" in finding.title for finding in result.findings)
    assert result["coverage.kappa_exact"].value == 0
    assert {part.what for part in result.not_run} == {"kappa", "rho"}
    assert "outside_by_level" not in {figure.name for figure in result.figures}
    case = make_case(
        pairs([{"prompt": p} for p in prompts[:30]]),
        feedback=table(pairs([{"prompt": p} for p in prompts[:30] * 3])),
        deployment=table([{"prompt": p, "outputs": ["x"]} for p in prompts[30:]], "deployment"),
    )
    rho = run_audit(Coverage(), case)["coverage.rho"]
    assert "30 distinct prompts" in str(rho.undefined_reason)


def test_families_are_found_and_named_where_none_are_given(make_case: Make, run_audit: Any) -> None:
    def bare(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"prompt": row["prompt"]} for row in rows]

    case = make_case(
        pairs(bare(prompts({"booking": 20}, 0))),
        feedback=table(pairs(bare(prompts({"booking": 150}, 1)))),
        deployment=table(bare(prompts({"booking": 50, "urgent": 50}, 2)), "deployment"),
    )
    ledger = run_audit(Coverage(), case).tables["ledger"]
    assert (ledger["families_from"] == "k-means of the prompts").all()
    holes = ledger[ledger["hole"]]
    assert holes["deployment_share"].sum() == pytest.approx(0.5)
    assert holes["family"].str.contains("pain|bleeding|sudden|chest").all()


def test_good_turing_by_hand() -> None:
    # a a b c: two of four were seen once.
    found = good_turing(["a", "a", "b", "c"], ["t"] * 4).set_index("of")
    assert found.loc["context", "missing_mass"] == 2 / 4
    assert found.loc["type", "missing_mass"] == 0
    assert found.loc["type", "high"] == 3 / 3  # three prompts are three draws of a type


@pytest.mark.parametrize(
    ("feedback", "deployment"),
    [
        (["same"] * 60, ["same"] * 30),
        (["a b"] * 60, ["c d"]),
        (["x", ""], [""]),
    ],
)
def test_bad_input_is_undefined_or_not_run(
    make_case: Make, run_audit: Any, feedback: list[str], deployment: list[str]
) -> None:
    case = make_case(
        pairs([{"prompt": "same"}]),
        lambda prompt, output: 0.0,
        feedback=table(pairs([{"prompt": p} for p in feedback])),
        deployment=table([{"prompt": p} for p in deployment], "deployment"),
    )
    if Coverage().missing(case):
        assert deployment == [""]
        return
    result = run_audit(Coverage(), case)
    # One prompt, however often: nothing to take an interval over.
    kappa = result["coverage.kappa"]
    assert math.isnan(kappa.value)
    assert kappa.undefined_reason


def test_says_what_is_missing(make_case: Make) -> None:
    rows = pairs(prompts({"booking": 3}, 0))
    given = {"feedback": table(rows), "deployment": table(rows, "deployment")}
    one = given | {"feedback": table(rows[:1])}
    assert "two rows" in (Coverage().missing(make_case(rows, **one)) or "")
    assert Coverage().missing(make_case(rows, **given)) is None
    for absent in given:
        lacking = {name: data for name, data in given.items() if name != absent}
        assert f"--{absent}" in (Coverage().missing(make_case(rows, **lacking)) or "")


def test_the_reward_models_own_states_are_an_embedder(
    make_case: Make, run_audit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(
        pairs(prompts({"booking": 20}, 1)),
        feedback=table(pairs(prompts({"booking": 90}, 2))),
        deployment=table(prompts({"booking": 30, "urgent": 30}, 3), "deployment"),
        embedder="reward-model",
    )
    assert "transformers" in (Coverage().missing(case) or "")
    case.model.kind = "transformers"
    assert Coverage().missing(case) is None
    asked: list[tuple[Any, str]] = []

    def hidden_states(model: Any, texts: list[Any]) -> np.ndarray:
        asked.extend((text.prompt, text.output) for text in texts)
        rng = np.random.default_rng(0)
        place = np.array([[10.0, 0] if "chest" in text.prompt else [0, 10.0] for text in texts])
        return (place + rng.normal(size=place.shape)).astype(np.float32)

    monkeypatch.setattr("rmaudit.rewards.local.hidden.hidden_states", hidden_states)
    kappa = run_audit(Coverage(), case)["coverage.kappa"].value
    assert 0.4 <= kappa <= 0.5  # half of the deployment is new to this model
    assert len(asked) == len(set(asked))  # each text once
    assert {output for _, output in asked} == {""}
