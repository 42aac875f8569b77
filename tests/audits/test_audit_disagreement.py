"""Disagreement: slow definitions, scikit-learn, planted spread outside the feedback, bad input."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from known_rewards import FunctionModel, table
from scipy import stats
from sklearn.metrics import roc_auc_score

from rmaudit.audits.common.support import support
from rmaudit.audits.disagreement import Disagreement, collect
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.rewards.base import RewardModel
from rmaudit.stats.calibration import temperature

Make = Callable[..., Case]
WORDS = ["red", "blue", "green", "gold", "oak", "elm", "fir", "ash"]


def noise(text: str, salt: int) -> float:
    """A number in (-1/2, 1/2) that hangs on the text and the member."""
    digest = hashlib.blake2b(text.encode(), digest_size=6, salt=salt.to_bytes(8, "big")).digest()
    return int.from_bytes(digest, "big") / 2**48 - 0.5


def member(salt: int, spread: float = 4.0, unsure: float = 4.0) -> RewardModel:
    """Right but for noise of its own; more of it on prompts that speak of pain."""

    def reward(prompt: str, output: str) -> float:
        wide = unsure if "pain" in prompt else spread
        return (1.0 if "good" in output else 0.0) + wide * noise(prompt + output, salt)

    return FunctionModel(reward, name=f"member {salt}")


def pairs(n: int, start: str, seed: int) -> list[dict[str, Any]]:
    """Two pairs per prompt."""
    words = np.random.default_rng(seed).choice(WORDS, (n // 2 + 1, 3))
    return [
        {
            "prompt": f"{start} {' '.join(words[i // 2])} {i // 2}",
            "chosen": f"good {i}",
            "rejected": f"bad {i}",
        }
        for i in range(n)
    ]


@pytest.fixture
def case(make_case: Make) -> Case:
    first = member(0)
    return make_case(
        pairs(200, "please book", 1), first.reward, ensemble=(member(1), member(2), member(3))
    )


def standardised(case: Case, score_with: Any) -> tuple[np.ndarray, np.ndarray]:
    """Raw margins of the members and the same in their SDs, each by the definition."""
    scores = score_with(case)
    raw, scaled = [], []
    for chosen, rejected in zip(
        scores.member_rewards("chosen"), scores.member_rewards("rejected"), strict=True
    ):
        total, freedom = 0.0, 0
        for code in np.unique(case.clusters):
            own = case.clusters == code
            rewards = np.r_[chosen[own], rejected[own]]
            total += ((rewards - rewards.mean()) ** 2).sum()
            freedom += rewards.size - 1
        raw.append(chosen - rejected)
        scaled.append(raw[-1] / math.sqrt(total / freedom))
    return np.array(raw), np.array(scaled)


def test_each_number_is_its_definition(case: Case, run_audit: Any, score_with: Any) -> None:
    result = run_audit(Disagreement(), case)
    _, margins = standardised(case, score_with)
    n = margins.shape[1]
    spread = np.sqrt(((margins - margins.mean(axis=0)) ** 2).mean(axis=0))
    wrong = (margins.mean(axis=0) < 0).astype(float)
    assert 0.02 < wrong.mean() < 0.3
    differing = [
        np.mean([(a > 0) != (b > 0) for a, b in itertools.combinations(column, 2)])
        for column in margins.T
    ]
    order = np.argsort(spread)
    risks = [wrong[order[: i + 1]].mean() for i in range(n)]
    rate = wrong.mean()
    expected = {
        "margin_sd": spread.mean(),
        "sign_disagreement": np.mean(differing),
        "error_auroc": roc_auc_score(wrong, spread),
        "selective_accuracy_80": 1 - wrong[order[: round(0.8 * n)]].mean(),
        "aurc": np.mean(risks),
        "excess_aurc": np.mean(risks) - (rate + (1 - rate) * math.log(1 - rate)),
    }
    for name, value in expected.items():
        estimate = result[f"disagreement.{name}"]
        assert estimate.value == pytest.approx(value, abs=1e-9), name
        assert estimate.low < value < estimate.high


def test_error_of_the_spread_includes_that_of_the_units(make_case: Make, run_audit: Any) -> None:
    """Against the jackknife that leaves out each prompt, and measures the units anew."""
    rows, models = pairs(120, "please book", 5), (member(0), member(1), member(2))

    def measured(kept: list[dict[str, Any]]) -> Estimate:
        case = make_case(kept, models[0].reward, ensemble=models[1:])
        return run_audit(Disagreement(), case)["disagreement.margin_sd"]

    ours = measured(rows)
    prompts = sorted({row["prompt"] for row in rows})
    without = [measured([row for row in rows if row["prompt"] != p]).value for p in prompts]
    jackknife = math.sqrt((len(prompts) - 1) * np.var(without))
    quantile = stats.t.ppf(0.975, len(prompts) - 1)
    assert ours.n_clusters == len(prompts) == 60
    assert (ours.high - ours.low) / 2 / quantile == pytest.approx(jackknife, rel=0.03)


def test_information_is_balds(case: Case, run_audit: Any, score_with: Any) -> None:
    def entropy(p: float) -> float:
        return -sum(q * math.log(q) for q in (p, 1 - p) if q > 0)

    raw, _ = standardised(case, score_with)
    cool = np.array([margin / temperature(margin, case.clusters).value for margin in raw])
    p = 1 / (1 + np.exp(-cool))
    bald = [entropy(c.mean()) - np.mean([entropy(each) for each in c]) for c in p.T]
    found = run_audit(Disagreement(), case)["disagreement.mutual_information"]
    assert found.value == pytest.approx(np.mean(bald), abs=1e-9)


def test_neither_scale_nor_level_of_a_member_matters(
    case: Case, make_case: Make, run_audit: Any
) -> None:
    first = member(0)
    other = make_case(
        case.eval.frame,
        lambda prompt, output: 50 * first.reward(prompt, output) + 7 * len(prompt),
        ensemble=case.ensemble,
    )
    one, two = (run_audit(Disagreement(), c) for c in (case, other))
    for metric in one.metrics:
        other_value = two.get(metric.id, **metric.slice).value
        assert other_value == pytest.approx(metric.estimate.value, abs=1e-9)


def test_planted_spread_outside_the_support(make_case: Make, run_audit: Any) -> None:
    known, new = pairs(120, "please book a visit", 1), pairs(80, "sudden chest pain since", 2)
    members = [member(i, spread=0.5, unsure=3.0) for i in range(4)]
    case = make_case(
        known + new,
        members[0].reward,
        ensemble=tuple(members[1:]),
        feedback=table(pairs(400, "please book a visit", 3)),
    )
    found = run_audit(Disagreement(), case)["disagreement.outside_inside_ratio"]
    assert found.low > 2.5
    assert np.mean(support(case)[120:] <= 0.05) > 0.9
    same = make_case(
        known + new, member(0).reward, ensemble=(member(1), member(2)), feedback=case.feedback
    )
    level = run_audit(Disagreement(), same)["disagreement.outside_inside_ratio"]
    assert level.low < 1 < level.high


def test_ratio_is_that_of_the_means(make_case: Make, run_audit: Any, score_with: Any) -> None:
    rows = pairs(60, "please book a visit", 1) + pairs(60, "sudden chest pain since", 2)
    case = make_case(
        rows,
        member(0).reward,
        ensemble=(member(1),),
        feedback=table(pairs(300, "please book a visit", 3)),
    )
    spread = standardised(case, score_with)[1].std(axis=0)
    outside = support(case) <= 0.05
    found = run_audit(Disagreement(), case)["disagreement.outside_inside_ratio"]
    expected = spread[outside].mean() / spread[~outside].mean()
    assert found.value == pytest.approx(expected, abs=1e-9)


def test_confident_errors_are_found_and_shown(make_case: Make, run_audit: Any) -> None:
    """Members that err alike: disagreement falls on the pairs that are right."""

    def alike(salt: int) -> RewardModel:
        def reward(prompt: str, output: str) -> float:
            if int(prompt.split()[-1]) % 4 == 0:
                return -4.0 if "good" in output else 0.0
            return (3.0 if "good" in output else 0.0) + noise(prompt + output, salt)

        return FunctionModel(reward, name=f"alike {salt}")

    case = make_case(pairs(200, "please book", 1), alike(0).reward, ensemble=(alike(1), alike(2)))
    result = run_audit(Disagreement(), case)
    assert result["disagreement.error_auroc"].high < 0.2
    (finding,) = result.findings
    assert finding.severity == "high"
    assert all(int(shown["prompt"].split()[-1]) % 4 == 0 for shown in finding.examples)
    assert "are wrong by" in finding.examples[0]["note"]


def test_four_scores_are_their_definitions(case: Case, run_audit: Any, score_with: Any) -> None:
    result = run_audit(Disagreement(), case)
    _, margins = standardised(case, score_with)
    mean, spread = margins.mean(axis=0), margins.std(axis=0)
    differing = [
        np.mean([(a > 0) != (b > 0) for a, b in itertools.combinations(column, 2)])
        for column in margins.T
    ]
    expected = {
        "margin SD": spread,
        "sign disagreement": differing,
        "minus |mean margin|": -np.abs(mean),
        "margin SD over |mean margin|": spread / np.abs(mean),
    }
    for name, score in expected.items():
        found = result.get("disagreement.error_auroc", score=name)
        assert found.value == pytest.approx(roc_auc_score(mean < 0, score), abs=1e-9)


def test_members_with_equal_noise_are_no_fault(make_case: Make, run_audit: Any) -> None:
    """The SD of the margins says nothing of a pair then; how often members part in sign does."""
    rng = np.random.default_rng(2)
    truth = {f"text {i}": float(rng.normal()) for i in range(1200)}

    def noisy(salt: int) -> RewardModel:
        return FunctionModel(lambda p, o: truth[o] + 3 * noise(o, salt), name=f"noisy {salt}")

    texts = list(truth)
    data = []
    for i in range(0, 1200, 2):
        one, two = texts[i], texts[i + 1]
        first = rng.random() < 1 / (1 + math.exp(truth[two] - truth[one]))
        sides = (one, two) if first else (two, one)
        data.append({"prompt": f"p{i}", "chosen": sides[0], "rejected": sides[1]})
    case = make_case(data, noisy(0).reward, ensemble=tuple(noisy(k) for k in (1, 2, 3)))
    result = run_audit(Disagreement(), case)
    assert result["disagreement.error_auroc"].low < 0.5
    assert result.get("disagreement.error_auroc", score="sign disagreement").low > 0.5
    assert result.findings == ()


def test_rankings_are_all_their_pairs(make_case: Make, run_audit: Any, score_with: Any) -> None:
    """Two prompts of three outputs; ranks 1, 2, 3 and 1, 2, 2: three pairs and two."""
    rows = [
        {"prompt": "a", "outputs": ["a1", "a2", "a3"], "ranking": [1, 2, 3]},
        {"prompt": "b", "outputs": ["b1", "b2", "b3"], "ranking": [1, 2, 2]},
    ]
    one = {"a1": 3, "a2": 2, "a3": 1, "b1": 5, "b2": 4, "b3": 0}
    two = {"a1": 1, "a2": 2, "a3": 3, "b1": 2, "b2": 1, "b3": 1}
    case = make_case(
        rows,
        lambda prompt, output: one[output],
        kind="ranking",
        ensemble=(FunctionModel(lambda prompt, output: two[output], name="two"),),
    )
    members = collect(case, score_with(case))
    assert not isinstance(members, str)
    assert len(members.pairs) == 5
    # Squared deviations 1 + 0 + 1 and 4 + 1 + 9, over 6 - 2; and 2 with (2 + 2/3) / 4.
    np.testing.assert_allclose(members.scale, [math.sqrt(16 / 4), math.sqrt((2 + 2 / 3) / 4)])
    result = run_audit(Disagreement(), case)
    # The members part on a's three pairs and agree on b's two.
    assert result["disagreement.sign_disagreement"].value == pytest.approx(3 / 5)
    accuracy = result.tables["members"].set_index("member")["accuracy"]
    assert accuracy.to_dict() == {"function": 1.0, "two": pytest.approx(2 / 5)}


def test_what_is_missing_is_said(make_case: Make, run_audit: Any, case: Case) -> None:
    rows = pairs(20, "please book", 1)
    assert "two members" in (Disagreement().missing(make_case(rows)) or "")
    constant = make_case(rows, ensemble=(FunctionModel(lambda p, o: 1.0, name="flat"),))
    result = run_audit(Disagreement(), constant)
    assert result.status == "not_run"
    assert "same reward" in (result.reason or "")
    broken = make_case(rows, ensemble=(FunctionModel(lambda p, o: math.nan, name="nan"),))
    result = run_audit(Disagreement(), broken)
    assert result.status == "not_run"
    assert "finite" in (result.reason or "")
    (lack,) = run_audit(Disagreement(), case).not_run
    assert lack.what == "outside_inside_ratio"
    assert "--feedback" in lack.needs


def test_one_prompt_and_members_that_agree_are_undefined(make_case: Make, run_audit: Any) -> None:
    alone = [{**row, "prompt": "one and the same"} for row in pairs(30, "please", 1)]
    result = run_audit(Disagreement(), make_case(alone, member(0).reward, ensemble=(member(1),)))
    for metric in result.metrics:
        assert math.isnan(metric.estimate.value)
        assert metric.estimate.undefined_reason
    same = make_case(pairs(30, "please", 1), member(0).reward, ensemble=(member(0),))
    result = run_audit(Disagreement(), same)
    assert result["disagreement.margin_sd"].value == 0  # a true zero: they are one model
    assert result["disagreement.error_auroc"].value == 0.5


def test_nothing_outside_is_undefined(make_case: Make, run_audit: Any) -> None:
    rows = pairs(300, "please book", 1)
    case = make_case(rows[:2] * 10, member(0).reward, ensemble=(member(1),), feedback=table(rows))
    found = run_audit(Disagreement(), case)["disagreement.outside_inside_ratio"]
    assert math.isnan(found.value)
    assert "two are needed" in (found.undefined_reason or "")
