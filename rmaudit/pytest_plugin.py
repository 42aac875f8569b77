"""Reward model audits in a test suite: the fixture ``rm_audit``.

::

    def test_not_paid_by_the_word(rm_audit):
        assert rm_audit["length.excess_preference"] <= 0.05

``pytest --rmaudit-model org/name --rmaudit-eval prefs.jsonl`` audits the model once a session;
``--rmaudit-report DIR`` takes an audit that was made before. A comparison is decided on the
one-sided 95 % interval: it holds only if the whole interval does, so neither ``m <= 0.05`` nor
``m > 0.05`` holds where the interval spans 0.05, and the message says how many prompts would
settle it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from rmaudit.gating.decision import Decision
    from rmaudit.report.document import Report
    from rmaudit.results import Estimate

CONFIDENCE = 0.95  # one-sided
# Settings that are options of pytest, too, as --rmaudit-model and so on; beside them, these two.
SETTINGS = (
    *("model", "eval", "feedback", "only", "limit", "out"),
    *("trust_code", "trust_remote_code", "allow_pickle", "api_key_env"),
)
OPTIONS = {  # option: what it is, in --help
    "config": "audit.toml with these and all other settings; options win over it.",
    "report": "Folder of an audit made before, instead of auditing now.",
}
_MIRRORED = {"<=": ">=", ">=": "<=", "<": ">", ">": "<"}
_WORDS = {"<=": "at most", "<": "under", ">=": "at least", ">": "over"}
_REPORT = pytest.StashKey["Path | None"]()


class Measured:
    """One number of an audit that compares on its interval.

    ``m <= 0.05`` is true if the whole one-sided 95 % interval is at most 0.05; an undefined number
    meets no demand. ``float(m)`` is the value, ``m.estimate`` all of it.
    """

    def __init__(self, name: str, estimate: Estimate) -> None:
        self.name = name
        self.estimate = estimate

    def __float__(self) -> float:
        return self.estimate.value

    def __le__(self, threshold: float) -> bool:
        return self._meets("<=", threshold)

    def __lt__(self, threshold: float) -> bool:
        return self._meets("<", threshold)

    def __ge__(self, threshold: float) -> bool:
        return self._meets(">=", threshold)

    def __gt__(self, threshold: float) -> bool:
        return self._meets(">", threshold)

    def __repr__(self) -> str:
        if not self.estimate.defined:
            return f"{self.name} (undefined)"
        return f"{self.name} = {self._interval()}"

    def explain(self, op: str, threshold: float) -> list[str]:
        """Why a comparison does not hold, in lines."""
        demand = f"{self.name} must be {_WORDS[op]} {threshold:g}"
        if not self.estimate.defined:
            return [demand, f"it is undefined: {self.estimate.undefined_reason}"]
        decision = self._decision(op, threshold)
        lines = [demand, f"it is {self._interval()}"]
        if decision.verdict == "fail":
            return [*lines, f"the whole one-sided {CONFIDENCE:.0%} interval says no"]
        lines.append("inconclusive: the interval spans the threshold")
        if decision.prompts_needed is not None:
            have = self.estimate.n_clusters
            lines.append(
                f"about {decision.prompts_needed:,} prompts would settle it ({have:,} now)"
            )
        return lines

    def _interval(self) -> str:
        e = self.estimate
        return f"{e.value:.4g} [{e.low:.4g}, {e.high:.4g}] ({e.confidence:.0%} interval)"

    def _meets(self, op: str, threshold: float) -> bool:
        if not self.estimate.defined or self._decision(op, threshold).verdict != "pass":
            return False
        # The whole interval is at most (or least) that; a number without error may still equal it.
        return op in ("<=", ">=") or self.estimate.value != threshold

    def _decision(self, op: str, threshold: float) -> Decision:
        from rmaudit.gating.decision import decide
        from rmaudit.stats.law import Law

        e = self.estimate
        interval = Law.of(e)
        upper = op.startswith("<")
        return decide(
            interval, None if upper else threshold, threshold if upper else None, CONFIDENCE
        )


class AuditedModel:
    """What the fixture gives: numbers of the audit by name; `report` is all of it."""

    def __init__(self, report: Report) -> None:
        self.report = report

    def __getitem__(self, metric_id: str) -> Measured:
        """The overall number; the test fails, and says why, if the audit did not measure it."""
        return self.get(metric_id)

    def get(self, metric_id: str, **slice_: str) -> Measured:
        """The number on a slice: ``rm_audit.get("preference.accuracy", subset="code")``."""
        where = ", ".join(f"{key}={value}" for key, value in slice_.items())
        name = f"{metric_id}[{where}]" if where else metric_id
        from rmaudit.errors import RmauditError

        try:
            return Measured(name, self.report.get(metric_id, **slice_))
        except RmauditError as error:
            pytest.fail(str(error), pytrace=False)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("rmaudit", "audits of reward models")
    from rmaudit.config import AuditConfig

    for name, text in OPTIONS.items():
        group.addoption(f"--rmaudit-{name}", default=None, help=text)
    for name in SETTINGS:
        switch = AuditConfig.model_fields[name].annotation is bool
        group.addoption(
            f"--rmaudit-{name.replace('_', '-')}",
            default=None,
            help=AuditConfig.options()[name].help,
            **({"action": "store_true"} if switch else {}),
        )


@pytest.fixture(scope="session")
def rm_audit(request: pytest.FixtureRequest) -> AuditedModel:
    """The audit of the reward model named by the options ``--rmaudit-...``."""
    from rmaudit.errors import RmauditError

    given = {name: request.config.getoption(f"rmaudit_{name}") for name in (*OPTIONS, *SETTINGS)}
    try:
        report, folder = _report(given)
    except RmauditError as error:
        pytest.fail(f"rm_audit: {error}", pytrace=False)
    request.config.stash[_REPORT] = folder
    return AuditedModel(report)


def _report(given: dict[str, Any]) -> tuple[Report, Path | None]:
    from rmaudit.errors import UsageError
    from rmaudit.report.document import Report

    if given["report"] is not None:
        return Report.load(given["report"]), Path(given["report"])
    if given["config"] is None and None in (given["model"], given["eval"]):
        raise UsageError(
            "say pytest --rmaudit-model MODEL --rmaudit-eval prefs.jsonl, or --rmaudit-report DIR"
        )
    from rmaudit.api import audit_by
    from rmaudit.config import AuditConfig
    from rmaudit.console import Console

    flags = {name: given[name] for name in SETTINGS}
    file = None if given["config"] is None else Path(given["config"])
    settings = AuditConfig.resolve(flags, file)
    report = audit_by(settings, Console(quiet=True))
    return report, None if settings.out is None else report.save(settings.out)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Say why a comparison of a number with a threshold does not hold."""
    if isinstance(left, Measured) and op in _WORDS and isinstance(right, int | float):
        return left.explain(op, right)
    if isinstance(right, Measured) and op in _WORDS and isinstance(left, int | float):
        return right.explain(_MIRRORED[op], left)
    return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the page is."""
    folder = config.stash.get(_REPORT, None)
    if folder is not None:
        terminalreporter.write_line(f"rmaudit page: {folder / 'report.html'}")
