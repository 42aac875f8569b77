"""Texts that are asked for after the pass: those of searches."""

from __future__ import annotations

from collections.abc import Sequence

from rmaudit.rewards.base import RewardModel
from rmaudit.scoring.engine import score
from rmaudit.scoring.requests import Cost, Request, Scores
from rmaudit.scoring.store import Store


class FurtherScoring:
    """Scores requests through the engine and the store, as often as it is called.

    An audit declares its texts, and all are scored in one pass. A search cannot: its next texts
    hang on the last rewards. It gets this as `Case.score`, and says beforehand how many texts it
    may ask for (`Audit.further`), so that the cost is still told before the first forward pass.
    Rewards go to the store, so an interrupted search, run again, goes on where it stopped.

    Attributes
    ----------
    cost
        Of all calls together.
    """

    def __init__(self, model: RewardModel, store: Store) -> None:
        self._model, self._store = model, store
        self.cost = Cost()

    def __call__(self, requests: Sequence[Request]) -> Scores:
        """The columns of these requests; errors are those of `rmaudit.scoring.score`."""
        scores = score(self._model, requests, store=self._store)
        self.cost += scores.cost
        return scores
