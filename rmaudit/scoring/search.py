"""Texts that are asked for after the pass: those of searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

from rmaudit.data.types import Dataset
from rmaudit.rewards.base import RewardModel, leaves
from rmaudit.scoring.engine import score
from rmaudit.scoring.keys import keys_to_bytes, text_keys
from rmaudit.scoring.requests import Cost, Request, Scores
from rmaudit.scoring.store_types import Store


class FurtherScoring:
    """Scores requests through the engine and the store, as often as it is called.

    An audit declares its texts, and all are scored in one pass. A search cannot: its next texts
    hang on the last rewards. It gets this as `Case.score`, and says beforehand how many texts it
    may ask for (`Audit.further`), so that the cost is still told before the first forward pass.
    Rewards go to the store, so an interrupted search, run again, goes on where it stopped.

    Attributes
    ----------
    cost
        Of all calls together, on top of the pass: a text of the pass is not counted again.
    """

    def __init__(
        self, model: RewardModel, store: Store, datasets: Mapping[str, Dataset] | None = None
    ) -> None:
        self._model, self._store, self._datasets = model, store, datasets
        self._passed: Sequence[Request] = ()
        self.cost = Cost()

    def after(self, requests: Sequence[Request]) -> None:
        """The requests of the pass, once it is over."""
        self._passed = requests

    @cached_property
    def _counted(self) -> set[bytes]:
        return _names(self._passed)

    def __call__(self, requests: Sequence[Request], model: RewardModel | None = None) -> Scores:
        """The columns of these requests, by another model than the audited one if it is given.

        Errors are those of `rmaudit.scoring.score`.
        """
        asked = self._model if model is None else model
        scores = score(asked, requests, datasets=self._datasets, store=self._store)
        members = sum(member.scores_new_text for member in leaves(asked))
        mark = b"" if model is None else model.fingerprint.encode()
        fresh = {name + mark for name in _names(requests)} - self._counted
        self._counted.update(fresh)
        self.cost += replace(scores.cost, texts=members * len(fresh))
        return scores


def _names(requests: Sequence[Request]) -> set[bytes]:
    data = keys_to_bytes(text_keys(requests))
    return {data[i : i + 16] for i in range(0, len(data), 16)}
