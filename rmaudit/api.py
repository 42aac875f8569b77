"""The Python interface: load data and models, score, audit. The command line calls these."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from rmaudit.auditing import measured, wanted_of, with_signal
from rmaudit.audits.base import audits as registered_audits
from rmaudit.case import Case
from rmaudit.data import Dataset, DataType, load
from rmaudit.errors import UsageError
from rmaudit.provenance import provenance
from rmaudit.report.document import Report
from rmaudit.results import AuditResult
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.functions.function import RewardFunction
from rmaudit.rewards.served.client import is_url, shown_url
from rmaudit.scoring import (
    Cost,
    FurtherScoring,
    NullStore,
    Progress,
    Scores,
    ScoreStore,
    open_store,
    scores_frame,
    write_scores,
)
from rmaudit.scoring import score as run_requests
from rmaudit.scoring.requests import Request, data_requests
from rmaudit.scoring.store import Store
from rmaudit.suites import preferences

if TYPE_CHECKING:
    from rmaudit.comparison import Comparison
    from rmaudit.config import AuditConfig
    from rmaudit.console import Console
    from rmaudit.gating import GateResult, Policy

Data = Dataset | pd.DataFrame | Sequence[Mapping[str, Any]] | str | Path
Model = RewardModel | RewardFunction | str | Path
__all__ = [
    "audit",
    "compare",
    "gate",
    "load",
    "load_reward_model",
    "run_audit",
    "run_score",
    "score",
]


def audit(
    model: Model,
    eval: Data,
    *,
    feedback: Data | None = None,
    deployment: Data | None = None,
    samples: Data | None = None,
    ensemble: Sequence[Model] = (),
    gold: Model | None = None,
    only: Iterable[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    embedder: str = "tfidf",
    probe_paths: Sequence[str | Path] = (),
    search_texts: int = 1000,
    store: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    debug: bool = False,
) -> Report:
    """Audit one reward model.

    Parameters
    ----------
    model
        A loaded reward model, or whatever `load_reward_model` takes: a path, an id, a function.
    eval, feedback, deployment, samples
        Tables, or what `load` takes: paths, ids, frames, lists of rows. An audit that lacks one
        is listed as not run.
    ensemble, gold
        Further members; a reward model taken as the truth.
    only
        Names of the audits to run; all by default.
    seed, resamples, confidence
        Of every random choice; bootstrap resamples; two-sided level of the intervals.
    probe_paths
        Folders of probe suites, beside the shipped ones.
    search_texts
        Texts that each search for what fools the model may score; 0: no search.
    store, cache
        The score store (by default in the user's cache folder), and whether to use one at all.
    debug
        Raise an audit's error instead of listing the audit as failed.

    Raises
    ------
    RmauditError
        One line on what is wrong with the inputs and what to do.
    """
    case = Case(
        model=as_model(model),
        eval=_data(eval, limit),
        feedback=_optional_data(feedback, limit),
        deployment=_optional_data(deployment, limit, "deployment"),
        samples=_optional_data(samples, limit, "samples"),
        ensemble=tuple(as_model(member) for member in ensemble),
        gold=None if gold is None else as_model(gold),
        seed=seed,
        resamples=resamples,
        confidence=confidence,
        embedder=embedder,
        probe_paths=tuple(Path(path) for path in probe_paths),
        search_texts=search_texts,
    )
    with open_store(store, cache=cache) as opened:
        return _audit(case, only, opened, progress, debug)


def score(
    model: Model,
    data: Data,
    *,
    limit: int | None = None,
    store: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Rewards of every text of a data set.

    Returns one row a text: id, side, reward (float64), tokens, truncated, model, request.
    """
    model, data = as_model(model), _data(data, limit)
    with open_store(store, cache=cache) as opened:
        scores = run_requests(
            model,
            data_requests(data, "eval"),
            datasets={"eval": data},
            store=opened,
            progress=progress,
        )
    return scores_frame(scores, model.name)


def gate(
    report: Report | str | Path,
    policy: Policy | str | Path,
    baseline: Report | str | Path | None = None,
) -> GateResult:
    """Hold a report (or its folder) against a policy (or its file, or a shipped one's name).

    `baseline` is the report that rules with `max_regression` compare with, paired by prompt.

    Raises
    ------
    RmauditError
        If one of them cannot be read, or a rule names a metric or slice that is unknown.
    """
    from rmaudit.gating import Policy, gate

    return gate(
        _report(report),
        policy if isinstance(policy, Policy) else Policy.read(policy),
        None if baseline is None else _report(baseline),
    )


def compare(
    first: Report | str | Path, second: Report | str | Path, *, confidence: float = 0.95
) -> Comparison:
    """Hold two audits (or their folders), before and after, against each other.

    See `rmaudit.comparison.compare`.

    Raises
    ------
    RmauditError
        If one cannot be read, or the two share no prompt.
    """
    from rmaudit.comparison import compare

    return compare(_report(first), _report(second), confidence=confidence)


def run_audit(settings: AuditConfig, console: Console) -> tuple[Report, Path]:
    """What `rmaudit audit` does: audit by settings, save; the report and its folder."""
    folder = settings.out or Path("reports") / _folder_name(settings.model)
    report = audit_by(settings, console)
    report.save(folder)
    return report, folder


def audit_by(
    settings: AuditConfig, console: Console, *, progress: Progress | None = None
) -> Report:
    """Audit by settings; `progress` is the console's unless another is given."""
    case = case_by(settings)
    with open_store(settings.store, cache=not settings.no_cache) as store:
        ahead = (
            _score_on_ray(settings, case, store, console) if settings.engine == "ray" else Cost()
        )
        return _audit(
            case,
            settings.only,
            store,
            progress or console.progress(),
            console.debug,
            settings.recorded(),
            ahead,
        )


def case_by(settings: AuditConfig) -> Case:
    """The inputs of the audit that settings name, loaded."""
    options = settings.model_options()
    limit = settings.limit
    return Case(
        model=load_reward_model(settings.model, **options),
        eval=_data(settings.eval, limit),
        feedback=_optional_data(settings.feedback, limit),
        deployment=_optional_data(settings.deployment, limit, "deployment"),
        samples=_optional_data(settings.samples, limit, "samples"),
        ensemble=tuple(load_reward_model(member, **options) for member in settings.ensemble),
        gold=None
        if settings.gold is None
        else load_reward_model(settings.gold, **{**options, "reference_model": None}),
        seed=settings.seed,
        resamples=settings.resamples,
        confidence=settings.confidence,
        embedder=settings.embedder,
        probe_paths=settings.probe_paths,
        search_texts=settings.search_texts,
    )


def run_score(settings: AuditConfig, out: Path, console: Console) -> pd.DataFrame:
    """What `rmaudit score` does: score, and write the Parquet file."""
    frame = score(
        load_reward_model(settings.model, **settings.model_options()),
        settings.eval,
        limit=settings.limit,
        store=settings.store,
        cache=not settings.no_cache,
        progress=console.progress(),
    )
    write_scores(out, frame)
    return frame


def _report(report: Report | str | Path) -> Report:
    return report if isinstance(report, Report) else Report.load(report)


def as_model(model: Model) -> RewardModel:
    """A loaded reward model, or what `load_reward_model` makes of it."""
    return model if isinstance(model, RewardModel) else load_reward_model(model)


def _data(data: Data, limit: int | None, type: DataType | None = None) -> Dataset:
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str) and data.startswith("suite:"):
        return preferences(data, limit)
    return load(data, type, limit)


def _optional_data(
    data: Data | None, limit: int | None, type: DataType | None = None
) -> Dataset | None:
    return None if data is None else _data(data, limit, type)


def _score_on_ray(
    settings: AuditConfig, case: Case, store: NullStore | ScoreStore, console: Console
) -> Cost:
    """Have Ray's workers fill the store, so that the pass finds every reward there."""
    if isinstance(store, NullStore):
        raise UsageError("--engine ray keeps its rewards in the store: leave out --no-cache")
    from rmaudit.scoring.ray_pool import Job, Pool, score_on_ray

    options = settings.model_options()
    case, _ = with_signal(case, store)
    audits = [audit for audit in registered_audits(settings.only) if audit.lacks(case) is None]
    requests = case.requests(audits)
    jobs = [
        Job(
            partial(load_reward_model, settings.model, **options), case.model, requests, case.inputs
        )
    ]
    batched = [request for request in requests if request.mode == "plain"]
    for spec, member in zip(settings.ensemble, case.ensemble, strict=True):
        jobs.append(Job(partial(load_reward_model, spec, **options), member, batched, case.inputs))
    if settings.gold is not None and case.gold is not None:
        load = partial(load_reward_model, settings.gold, **{**options, "reference_model": None})
        jobs.append(Job(load, case.gold, case.gold_requests, case.inputs))
    pool = Pool(settings.workers, settings.gpus_per_worker)
    return score_on_ray(jobs, pool, store=store, progress=console.progress)


def _audit(
    case: Case,
    only: Iterable[str] | None,
    store: Store,
    progress: Progress | None,
    debug: bool,
    settings: Mapping[str, Any] | None = None,
    ahead: Cost | None = None,
) -> Report:
    """Score, measure, bind into a report.

    `settings` is more for it to keep; `ahead`, what other machines have scored into the store.
    """
    audits = registered_audits(only)
    case, pilot = with_signal(case, store)
    wanted = {a.name: wanted_of(a, case, debug) for a in audits}
    running = [a for a in audits if not isinstance(wanted[a.name], AuditResult)]
    requests = [*case.data_requests]
    for found in wanted.values():
        requests += () if isinstance(found, AuditResult) else found
    further = FurtherScoring(case.model, store, case.inputs)
    case = replace(case, score=further)
    reserve = sum(a.further(case) for a in running)
    scores = _score_case(case, requests, reserve, store, progress)
    further.after(scores.requests)
    results = [
        found
        if isinstance(found := wanted[a.name], AuditResult)
        else measured(a, case, scores, debug)
        for a in audits
    ]
    return Report.build(
        results,
        audits=audits,
        model=case.model,
        signal=case.signal,
        inputs={name: data.source for name, data in case.inputs.items()},
        cost=scores.cost + further.cost + pilot + replace(ahead or Cost(), texts=0),
        seed=case.seed,
        config={
            "resamples": case.resamples,
            "confidence": case.confidence,
            "embedder": case.embedder,
            "probe_paths": [str(path) for path in case.probe_paths],
            "search_texts": case.search_texts,
            **(settings or {}),
        },
        provenance=provenance(),
        scores=scores_frame(scores, case.model.name),
        set_aside=[row for data in case.inputs.values() for row in data.set_aside],
        data=case.eval,
        prompts=case.eval.cluster_keys.tolist(),
        strict=debug,
    )


def _score_case(
    case: Case,
    requests: Sequence[Request],
    reserve: int,
    store: Store,
    progress: Progress | None,
) -> Scores:
    """One pass over every text that any audit wants."""
    scores = run_requests(
        case.model,
        requests,
        datasets=case.inputs,
        ensemble=case.ensemble,
        store=store,
        progress=progress,
        reserve=reserve,
    )
    if case.gold is None or not case.gold_requests:
        return scores
    gold = run_requests(
        case.gold, case.gold_requests, datasets=case.inputs, store=store, progress=progress
    )
    return replace(scores, gold=gold.by_request, cost=scores.cost + gold.cost)


def _folder_name(model: str) -> str:
    """<model>-<time>, safe as a folder name."""
    model = shown_url(model) if is_url(model) else model
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name or model).strip("-.") or "model"
    return f"{stem[:60]}-{time.strftime('%Y%m%d-%H%M%S')}"
