"""What an attribute of outputs is worth at equal length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rmaudit.audits.common.pairs import Margins, Unit, deviations, standardized
from rmaudit.results import Estimate
from rmaudit.stats.intervals import count_codes
from rmaudit.typing import Float, Integers


@dataclass(frozen=True)
class EqualLength:
    """Rewards of the distinct outputs, freed of their prompt's mean and of their length, (k,)."""

    places: Integers  # in `Outputs`
    prompts: Integers  # codes
    clusters: Integers
    length: Float  # log2, less the prompt's mean
    reward: Float  # less the prompt's mean and what length explains
    unit: Unit

    @classmethod
    def of(cls, found: Margins) -> EqualLength:
        """The rewards of the evaluation data, or of a part of it."""
        places = found.distinct
        prompts = np.unique(found.outputs.prompt[places], return_inverse=True)[1]
        length = deviations(np.log2(np.maximum(found.length[places], 1)), prompts)
        reward = _freed(deviations(found.reward[places], prompts), length)
        clusters = found.outputs.cluster[places]
        return cls(places, prompts, clusters, length, reward, found.unit)

    def slope(self, amount: Float, confidence: float) -> Estimate:
        """Slope of the reward on an attribute, jointly with log2 length, with prompt fixed effects.

        Parameters
        ----------
        amount
            Of every output, (m,).
        confidence
            Two-sided.

        Returns
        -------
        Estimate
            SD per unit of `amount`; zero is best. Undefined where the attribute does not vary
            within a prompt but with length.

        Notes
        -----
        By the theorem of Frisch, Waugh and Lovell: both reward and attribute, less their prompt's
        mean, are first freed of what length explains; the slope of the residuals is that of the
        joint regression, and so are its cluster-robust influences.
        """
        own = amount[self.places]
        if own.any():
            centred = deviations(own, self.prompts)
            free = _freed(centred, self.length)
            if float(free @ free) > 1e-12 * float(centred @ centred):  # else it is rounding
                return standardized(
                    free * self.reward, free * free, self.clusters, self.unit, confidence=confidence
                )
        return Estimate.undefined(
            "the attribute does not vary within a prompt at equal length",
            n=len(own),
            n_clusters=count_codes(self.clusters),
            confidence=confidence,
        )


def _freed(values: Float, length: Float) -> Float:
    """Less what length explains."""
    square = float(length @ length)
    return values - length * (float(length @ values) / square) if square > 0 else values
