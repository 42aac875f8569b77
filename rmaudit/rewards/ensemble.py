"""Several reward models as one: mean, worst case, uncertainty-weighted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Encoded, Rewarded, RewardModel, Signal, Text

Aggregate = Literal["mean", "wco", "uwo"]
AGGREGATE_NAMES = {"wco": "worst case (WCO)", "uwo": "uncertainty-weighted (UWO)"}


def aggregate_rewards(
    rewards: NDArray[np.float64], how: Aggregate, uncertainty_weight: float = 0.5
) -> NDArray[np.float64]:
    r"""One reward per text from those of K members.

    Parameters
    ----------
    rewards
        (K, n). A member's NaN makes the aggregate of that text NaN.
    how
        "mean"; "wco", worst case: the least; "uwo", uncertainty-weighted: the mean less
        `uncertainty_weight` times the variance among the members.
    uncertainty_weight
        :math:`\lambda \ge 0` of "uwo", per unit of reward.

    Returns
    -------
    NDArray
        (n,), in the members' unit.

    Notes
    -----
    The variance divides by K (ddof = 0), as in the paper; a single member has none.

    References
    ----------
    Coste et al. 2023, arXiv 2310.02743, Section 3.
    """
    if how == "wco":
        least: NDArray[np.float64] = rewards.min(axis=0)
        return least
    with np.errstate(invalid="ignore"):  # infinities: their mean or variance may be NaN
        mean: NDArray[np.float64] = rewards.mean(axis=0)
        if how == "uwo":
            mean -= uncertainty_weight * rewards.var(axis=0)
    return mean


class Ensemble(RewardModel):
    """Members that score every text, and an aggregate of their rewards.

    Parameters
    ----------
    members
        At least one.
    aggregate
        "mean", "wco" or "uwo": see `aggregate_rewards`.
    uncertainty_weight
        Lambda of "uwo".
    name
        As the report shows it.

    Raises
    ------
    UsageError
        If there is no member, no such aggregate, or the weight is negative.
    """

    kind = "ensemble"

    def __init__(
        self,
        members: Sequence[RewardModel],
        aggregate: Aggregate = "mean",
        uncertainty_weight: float = 0.5,
        *,
        name: str = "ensemble",
    ) -> None:
        if not members:
            raise UsageError(f"{name}: an ensemble needs at least one member")
        if not isinstance(aggregate, str) or aggregate not in get_args(Aggregate):
            raise UsageError(
                f"{name}: no aggregate {aggregate!r}; say {', '.join(get_args(Aggregate))}"
            )
        if not isinstance(uncertainty_weight, int | float) or not 0 <= uncertainty_weight < np.inf:
            raise UsageError(
                f"{name}: uncertainty_weight {uncertainty_weight!r} is no number of 0 or more"
            )
        self.name = name
        self._members = tuple(members)
        self.how, self.uncertainty_weight = aggregate, float(uncertainty_weight)
        prints = [member.fingerprint for member in members]
        facts = repr((aggregate, self.uncertainty_weight, prints))
        self.fingerprint = hashlib.sha256(facts.encode()).hexdigest()
        self.signal, self.signal_is_declared = _common_signal(members)
        self.scores_new_text = all(member.scores_new_text for member in members)
        self.pads_left = all(member.pads_left for member in members)
        self.length_unit = members[0].length_unit
        self.max_batch = min(member.max_batch for member in members)
        self.token_budget = min(member.token_budget for member in members)

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """The members, in order."""
        return self._members

    def aggregate(self, rewards: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n_members, n) -> (n,): see `aggregate_rewards`."""
        return aggregate_rewards(rewards, self.how, self.uncertainty_weight)

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        """The aggregate of the members' rewards."""
        return Rewarded(self.aggregate(np.stack([part.total for part in parts])))

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Each text as every member reads it; lengths are the first member's."""
        by_member = [member.encode(texts) for member in self.members]
        return [
            Encoded(
                payload=each,
                tokens=each[0].tokens,
                output_tokens=each[0].output_tokens,
                truncated=any(e.truncated for e in each),
                output_truncated=any(e.output_truncated for e in each),
                double_bos=any(e.double_bos for e in each),
            )
            for each in zip(*by_member, strict=True)
        ]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Aggregated rewards of one batch, (len(batch),)."""
        by_member = [
            member.forward([each.payload[k] for each in batch], pad_left=pad_left)
            for k, member in enumerate(self.members)
        ]
        return self.aggregate(np.stack(by_member))

    def describe(self) -> dict[str, Any]:
        """The aggregate, and the members' own facts."""
        facts = {"aggregate": self.how, "members": len(self.members)}
        weight = {"uncertainty_weight": self.uncertainty_weight} if self.how == "uwo" else {}
        return {**facts, **weight, **self.members[0].describe()}


def _common_signal(members: Sequence[RewardModel]) -> tuple[Signal, bool]:
    """What the members claim; an order is all that members of different kinds have in common."""
    signals = {member.signal for member in members}
    if len(signals) > 1:
        return "score", True
    return signals.pop(), all(member.signal_is_declared for member in members)
