"""Weak regions: one half of the prompts ranked in reverse, without a word of it in the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from rmaudit.audits.generalization.audit import Generalization
from rmaudit.audits.generalization.regions import halves_of
from rmaudit.case import Case
from rmaudit.results import AuditResult

Make = Callable[..., Case]
Run = Callable[..., AuditResult]
TOPICS = {
    "tax": ["invoice", "refund", "deduction", "payroll", "ledger", "receipt"],
    "garden": ["tomato", "compost", "pruning", "seedling", "mulch", "watering"],
}


def pairs(n: int, seed: int, accuracy: dict[str, float]) -> list[dict[str, Any]]:
    """Two pairs per prompt of one of two topics, with rewards that are right so often."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        topic = ("tax", "garden")[i % 2]
        prompt = f"{' '.join(rng.choice(TOPICS[topic], 4))} number {i}"
        for j in range(2):
            sign = 1 if rng.random() < accuracy[topic] else -1
            rows.append(
                {"prompt": prompt, "chosen": f"{i} {j} a", "rejected": f"{i} {j} b", "sign": sign}
            )
    return rows


def measured(make_case: Make, run_audit: Run, rows: list[dict[str, Any]]) -> AuditResult:
    size = {row["chosen"]: float(row["sign"]) for row in rows}
    return run_audit(Generalization(), make_case(rows, lambda p, o: size.get(o, 0.0)))


def test_a_half_in_reverse_is_found_and_named(make_case: Make, run_audit: Run) -> None:
    rows = pairs(300, 0, {"tax": 0.72, "garden": 0.35})
    result = measured(make_case, run_audit, rows)
    first = next(f for f in result.findings if f.metric == "generalization.region_gap")
    assert first.severity == "high"
    region = next(m.slice["region"] for m in result.metrics)
    assert set(region.removeprefix("prompts about: ").split(", ")) <= set(TOPICS["garden"])
    assert region in first.title
    found = result.get("generalization.region_accuracy", region=region)
    assert found.low < 0.35 < found.high
    assert found.n < 320  # on one half of its 300 pairs, and a little
    gap = result.get("generalization.region_gap", region=region)
    assert gap.low < 0.37 < gap.high
    assert result.status == "ok"
    assert "--feedback" in result.not_run[0].needs


def test_where_there_is_no_weak_region_few_are_found(make_case: Make, run_audit: Run) -> None:
    told = 0
    for seed in range(12):
        rows = pairs(100, seed, {"tax": 0.65, "garden": 0.65})
        told += bool(measured(make_case, run_audit, rows).findings)
    assert told <= 1


def test_no_prompt_is_in_both_halves_and_few_prompts_are_not_searched(
    make_case: Make, run_audit: Run
) -> None:
    rows = pairs(60, 1, {"tax": 0.7, "garden": 0.7})
    case = make_case(rows)
    first = halves_of(case)
    assert (first[::2] == first[1::2]).all()
    assert first.mean() == 0.5
    few = measured(make_case, run_audit, rows[:40])
    assert few.status == "not_run"
    assert "--feedback" in (few.reason or "")


def test_a_source_that_some_rows_lack_is_no_region(make_case: Make, run_audit: Run) -> None:
    rows = pairs(120, 3, {"tax": 0.7, "garden": 0.7})
    for i, row in enumerate(rows):
        row["source"] = (None, "forum", "mail")[i % 3]
    assert measured(make_case, run_audit, rows).status == "ok"
