"""An error inside one audit fails that audit; one of the user's stops the run."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

import rmaudit
from rmaudit.auditing import as_one_family, measured, wanted_of, with_signal
from rmaudit.audits.base import Audit, audits
from rmaudit.case import Case
from rmaudit.data import load
from rmaudit.errors import UsageError
from rmaudit.results import AuditResult, Finding, MetricSpec, Severity
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring import NullStore
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


def finding(severity: Severity, p: float | None) -> Finding:
    return Finding(severity, "broken", "", f"p is {p}", "Detail.", p=p)


def test_a_report_is_one_family() -> None:
    """Holm over five tests: 0.004 x 5 = 0.02; then 0.02 x 4 = 0.08; a low one is no part of it."""
    told = (finding("high", 0.004), finding("medium", 0.02), finding("low", 0.024))
    facts = (finding("high", None),)
    results = [
        AuditResult("one", findings=told, tests=3),
        AuditResult("two", findings=facts, tests=2),
        AuditResult("three", "not_run", tests=1000),
    ]
    first, second, _ = as_one_family(results, 0.95)
    assert [f.severity for f in first.findings] == ["high", "low", "low"]
    adjusted = [f.p_adjusted for f in first.findings]
    assert adjusted == [pytest.approx(0.02), pytest.approx(0.08), None]
    assert "5 tests of this report" in first.findings[1].detail
    assert second.findings == facts
    # Alone in its report the second would stand.
    (alone,) = as_one_family([AuditResult("one", findings=told[1:2])], 0.95)
    assert alone.findings[0].severity == "medium"


def test_a_finding_of_whatever_severity_needs_half_of_the_level() -> None:
    """2.5 % at a confidence of 95 %, 5 % at 90 %; what was left out is no part of Holm's family."""
    told = (finding("high", 0.04), finding("low", 0.026), finding("medium", 0.012))
    (at_95,) = as_one_family([AuditResult("one", findings=told, tests=3)], 0.95)
    assert [(f.severity, f.p) for f in at_95.findings] == [("medium", 0.012)]
    (at_90,) = as_one_family([AuditResult("one", findings=told, tests=3)], 0.9)
    # 0.012 x 3 and 0.04 x 2.
    assert [f.p_adjusted for f in at_90.findings] == [
        pytest.approx(0.08),
        None,
        pytest.approx(0.036),
    ]


def test_false_findings_of_sound_reports_are_rare() -> None:
    """Forty null tests a report, each told from 5 % on: 87 % have one, 5 % keep it as medium."""
    rng = np.random.default_rng(0)
    raised = kept = low = 0
    for _ in range(1000):
        told = tuple(finding("medium", float(p)) for p in rng.random(40) if p < 0.05)
        (result,) = as_one_family([AuditResult("one", findings=told, tests=40)], 0.95)
        raised += bool(told)
        kept += any(f.severity == "medium" for f in result.findings)
        low += len(result.findings)
    assert raised > 820
    assert kept <= 77  # 5 % and 3.9 standard errors
    assert abs(low / 40_000 - 0.025) <= 4 * (0.025 * 0.975 / 40_000) ** 0.5


@pytest.mark.parametrize(
    ("rewards", "kind"), [([0.0, 1.0, 1.0], "verdict"), ([0.3, 2.0, -1.7], "")]
)
def test_recorded_samples_have_a_say_in_the_kind(rewards: list[float], kind: str) -> None:
    """Evaluation rewards of 0 and 1; samples with graded rewards make that no verdict."""
    pair = {"prompt": "p", "chosen": "a", "rejected": "b", "chosen_reward": 1, "rejected_reward": 0}
    samples = load(
        [
            {"prompt": f"q{i}", "outputs": ["a", "b", "c"], "proxy_rewards": rewards}
            for i in range(9)
        ],
        "samples",
    )
    found, _ = with_signal(Case(Recorded(), load([pair]), samples=samples), NullStore())
    assert found.signal == (kind or Recorded().signal)


def test_a_number_that_lacks_something_else_keeps_its_reason() -> None:
    """A subset with one prompt has no interval, whatever the rewards are."""
    rows = [
        {"prompt": f"p{i}", "chosen": "a", "rejected": "b", "subset": "one" if i == 0 else "many"}
        for i in range(30)
    ]
    nothing = [{**row, "chosen_reward": math.nan, "rejected_reward": math.nan} for row in rows]
    report = rmaudit.audit("recorded", nothing, only=["preflight"], cache=False)
    one = report.metric("preflight.nonfinite_share", subset="one")
    assert one.value is None
    assert "prompt" in str(one.reason)


def test_where_no_reward_can_be_used_undefined_numbers_say_so() -> None:
    rows = [
        {"prompt": f"p{i}", "chosen": "a", "rejected": "b", "subset": "ab"[i % 2]}
        for i in range(30)
    ]
    nothing = [{**row, "chosen_reward": math.nan, "rejected_reward": math.inf} for row in rows]
    report = rmaudit.audit("recorded", nothing, only=["preference", "length"], cache=False)
    reasons = {m.reason for m in report.metrics() if m.value is None}
    assert reasons == {"all 60 rewards are not finite"}
    subsets = report.audits["preference"].tables["subsets"]
    notes = {row[subsets.columns.index("note")] for row in subsets.rows}
    assert notes == {"all 60 rewards are not finite"}
    one = [{**nothing[0], "chosen_reward": 1.0}, *nothing[1:]]
    report = rmaudit.audit("recorded", one, only=["preference"], cache=False)
    assert "all 60 rewards are not finite" not in {m.reason for m in report.metrics()}


def test_rewards_that_are_too_large_and_pairs_that_are_all_ties_are_the_reason() -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a", "rejected": "b"} for i in range(30)]
    huge = [{**row, "chosen_reward": 1e300, "rejected_reward": -1e300} for row in rows]
    tied = [{**row, "chosen_reward": 1.0, "rejected_reward": 0.0, "tie": True} for row in rows]
    for given, reason in (
        (huge, "all 60 rewards are not finite or beyond 1e+100"),
        (tied, "all 30 pairs are labelled ties"),
    ):
        report = rmaudit.audit("recorded", given, only=["preference"], cache=False)
        assert report.metric("preference.accuracy").reason == reason
    report = rmaudit.audit("recorded", [*tied, huge[0]], only=["preference"], cache=False)
    assert "ties" not in str(report.metric("preference.accuracy").reason)


def test_named_audits_are_loaded_without_the_others() -> None:
    """What is not asked for is not imported; an unknown name is told all that there are."""
    script = (
        "import sys\n"
        "from rmaudit.audits.base import AUDITS, audits\n"
        "assert [a.name for a in audits(['length', 'preference'])] == ['preference', 'length']\n"
        "left = {'rmaudit.audits.hacking', 'scipy.stats', 'sklearn', 'torch'} & set(sys.modules)\n"
        "assert not left, left\n"
        "assert {'hacking', 'tails', 'data'} <= set(AUDITS)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    for name in ("base", "lenght", "a.b", "__init__", ""):
        with pytest.raises(UsageError, match=f"no audit is named '{name}'"):
            audits([name])


def test_rewards_that_no_number_is_made_of_are_told_whichever_audits_are_asked_for() -> None:
    rows = [{"prompt": f"Q{i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(12)]

    def broken(pairs: Any) -> list[float]:
        return [math.inf if text == "good 3" else float(len(text)) for _, text in pairs]

    titles = {"Non-finite rewards: 1 of 24 texts"}
    for only in (["preference"], ["length", "style"], ["preflight", "preference"]):
        report = rmaudit.audit(broken, rows, only=only, cache=False)
        told = [f for f in report.findings if f.metric == "preflight.nonfinite_share"]
        assert {f.title for f in told} == titles
        assert len(told) == 1
        assert told[0].severity == "high"
    sound = rmaudit.audit(
        lambda pairs: [float(len(t)) for _, t in pairs], rows, only=["preference"]
    )
    assert not any(f.audit == "preflight" for f in sound.findings)


def test_a_model_is_not_held_against_itself() -> None:
    def fixed(pairs: Any) -> list[float]:
        return [float(len(text)) for _, text in pairs]

    fixed.fingerprint = "fixed"  # type: ignore[attr-defined]
    rows = [{"prompt": f"Q{i}?", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(4)]
    given: dict[str, Any] = {"only": ["data"], "cache": False}
    with pytest.raises(UsageError, match=r"--ensemble .* is --model itself"):
        rmaudit.audit(fixed, rows, ensemble=[fixed], **given)
    with pytest.raises(UsageError, match=r"--gold .* is --model itself"):
        rmaudit.audit(fixed, rows, gold=fixed, **given)
    with pytest.raises(UsageError, match="is another --ensemble itself"):
        rmaudit.audit(lambda pairs: [1.0] * len(pairs), rows, ensemble=[fixed, fixed], **given)
