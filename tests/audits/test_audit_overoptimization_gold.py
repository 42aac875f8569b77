"""A gold reward that is a model: the whole way through `rmaudit.audit`."""

from __future__ import annotations

import numpy as np
import pytest

import rmaudit as rma


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


def rma_samples(rows: list[dict[str, object]]) -> object:
    from rmaudit.data import load

    return load(rows, "samples")
