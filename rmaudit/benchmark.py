"""`rma.bench`: run a published benchmark on a reward model, with its own scoring rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rmaudit.api import Model, as_model
from rmaudit.errors import UsageError
from rmaudit.provenance import provenance
from rmaudit.report.document import Report
from rmaudit.rewards.base import RewardModel
from rmaudit.scoring import Progress, open_store, scores_frame
from rmaudit.suites import SuiteRun, run_suite
from rmaudit.suites.measures import PRESENT
from rmaudit.suites.run import Declared


def bench(
    suite: str,
    data: str | Path,
    model: Model = "recorded",
    *,
    results: str | Path | None = None,
    name: str | None = None,
    limit: int | None = None,
    threshold: float | None = None,
    seed: int = 0,
    confidence: float = 0.95,
    store: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Report:
    """Run a published benchmark: its official numbers, and ours with intervals beside them.

    Parameters
    ----------
    suite, data
        Name of a suite, such as "rewardbench2" (``rmaudit bench list``); the published file, a
        folder of such files, or a hub id ``org/dataset[@revision]:split``.
    model
        A loaded reward model, or whatever `load_reward_model` takes; "recorded" reads the rewards
        from the fields of the benchmark's own result files.
    results
        A file of results that somebody published for these data, often without texts: its rewards
        are joined by the ids of the rows, and the model is "recorded".
    name
        What to call the model in tables; by default its own name, of recorded rewards the one
        that the file says, else the file's.
    limit, threshold
        Rows at most; above which the reward of a step is good (None: one half where every reward
        is from 0 to 1, else 0).
    seed, confidence
        Of the bootstrap of calibration; two-sided level of the intervals.
    store, cache, progress, settings
        The score store and whether to use one; what is told meanwhile; more to keep in the record.

    Returns
    -------
    Report
        ``report.official`` has the benchmark's numbers by name (None where its rule gives none),
        ``report["rm_bench.score"]`` the headline with its interval.

    Raises
    ------
    RmauditError
        One line on what is wrong with the inputs and what to do.
    """
    loaded = as_model(model)
    if results is not None and loaded.scores_new_text:
        raise UsageError("results hold rewards already: leave the model out, or say recorded")
    with open_store(store, cache=cache) as opened:
        run = run_suite(
            suite,
            data,
            loaded,
            results=results,
            store=opened,
            progress=progress,
            limit=limit,
            threshold=threshold,
            logit=_is_logit(loaded),
            seed=seed,
            confidence=confidence,
        )
    config = {"confidence": confidence, "limit": limit, **(settings or {})}
    report = _report(run, loaded, seed, config)
    return _named(report, name or (run.recorded_by if loaded.kind == "recorded" else None))


def _report(run: SuiteRun, model: RewardModel, seed: int, config: Mapping[str, Any]) -> Report:
    return Report.build(
        [run.result],
        audits=[Declared.of(run.suite)],
        model=model,
        inputs=run.inputs,
        cost=run.scores.cost,
        seed=seed,
        config=config,
        provenance=provenance(),
        scores=scores_frame(run.scores, model.name) if run.scores.requests else None,
        prompts=run.dataset.cluster_keys.tolist(),
        benchmark=_benchmark(run),
        strict=True,
    )


def _named(report: Report, name: str | None) -> Report:
    if name is None:
        return report
    model_record = report.record.model.model_copy(update={"name": name})
    return replace(report, record=report.record.model_copy(update={"model": model_record}))


def _benchmark(run: SuiteRun) -> dict[str, Any]:
    return {
        "suite": {
            "name": run.suite.name,
            "title": run.suite.title,
            "headline": run.headline,
            "items": len(run.dataset),
            "hub": run.suite.hub,
            "rule": run.suite.rule,
            "quirks": list(run.suite.quirks),
            "notes": list(run.notes),
        },
        "official": {
            key: None if math.isnan(number.value) else number.value
            for key, number in run.official.items()
            if key != PRESENT  # ours, for files that hold a part
        },
    }


def _is_logit(model: object) -> bool:
    return getattr(model, "signal", "logit") == "logit"
