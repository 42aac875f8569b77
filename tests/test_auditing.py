"""An error inside one audit fails that audit; one of the user's stops the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import pytest

from rmaudit.auditing import measured, wanted_of
from rmaudit.audits.base import Audit
from rmaudit.case import Case
from rmaudit.data import load
from rmaudit.errors import UsageError
from rmaudit.results import AuditResult, MetricSpec
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Request, Scores


class Broken(Audit):
    """Fails at the step that it is told to."""

    name = "broken"
    title = question = meaning = source = "broken"
    metrics: ClassVar[Mapping[str, MetricSpec]] = {}

    def __init__(self, at: str, error: Exception) -> None:
        self.at, self.error = at, error

    def missing(self, case: Case) -> str | None:
        return self._step("missing")

    def requests(self, case: Case) -> Sequence[Request]:
        self._step("requests")
        return ()

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        self._step("measure")
        return AuditResult("broken")

    def _step(self, at: str) -> None:
        if at == self.at:
            raise self.error


@pytest.fixture(scope="module")
def case() -> Case:
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_reward": 1, "rejected_reward": 0}
    return Case(Recorded(), load([row]))


def run(audit: Audit, case: Case, debug: bool) -> AuditResult:
    wanted = wanted_of(audit, case, debug)
    return wanted if isinstance(wanted, AuditResult) else measured(audit, case, NO_SCORES, debug)


NO_SCORES = Scores((), {})


@pytest.mark.parametrize("at", ["missing", "requests", "measure"])
def test_an_error_of_an_audit_fails_it_alone(case: Case, at: str) -> None:
    audit = Broken(at, IndexError("no such row"))
    found = run(audit, case, debug=False)
    assert (found.status, found.metrics) == ("failed", ())
    assert "IndexError: no such row" in (found.reason or "")
    with pytest.raises(IndexError):
        run(audit, case, debug=True)


@pytest.mark.parametrize("at", ["missing", "requests"])
def test_an_error_of_the_user_stops_the_run(case: Case, at: str) -> None:
    with pytest.raises(UsageError, match="no such file"):
        wanted_of(Broken(at, UsageError("no such file")), case, debug=False)
