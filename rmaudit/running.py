"""From settings and inputs to a report: the one place where a `Case` is made and audited."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rmaudit.auditing import (
    Planned,
    as_one_family,
    measure,
    planned,
    with_signal,
    with_true_reasons,
    with_unusable_rewards,
)
from rmaudit.audits.base import audits as registered_audits
from rmaudit.case import Case
from rmaudit.data import ColumnMap, Dataset, DataType, load, parse_columns
from rmaudit.data.fields import field_names
from rmaudit.errors import DataError, RmauditError, UsageError
from rmaudit.opening import Model, Opening, keep_cards
from rmaudit.provenance import provenance
from rmaudit.report.document import Report
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel, leaves
from rmaudit.rewards.kinds import refuse_without_effect
from rmaudit.scoring import (
    Cost,
    FurtherScoring,
    NullStore,
    Progress,
    Scores,
    ScoreStore,
    SilentProgress,
    open_store,
    scores_frame,
)
from rmaudit.scoring import score as run_requests
from rmaudit.scoring.costs import keep_speed
from rmaudit.scoring.requests import Request, measurable
from rmaudit.scoring.store_types import Cards, Store
from rmaudit.suites import preferences
from rmaudit.typing import Float

if TYPE_CHECKING:
    from rmaudit.config import AuditConfig, RunSettings
    from rmaudit.settings import ModelSettings

log = logging.getLogger(__name__)
Data = Dataset | pd.DataFrame | Sequence[Mapping[str, Any]] | str | Path


@dataclass(frozen=True)
class Inputs:
    """What an audit is given: objects, or what names them."""

    model: Model
    eval: Data
    feedback: Data | None = None
    deployment: Data | None = None
    samples: Data | None = None
    ensemble: tuple[Model, ...] = ()
    gold: Model | None = None

    @classmethod
    def named(cls, settings: AuditConfig) -> Inputs:
        """Those that settings name."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})


def run(
    settings: RunSettings,
    inputs: Inputs,
    *,
    progress: Progress | None = None,
    debug: bool = False,
    ahead: Callable[[], Progress] = SilentProgress,
    keep: bool = True,
) -> Report:
    """Audit inputs by settings: the one way from either to a report.

    `ahead` shows the progress of other machines' scoring; `keep`: describe the models in the store.
    """
    audits = registered_audits(settings.only)
    with open_store(settings.store, cache=not settings.no_cache) as store:
        case = build_case(settings, inputs, store, rewarded=any(a.rewarded for a in audits))
        cost = (
            _score_on_ray(settings, inputs, case, store, ahead)
            if settings.engine == "ray"
            else Cost()
        )
        report = _audit(case, settings, store, progress, debug, cost)
        if keep:
            keep_cards(case, store)
            keep_speed(case.model, Cost(**report.record.cost.model_dump()), store)
        return report


def build_case(
    settings: RunSettings, inputs: Inputs, store: Cards | None = None, *, rewarded: bool = True
) -> Case:
    """The inputs of an audit, loaded and bound: the one place where a `Case` is made.

    Parameters
    ----------
    settings, inputs
        How, and of what.
    store
        What describes models that were loaded before, so that they are opened only on demand.
    rewarded
        Whether any reward is asked for; if not, no model is opened at all.
    """
    limit = settings.limit
    opening = Opening(store or NullStore(), rewarded)

    def model(name: str, given: Model) -> RewardModel:
        how = settings.of_gold() if name == "gold" else settings
        return opening.model(given, how, settings.named_by(name))

    given = (inputs.model, *inputs.ensemble, *(() if inputs.gold is None else (inputs.gold,)))
    refuse_without_effect(settings, given)
    audited = model("model", inputs.model)
    ensemble = tuple(model("ensemble", member) for member in inputs.ensemble)
    gold = None if inputs.gold is None else model("gold", inputs.gold)
    rewards = (audited, *ensemble, *(() if gold is None else (gold,)))
    _refuse_the_same(audited, ensemble, gold)
    data = as_data(inputs.eval, limit, columns=settings.columns, rewards=rewards)

    def further(given: Data | None, type: DataType | None) -> Dataset | None:
        return _optional_data(given, limit, type, settings.columns, rewards)

    _tell_cut(limit, inputs)
    return Case(
        model=audited,
        eval=with_responses(data, "--eval"),
        feedback=further(inputs.feedback, None),
        deployment=further(inputs.deployment, "deployment"),
        samples=further(inputs.samples, "samples"),
        ensemble=ensemble,
        gold=gold,
        seed=settings.seed,
        resamples=settings.resamples,
        confidence=settings.confidence,
        embedder=settings.embedder,
        probe_paths=settings.probe_paths,
        search_texts=settings.search_texts,
        reference=settings.reference_column,
    )


def _refuse_the_same(
    audited: RewardModel, ensemble: Sequence[RewardModel], gold: RewardModel | None
) -> None:
    """`UsageError` where two models that are held against each other are one and the same."""
    known = {audited.fingerprint: "--model"}
    for member in ensemble:
        if member.fingerprint in known:
            raise UsageError(
                f"--ensemble {member.name}: is {known[member.fingerprint]} itself, and never "
                "disagrees with it; give members that were trained or seeded otherwise"
            )
        known[member.fingerprint] = "another --ensemble"
    if gold is not None and gold.fingerprint == audited.fingerprint:
        raise UsageError(
            f"--gold {gold.name}: is --model itself, so that no optimising would lose by it; give "
            "another reward model, as large and as well labelled as can be"
        )


def _tell_cut(limit: int | None, inputs: Inputs) -> None:
    """Say that a limit also cuts what coverage, leakage and budgets are measured from."""
    names = [n for n in ("feedback", "deployment", "samples") if getattr(inputs, n) is not None]
    if limit is not None and names:
        log.warning(
            "--limit %d also cuts %s to their first %d rows: coverage, leakage and safe budgets "
            "are those of these rows",
            limit,
            " and ".join(f"--{name}" for name in names),
            limit,
        )


def as_data(
    data: Data,
    limit: int | None,
    type: DataType | None = None,
    columns: str | ColumnMap | None = None,
    rewards: Sequence[RewardModel] = (),
) -> Dataset:
    """A table, read if it is only named; ``suite:NAME:FILE`` is a published benchmark's.

    What the `rewards` read of its rows is not told to be unused.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str) and data.startswith("suite:"):
        return preferences(data, limit)
    return load(data, type, limit, columns, reads=partial(_columns_read, rewards))


def _columns_read(rewards: Sequence[RewardModel], data: Dataset) -> frozenset[str]:
    """The columns of the data that rewards read; none of one that cannot say so here.

    A column that is missing is told where it matters: where texts are scored.
    """
    available, read = field_names(data), set[str]()
    for leaf in leaves(*rewards):
        try:
            read.update(leaf.columns(available))
        except RmauditError:
            continue
    return frozenset(read)


def with_responses(data: Dataset, option: str) -> Dataset:
    """The data, if a reward can be given to any of it.

    Raises
    ------
    DataError
        If there are prompts alone.
    """
    if data.type == "deployment" and "outputs" not in data.frame:
        unused = ", ".join(data.reading.unused)
        raise DataError(
            f"{data.source.path}: holds prompts without responses or labels, so nothing can be "
            f"measured on it{f' (columns that are not used: {unused})' if unused else ''}; give "
            f"{option} labelled data, name its columns with --columns, or give it as --deployment"
        )
    return data


def _optional_data(
    data: Data | None,
    limit: int | None,
    type: DataType | None,
    columns: str | None,
    rewards: Sequence[RewardModel],
) -> Dataset | None:
    if data is None:
        return None
    # The mapping is of the evaluation data: another input may have the names already.
    return as_data(data, limit, type, parse_columns(columns).where_it_fits(), rewards)


def _score_on_ray(
    settings: RunSettings,
    inputs: Inputs,
    case: Case,
    store: NullStore | ScoreStore,
    progress: Callable[[], Progress],
) -> Cost:
    """Have Ray's workers fill the store, so that the pass finds every reward there."""
    if isinstance(store, NullStore):
        raise UsageError("--engine ray keeps its rewards in the store: leave out --no-cache")
    from rmaudit.scoring.ray_pool import Job, Pool, score_on_ray

    def loader(given: Model, how: ModelSettings) -> Callable[[], RewardModel]:
        if not isinstance(given, str | Path):
            raise UsageError("engine ray loads each model on its workers: name it by path or id")
        return partial(load_reward_model, given, how)

    case, pilot = with_signal(case, store)
    requests = [*case.data_requests]
    for plan in plans(settings, case):
        requests += plan.requests
    jobs = [Job(loader(inputs.model, settings), case.model, requests, case.inputs)]
    batched = [request for request in requests if request.mode == "plain"]
    for given, member in zip(inputs.ensemble, case.ensemble, strict=True):
        jobs.append(Job(loader(given, settings), member, batched, case.inputs))
    if inputs.gold is not None and case.gold is not None:
        load = loader(inputs.gold, settings.of_gold())
        jobs.append(Job(load, case.gold, case.gold_requests, case.inputs))
    pool = Pool(settings.workers, settings.gpus_per_worker)
    return pilot + score_on_ray(jobs, pool, store=store, progress=progress)


def _audit(
    case: Case,
    settings: RunSettings,
    store: Store,
    progress: Progress | None,
    debug: bool,
    ahead: Cost,
) -> Report:
    """Score, measure, bind into a report; `ahead` is what others have scored into the store."""
    audits = registered_audits(settings.only)
    case, pilot = with_signal(case, store)
    further = FurtherScoring(case.model, store, case.inputs)
    case = replace(case, score=further)
    wanted = plans(settings, case, debug)
    requests = [*case.data_requests] if any(a.rewarded for a in audits) else []
    for plan in wanted:
        requests += plan.requests
    searches = {plan.audit.name: plan.searches for plan in wanted}
    scores = _score_case(case, requests, searches, store, progress)
    further.after(scores.requests)
    rewards, usable = _own_rewards(case, scores), measurable(scores)
    results = with_true_reasons(measure(wanted, usable, progress, debug), rewards, case.eval)
    if rewards.size:
        results = with_unusable_rewards(results, case, usable)
    return Report.build(
        as_one_family(results, case.confidence),
        audits=audits,
        model=case.model,
        signal=case.signal,
        inputs={name: data.source for name, data in case.inputs.items()},
        cost=scores.cost + further.cost + pilot + replace(ahead, texts=0),
        seed=case.seed,
        config={**settings.recorded(), "fingerprints": _fingerprints(case)},
        provenance=provenance(),
        scores=scores_frame(scores, case.model.name),
        set_aside=[row for data in case.inputs.values() for row in data.set_aside],
        data=case.eval,
        prompts=case.eval.cluster_keys.tolist(),
        strict=debug,
    )


def _own_rewards(case: Case, scores: Scores) -> Float:
    """Rewards of the evaluation data's own responses, (n,); none where none was asked for."""
    asked = [r.key for r in case.data_requests if r.key in scores.by_request]
    return np.concatenate([scores.by_request[key].reward for key in asked] or [np.empty(0)])


def plans(settings: RunSettings, case: Case, debug: bool = False) -> list[Planned]:
    """What each chosen audit wants scored, under the profile of the settings."""
    audits = registered_audits(settings.only)
    return planned(audits, case, quick=settings.profile == "quick", debug=debug)


def _fingerprints(case: Case) -> dict[str, Any]:
    """What names the rewards of the further models, so that `verify` finds them in the store."""
    gold = {} if case.gold is None else {"gold": case.gold.fingerprint}
    members = [member.fingerprint for member in case.ensemble]
    return {**({"ensemble": members} if members else {}), **gold}


def _score_case(
    case: Case,
    requests: Sequence[Request],
    searches: Mapping[str, int],
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
        reserve=searches,
    )
    if case.gold is None or not case.gold_requests:
        return scores
    gold = run_requests(
        case.gold, case.gold_requests, datasets=case.inputs, store=store, progress=progress
    )
    return replace(scores, gold=gold.by_request, cost=scores.cost + gold.cost)
