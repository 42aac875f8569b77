"""Curves of best of n and of tilting, from samples with the rewards of one or several models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from rmaudit.data.types import Dataset
from rmaudit.errors import DataError, UsageError
from rmaudit.overoptimization.curves import (
    Curve,
    Method,
    Pool,
    best_of_n_curve,
    judged,
    poisson_curve,
    tilted_curve,
)
from rmaudit.overoptimization.result import Overopt
from rmaudit.overoptimization.samples import (
    AGGREGATES,
    aggregates,
    first_policy,
    matrix,
    scored_matrix,
    widened,
)
from rmaudit.overoptimization.seeds import over_seeds
from rmaudit.overoptimization.study import METHOD_NAMES, Study, study
from rmaudit.rewards.base import RewardModel
from rmaudit.scoring import Progress, open_store
from rmaudit.scoring import score as run_requests
from rmaudit.scoring.requests import data_requests
from rmaudit.scoring.store_types import Store
from rmaudit.typing import Float

JUDGE = "judge_rewards"  # of every output, where gold is dear
OVER_MODELS = "pooled models"
CARRIED = 0.5  # of the KL that best of Poisson n reaches: a tilt that reaches less is joined by it


def from_samples(
    samples: Dataset | Sequence[Dataset],
    models: Sequence[RewardModel],
    *,
    gold: RewardModel | str = "gold_rewards",
    held_out: bool = False,
    with_aggregates: bool = False,
    pooled: bool = False,
    methods: Sequence[Method] = ("bon", "tilted"),
    ns: Sequence[int] | None = None,
    betas: Sequence[float] | None = None,
    seed: int = 0,
    resamples: int = 2000,
    confidence: float = 0.95,
    store: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> Overopt:
    """Optimise samples of a policy against each model and read off the gold reward.

    Parameters
    ----------
    samples
        Of type samples: several outputs a prompt. Of several policies (column ``policy``) the
        first. Of several pools each has its own curves.
    models
        What selects; each has a curve of its own.
    gold
        A gold reward model, or a column of lists with one number per output. Where
        a column is empty on some prompts and ``judge_rewards`` is there, those count by what the
        judge is worth on the others (`rmaudit.stats.prediction_powered`).
    held_out
        Whether `gold` is (or the column comes from) a reward model trained on feedback disjoint
        from the models': its gap is a lower bound on the true one, and the result says so.
    with_aggregates
        Also mean, worst case and uncertainty-weighted reward of the models, each re-sorted by
        itself.
    pooled
        Several pools are seeds of one policy, or several models seeds of one: one curve, intervals
        over the seeds.
    methods, ns, betas
        "bon" at each n, "tilted" at each beta; by default up to the pool, and by octaves.
    seed, resamples, confidence
        Of the bootstrap over prompts.
    store, cache, progress
        As in `rmaudit.audit`.

    Raises
    ------
    UsageError
        If an n is above the pool, or a beta is not positive.
    DataError
        If no curve can be drawn: one sample a prompt, a constant reward, no gold reward, one seed.
    """
    if betas is not None and not all(beta > 0 for beta in betas):
        raise UsageError("every beta must be positive: small is strong optimisation")
    several = [samples] if isinstance(samples, Dataset) else list(samples)
    notes: list[str] = []
    found: list[_Named] = []
    with open_store(store, cache=cache) as opened:
        for data, pool_name in zip(several, _pool_names(several), strict=True):
            notes += [data.source.losses] if data.source.losses else []
            chosen = data.take(first_policy(data))
            score = partial(_rewards, chosen, opened, progress)
            for name, pool in _pools(chosen, score, models, gold, with_aggregates):
                shown = ", ".join(filter(None, [name, pool_name]))
                aside = pool.set_aside.items()
                notes += [f"{shown}: {n} prompts set aside, {why}" for why, n in aside]
                notes += [f"{shown}: gold reward {note}"] if (note := judged(pool)) else []
                _check(ns, pool)
                found += [_Named(name, pool_name, c) for c in _curves(pool, methods, ns, betas)]
    if pooled:
        found = _over_seeds(found, len(several), notes)
    studies: list[Study] = []
    for one in found:
        rng = np.random.default_rng([seed, len(studies)])
        made = study(one.run, one.curve, rng, resamples=resamples, confidence=confidence)
        studies.append(made)
        notes += _notes_on(made)
    notes += _gold_notes(gold, held_out)
    if not isinstance(gold, str) and any(JUDGE in data.frame for data in several):
        notes.append(
            f"{JUDGE} are not used: the model {gold.name} gives every sample a gold reward"
        )
    return Overopt(tuple(studies), tuple(dict.fromkeys(notes)), confidence)


class _Named(NamedTuple):
    """A curve, what selected, and from which pool, where there are several."""

    model: str
    pool: str
    curve: Curve

    @property
    def run(self) -> str:
        return ", ".join(filter(None, [self.model, self.pool]))


def _pool_names(several: Sequence[Dataset]) -> list[str]:
    """Names of the files; none where there is one."""
    if len(several) == 1:
        return [""]
    names = [Path(data.source.path).name.split(".")[0] for data in several]
    if len(set(names)) == len(names):
        return names
    return [f"{name} {place}" for place, name in enumerate(names, 1)]


def _over_seeds(found: Sequence[_Named], pools: int, notes: list[str]) -> list[_Named]:
    """One curve for the seeds of each method: of a model over pools, or over models in one pool."""
    groups: dict[tuple[str, str], list[Curve]] = {}
    for one in found:
        name = one.model if pools > 1 or one.model in AGGREGATES else OVER_MODELS
        groups.setdefault((name, one.curve.method), []).append(one.curve)
    out = []
    for (name, method), curves in groups.items():
        others = [len(c) for (other, _), c in groups.items() if other == name]
        if method == "poisson" and len(curves) < max(others):
            continue  # it joins the tilt of some seeds only
        if pools == 1 and name in AGGREGATES:  # the seeds are its members: it has one curve
            notes.append(f"{name}, {METHOD_NAMES[method]}: intervals over prompts")
            out.append(_Named(name, "", curves[0]))
            continue
        seeds = f"{len(curves)} {'pools' if pools > 1 else 'models'}"
        notes.append(f"{name}, {METHOD_NAMES[method]}: intervals over {seeds}")
        out.append(_Named(name, "", over_seeds(curves)))
    return out


def _pools(
    chosen: Dataset,
    score: Callable[[RewardModel], Float],
    models: Sequence[RewardModel],
    gold: RewardModel | str,
    with_aggregates: bool,
) -> Iterator[tuple[str, Pool]]:
    """The samples under each model, and under the aggregates of all, by name."""
    proxies = {model.name.removeprefix("recorded:"): score(model) for model in models}
    if with_aggregates and len(proxies) > 1:
        every = np.stack(list(proxies.values()))
        proxies |= aggregates(np.where(np.isfinite(every).all(axis=0), every, np.nan))
    truth = _column(chosen, gold) if isinstance(gold, str) else score(gold)
    by_judge = isinstance(gold, str) and JUDGE in chosen.frame
    judge = _column(chosen, JUDGE) if by_judge else None
    for name, proxy in proxies.items():
        yield name, _pool(chosen, name, proxy, truth, judge)


def _rewards(
    samples: Dataset, store: Store, progress: Progress | None, model: RewardModel
) -> Float:
    """Rewards of every sample, (prompts, samples per prompt); NaN where there is none."""
    scores = run_requests(
        model,
        data_requests(samples, "samples"),
        datasets={"samples": samples},
        store=store,
        progress=progress,
    )
    return scored_matrix(samples, lambda side: scores.reward(side, data="samples"))


def _notes_on(one: Study) -> list[str]:
    """What to know of a curve: what carries it on, and why it has no safe KL."""
    method, safe = one.curve.method, one.found.safe_kl
    notes: list[str] = []
    if method == "poisson":
        size = cast(Curve, one.curve).size
        notes.append(
            f"{one.run}: {size} samples per prompt carry a tilt to a small KL only; best of "
            "Poisson n, nearly the same policy at equal KL, goes on from there"
        )
    if not safe.defined:
        notes.append(f"{one.run}, {method}: {safe.undefined_reason}")
    return notes


def _gold_notes(gold: RewardModel | str, held_out: bool) -> list[str]:
    if isinstance(gold, str) and not held_out:
        return []
    source = f"the column {gold}" if isinstance(gold, str) else f"the model {gold.name}"
    kind = ", trained on disjoint feedback: a lower bound on the true gap" if held_out else ""
    return [f"gold reward: {source}{kind}"]


def _curves(
    pool: Pool,
    methods: Sequence[Method],
    ns: Sequence[int] | None,
    betas: Sequence[float] | None,
) -> Iterator[Curve]:
    """A curve per method; where the pool is too small for a tilt also that of best of Poisson n."""
    for method in methods:
        if method == "bon":
            yield best_of_n_curve(pool, ns)
            continue
        tilted, poisson = tilted_curve(pool, betas), poisson_curve(pool)
        yield tilted
        reach = tilted.kl_at[tilted.usable].max(initial=0.0)
        if betas is None and reach < CARRIED * poisson.kl_at.max():
            yield poisson


def _pool(samples: Dataset, name: str, proxy: Float, truth: Float, judge: Float | None) -> Pool:
    width = max(each.shape[1] for each in (proxy, truth, judge) if each is not None)
    stand_in = None if judge is None else widened(judge, width)
    pool = Pool.of(widened(proxy, width), widened(truth, width), samples.clusters, stand_in)
    reason = pool.lacks()
    if reason is not None:
        shown = "; ".join(f"{count} prompts: {why}" for why, count in pool.set_aside.items())
        raise DataError(
            f"{samples.source.path}, {name}: {reason}{' (' * bool(shown)}{shown}"
            f"{')' * bool(shown)}; no curve can be drawn"
        )
    return pool


def _check(ns: Sequence[int] | None, pool: Pool) -> None:
    beyond = [n for n in ns or () if not 1 <= n <= pool.size]
    if beyond:
        raise UsageError(
            f"n = {beyond[0]} is not from 1 to {pool.size}, the samples per prompt: "
            "sample more, or leave it out"
        )


def _column(samples: Dataset, name: str) -> Float:
    if name not in samples.frame:
        raise DataError(
            f"{samples.source.path}: no column {name!r}, the gold reward of every output; name "
            "another with --gold-column, or give a gold reward model (--gold)"
        )
    values = samples.frame[name].tolist()
    try:
        return matrix(cast("list[list[float] | None]", [_list(v) for v in values]))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{samples.source.path}: column {name!r} must hold a list of numbers per row"
        ) from error


def _list(value: object) -> list[float] | None:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        raise TypeError("text is no list of numbers")
    return list(cast("Sequence[float]", value))
