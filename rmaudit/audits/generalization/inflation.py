"""Reward inflation: what is paid for being outside the support beyond what the labels bear out."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, stdtrit

from rmaudit.audits.common.attribute import difference, label_fit
from rmaudit.audits.common.pairs import Margins, standardized
from rmaudit.audits.common.row_content import words_of
from rmaudit.audits.common.support import pair_support
from rmaudit.case import Case
from rmaudit.results import Estimate
from rmaudit.stats.intervals import cluster_mean, cluster_ratio, count_codes
from rmaudit.stats.poisson_binomial import design_effect, share_below, tested_interval
from rmaudit.typing import Float, Integers, Mask


def inflation(case: Case, found: Margins) -> Estimate:
    """What the reward pays for being outside the support beyond what the labels bear out, in SDs.

    Support is that of (context, output) texts; the pairs with one output on either side tell. See
    `overpaid`: where responses outside are truly better, a reward that says so is not inflated.
    Zero is best.
    """
    outputs = found.outputs
    prompts = case.eval.frame["prompt"].tolist()
    texts = [
        f"{words_of(prompts[row])}\n{words_of(str(words))}"
        for row, words in zip(outputs.row, outputs.words, strict=True)
    ]
    if not any(str(words) for words in outputs.words):
        return Estimate.undefined("the evaluation data hold no texts of responses")
    where = pair_support(case, {"eval": texts}, "response support")
    if reason := where.calibration.undefined_reason:
        return Estimate.undefined(reason, confidence=case.confidence)
    pairs, outside = found.decided, where.outside("eval")
    sign = difference(pairs, outside)  # 1: preferred is outside
    if min(np.unique(pairs.cluster[side]).size for side in (sign > 0, sign < 0)) < 2:
        return Estimate.undefined(
            "too few pairs have one response inside the support and one outside, on both labels",
            n=int((sign != 0).sum()),
            confidence=case.confidence,
        )
    return overpaid(pairs, outside, case.confidence)


def overpaid(found: Margins, outside: Float, confidence: float) -> Estimate:
    r"""What the reward pays for a 0/1 attribute beyond what the labels bear out, in SDs.

    In the regression of `left_over` the labels' log-odds are ``a (margin + c / a difference)``:
    the reward that they bear out pays ``c / a`` more than this one for the attribute, so this one
    overpays by :math:`d = -c / a`. Zero is best. At equal labels, noisy ones, even the truth pays
    more for what is truly better; here it does not.

    Parameters
    ----------
    found
        Decided comparisons.
    outside
        Of every output, (m,), 0 or 1.
    confidence
        Two-sided.

    Returns
    -------
    Estimate
        `n` counts the pairs with one output of either kind, which tell. Undefined as `left_over`,
        and where margins do not tell the labels for certain (a is not above zero).

    Notes
    -----
    Few pairs tell: ten of 200 where a twentieth of the outputs is outside. If the reward overpays
    by d, the output outside is preferred in the k-th of them with the chance
    :math:`\sigma(a (s_k - d))`, where :math:`s_k` is its reward less the other's, and how often it
    is preferred has a Poisson binomial law. The interval holds every d at which the count that was
    seen lies in neither tail (mid-p: half of its own probability belongs to the tail). A sandwich
    is no guide here: it has the variance of the labels that were seen, and where most of the few
    labels were foregone, that of one or two.

    Deviations of the count are divided by the root of what its variance is multiplied with: by a,
    which is estimated, and by prompts with several such pairs whose labels go together.
    """
    fit = label_fit(found, outside, confidence)
    if isinstance(fit, Estimate):
        return fit
    (a, c), (move_a, move_c) = fit
    told = cluster_mean(a + move_a, found.cluster, confidence=confidence)
    if not told.defined or told.low <= 0:
        return Estimate.undefined(
            "at equal amounts of it, margins do not tell the labels for certain",
            n=len(found),
            n_clusters=count_codes(found.cluster),
            confidence=confidence,
        )
    excess, ones = -c / a, np.ones(len(found))
    values = excess - (move_c + excess * move_a) / a
    wald = standardized(values, ones, found.cluster, found.unit, confidence=confidence)
    if not wald.defined:
        return wald
    direction = difference(found, outside)  # 1: preferred is outside
    split = direction != 0
    quantile = float(stdtrit(told.n_clusters - 1.0, (1 + confidence) / 2))
    counted = Counted(
        (direction * found.margin)[split],
        direction[split] > 0,
        found.cluster[split],
        float(a),
        (told.high - told.low) / (2 * quantile),
    )
    ends = counted.interval(float(excess), confidence)
    return _standardized_ends(replace(wald, n=int(split.sum())), ends, counted, found)


def _standardized_ends(
    wald: Estimate, ends: tuple[float, float], counted: Counted, found: Margins
) -> Estimate:
    """The estimate with ends that were units of reward in SDs, with the error of the SD."""
    sd, (square, freedom) = found.unit.sd, found.unit.by_cluster
    codes = np.arange(len(square))
    variance = cluster_ratio(square, freedom, codes, confidence=wald.confidence)
    # d(R / s) = dR / s - R dV / (2 s^3), where R / s is the value and V = s^2.
    further = abs(wald.value) * (variance.high - variance.value) / (2 * sd**2)
    down, up = (math.hypot(end / sd - wald.value, further) for end in ends)
    freedom_left = max(1.0, count_codes(counted.cluster) - 1.0)
    return replace(wald, low=wald.value - down, high=wald.value + up, df=freedom_left)


@dataclass(frozen=True)
class Counted:
    """How often the output outside is preferred, among the pairs with one outside.

    Attributes
    ----------
    pay
        Reward of the output outside less that of the other, (k,).
    preferred
        Whether the one outside is preferred, (k,).
    cluster
        Prompt codes, (k,).
    scale, error
        Log-odds of the labels per unit of reward, and its standard error.
    """

    pay: Float
    preferred: Mask
    cluster: Integers
    scale: float
    error: float

    def below(self, excess: float, together: float) -> float:
        """Share of counts below the one seen, if the outputs outside are overpaid by so much.

        `together` is what the variance is multiplied with because prompts have several pairs.
        """
        chances = self.chances(excess)
        spread = chances * (1 - chances)
        variance = float(spread.sum())
        moved = float((spread * (self.pay - excess)).sum()) * self.error
        of_scale = moved**2 / variance if variance > 0 else 0.0
        return share_below(int(self.preferred.sum()), chances, together + of_scale)

    def chances(self, excess: float) -> Float:
        """Of the output outside to be preferred, (k,)."""
        return np.asarray(expit(self.scale * (self.pay - excess)))

    def interval(self, excess: float, confidence: float) -> tuple[float, float]:
        """Ends in units of reward around the excess that the regression found."""
        chances = self.chances(excess)
        together = design_effect(self.preferred - chances, self.cluster)
        spread = float((chances * (1 - chances)).sum())
        step = 1 / (self.scale * math.sqrt(spread)) if spread > 0 else 1 / self.scale
        return tested_interval(lambda x: self.below(x, together), excess, step, confidence)
