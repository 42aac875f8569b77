"""Two policies compared: planted collapse, growth, drift and over-optimisation; what is lacking."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from known_rewards import table

from rmaudit.audits.policy.across import shared
from rmaudit.audits.policy.audit import Policy
from rmaudit.audits.policy.rows import samples_support
from rmaudit.case import Case
from rmaudit.errors import DataError

Make = Callable[..., Case]
PAIRS = [{"prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)]
WORDS = [f"word{i}" for i in range(60)]


def rows_of(policy: str, seed: int, prompts: int = 40, **change: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    length, pool = change.get("length", 8), change.get("pool", WORDS)
    rows = []
    for i in range(prompts):
        texts = [" ".join(rng.choice(pool, length)) for _ in range(4)]
        ratio = rng.normal(change.get("kl", 0.0), 0.5, 4)
        reference = rng.normal(-20, 1, 4)
        rows.append(
            {
                "prompt": f"q{i}",
                "policy": policy,
                "outputs": texts,
                "proxy_rewards": (rng.normal(size=4) + change.get("proxy", 0)).tolist(),
                "gold_rewards": (rng.normal(size=4) + change.get("gold", 0)).tolist(),
                "logprobs": (reference + ratio).tolist(),
                "reference_logprobs": reference.tolist(),
                "tokens": [length] * 4,
                "heldout_nll": 2.0 + 0.01 * rng.normal() + change.get("nll", 0.0),
            }
        )
    return rows


def the_case(make_case: Make, rows: Any, **fields: Any) -> Case:
    return make_case(PAIRS, samples=table(rows, "samples"), new_text=False, **fields)


def test_equal_policies_raise_no_alarm(make_case: Make, run_audit: Any) -> None:
    case = the_case(make_case, rows_of("initial", 0) + rows_of("later", 1))
    result = run_audit(Policy(), case)
    assert result.findings == ()
    assert result["policy.length_ratio"].value == pytest.approx(1, abs=0.05)
    assert result["policy.kl"].low < 0 < result["policy.kl"].high
    assert abs(result["policy.heldout_nll_change"].value) < 0.01


def test_planted_changes_are_found(make_case: Make, run_audit: Any) -> None:
    later = rows_of("ppo", 1, kl=6.0, proxy=2.0, gold=-1.0, length=20, pool=WORDS[:4], nll=0.3)
    result = run_audit(Policy(), the_case(make_case, rows_of("initial", 0) + later))
    assert result["policy.kl"].low < 6 < result["policy.kl"].high
    assert result.get("policy.kl", policy="initial").value == pytest.approx(0, abs=0.2)
    assert result["policy.distinct_2"].value < 0.3
    assert result["policy.self_bleu"].value > result.get("policy.self_bleu", policy="initial").value
    assert result["policy.heldout_nll_change"].value == pytest.approx(0.3, abs=0.01)
    found = {f.metric.partition(".")[2] for f in result.findings}
    changed = {"kl", "distinct_2", "shared_share", "length_ratio", "heldout_nll_change"}
    assert found == changed  # four words alone: any two responses are alike
    assert "gold reward fell" in next(f.title for f in result.findings if f.metric == "policy.kl")


def test_length_ratio_and_entropy_by_hand(make_case: Make, run_audit: Any) -> None:
    rows = []
    for i, (a, b) in enumerate(((2, 6), (4, 6))):
        for policy, length in (("first", a), ("second", b)):
            rows.append(
                {
                    "prompt": f"q{i}",
                    "policy": policy,
                    "outputs": ["x" * length] * 2,
                    "proxy_rewards": [0.0, 1.0],
                    "logprobs": [-float(length), -3.0 * length],
                    "tokens": [length, length],
                }
            )
    result = run_audit(Policy(), the_case(make_case, rows))
    assert result["policy.length_ratio"].value == pytest.approx(12 / 6)
    assert result["policy.token_entropy"].value == pytest.approx(2)
    assert {part.what for part in result.not_run} >= {"kl", "gold", "heldout_nll_change"}
    assert "reference_logprobs" in (result["policy.kl"].undefined_reason or "")


def test_samples_outside_the_support(make_case: Make, run_audit: Any) -> None:
    rng = np.random.default_rng(5)
    feedback = [
        {
            "prompt": f"q{i % 100}",
            "chosen": " ".join(rng.choice(WORDS, 8)),
            "rejected": " ".join(rng.choice(WORDS, 8)),
        }
        for i in range(300)
    ]
    strange = [f"strange{i}" for i in range(60)]
    rows = rows_of("initial", 0) + rows_of("ppo", 1, pool=strange)
    result = run_audit(Policy(), the_case(make_case, rows, feedback=table(feedback)))
    assert result.get("policy.outside_support_share", policy="initial").value < 0.2
    assert result["policy.outside_support_share"].value > 0.8
    assert "policy.outside_support_share" in {f.metric for f in result.findings}
    few = table(feedback[:49])  # distinct prompts
    result = run_audit(Policy(), the_case(make_case, rows, feedback=few))
    assert "49 distinct prompts" in str(result["policy.outside_support_share"].undefined_reason)
    needs = {part.what: part.needs for part in result.not_run}
    assert "support test needs 50" in needs["outside_support_share"]


def test_an_unmoved_policy_is_outside_as_often_as_promised(make_case: Make) -> None:
    """Whatever number of outputs a prompt has, in the feedback and in the samples."""
    shares = []
    for seed in range(16):
        rng = np.random.default_rng(seed)

        def rows(n: int, outputs: int, name: str, rng: np.random.Generator = rng) -> list[Any]:
            return [
                [f"{name}{i} {' '.join(rng.choice(WORDS, 4))}"]
                + [
                    " ".join([*rng.choice(WORDS, 6), f"w{rng.integers(300)}"])
                    for _ in range(outputs)
                ]
                for i in range(n)
            ]

        feedback = [
            {"prompt": prompt, "chosen": a, "rejected": b}
            for prompt, *texts in rows(90, 12, "asked")
            for a, b in zip(texts[::2], texts[1::2], strict=True)
        ]
        samples = [
            {"prompt": prompt, "policy": "initial", "outputs": texts, "proxy_rewards": [0.0] * 2}
            for prompt, *texts in rows(60, 2, "asked")
        ]
        case = the_case(make_case, samples, feedback=table(feedback), seed=seed)
        where = samples_support(case)
        assert where is not None
        shares.append(where.outside("samples").mean())
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - 1 / 31) <= 4 * error  # 30 prompts are held out
    assert error < 0.015


def test_prompts_that_one_policy_lacks_take_no_part(make_case: Make, run_audit: Any) -> None:
    rows = rows_of("initial", 0) + rows_of("later", 1)[:30]
    assert run_audit(Policy(), the_case(make_case, rows))["policy.kl"].n_clusters == 30


def test_what_it_lacks_and_bad_columns(make_case: Make, run_audit: Any) -> None:
    audit = Policy()
    assert "--samples" in (audit.missing(make_case(PAIRS)) or "")
    one = the_case(make_case, rows_of("initial", 0))
    assert "two policies" in (audit.missing(one) or "")
    rows = rows_of("initial", 0) + rows_of("later", 1)
    rows[3]["logprobs"] = "none"
    with pytest.raises(DataError, match=r"row 4, column 'logprobs': must be a list"):
        run_audit(audit, the_case(make_case, rows))
    rows[3]["logprobs"] = None
    assert run_audit(audit, the_case(make_case, rows))["policy.kl"].n_clusters == 40


def same_for_all(rows: list[dict[str, Any]], every: int = 1) -> list[dict[str, Any]]:
    """Every so many prompts get the first prompt's responses, with the prompt's name put in."""
    for row in rows[every::every]:
        row["outputs"] = [f"{text} for {row['prompt']}" for text in rows[0]["outputs"]]
    return rows


@pytest.mark.parametrize(("every", "severity"), [(1, "high"), (2, "medium")])
def test_the_same_responses_for_other_prompts_are_a_collapse(
    make_case: Make, run_audit: Any, every: int, severity: str
) -> None:
    rows = rows_of("initial", 0) + same_for_all(rows_of("later", 1), every)
    (found,) = run_audit(Policy(), the_case(make_case, rows)).findings
    assert (found.metric, found.severity) == ("policy.shared_share", severity)
    assert found.p < 0.05
    assert "other prompts" in found.title


def test_a_policy_that_began_with_shared_responses_has_not_collapsed(
    make_case: Make, run_audit: Any
) -> None:
    rows = same_for_all(rows_of("initial", 0)) + same_for_all(rows_of("later", 1))
    assert run_audit(Policy(), the_case(make_case, rows)).findings == ()


def test_short_answers_may_serve_many_prompts(make_case: Make, run_audit: Any) -> None:
    later = [row | {"outputs": ["yes", "no", "Yes.", "No."]} for row in rows_of("later", 1)]
    case = the_case(make_case, rows_of("initial", 0) + later)
    result = run_audit(Policy(), case)
    assert not result["policy.shared_share"].defined
    assert "five words" in result["policy.shared_share"].undefined_reason
    assert "policy.shared_share" not in {found.metric for found in result.findings}


def test_the_share_of_shared_responses_by_hand() -> None:
    """Two of the three long responses of the measured row were given to the reference row."""
    said = ["one two three four five", "six seven eight nine ten", "no"]
    mine = [*said[:2], "eleven twelve thirteen fourteen fifteen", "no"]
    rows = pd.DataFrame(
        {"policy": ["a", "a", "b", "b"], "outputs": [[*said, "no"], mine, mine, [*said, "no"]]}
    )
    found = shared(rows, np.array([True, False, False, False]))
    assert math.isnan(found[0])
    assert found[1] == pytest.approx(2 / 3)
    assert all(math.isnan(value) for value in found[2:])  # no reference row of that policy
