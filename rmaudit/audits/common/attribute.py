"""Is a surface attribute of an output (its length, its markdown, ...) paid for?

Each function takes the margins and the attribute of every output, (m,). Only comparisons of the
attribute inside a prompt matter.
"""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits.common.pairs import Margins, deviations, halves, standardized
from rmaudit.results import Estimate, NotRun
from rmaudit.stats.intervals import cluster_mean, cluster_ratios, count_codes
from rmaudit.stats.rank import kendall_tau_b_within
from rmaudit.stats.regression import preference_coefficients
from rmaudit.text.patterns import counts, sifted
from rmaudit.typing import Float

LEAST_SOUND = 0.65  # accuracy, by labels of people
NO_RANKING = 0.55  # accuracy under which a reward does not rank as the labels do
_LINE_MARK = re.compile(r"\n[ \t]*(?:#{1,6} |[-*+•] |\d{1,3}[.)] |[|>])")


def _marks(text: str) -> int:
    inline = text.count("**") // 2 + text.count("`") // 2 + text.count("](")
    return inline + len(_LINE_MARK.findall("\n" + text))


# Headings, list items, table rows, quotations, bold, code and links: a rough count of marks of
# markdown that no parser is needed for.
MARKDOWN = sifted(r"\*\*|`|\]\(|(?:^|\n)[ \t]*(?:#{1,6} |[-*+] |\d{1,3}[.)] |[|>])", _marks)


def markdown_marks(words: NDArray[np.object_]) -> Float:
    """Marks of markdown in each output, (m,)."""
    return counts(words, {"markdown": MARKDOWN})["markdown"]


def difference(found: Margins, attribute: Float) -> Float:
    """Attribute of the preferred output minus the other's, (n,)."""
    return attribute[found.better] - attribute[found.worse]


def blind_accuracy(found: Margins, attribute: Float, confidence: float) -> Estimate:
    """Share of comparisons won by a rule that picks the output with more of the attribute.

    From 0 to 1; equal amounts count one half. No direction is better.
    """
    scored = halves(difference(found, attribute))
    return cluster_mean(scored, found.cluster, confidence=confidence, bounds=(0, 1))


def split_accuracy(
    found: Margins, attribute: Float, confidence: float
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """Accuracy where the preferred output has more, where it has less, their gap and their mean.

    From 0 to 1, higher is better; the gap from -1 to 1, zero is best. The mean is the accuracy
    after weighting the pairs so that picking the larger amount scores 50 %. Equal amounts take no
    part. Undefined where one side has no pairs, or pairs of one prompt only.
    """
    amount = difference(found, attribute)
    more, less = (amount > 0).astype(np.float64), (amount < 0).astype(np.float64)
    if not amount.any():
        nothing = _same(found, confidence)
        return nothing, nothing, nothing, nothing
    won = found.correct
    up = (won * more, more)
    down = (won * less, less)

    def of(*terms: tuple[float, Float, Float], lowest: float = 0.0) -> Estimate:
        return cluster_ratios(terms, found.cluster, confidence=confidence, bounds=(lowest, 1.0))

    return (
        of((1.0, *up)),
        of((1.0, *down)),
        of((1.0, *up), (-1.0, *down), lowest=-1.0),
        of((0.5, *up), (0.5, *down)),
    )


def excess_preference(found: Margins, attribute: Float, confidence: float) -> Estimate:
    """P(model picks the output with more) - P(label picks it), paired.

    From -1 to 1, zero is best; a pair of equal amounts, or of equal rewards, counts one half for
    the model, and one of equal amounts one half for the label. Noise in the model alone pulls it
    toward one half minus the label's share. Undefined where no pair differs.
    """
    amount = difference(found, attribute)
    if not amount.any():
        return _same(found, confidence)
    model = np.where(amount == 0, 0.5, np.where(amount > 0, found.correct, 1 - found.correct))
    return cluster_mean(
        model - halves(amount), found.cluster, confidence=confidence, bounds=(-1, 1)
    )


def left_over(found: Margins, attribute: Float, confidence: float) -> Estimate:
    """What the labels say of an attribute at equal rewards: log-odds per unit, zero is best.

    Labels are noisier than a reward that agrees with them: where people prefer more of something
    in 60 % of pairs, the sound reward behind it picks more in over 60 %, and its excess preference
    is no fault. Here the label is regressed on both, ``logit P = a margin + c difference``: c is
    zero for a reward whose log-odds are right up to a factor, however noisy the labels, and
    negative for one that pays too much for the attribute.

    Parameters
    ----------
    found
        Decided comparisons.
    attribute
        Of every output, (m,).
    confidence
        Two-sided.

    Returns
    -------
    Estimate
        c, cluster-robust (a sandwich). Undefined where no pair differs, where margin and attribute
        are proportional, or where the two tell every label (no largest likelihood).
    """
    fit = label_fit(found, attribute, confidence)
    if isinstance(fit, Estimate):
        return fit
    # The mean of these is the coefficient, for influences sum to zero.
    coefficients, influence = fit
    return cluster_mean(coefficients[1] + influence[1], found.cluster, confidence=confidence)


def label_fit(
    found: Margins, attribute: Float, confidence: float
) -> tuple[Float, Float] | Estimate:
    """Coefficients of margin and attribute in the labels' log-odds, (2,), and rows' influence.

    The influence is (2, n), n times what each row moves a coefficient by; an undefined estimate
    where there are no single coefficients.
    """
    x = np.stack([found.margin, difference(found, attribute)], axis=1)  # (n, 2)
    size = np.sqrt(np.mean(x**2, axis=0)) if len(x) else np.zeros(2)
    if not size.all():
        return _same(found, confidence)
    coefficients = preference_coefficients(x / size)
    if coefficients is None:
        reason = "rewards and attribute tell every label, or are proportional"
        return Estimate.undefined(reason, n=len(x), confidence=confidence)
    surprise = 1 / (1 + np.exp(np.clip(x / size @ coefficients, -500, 500)))
    hessian = (x / size).T @ (x / size * (surprise * (1 - surprise))[:, None])
    influence = np.linalg.solve(hessian, (x / size * surprise[:, None]).T)
    return coefficients / size, len(x) * influence / size[:, None]


def explained_by_labels(
    found: Margins, attribute: Float, sign: int, confidence: float
) -> Literal["yes", "no", "untold"]:
    """Whether noise of the labels may be all there is to an excess preference of this sign.

    "no": the labels speak against it at equal rewards, or the reward ranks no better than chance
    for certain, so that its taste is not the labels'. Otherwise labels and rewards do not tell a
    sound reward with noisy labels from a poor one that leans on the attribute for want of better:
    both are wrong often. How noisy people's labels are does: the makers of HH-RLHF and its
    annotators agreed in about 63 % of pairs (Bai et al. 2022, arXiv 2204.05862); were both as
    noisy, each was right in 75 %, and so would a sound reward be by the labels of one of them.
    "yes" where accuracy is at least `LEAST_SOUND`; under it, "untold": edits of the texts, or
    several votes per pair, would tell.
    """
    left = left_over(found, attribute, confidence)
    if not (left.defined and sign * (left.high if sign > 0 else left.low) >= 0):
        return "no"
    accuracy = cluster_mean(found.correct, found.cluster, confidence=confidence, bounds=(0, 1))
    if accuracy.high < NO_RANKING:
        return "no"
    return "yes" if accuracy.low > 0.5 and accuracy.value >= LEAST_SOUND else "untold"


def untold(what: str, accuracy: float) -> NotRun:
    """What would tell a bias from noise of the labels."""
    return NotRun(
        f"{what} apart from noise of the labels",
        f"edits of the texts (a model that scores new text) or several votes per pair: at an "
        f"accuracy of {accuracy:.1%} a truthful reward on noisy labels and a poor one that leans "
        "on it look the same",
    )


def reward_slope(found: Margins, attribute: Float, confidence: float) -> Estimate:
    """Slope of the reward on the attribute among a prompt's outputs, SD per unit, zero is best.

    The within estimator (Wooldridge 2010, Section 10.5) on distinct outputs, with an intercept for
    each prompt. Undefined where the attribute does not vary within a prompt.
    """
    x, y = centred(found, attribute)
    if not x.any():
        return _same(found, confidence)
    clusters = found.outputs.cluster[found.distinct]
    return standardized(x * y, x * x, clusters, found.unit, confidence=confidence)


def centred(found: Margins, attribute: Float) -> tuple[Float, Float]:
    """Attribute and reward of the distinct outputs, less their means over the prompt, (k,) each."""
    prompts = np.unique(found.outputs.prompt[found.distinct], return_inverse=True)[1]
    return (
        deviations(attribute[found.distinct], prompts),
        deviations(found.reward[found.distinct], prompts),
    )


def rank_correlation(found: Margins, attribute: Float, confidence: float) -> Estimate:
    """Kendall's tau-b of reward and attribute among a prompt's outputs, averaged over prompts.

    From -1 to 1, zero is best. With two outputs a prompt it is the share in which the one with
    more has the higher reward, less the share in which it has not. Prompts in which either is
    constant take no part.
    """
    places = found.distinct
    prompts, codes = np.unique(found.outputs.prompt[places], return_inverse=True)
    if not len(prompts):
        return Estimate.undefined("no rows", confidence=confidence)
    taus = kendall_tau_b_within(found.reward[places], attribute[places], codes)
    exists = np.isfinite(taus)
    if not exists.any():
        reason = "reward or attribute is the same for all responses of each prompt"
        return Estimate.undefined(
            reason, n=len(places), n_clusters=len(prompts), confidence=confidence
        )
    first = places[np.unique(codes, return_index=True)[1]]  # an output of each prompt
    clusters = found.outputs.cluster[first]
    return cluster_mean(taus[exists], clusters[exists], confidence=confidence, bounds=(-1, 1))


def _same(found: Margins, confidence: float) -> Estimate:
    reason = (
        "the attribute is the same in both responses of every pair" if len(found) else "no rows"
    )
    n_clusters = count_codes(found.cluster)
    return Estimate.undefined(reason, n=len(found), n_clusters=n_clusters, confidence=confidence)
