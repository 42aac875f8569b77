"""Labels that a model of the other prompts' pairs firmly contradicts.

After confident learning (Northcutt et al. 2021, arXiv 1911.00068): the other label is believed
where its out-of-sample probability reaches what the model usually has for the given labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit

from rmaudit.audits.common.pairs import halves
from rmaudit.data.types import Dataset, prompt_text
from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean
from rmaudit.text.ngrams import FeedbackPairs
from rmaudit.typing import Float, Integers, Mask

FIRM = 0.8  # probability of the other label below which no label is called suspect
MOST_LISTED = 200


@dataclass(frozen=True)
class Suspects:
    """Pairs by how little their label is believed, (n,) each."""

    pairs: FeedbackPairs
    probability: Float  # of the label that was given
    suspect: Mask
    share: Estimate
    by: str  # what they were told by

    @property
    def order(self) -> Integers:
        """Places of the suspect pairs, least believed first."""
        places = np.flatnonzero(self.suspect)
        return places[np.argsort(self.probability[places], kind="stable")]


def suspects(pairs: FeedbackPairs, odds: Float, by: str, confidence: float) -> Suspects:
    """Which labels are contradicted, and their share.

    Parameters
    ----------
    pairs
        Decided pairs.
    odds
        Of the given label, (n,), from a model that has not seen it; on any scale, which is fitted.
    by
        What gave the odds.
    confidence
        Two-sided.

    Returns
    -------
    Suspects
        The share is from 0 to 1, zero is best. Its interval is that of the sampled prompts; the
        model and its threshold are taken as they are. Undefined, and no label suspect, where the
        odds do not agree with more than half of the labels for certain: such a model knows nothing.
    """
    probability = expit(fitted(odds))
    agreement = cluster_mean(halves(odds), pairs.cluster, confidence=confidence, bounds=(0, 1))
    if not agreement.defined or agreement.low <= 0.5:
        reason = agreement.undefined_reason or f"{by} tells no labels of pairs it has not seen"
        share = Estimate.undefined(
            reason, n=len(pairs), n_clusters=agreement.n_clusters, confidence=confidence
        )
        return Suspects(pairs, probability, np.zeros(len(pairs), dtype=bool), share, by)
    threshold = max(float(probability.mean()), FIRM)
    suspect: Mask = np.asarray(1 - probability >= threshold)
    share = cluster_mean(
        suspect.astype(np.float64), pairs.cluster, confidence=confidence, bounds=(0, 1)
    )
    return Suspects(pairs, probability, suspect, share, by)


def fitted(odds: Float) -> Float:
    """Odds times the positive factor with which they fit the labels best, (n,): ridge shrinks."""
    size = float(np.std(odds)) or 1.0

    def loss(slope: float) -> float:
        return float(np.logaddexp(0, -slope * odds / size).sum())

    slope = float(minimize_scalar(loss, bounds=(0, 20), method="bounded").x)
    return np.asarray(slope * odds / size, dtype=np.float64)


def suspect_table(found: Suspects, data: Dataset) -> pd.DataFrame:
    """The suspect pairs, least believed first, at most 200."""
    places = found.order[:MOST_LISTED]
    frame = data.frame.iloc[found.pairs.row[places]]
    return pd.DataFrame(
        {
            "id": frame["id"].tolist(),
            "probability_of_label": found.probability[places],
            "prompt": [prompt_text(prompt) for prompt in frame["prompt"]],
            "chosen": [found.pairs.chosen[i] for i in places],
            "rejected": [found.pairs.rejected[i] for i in places],
        }
    )
