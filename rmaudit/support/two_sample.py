"""Do two sets of texts come from one distribution? A classifier of their vectors tells.

The support test asks of each text whether it is near the reference. Where the reference is spread
widely everything is near it, and a deployment of quite another kind passes. The two-sample test of
a classifier (Lopez-Paz & Oquab 2017, arXiv 1610.06545) sees that: if a classifier tells the sets
apart on texts that it was not fitted on, they differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri

from rmaudit.results import NO_INTERVAL, Estimate
from rmaudit.stats.uncertainty import auroc_estimate
from rmaudit.typing import Float, Integers, Vectors

FEWEST_TEXTS = 25  # distinct, of either set; with fewer the classifier learns next to nothing
MOST_TEXTS = 5_000  # distinct, of either set; more would narrow the interval below a point
POWER = 0.8


@dataclass(frozen=True)
class ToldApart:
    """How well a classifier tells a set of texts from the reference.

    Attributes
    ----------
    auroc
        On held-out texts: one half if they come from one distribution, 1 if never alike.
    detectable
        The least AUROC whose interval would lie above one half with a power of 80 %.
    alike
        Share of the reference's texts that score as high as 95 % of the other set's; NaN where
        undefined.
    score
        (n_texts,), how far each text of the other set is on its own side, on the scale of the
        classifier's decision; NaN for one that was not looked at.
    """

    auroc: Estimate
    detectable: Estimate
    alike: float
    score: Float


def told_apart(
    reference: tuple[Vectors, Sequence[str]],
    others: tuple[Vectors, Sequence[str]],
    rng: np.random.Generator,
    *,
    confidence: float = 0.95,
) -> ToldApart:
    """The AUROC with which a classifier, fitted on other texts, tells `others` from `reference`.

    Parameters
    ----------
    reference, others
        Vectors, (n, dimensions), and the name of each row's prompt, (n,). A prompt counts once in
        each set, and one that both have falls into one half.
    rng
        Draws the halves.

    Returns
    -------
    ToldApart
        Undefined where a set has fewer than 25 distinct prompts.

    Notes
    -----
    Logistic regression with balanced classes on half of the prompts, the area on the other half.
    Folds that take turns would use every prompt twice, but the classifiers then share texts, and
    the interval of their mean area covers 81 to 87 % where it promises 95 (simulated).
    """
    from sklearn.linear_model import LogisticRegression

    sets = (reference, others)
    rows = [_one_row_each(prompts, rng) for _, prompts in sets]
    vectors = np.concatenate([v[at] for (v, _), at in zip(sets, rows, strict=True)])
    vectors = vectors.astype(np.float64)
    prompts = [given[i] for (_, given), at in zip(sets, rows, strict=True) for i in at]
    score = np.full(len(others[1]), math.nan)
    if min(map(len, rows)) < FEWEST_TEXTS:
        reason = (
            f"{len(rows[0])} and {len(rows[1])} distinct prompts: {FEWEST_TEXTS} of each are needed"
        )
        nothing = Estimate.undefined(reason, n=len(vectors), confidence=confidence)
        return ToldApart(nothing, nothing, math.nan, score)
    label = np.repeat([0.0, 1.0], [len(r) for r in rows])
    codes = np.unique(np.array(prompts, dtype=object), return_inverse=True)[1]
    tested = rng.permutation(np.arange(int(codes.max()) + 1) % 2)[codes] == 1
    # To convergence in double precision: threads must not change which of two texts is above.
    fitted = LogisticRegression(C=10.0, class_weight="balanced", tol=1e-8, max_iter=10_000)
    fitted.fit(vectors[~tested], label[~tested])
    # Rounded, so that the number of threads, which moves the space by a millionth, changes no rank.
    decision = np.round(fitted.decision_function(vectors[tested]), 2)
    score[rows[1][tested[label == 1]]] = decision[label[tested] == 1]
    typical = np.quantile(decision[label[tested] == 1], 0.05)
    alike = float((decision[label[tested] == 0] >= typical).mean())
    auroc = auroc_estimate(decision, label[tested], codes[tested], confidence=confidence)
    others_tested = int(label[tested].sum())
    detectable = _detectable(int(tested.sum()) - others_tested, others_tested, confidence)
    return ToldApart(replace(auroc, influence=None), detectable, alike, score)


def _one_row_each(names: Sequence[str], rng: np.random.Generator) -> Integers:
    """The first row of each distinct name, by name; at most 5,000 of them, drawn at random."""
    first: dict[str, int] = {}
    for row, name in enumerate(names):
        first.setdefault(name, row)
    kept = sorted(first)
    if len(kept) > MOST_TEXTS:
        kept = [kept[i] for i in rng.choice(len(kept), MOST_TEXTS, replace=False)]
    return np.array([first[name] for name in kept], dtype=np.int64)


def _detectable(n_reference: int, n_others: int, confidence: float) -> Estimate:
    """One half plus what the rank test of equal sets resolves (Hanley & McNeil 1982)."""
    deviation = math.sqrt((n_reference + n_others + 1) / (12 * n_reference * n_others))
    value = 0.5 + (ndtri((1 + confidence) / 2) + ndtri(POWER)) * deviation
    n = n_reference + n_others
    return Estimate(min(1.0, float(value)), math.nan, math.nan, confidence, NO_INTERVAL, n, n)
