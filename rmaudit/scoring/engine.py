"""The one scoring pass: all requests gathered, each text scored once, columns handed back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Dataset
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Mode, Rewarded, RewardModel, leaves
from rmaudit.scoring.attach import columns_read, with_rows
from rmaudit.scoring.batches import MODES, ModelPass
from rmaudit.scoring.costs import by_audit
from rmaudit.scoring.progress import FurtherProgress, Progress, SilentProgress
from rmaudit.scoring.requests import Column, Cost, Key, Request, Scores
from rmaudit.scoring.store_types import NullStore, Store
from rmaudit.scoring.texts import Texts

Columns = Mapping[Key, Column]
LONG_JOB = 500_000  # tokens from which on a model is asked for a faster way to score them
_log = logging.getLogger("rmaudit")


class _Recorded(Protocol):
    """What a model adds whose rewards are in the data (`scores_new_text` is False)."""

    def recorded(self, data: Dataset, side: str) -> NDArray[np.float64]:
        """Rewards of a column, (n,)."""


def score(
    model: RewardModel,
    requests: Sequence[Request],
    *,
    datasets: Mapping[str, Dataset] | None = None,
    ensemble: Sequence[RewardModel] = (),
    store: Store | None = None,
    progress: Progress | None = None,
    reserve: Mapping[str, int] | None = None,
) -> Scores:
    """Score every text of the requests once, by every member.

    Texts are told apart by prompt, output, mode and what the model reads of their rows. Those in
    the store are not even tokenised; the others are sorted by length and batched under the model's
    token budget (mode "alone": one by one; "left": padded on the left), and each batch is stored
    before the next one starts. So an interrupted pass, run again, goes on where it stopped. Where
    memory runs out, the batch is halved.

    Parameters
    ----------
    model
        The model, or an ensemble: then each member is scored and their rewards are aggregated.
    requests
        Columns of texts. Two of one name must be equal.
    datasets
        The inputs by name, for models that read rows, or whose rewards the data carries.
    ensemble
        Further members. They score requests in mode "plain" only, and go to `Scores.members`.
    store
        Where rewards are looked up and kept; None: nowhere.
    progress
        Told of the cost and of each batch; None: nobody is.
    reserve
        By audit, the most texts that its searches may still ask for after this pass: part of the
        cost that is told.

    Returns
    -------
    Scores
        One column a request. `members` holds the columns of the model's own members, then of
        `ensemble`. Non-finite rewards are handed on as they are.

    Raises
    ------
    DataError
        If the data lacks a column that a model reads.
    RewardModelError
        If the model fails on a text, or holds no reward for what is asked.
    StoreError
        If the store cannot be read or written.
    UsageError
        If two different requests have one name.
    """
    start = time.perf_counter()
    requests = _named_once(requests)
    modes = _modes(model, ensemble)
    columns: dict[str, Columns] = {
        m.fingerprint: _recorded(m, requests, modes[m.fingerprint], datasets or {})
        for m in leaves(model, *ensemble)
        if not m.scores_new_text
    }
    recorded = sum(len(c.reward) for by_key in columns.values() for c in by_key.values())
    passes = plan_passes(model, requests, store or NullStore(), datasets, ensemble=ensemble)
    members_asked = sum(m.scores_new_text for m in leaves(model))
    more = {audit: most * members_asked for audit, most in (reserve or {}).items()}
    cost = _run(passes, progress or SilentProgress(), more)
    for each in passes:
        columns[each.model.fingerprint] = each.columns(modes[each.model.fingerprint])
    members = [member for each in (model, *ensemble) for member in each.members]
    return Scores(
        requests=requests,
        by_request=_combined(model, columns),
        members=tuple(_combined(member, columns) for member in members),
        member_names=tuple(member.name for member in members),
        cost=replace(cost, texts=cost.texts + recorded, seconds=time.perf_counter() - start),
        length_unit=model.length_unit,
        failures=[line for each in passes for line in each.failures],
    )


def score_shard(
    model: RewardModel,
    requests: Sequence[Request],
    shard: tuple[int, int] = (1, 1),
    *,
    datasets: Mapping[str, Dataset] | None = None,
    ensemble: Sequence[RewardModel] = (),
    store: Store,
    progress: Progress | None = None,
) -> Cost:
    """Score one machine's share of what `score` would score, into its store.

    Parameters
    ----------
    model, requests, datasets, ensemble, store, progress
        As in `score`.
    shard
        Number of the share, from 1, and how many there are. Texts go to shares by their prompt,
        so the shares together hold every text once.

    Returns
    -------
    Cost
        Of this share. With the stores of all shares merged, `score` scores nothing more.
    """
    start = time.perf_counter()
    passes = plan_passes(model, requests, store, datasets, ensemble=ensemble, shard=shard)
    cost = _run(passes, progress or SilentProgress())
    return replace(cost, seconds=time.perf_counter() - start)


def plan_passes(
    model: RewardModel,
    requests: Sequence[Request],
    store: Store,
    datasets: Mapping[str, Dataset] | None = None,
    *,
    ensemble: Sequence[RewardModel] = (),
    shard: tuple[int, int] = (1, 1),
) -> list[ModelPass]:
    """For each model that scores new text, the texts of the requests and what the store lacks.

    Models that read the same of a row share their texts. Parameters are those of `score_shard`.
    """
    modes = _modes(model, ensemble)
    models = list(
        {m.fingerprint: m for m in leaves(model, *ensemble) if m.scores_new_text}.values()
    )
    if not models:
        return []
    requests, datasets = _named_once(requests), datasets or {}
    reads = [columns_read(m, datasets, requests) for m in models]
    requests = with_rows(requests, datasets, reads)
    shared: dict[object, Texts] = {}
    passes = []
    for member, read in zip(models, reads, strict=True):
        in_pairs = member.signal == "preference"
        key = (tuple(sorted(read.items())), in_pairs)
        if key not in shared:
            shared[key] = Texts(requests, read, in_pairs=in_pairs)
        texts = shared[key]
        wanted = np.zeros(len(texts), dtype=np.bool_)
        for mode in modes[member.fingerprint]:
            wanted |= texts.in_mode(mode)
        if shard != (1, 1):
            wanted &= texts.of_shard(*shard)
        passes.append(ModelPass(member, texts, wanted, store))
    return passes


def _modes(model: RewardModel, ensemble: Sequence[RewardModel]) -> dict[str, tuple[Mode, ...]]:
    """By fingerprint, which requests a member scores: further members only those in batches."""
    modes: dict[str, tuple[Mode, ...]] = {m.fingerprint: ("plain",) for m in leaves(*ensemble)}
    return modes | {m.fingerprint: MODES for m in leaves(model)}


def _run(
    passes: Sequence[ModelPass], progress: Progress, searches: Mapping[str, int] | None = None
) -> Cost:
    """Score what is missing; `searches`: texts that audits may ask for afterwards."""
    if not passes:
        return Cost()
    asked = sum(each.wanted for each in passes)
    missing = sum(len(each.missing) for each in passes)
    costs = by_audit(passes, searches or {})
    reserve = sum(cost.searches for cost in costs) if missing else 0
    tokens = sum(cost.tokens for cost in costs) if missing else 0
    try:
        progress.plan(asked + reserve, missing + reserve, tokens, passes[0].model.length_unit)
        if isinstance(progress, FurtherProgress):
            progress.by_audit(costs)
        for each in passes:
            if tokens >= LONG_JOB and (faster := each.quicker(tokens // len(passes))):
                _log.warning("%s: %s", each.model.name, faster)
            each.run(progress)
    finally:
        progress.close()
    return Cost(asked, missing, sum(each.tokens for each in passes))


def _named_once(requests: Sequence[Request]) -> list[Request]:
    named: dict[Key, Request] = {}
    for request in requests:
        if named.setdefault(request.key, request) != request:
            data, audit, side, mode = request.key
            raise UsageError(
                f"two different requests are named {side!r} (audit {audit!r}, data {data!r}, "
                f"mode {mode!r}); an audit must name its sides apart"
            )
    return list(named.values())


def _recorded(
    model: RewardModel,
    requests: Sequence[Request],
    modes: Sequence[Mode],
    datasets: Mapping[str, Dataset],
) -> Columns:
    """The rewards that the data carries; lengths are those of the outputs, in characters."""
    columns = {}
    for request in requests:
        if request.mode not in modes:
            continue
        if request.audit or request.mode != "plain" or request.data not in datasets:
            raise RewardModelError(
                f"{model.name} has recorded rewards only and cannot score new text "
                f"({request.side!r} of {request.audit or request.data}); give a model that can, "
                "with --model"
            )
        data = datasets[request.data]
        reward = cast(_Recorded, model).recorded(data, request.side)
        parts = model.recorded_components(data, request.side)
        lengths = request.characters
        no = np.zeros(len(lengths), dtype=np.bool_)
        columns[request.key] = Column(reward, lengths, lengths, no, no, no, parts)
    return columns


def _combined(model: RewardModel, columns: Mapping[str, Columns]) -> Columns:
    """The model's own columns: its own rewards, or what it makes of those of its parts."""
    if model.parts == (model,):
        return columns[model.fingerprint]
    parts = [_combined(part, columns) for part in model.parts]
    combined = {}
    for key, column in parts[0].items():
        made = model.combine([Rewarded(p[key].reward, p[key].components) for p in parts])
        combined[key] = replace(column, reward=made.total, components=made.components)
    return combined
