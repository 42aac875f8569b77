"""How well the held-out pairs are ranked: what early stopping goes by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmaudit.stats.calibration import temperature


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Held-out pairs at one step; NaN before the first evaluation."""

    held_out_loss: float = math.nan  # of the data's type, nats per pair; lower is better
    held_out_loss_rescaled: float = math.nan  # the same at the temperature that suits it best
    held_out_accuracy: float = math.nan  # equal rewards count one half; higher is better

    def better_than(self, other: HeldOut) -> bool:
        """Whether these weights rank better: by the rescaled loss, then by the loss itself.

        A reward has no unit, and a model that grows over-confident while it still learns to rank
        has a rising loss: stopping there costs accuracy that one factor would have kept.
        """
        if math.isnan(other.held_out_loss):
            return not math.isnan(self.held_out_loss)
        mine = (self.held_out_loss_rescaled, self.held_out_loss)
        return mine < (other.held_out_loss_rescaled, other.held_out_loss)


def evaluate_margins(margins: NDArray[np.float64]) -> HeldOut:
    """Losses and accuracy of margins, (n_pairs,), n_pairs > 0.

    The rescaled loss is ``min over T of mean -log sigmoid(margin / T)``: log 2 if the mean margin
    is not positive (T is infinite), 0 if no margin is negative (T is 0) and some are positive.
    NaN throughout where a margin is not finite.
    """
    if not np.isfinite(margins).all():
        return HeldOut()
    if margins.mean() <= 0:
        rescaled = math.log(2)
    elif (margins > 0).all():
        rescaled = 0.0
    else:
        best = temperature(margins, np.arange(len(margins))).value
        rescaled = _loss(margins / best) if math.isfinite(best) else _loss(margins)
    accuracy = ((margins > 0) + 0.5 * (margins == 0)).mean()
    return HeldOut(_loss(margins), rescaled, float(accuracy))


def _loss(margins: NDArray[np.float64]) -> float:
    return float(np.logaddexp(0.0, -margins).mean())
