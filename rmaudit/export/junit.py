"""A verdict as JUnit XML, which every CI system shows as tests."""

from __future__ import annotations

import io

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from rmaudit.gating.verdict import GateResult, RuleOutcome


def junit(result: GateResult) -> bytes:
    """One test case a demand.

    What was not measured is an error, a failed demand a failure, and so is an inconclusive one
    unless the policy lets it pass. Demands of level "warn" that are not met are skipped: they
    never break a build, and their message is kept.
    """
    suite = TestSuite("rmaudit gate")
    suite.add_property("model", _legal(result.model))
    suite.add_property("verdict", result.verdict)
    suite.add_property("confidence", f"{result.confidence:g}")
    for outcome in result.outcomes:
        case = TestCase(_legal(f"{outcome.name} {outcome.demand}"))
        case.classname = f"rmaudit.{outcome.rule.metric.partition('.')[0]}"
        case.time = 0.0
        message = _said(result, outcome)
        if message is not None:
            case.result = [message]
        suite.add_testcase(case)
    xml = JUnitXml("rmaudit")
    xml.add_testsuite(suite)
    out = io.BytesIO()
    xml.write(out, pretty=True)
    return out.getvalue()


def _said(result: GateResult, outcome: RuleOutcome) -> Error | Failure | Skipped | None:
    if outcome.verdict == "pass":
        return None
    message = _legal(outcome.finding)
    if outcome.rule.level == "warn":
        return Skipped(f"warning, {outcome.verdict}: {message}")
    if outcome.value is None:
        return Error(message, "not run")
    if outcome.verdict == "inconclusive" and result.on_inconclusive == "pass":
        return Skipped(f"inconclusive: {message}")
    return Failure(message, outcome.verdict)


def _legal(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold."""
    return "".join(c if c.isprintable() else " " for c in text)
