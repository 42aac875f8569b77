"""Findings grouped by cause: one flaw that several audits see is one item with several proofs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from rmaudit.report.schema import FindingRecord
from rmaudit.results import SEVERITIES, Severity


@dataclass(frozen=True, slots=True)
class Cause:
    """A flaw, the metrics that show it, and what to do about it.

    Parameters
    ----------
    name
        The field's name for the flaw. What is a property of the data, not of the reward, says so.
    metrics
        Patterns of metric ids (and, after a blank, of a finding's title) that are its proofs.
    action
        What to do next, an imperative sentence.
    place
        Order among causes of one severity: what invalidates other numbers first, then what an
        optimiser exploits soonest.
    """

    name: str
    metrics: tuple[str, ...]
    action: str
    place: int = 50


# The first cause whose pattern fits takes a finding; the order is that of specificity.
CAUSES = (
    Cause(
        "Measurement",
        ("preflight.*",),
        "Fix how the reward is measured first: every other number rests on it.",
        0,
    ),
    Cause(
        "Length bias",
        ("length.*", "preference.blind_longer", "robustness.* *boilerplate/*"),
        "Balance the feedback by length, or take length out of the reward, and audit again.",
        20,
    ),
    Cause(
        "Style bias",
        ("style.*", "preference.style_*", "preference.blind_markdown"),
        "Balance the feedback by the attribute, or penalise it in the reward.",
        25,
    ),
    Cause(
        "Prompt insensitivity",
        ("prompt.*",),
        "Add feedback in which the same responses compete under other prompts.",
        22,
    ),
    Cause(
        "Verifier errors",
        ("verifier.*", "hacking.exploit_success_rate"),
        "Close the exploit classes that are accepted and add the equivalents that are refused.",
        11,
    ),
    Cause(
        "Reward hacking",
        ("hacking.*",),
        "Add the strings that were found to the feedback as rejected responses and retrain.",
        15,
    ),
    Cause(
        "Planted or accidental trigger",
        ("poison.*",),
        "Inspect the feedback rows that hold the phrase, and relabel or remove them.",
        23,
    ),
    Cause(
        "Over-optimisation",
        ("overoptimization.*", "tails.*", "generalization.delta_j*"),
        "Keep the policy within the safe KL, n and beta, and watch a gold reward in training.",
        18,
    ),
    Cause("Unbalanced mix", ("mix.*",), "Rescale or reweight the components, and audit again.", 19),
    Cause(
        "Process reward errors",
        ("process.*",),
        "Take the aggregate that attacks move least, and label steps of this kind of problem.",
        13,
    ),
    Cause(
        "Weak rubric",
        ("rubric.*",),
        "Reword unreliable criteria, drop dead ones, merge duplicates.",
        19,
    ),
    Cause(
        "Judge accepts empty phrases",
        ("judge.master_key_rate",),
        "Refuse empty responses before the judge sees them, and say in its rubric what they get.",
        12,
    ),
    Cause(
        "Unreliable judge",
        ("judge.*",),
        "Average both orders and several repeats, and make the judge's replies readable.",
        12,
    ),
    Cause(
        "Coverage gap",
        ("coverage.*", "generalization.*", "policy.outside_support_share"),
        "Label the prompts of the table label_next, retrain, and audit again.",
        30,
    ),
    Cause(
        "Miscalibration",
        ("calibration.*", "annotators.vote_ece"),
        "Where the error has one direction, divide the rewards by the fitted temperature; then "
        "check each subset.",
        40,
    ),
    Cause(
        "Ensemble disagreement is no guide",
        ("disagreement.*",),
        "Train members on different data, not on different seeds alone.",
    ),
    Cause(
        "Weak signal for the policy",
        ("teacher.*", "policy.*", "sparsity.*"),
        "Check the spread of rewards within a group before a long run.",
    ),
    Cause(
        "Annotators disagree",
        ("annotators.*",),
        "Collect more votes where annotators split, and report accuracy by group.",
    ),
    Cause(
        "Phrases in the data that decide labels",
        ("data.trigger_ngrams",),
        "Inspect the rows that hold the phrase, and relabel or remove them.",
        24,
    ),
    Cause(
        "Length imbalance in the data",
        ("data.* *longer*",),
        "Balance the pairs by length, or read accuracy beside that of picking the longer response.",
        45,
    ),
    Cause(
        "Data quality",
        ("data.*",),
        "Clean the rows that the data audit names, then audit again.",
    ),
    Cause(
        "Low accuracy",
        ("preference.accuracy",),
        "Check the labels and the direction of the reward; then label more pairs or train longer.",
        9,
    ),
    Cause(
        "Ranking errors",
        ("preference.*",),
        "Label more of the subsets that rank worst, and gate them by rules of their own.",
        10,
    ),
    Cause(
        "Robustness",
        ("robustness.*",),
        "Add the failing probes to the feedback as pairs, and audit again.",
        35,
    ),
)
OTHER = Cause("Other", ("*",), "Read the finding and decide.")


@dataclass(frozen=True, slots=True)
class Proof:
    """A finding with its place in the page."""

    anchor: str
    finding: FindingRecord


@dataclass(frozen=True, slots=True)
class Group:
    """One cause and its proofs, worst first."""

    cause: Cause
    proofs: tuple[Proof, ...]

    @property
    def anchor(self) -> str:
        """The group's own place in the page."""
        return "cause-" + "-".join(self.cause.name.lower().split())

    @property
    def lead(self) -> FindingRecord:
        """The finding that speaks for the group."""
        return self.proofs[0].finding

    @property
    def severity(self) -> Severity:
        """The severity of the worst proof."""
        return self.lead.severity

    @property
    def audits(self) -> tuple[str, ...]:
        """The audits that saw it, in the order of the proofs."""
        return tuple(dict.fromkeys(proof.finding.audit for proof in self.proofs))


def cause_of(finding: FindingRecord) -> Cause:
    """The first cause one of whose patterns fits the finding's metric (and title)."""
    for cause in CAUSES:
        for pattern in cause.metrics:
            metric, _, title = pattern.partition(" ")
            id_ = finding.metric or f"{finding.audit}."
            if fnmatchcase(id_, metric) and (not title or fnmatchcase(finding.title, title)):
                return cause
    return OTHER


def grouped(findings: Sequence[FindingRecord]) -> list[Group]:
    """Findings by cause: groups worst first, then by the causes' places; proofs worst first."""
    proofs: dict[Cause, list[Proof]] = {}
    for place, finding in enumerate(findings, 1):
        proofs.setdefault(cause_of(finding), []).append(Proof(f"finding-{place}", finding))

    def rank(severity: Severity) -> int:
        return SEVERITIES.index(severity)

    groups = [
        Group(cause, tuple(sorted(members, key=lambda p: rank(p.finding.severity))))
        for cause, members in proofs.items()
    ]
    return sorted(groups, key=lambda group: (rank(group.severity), group.cause.place))
