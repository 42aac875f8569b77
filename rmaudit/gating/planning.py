"""How many labels settle a gate: from a pilot report, before anybody is asked to label.

A rule is settled when its one-sided bound clears the threshold. At the pilot's value and spread
the error shrinks with the root of the prompts, so the prompts at which the rule passes (or, at a
value on the bad side, fails) with a given chance follow from the pilot's interval. Fails are
Holm-adjusted over the rules, as in the gate: planned for as if they were the first to be rejected.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scipy.special import bdtr, ndtri

from rmaudit.errors import UsageError
from rmaudit.gating.policy import Policy, Rule
from rmaudit.gating.verdict import metrics_of
from rmaudit.report.binding import law_of
from rmaudit.stats.prediction_powered import width_ratio

if TYPE_CHECKING:
    from rmaudit.report.document import Report
    from rmaudit.report.schema import MetricRecord
    from rmaudit.stats.law import Law

VOTES = (1, 3, 5, 7, 9)
ACCURACY = "preference.accuracy"


@dataclass(frozen=True, slots=True)
class Need:
    """What one rule on one number needs."""

    metric: str
    slice: dict[str, str]
    demand: str
    value: float | None
    toward: Literal["pass", "fail", "none"]  # what more labels would show at the pilot's value
    prompts_now: int
    prompts_needed: int | None  # in all; None: no number settles it
    pairs_needed: int | None  # at the pilot's pairs per prompt
    gold_needed: int | None  # prompts with gold labels, where a judge labels the rest
    note: str


@dataclass(frozen=True, slots=True)
class Votes:
    """What an accuracy would be with so many votes per pair."""

    votes: int
    label_accuracy: float  # chance that the majority is the better response
    expected: float  # accuracy that the model would then show
    prompts_needed: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Labels that settle the rules of a gate."""

    power: float
    confidence: float
    needs: tuple[Need, ...]
    votes: tuple[Votes, ...]
    judge: str  # what a judge's labels save, in words; empty without one

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def plan(
    report: Report,
    policy: Policy,
    *,
    power: float = 0.8,
    agreement: float | None = None,
    judge_correlation: float | None = None,
    unlabelled: float | None = None,
) -> Plan:
    """Plan the labels that settle a gate's rules.

    Parameters
    ----------
    report
        A pilot: an audit on the labels there are.
    policy
        The gate. Rules against a baseline are left out, with a note.
    power
        Chance of a verdict that is aimed at, if the truth is the pilot's value.
    agreement
        Chance that two annotators agree on a pair; by default from `annotators.noise_ceiling`
        where the report has it. It says what more votes per pair would show.
    judge_correlation, unlabelled
        Correlation of a cheap judge's value with the gold one per prompt, and prompts that the
        judge alone labels for each one with gold (default: no limit): prediction-powered
        intervals need fewer gold labels.

    Raises
    ------
    UsageError
        If an option is out of its range, or a rule names what the report does not hold.
    """
    _checked(power, agreement, judge_correlation)
    numbers: list[tuple[Rule, MetricRecord | str]] = []
    for rule in policy.rules:
        metrics = metrics_of(report, rule)
        numbers += (
            [(rule, metrics)] if isinstance(metrics, str) else [(rule, each) for each in metrics]
        )
    deciding = sum(rule.level == "fail" for rule, _ in numbers)
    ratio = _gold_ratio(judge_correlation, unlabelled)
    needs = [
        _need(rule, metric, policy.confidence, power, max(deciding, 1), ratio)
        for rule, metric in numbers
    ]
    votes = _votes(report, policy, power, agreement)
    judge = _judge(judge_correlation, unlabelled)
    return Plan(power, policy.confidence, tuple(needs), votes, judge)


def _checked(power: float, agreement: float | None, correlation: float | None) -> None:
    if not 0 < power < 1:
        raise UsageError(f"--power is a chance between 0 and 1, not {power:g}")
    if agreement is not None and not 0.5 < agreement <= 1:
        raise UsageError(f"--agreement is a chance above 0.5, not {agreement:g}")
    if correlation is not None and not -1 <= correlation <= 1:
        raise UsageError(f"--judge-correlation is between -1 and 1, not {correlation:g}")


def _need(
    rule: Rule,
    metric: MetricRecord | str,
    confidence: float,
    power: float,
    rules: int,
    gold_ratio: float | None,
) -> Need:
    bounds = [f"at least {rule.min:g}"] if rule.min is not None else []
    bounds += [f"at most {rule.max:g}"] if rule.max is not None else []
    demand = ", ".join(bounds)
    if isinstance(metric, str):
        return Need(rule.metric, {}, demand, None, "none", 0, None, None, None, metric)
    blank = (rule.metric, dict(metric.slice), demand, metric.value)
    law = law_of(metric)
    if not rule.bounded:
        note = "against a baseline: the paired difference of two reports says how much it needs"
        return Need(*blank, "none", metric.n_prompts, None, None, None, note)
    if law is None:
        note = f"undefined: {metric.reason}"
        return Need(*blank, "none", metric.n_prompts, None, None, None, note)
    if law.count or law.exact:
        note = "decided thing by thing, not by the root of the prompts"
        return Need(*blank, "none", metric.n_prompts, None, None, None, note)
    toward, needed = prompts_for(law, rule.min, rule.max, confidence, power, rules)
    note = "" if needed is not None else "at the threshold no number of prompts settles it"
    if toward == "fail" and needed is not None:
        note = "at the pilot's value more labels show a fail: mend the model first"
    pairs = None if needed is None else math.ceil(needed * metric.n / max(metric.n_prompts, 1))
    gold = None if needed is None or gold_ratio is None else math.ceil(needed * gold_ratio)
    return Need(*blank, toward, metric.n_prompts, needed, pairs, gold, note)


def prompts_for(
    law: Law,
    minimum: float | None,
    maximum: float | None,
    confidence: float,
    power: float,
    rules: int = 1,
) -> tuple[Literal["pass", "fail", "none"], int | None]:
    """What more prompts would show of a number at its pilot's value, and how many do so.

    With standard error s at n prompts and distance d from the nearest threshold they are
    ``n ((z_confidence + z_power) s / d)**2``. A fail must survive Holm's adjustment as the first
    of `rules` to be rejected.
    """
    distances = [law.value - minimum] if minimum is not None else []
    distances += [maximum - law.value] if maximum is not None else []
    distance = min(distances)  # to the bad side: negative where the value is on it
    if distance == 0 or law.n_prompts < 2:
        return "none", None
    level = confidence if distance > 0 else 1 - (1 - confidence) / rules
    wide = law.upper(0.975) - law.lower(0.975)
    error = wide / 2 / float(ndtri(0.975))
    if not 0 < error < math.inf:
        return "none", None
    steps = (float(ndtri(level)) + float(ndtri(power))) * error / distance
    return "pass" if distance > 0 else "fail", max(2, math.ceil(law.n_prompts * steps**2))


def _votes(
    report: Report, policy: Policy, power: float, agreement: float | None
) -> tuple[Votes, ...]:
    """What more votes per pair would show of the accuracy; nothing where agreement is unknown."""
    rule = next((r for r in policy.rules if r.metric == ACCURACY and r.min is not None), None)
    if rule is None or ACCURACY not in report:
        return ()
    if agreement is None and "annotators.noise_ceiling" in report:
        ceiling = report["annotators.noise_ceiling"]
        agreement = ceiling.value if ceiling.defined else None
    accuracy = report[ACCURACY]
    if agreement is None or agreement <= 0.5 or not accuracy.defined:
        return ()
    return votes_table(accuracy.value, agreement, accuracy.n_clusters, rule.min, policy, power)


def votes_table(
    accuracy: float,
    agreement: float,
    prompts: int,
    minimum: float | None,
    policy: Policy,
    power: float,
) -> tuple[Votes, ...]:
    r"""The accuracy that majorities of 1, 3, ... votes would show, for a pilot of single votes.

    Two annotators agree with chance :math:`q^2 + (1 - q)^2`, where q is the chance that one names
    the better response (errors independent and alike on all pairs: where pairs differ in how hard
    they are, more votes buy less). Of a model that is truly right with chance a, labels that are
    right with chance q show :math:`a q + (1 - a)(1 - q)`.
    """
    single = (1 + math.sqrt(2 * agreement - 1)) / 2
    true = min(1.0, max(0.0, (accuracy - (1 - single)) / (2 * single - 1)))
    rows = []
    for votes in VOTES:
        label = float(1 - bdtr(votes // 2, votes, single))
        shown = true * label + (1 - true) * (1 - label)
        needed = None
        if minimum is not None and shown > minimum:
            error = math.sqrt(shown * (1 - shown))
            z = float(ndtri(policy.confidence)) + float(ndtri(power))
            needed = math.ceil((z * error / (shown - minimum)) ** 2) if error else 2
        rows.append(Votes(votes, label, shown, needed))
    return tuple(rows)


def _gold_ratio(correlation: float | None, unlabelled: float | None) -> float | None:
    if correlation is None:
        return None
    return width_ratio(correlation, math.inf if unlabelled is None else unlabelled) ** 2


def _judge(correlation: float | None, unlabelled: float | None) -> str:
    """What prediction-powered intervals save, before anybody labels."""
    ratio = _gold_ratio(correlation, unlabelled)
    if ratio is None or correlation is None:
        return ""
    narrower = 1 - math.sqrt(ratio)
    many = "as many as you like" if unlabelled is None else f"{unlabelled:g} per gold label"
    text = (
        f"A judge that correlates {correlation:.2f} with the gold labels, on further prompts "
        f"({many}), makes intervals {narrower:.0%} narrower, or saves {1 - ratio:.0%} of the gold "
        "labels."
    )
    return text if narrower >= 0.02 else f"{text} That is next to nothing: label gold alone."
