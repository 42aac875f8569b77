"""What rewards claim, where the reward does not say: read off a few of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Dataset
from rmaudit.rewards.base import RewardModel, Signal
from rmaudit.scoring.engine import score
from rmaudit.scoring.requests import Cost, Request
from rmaudit.scoring.store_types import Store

PILOT = 16  # rows whose rewards are looked at; they are part of the pass anyway
_VERDICTS = ((0.0, 1.0), (-1.0, 1.0))
_LEVELS, _TEXTS = 3, 24  # so few values among so many texts are levels of a verdict


def inferred_signal(
    model: RewardModel,
    requests: Sequence[Request],
    datasets: Mapping[str, Dataset],
    store: Store | None = None,
) -> tuple[Signal, Cost]:
    """The kind of a reward: what it declares; else a verdict if its values are those of one.

    Beside it stands what it cost to find out.

    Parameters
    ----------
    model
        The reward.
    requests
        The data's own texts; the first 16 rows of each are scored if the reward does not say what
        it is. Recorded rewards are read whole.
    datasets, store
        As in `rmaudit.scoring.score`.
    """
    if model.signal_is_declared or not requests:
        return model.signal, Cost()
    few = requests if not model.scores_new_text else [_first(request) for request in requests]
    scores = score(model, few, datasets=datasets, store=store)
    rewards = np.concatenate([scores.by_request[request.key].reward for request in few])
    verdict = is_verdict(rewards, strict=model.signal == "logit")
    return "verdict" if verdict else model.signal, replace(scores.cost, texts=0)


def is_verdict(rewards: NDArray[np.float64], *, strict: bool = False) -> bool:
    """Whether rewards, (n,), take the values of a verdict.

    That is 0 and 1 (or -1 and 1), or up to three values from -1 to 1 among 24 texts or more. With
    `strict` both 0 and 1 must be there, and nothing else.
    """
    values = np.unique(rewards[np.isfinite(rewards)])
    if strict:
        return bool(values.tolist() == [0.0, 1.0])
    if not values.size:
        return False
    if any(set(values.tolist()) <= set(two) for two in _VERDICTS):
        return True
    few = values.size <= _LEVELS and rewards.size >= _TEXTS
    return bool(few and values[0] >= -1 and values[-1] <= 1)


def _first(request: Request) -> Request:
    return replace(
        request,
        ids=request.ids[:PILOT],
        prompts=request.prompts[:PILOT],
        outputs=request.outputs[:PILOT],
        row_ids=None if request.row_ids is None else request.row_ids[:PILOT],
        others=None if request.others is None else request.others[:PILOT],
    )
