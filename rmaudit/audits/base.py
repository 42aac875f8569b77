"""The one interface of an audit: what it needs, which texts it wants scored, what it measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

from rmaudit.case import Case
from rmaudit.data.types import prompt_text
from rmaudit.registry import Registry
from rmaudit.results import OTHER_KIND, AuditResult, Finding, MetricSpec, Severity
from rmaudit.rewards.base import SCALARS, SIGNAL_NAMES, RewardModel, Signal
from rmaudit.scoring.requests import Request, Scores


class Audit(ABC):
    """One question asked of a reward model; one file. Register a subclass with `@register_audit`.

    The order of events: `missing` (is every input there?), `requests` (texts wanted), one scoring
    pass for all audits together, `measure` (arrays in, numbers out).
    """

    name: ClassVar[str]  # the id's first part: "length"
    title: ClassVar[str]  # the heading in the page
    question: ClassVar[str]  # what is asked, in one sentence a newcomer understands
    meaning: ClassVar[str]  # how to read the numbers, in two or three sentences
    source: ClassVar[str]  # paper, section
    order: ClassVar[int] = 100  # place in the page, low first
    metrics: ClassVar[Mapping[str, MetricSpec]]  # by public id
    signals: ClassVar[frozenset[Signal]] = SCALARS  # the kinds of reward that it is defined for
    rewarded: ClassVar[bool] = True  # False: it asks for no reward, so that no model is opened

    def lacks(self, case: Case) -> str | None:
        """Why this audit is not run, in words; None if it can be."""
        if case.signal not in self.signals:
            wanted = " or ".join(SIGNAL_NAMES[s] for s in SIGNAL_NAMES if s in self.signals)
            given, alone = SIGNAL_NAMES[case.signal], _alone(case.model, self.signals)
            return f"{OTHER_KIND}: it gives {given}; this audit needs {wanted}{alone}"
        return self.missing(case)

    def missing(self, case: Case) -> str | None:
        """What this audit lacks, in words ("needs --deployment ..."); None if it can run."""
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """Texts to score beyond the evaluation data's own; none by default."""
        return ()

    def further(self, case: Case) -> int:
        """How many texts `measure` may have scored by `Case.score` at most: told up front."""
        return 0

    @abstractmethod
    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Numbers, findings, tables and figures from the scores."""


AuditClass = TypeVar("AuditClass", bound=type[Audit])
AUDITS: Registry[type[Audit]] = Registry(
    "audit", "rmaudit.audits", "rmaudit.audits", by_module=True
)


def register_audit(cls: AuditClass) -> AuditClass:
    """Class decorator: makes an audit known by its `name`."""
    AUDITS.add(cls.name, cls, cls.__module__)
    return cls


def audits(only: Iterable[str] | None = None) -> list[Audit]:
    """The audits in page order, or those named in `only`; `UsageError` if one is unknown."""
    names = AUDITS if only is None else dict.fromkeys(only)
    return sorted((AUDITS[name]() for name in names), key=lambda a: (a.order, a.name))


def metric_specs() -> dict[str, MetricSpec]:
    """Every public metric id of the registered audits."""
    return {id_: spec for audit in audits() for id_, spec in audit.metrics.items()}


def example(
    row: Mapping[str, Any],
    *,
    reward_chosen: float | None = None,
    reward_rejected: float | None = None,
    note: str = "",
) -> dict[str, Any]:
    """A real row for a finding: prompt, chosen, rejected (or output), rewards and a note."""
    shown: dict[str, Any] = {"id": str(row["id"]), "prompt": prompt_text(row["prompt"])}
    for key in ("chosen", "rejected", "output"):
        if key in row:
            shown[key] = row[key]
    if reward_chosen is not None:
        shown["reward_chosen"] = float(reward_chosen)
    if reward_rejected is not None:
        shown["reward_rejected"] = float(reward_rejected)
    if note:
        shown["note"] = note
    return shown


def grade(bound: float, medium: float, high: float) -> Severity:
    """Severity of an effect by the end of its interval nearest to no fault (all non-negative)."""
    return "high" if bound >= high else "medium" if bound >= medium else "low"


def one_question(findings: Iterable[Finding], ways: int) -> tuple[Finding, ...]:
    """The findings with p-values adjusted for the ways in which their question is asked.

    Bonferroni: together they are wrong as seldom as one would be. Facts have no p-value.
    """
    return tuple(f if f.p is None else replace(f, p=min(1.0, ways * f.p)) for f in findings)


def _alone(model: RewardModel, signals: frozenset[Signal]) -> str:
    """What to say of the parts of a reward that an audit is defined for, while the whole is not."""
    fitting = [part.name for part in model.parts if part is not model and part.signal in signals]
    if not fitting:
        return ""
    return f"; to run it on a part, audit that part alone as --model: {', '.join(fitting)}"
