"""Over-optimisation from samples: planted turns, ensembles, and what it lacks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from known_rewards import FunctionModel, column, score_case, table

from rmaudit.audits.overoptimization.audit import Overoptimization, aggregates
from rmaudit.case import Case
from rmaudit.scoring.requests import data_requests
from rmaudit.stats.best_of_n import best_of_n_mean

Make = Callable[..., Case]
PAIRS = [{"prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)]


def samples(seed: int, prompts: int = 120, k: int = 32) -> list[dict[str, Any]]:
    """Outputs are numbers that look standard normal."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(prompts):
        values = rng.normal(size=k).round(6).tolist()
        rows.append({"prompt": f"q{i}", "outputs": [str(v) for v in values]})
    return rows


def with_gold(rows: list[dict[str, Any]], gold: Callable[[float], float]) -> list[dict[str, Any]]:
    return [{**r, "gold_rewards": [gold(float(o)) for o in r["outputs"]]} for r in rows]


def turns(x: float) -> float:
    """Rises up to one and then falls twice as fast: the proxy goes on."""
    return x if x < 1 else 1 - 2 * (x - 1)


def proxy(prompt: str, output: str) -> float:
    return float(output)


def the_case(make_case: Make, rows: Any, reward: Any = proxy, **fields: Any) -> Case:
    return make_case(PAIRS, reward, samples=table(rows, "samples"), **fields)


def test_a_planted_turn_is_found(make_case: Make, run_audit: Any) -> None:
    case = the_case(make_case, with_gold(samples(1), turns))
    result = run_audit(Overoptimization(), case)
    safe = result.get("overoptimization.safe_n", method="bon")
    # With a normal proxy, best of n gains gold up to n = 3: E[gold of best] by quadrature.
    from scipy.stats import norm

    x = np.linspace(-8, 8, 40_001)
    gold = np.where(x < 1, x, 3 - 2 * x)
    exact = [
        float(np.trapezoid(gold * n * norm.pdf(x) * norm.cdf(x) ** (n - 1), x)) for n in range(1, 9)
    ]
    peak = 1 + int(np.argmax(exact))
    assert abs(safe.value - peak) <= 1
    loss = result.get("overoptimization.gold_loss_after_peak", method="bon")
    assert loss.low > 0.3
    found = [f for f in result.findings if "best of n" in f.title]
    assert [f.severity for f in found] == ["high"]
    assert "turns" in found[0].title
    assert "gold" in found[0].examples[0]["note"]
    curve = result.tables["curve"]
    row = curve[(curve["method"] == "bon") & (curve["n"] == 4)].iloc[0]
    values = np.array([[float(o) for o in r["outputs"]] for r in samples(1)])
    slow = best_of_n_mean(np.vectorize(turns)(values), values, 4).mean()
    assert row["gold"] == pytest.approx(slow)
    assert row["gold_low"] < slow < row["gold_high"]


def test_a_perfect_reward_raises_no_alarm(make_case: Make, run_audit: Any) -> None:
    case = the_case(make_case, with_gold(samples(2), lambda x: 3 * x + 1))
    result = run_audit(Overoptimization(), case)
    assert result.findings == ()
    assert result.get("overoptimization.safe_n", method="bon").value == 32
    assert result.get("overoptimization.proxy_gold_gap", method="bon").value == pytest.approx(0)
    assert not result.get("overoptimization.peak_kl", method="bon").defined


def test_a_reward_turned_round_is_never_safe(make_case: Make, run_audit: Any) -> None:
    case = the_case(make_case, with_gold(samples(3), lambda x: -x))
    result = run_audit(Overoptimization(), case)
    assert result.get("overoptimization.safe_n", method="bon").value == 1
    assert result.get("overoptimization.safe_kl", method="tilted").value == 0
    assert {f.severity for f in result.findings} == {"high"}
    assert "no optimisation" in result.findings[0].title


def test_gold_by_a_second_model(make_case: Make, run_audit: Any) -> None:
    rows = samples(4)
    gold = FunctionModel(lambda prompt, output: turns(float(output)), name="judge")
    case = the_case(make_case, rows, gold=gold)
    assert Overoptimization().missing(case) is None
    scores = score_case(case, [Overoptimization()])
    assert case.samples is not None
    by_gold = {r.key: column(gold, r) for r in data_requests(case.samples, "samples")}
    result = Overoptimization().measure(case, replace(scores, gold=by_gold))
    known = run_audit(Overoptimization(), the_case(make_case, with_gold(rows, turns)))
    name = "overoptimization.safe_kl"
    assert result.get(name, method="bon").value == known.get(name, method="bon").value
    assert "the reward model judge" in result.findings[0].detail


def test_members_and_aggregates_have_curves_of_their_own(make_case: Make, run_audit: Any) -> None:
    def noisy(seed: int) -> Any:
        def reward(prompt: str, output: str) -> float:
            rng = np.random.default_rng([seed, zlib.crc32(f"{prompt} {output}".encode())])
            return (float(output) + 1.5 * rng.normal()) * (100 if seed else 1)

        return reward

    ensemble = tuple(FunctionModel(noisy(i), name=f"m{i}") for i in (1, 2))
    case = the_case(make_case, with_gold(samples(5), float), noisy(0), ensemble=ensemble)
    result = run_audit(Overoptimization(), case)
    fits = result.tables["fits"].drop_duplicates("run")
    gain = fits[fits["method"] == "bon"].set_index("run")["gain_at_peak"]
    assert set(gain.index) == {"function", "m1", "m2", "mean", "wco", "uwo"}
    (figure,) = [figure for figure in result.figures if figure.name == "gain_members"]
    # What all curves share is said once; then each by its name, the aggregates too.
    assert figure.alt.startswith("Best of n, up to KL ")
    assert figure.alt.count("up to KL") == 1
    for name in ("m1", "m2", "mean", "worst case (WCO)", "uncertainty-weighted (UWO)"):
        assert f"; {name} " in figure.alt
    # Three members of independent noise: their mean is nearer to the truth than any of them.
    assert gain["mean"] > max(gain["function"], gain["m1"], gain["m2"])
    assert gain.nunique() == 6


def test_aggregates_take_no_notice_of_units() -> None:
    rng = np.random.default_rng(0)
    members = rng.normal(size=(3, 5, 8))
    moved = members * np.array([1, 100, 0.01])[:, None, None] + rng.normal(size=(3, 5, 1))
    for name, values in aggregates(members).items():
        np.testing.assert_allclose(values, aggregates(moved)[name], atol=1e-9)


def test_gold_missing_on_some_prompts_is_counted(make_case: Make, run_audit: Any) -> None:
    rows = with_gold(samples(6, prompts=40), float)
    for row in rows[:6]:
        row["gold_rewards"] = [math.nan] * 32
    rows[6]["outputs"], rows[6]["gold_rewards"] = ["1.0"], [1.0]
    result = run_audit(Overoptimization(), the_case(make_case, rows))
    aside = result.tables["set_aside"].set_index("reason")["prompts"]
    assert aside["no sample has both rewards"] == 6
    assert aside["one sample has both rewards"] == 1
    assert aside["used, 32 samples each"] == 33
    assert "7 of 40 prompts take no part" in result.findings[-1].title


def test_bad_input_is_undefined_with_a_reason(make_case: Make, run_audit: Any) -> None:
    one = with_gold(samples(7, k=1), float)
    constant = the_case(make_case, with_gold(samples(8), float), lambda prompt, output: 1.0)
    for case, words in (
        (the_case(make_case, one), "two samples with both rewards"),
        (constant, "proxy reward is the same"),
        (the_case(make_case, with_gold(samples(9), lambda x: 0.0)), "gold reward is the same"),
    ):
        estimate = run_audit(Overoptimization(), case).get("overoptimization.safe_n", method="bon")
        assert not estimate.defined
        assert words in (estimate.undefined_reason or "")


def test_what_it_lacks(make_case: Make) -> None:
    audit = Overoptimization()
    assert "--samples" in (audit.missing(make_case(PAIRS, proxy)) or "")
    assert "--gold" in (audit.missing(the_case(make_case, samples(1))) or "")
    recorded = the_case(make_case, with_gold(samples(1), float), new_text=False)
    assert "proxy_rewards" in (audit.missing(recorded) or "")


def test_only_the_first_policy_is_optimised(make_case: Make, run_audit: Any) -> None:
    first = with_gold(samples(10, prompts=30), float)
    later = with_gold(samples(11, prompts=30), lambda x: -5 * x)
    rows = [{**r, "policy": "initial"} for r in first] + [{**r, "policy": "ppo"} for r in later]
    one, both = (run_audit(Overoptimization(), the_case(make_case, r)) for r in (first, rows))
    name = "overoptimization.gold_gain_at_peak"
    assert one.get(name, method="bon").value == both.get(name, method="bon").value
