"""A verdict as SARIF 2.1.0, which code scanning shows beside the change."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

from rmaudit._version import __version__
from rmaudit.audits.base import metric_specs
from rmaudit.gating.verdict import GateResult, RuleOutcome

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif(result: GateResult, report: Path) -> dict[str, Any]:
    """One result a demand that is not met, on the report's file.

    Failed demands are errors, inconclusive ones warnings (errors where the policy makes them fail,
    notes where it lets them pass); those of level "warn" are a step lower.
    """
    failing = [outcome for outcome in result.outcomes if outcome.verdict != "pass"]
    ids = list(dict.fromkeys(outcome.rule.metric for outcome in failing))
    specs = metric_specs()
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "rmaudit",
                        "version": __version__,
                        "rules": [
                            {"id": id_, "shortDescription": {"text": specs[id_].meaning}}
                            for id_ in ids
                        ],
                    }
                },
                "results": [_result(result, o, ids.index(o.rule.metric), report) for o in failing],
                "properties": {"verdict": result.verdict, "model": result.model},
            }
        ],
    }


def _result(result: GateResult, outcome: RuleOutcome, index: int, report: Path) -> dict[str, Any]:
    name = f"{outcome.name} {outcome.demand}".encode("utf-8", "replace")
    return {
        "ruleId": outcome.rule.metric,
        "ruleIndex": index,
        "level": _level(result, outcome),
        "message": {"text": outcome.finding},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(report)},
                    "region": {"startLine": 1},
                }
            }
        ],
        # The same demand on the same number is the same alert in the next run.
        "partialFingerprints": {"demand/v1": blake2b(name, digest_size=16).hexdigest()},
    }


def _level(result: GateResult, outcome: RuleOutcome) -> str:
    levels = ["error", "warning", "note"]
    severity = 0
    if outcome.verdict == "inconclusive":
        severity = {"fail": 0, "report": 1, "pass": 2}[result.on_inconclusive]
    if outcome.rule.level == "warn":
        severity = min(severity + 1, len(levels) - 1)
    return levels[severity]


def _uri(path: Path) -> str:
    """A relative reference where the file lies under the working folder, as code scanning wants."""
    absolute = path.resolve()
    try:
        relative = absolute.relative_to(Path.cwd().resolve())
    except ValueError:
        return absolute.as_uri()
    return relative.as_posix().replace("%", "%25").replace(" ", "%20")
