"""A gold reward that is a model: the whole way through `rmaudit.audit`."""

from __future__ import annotations

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.overoptimization import from_samples


def proxy(pairs: list[tuple[str, str]]) -> list[float]:
    return [float(output) for _, output in pairs]


def gold(pairs: list[tuple[str, str]]) -> list[float]:
    return [-(float(output) ** 2) + float(output) for _, output in pairs]


def test_gold_model_rewards_the_samples() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, 16)).round(4)
    samples = [
        {"prompt": f"q{i}", "outputs": [str(v) for v in row]} for i, row in enumerate(values)
    ]
    pairs = [{"prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)]
    options = {"only": ["overoptimization"], "resamples": 100, "cache": False, "debug": True}
    by_model = rma.audit(proxy, pairs, samples=rma_samples(samples), gold=gold, **options)
    truth = (-(values**2) + values).tolist()
    rows = [{**row, "gold_rewards": g} for row, g in zip(samples, truth, strict=True)]
    by_column = rma.audit(proxy, pairs, samples=rma_samples(rows), **options)
    for method in ("bon", "tilted"):
        one, other = (
            r.get("overoptimization.gold_gain_at_peak", method=method).value
            for r in (by_model, by_column)
        )
        assert one == pytest.approx(other)
    assert any("the reward model gold" in f.detail for f in by_model.findings)
    without = rma.audit(proxy, pairs, samples=rma_samples(samples), **options)
    assert without.audits["overoptimization"].status == "not_run"


def test_a_judge_stands_in_where_gold_is_missing() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(120, 16)).round(4)
    truth = values - 0.3 * values**2 + rng.normal(size=(120, 1))
    rows = [
        {"prompt": f"q{i}", "outputs": [str(v) for v in row], "judge_rewards": (3 * t).tolist()}
        | ({"gold_rewards": t.tolist()} if i % 3 == 0 else {})
        for i, (row, t) in enumerate(zip(values, truth, strict=True))
    ]
    alone = [{k: v for k, v in row.items() if k != "judge_rewards"} for row in rows]
    everything = [{**row, "gold_rewards": t.tolist()} for row, t in zip(rows, truth, strict=True)]
    one, both, whole = (
        from_samples(
            rma_samples(each), [rma.load_reward_model(proxy)], methods=("bon",), cache=False
        )
        for each in (alone, rows, everything)
    )
    assert any("on 40 of 120 prompts, the judge on all" in note for note in both.notes)
    assert not any("judge" in note for note in one.notes)
    assert any("left aside: every prompt has gold" in note for note in whole.notes)
    few, powered, full = (
        [e.high - e.low for e in r.studies[0].curve.means("gold")] for r in (one, both, whole)
    )
    # A judge that is the gold reward in another unit is worth all that is not labelled.
    assert powered == pytest.approx(full, rel=0.03)
    assert min(np.array(few) / powered) > 1.3
    report = rma.audit(
        proxy,
        [{"prompt": f"p{i}", "chosen": "1", "rejected": "0"} for i in range(4)],
        samples=rma_samples(rows),
        only=["overoptimization"],
        resamples=100,
        cache=False,
        debug=True,
    )
    gain = report.get("overoptimization.gold_gain_at_peak", method="bon")
    assert gain.n == 120
    assert gain.value == pytest.approx(whole.studies[0].found.gain_at_peak.value, rel=0.1)


def rma_samples(rows: list[dict[str, object]]) -> object:
    from rmaudit.data import load

    return load(rows, "samples")
