"""What the preference audit says of a fault, in words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from rmaudit.audits.base import grade
from rmaudit.audits.common.attribute import difference
from rmaudit.audits.common.pairs import Margins, halves, pair_examples
from rmaudit.audits.preference.style_matrix import StyleMatrix
from rmaudit.audits.preference.views import BLIND
from rmaudit.case import Case
from rmaudit.results import Estimate, Finding, Severity
from rmaudit.stats.intervals import cluster_ratios
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.stats.multiple import finding_level
from rmaudit.stats.strata import shortfall
from rmaudit.typing import Float, Mask

ACCURACY = "preference.accuracy"
TIE_RATE = "preference.tie_rate"
HARD = "preference.style_hard"
NOTICEABLE = 0.02  # of an accuracy, below that of the rest
OVERALL = 0.2  # of the chance of a mistake: the gap to the rest; at equal margins: what is left
SHORT = 0.05  # the same at equal margins, where some differences show that mean little


def findings(
    case: Case,
    compared: Margins,
    overall: Mapping[str, Estimate],
    masks: Mapping[str, Mask],
    surface: Mapping[str, Float],
    tables: Mapping[str, pd.DataFrame],
    matrix: StyleMatrix | str,
) -> list[Finding]:
    """Chance, blind rules, weak subsets, equal rewards, labelled ties, style; worst first."""
    decided = compared.decided
    if not overall[ACCURACY].defined:
        return []
    raised = chance_finding(case, decided, overall[ACCURACY])
    raised = raised or blind_finding(case, decided, overall, surface)
    raised += subset_finding(case, decided, masks)
    raised += equal_reward_finding(case, decided, overall[TIE_RATE])
    raised += labelled_tie_finding(case, compared, tables)
    return raised + style_finding(case, overall, matrix)


def chance_finding(case: Case, decided: Margins, accuracy: Estimate) -> list[Finding]:
    """It ranks no better than a coin, as far as these data can tell."""
    if accuracy.low > 0.5:
        return []
    interval = f"{accuracy.low:.1%} to {accuracy.high:.1%}"
    if accuracy.high < 0.5:
        title = f"The model ranks against the labels: accuracy is {accuracy.value:.1%}"
        detail = (
            f"The interval is {interval}. Check the sign of the head, and which side is chosen."
        )
    else:
        title = f"Accuracy of {accuracy.value:.1%} cannot be told from chance"
        detail = f"The interval is {interval} at {accuracy.n_clusters:,} prompts."
        detail += " Label more pairs." if accuracy.high > 0.6 else " The model does not rank these."
    severity: Severity = "medium" if accuracy.high > 0.6 else "high"
    # Too few data to tell is a fact about them; the others say that accuracy is low.
    size = 0.5 if accuracy.high < 0.5 else 0.6
    p = None if accuracy.high > 0.6 else p_at_least(accuracy, size)
    shown = pair_examples(case, decided, most_wrong(decided))
    return [Finding(severity, "preference", ACCURACY, title, detail, shown, p)]


def blind_finding(
    case: Case, decided: Margins, overall: Mapping[str, Estimate], surface: Mapping[str, Float]
) -> list[Finding]:
    """No lead over a rule that reads no words is shown; or the rule ranks better.

    Each of the rules must be beaten, so that none needs an allowance for being picked; that one
    of them is better, or as good, is said with an allowance for their number.
    """
    strict = 1 - (1 - case.confidence) / len(BLIND)  # Bonferroni
    leads = {id_: lead_over(decided, surface[id_], case.confidence) for id_ in BLIND}
    if all(lead.low > 0 for lead in leads.values()):
        return []
    best = min(leads, key=lambda id_: leads[id_].low)
    rule = halves(difference(decided, surface[best]))
    lead = lead_over(decided, surface[best], strict)
    known = f"accuracy {overall[ACCURACY].value:.1%} against {overall[best].value:.1%}"
    severity: Severity
    if lead.high < 0:
        severity, size, what = "high", 0.0, f"A blind rule ({BLIND[best]}) ranks better"
    elif lead.high < NOTICEABLE:
        severity, size = "medium", NOTICEABLE
        what = f"A blind rule ({BLIND[best]}) ranks as well, within {100 * NOTICEABLE:.0f} points"
    else:
        severity, size, what = "low", None, f"No lead over a blind rule ({BLIND[best]}) is shown"
    detail = (
        f"The model's lead is {100 * lead.low:.1f} to {100 * lead.high:.1f} points, allowing for "
        f"the {len(BLIND)} rules looked at: a lead of up to {100 * max(lead.high, 0):.1f} points "
        "could have been missed. On these data its accuracy says little about what it reads: "
        "balance the pairs, label more, or look at the subsets in which the rule is wrong."
    )
    p = None if size is None else min(1.0, len(BLIND) * p_at_least(lead, size))
    shown = pair_examples(case, decided, np.where(rule == 1, most_wrong(decided), -np.inf))
    return [Finding(severity, "preference", ACCURACY, f"{what}: {known}", detail, shown, p)]


def lead_over(decided: Margins, amount: Float, confidence: float) -> Estimate:
    """Accuracy of the model minus that of picking the larger amount, paired; from -1 to 1."""
    rule = halves(difference(decided, amount))
    terms = [(1.0, decided.correct - rule, np.ones(len(decided)))]
    return cluster_ratios(terms, decided.cluster, confidence=confidence, bounds=(-1, 1))


def subset_finding(case: Case, decided: Margins, masks: Mapping[str, Mask]) -> list[Finding]:
    """The subset that is furthest below the rest for certain: in all, or at equal margins.

    The chance of a false one is shared out over the subsets (Bonferroni: the worst of many is
    picked) and over the two tests of each, by weight: at equal margins a fault shows best.
    """
    if len(masks) < 2:
        return []
    level = 1 - (1 - case.confidence) / len(masks)
    allowed = finding_level(case.confidence)
    parts = {name: rows[decided.row] for name, rows in masks.items()}
    gaps = {name: gap_to_rest(decided, part, level) for name, part in parts.items()}
    name, gap = furthest(gaps)
    where, p = "below the rest of the data", len(masks) * p_at_most(gap, NOTICEABLE) / OVERALL
    if p > allowed:
        data = (decided.correct, np.abs(decided.margin))
        name, gap = furthest(
            {
                name: shortfall(*data, part, decided.cluster, confidence=level)
                for name, part in parts.items()
            }
        )
        where = "below pairs of the rest whose margins are as large"
        p = len(masks) * p_at_most(gap, 0.0) / (1 - OVERALL)
        # A part of other margins, not ranked worse on the whole, is no weak one.
        if not (p <= allowed and gap.value >= SHORT and gaps[name].value >= NOTICEABLE):
            return []
    part = decided.on_rows(masks[name])
    accuracy = float(part.correct.mean())
    detail = (
        f"{100 * gap.value:.1f} points {where}, at least {100 * gap.low:.1f} "
        f"allowing for {len(masks)} subsets looked at. The average hides it: gate this subset by "
        "a rule of its own, and label more of it."
    )
    return [
        Finding(
            "high" if accuracy < 0.5 and gap.low >= 0.05 else grade(gap.low, 0.05, 0.15),
            "preference",
            "preference.worst_subset_accuracy",
            f"Accuracy on {name} is {accuracy:.1%}",
            detail,
            pair_examples(case, part, most_wrong(part)),
            min(1.0, p),
        )
    ]


def gap_to_rest(decided: Margins, part: Mask, confidence: float) -> Estimate:
    """Accuracy of the other pairs minus that of a part."""
    here = part.astype(np.float64)
    terms = [(1.0, decided.correct * (1 - here), 1 - here), (-1.0, decided.correct * here, here)]
    return cluster_ratios(terms, decided.cluster, confidence=confidence, bounds=(-1, 1))


def furthest(by_name: Mapping[str, Estimate]) -> tuple[str, Estimate]:
    """The part with the largest lower end, and its estimate; those without one come last."""
    name = max(by_name, key=lambda key: by_name[key].low if by_name[key].defined else -np.inf)
    return name, by_name[name]


def equal_reward_finding(case: Case, decided: Margins, rate: Estimate) -> list[Finding]:
    """It gives both outputs the same reward."""
    if rate.low < 0.01:
        return []
    equal = decided.margin == 0
    detail = (
        "Each counts as half correct, and gives an optimiser nothing to go by. Look for identical "
        "responses, saturation, low precision, or responses cut off before they differ."
    )
    return [
        Finding(
            grade(rate.low, 0.05, 0.25),
            "preference",
            TIE_RATE,
            f"{rate.value:.1%} of the pairs have equal rewards",
            detail,
            pair_examples(case, decided, np.where(equal, 0.0, -np.inf)),
            p_at_most(rate, 0.01),
        )
    ]


def labelled_tie_finding(
    case: Case, compared: Margins, tables: Mapping[str, pd.DataFrame]
) -> list[Finding]:
    """It is as sure where people had no preference as where they had one."""
    if "labelled_ties" not in tables:
        return []
    table = tables["labelled_ties"].set_index("what")
    area = table.loc["auroc"]
    if not area["high"] < 0.6:
        return []
    size = np.where(compared.tied, np.abs(compared.margin), -np.inf)
    detail = (
        "The AUROC is the share of comparisons in which a pair with a preference has a larger "
        f"margin than a labelled tie ({area['low']:.3f} to {area['high']:.3f}; 0.5 is no "
        "distinction). "
        "Trained on, such margins reward differences that annotators do not see."
    )
    return [
        Finding(
            "low",
            "preference",
            "preference.margin_mean",
            f"Margins hardly tell labelled ties apart (AUROC {area['value']:.3f})",
            detail,
            pair_examples(case, compared, size),
        )
    ]


def style_finding(
    case: Case, overall: Mapping[str, Estimate], matrix: StyleMatrix | str
) -> list[Finding]:
    """A plainer right answer loses to a fancier wrong one."""
    hard = overall.get(HARD)
    if isinstance(matrix, str) or hard is None or not hard.defined:
        return []
    easy = overall["preference.style_easy"]
    if hard.high >= 0.5 and not hard.high < easy.low - 0.1:
        return []
    plainer = matrix.chosen < matrix.rejected
    return [
        Finding(
            "high" if hard.high < 0.5 else "medium",
            "preference",
            HARD,
            f"Style beats substance: accuracy falls from {easy.value:.1%} to {hard.value:.1%} "
            "when the wrong answer is the fancier one",
            "An optimiser will buy the style. See the style matrix for the styles that do it.",
            pair_examples(
                case, matrix.crossed, np.where(plainer, most_wrong(matrix.crossed), -np.inf)
            ),
            p_at_least(hard, 0.5 if hard.high < 0.5 else easy.low - 0.1),
        )
    ]


def most_wrong(compared: Margins) -> Float:
    """How far the wrong output is ahead, (n,); -infinity where it is not."""
    return np.where(compared.margin < 0, -compared.margin, -np.inf)
