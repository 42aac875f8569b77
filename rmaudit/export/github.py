"""A verdict in a GitHub Actions run: the job's summary, and annotations."""

from __future__ import annotations

import html

from rmaudit.gating.verdict import GateResult

MOST_ANNOTATIONS = 10  # what GitHub shows of one step and one level


def step_summary(result: GateResult) -> str:
    """Markdown for $GITHUB_STEP_SUMMARY: the verdict, and a table of all demands, worst first."""
    order = ("fail", "inconclusive", "pass")
    outcomes = sorted(result.outcomes, key=lambda o: (order.index(o.verdict), o.rule.level))
    lines = [
        f"## Reward model gate: {result.verdict}",
        "",
        f"Model {_cell(result.model)}, {result.confidence:.0%} one-sided confidence.",
        "",
        "| verdict | metric | value | demand | note |",
        "| --- | --- | --- | --- | --- |",
    ]
    for o in outcomes:
        verdict = o.verdict if o.rule.level == "fail" else f"{o.verdict} (warn)"
        low, high = o.ci
        value = "-" if o.value is None else f"{o.value:.3g} [{low:.3g}, {high:.3g}]"
        cells = (verdict, o.name, value, o.demand, o.note or (o.rule.reason or ""))
        lines.append(f"| {' | '.join(_cell(cell) for cell in cells)} |")
    return "\n".join(lines) + "\n\n"


def workflow_commands(result: GateResult) -> list[str]:
    """Workflow commands, at most ten: failed demands as errors, the others unmet as warnings."""
    unmet = [o for o in result.outcomes if o.verdict != "pass"]
    unmet.sort(key=lambda o: (o.rule.level == "warn", o.verdict != "fail"))
    shown = unmet if len(unmet) <= MOST_ANNOTATIONS else unmet[: MOST_ANNOTATIONS - 1]
    lines = []
    for o in shown:
        level = "error" if o.verdict == "fail" and o.rule.level == "fail" else "warning"
        title = _property(f"rmaudit {o.verdict}: {o.name}")
        lines.append(f"::{level} title={title}::{_data(o.finding)}")
    if len(shown) < len(unmet):
        left = len(unmet) - len(shown)
        lines.append(f"::warning title=rmaudit::{left} more demands not met: see the summary")
    return lines


def _cell(text: str) -> str:
    """Text that cannot break out of a table's cell."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return html.escape(plain, quote=False).replace("\\", "\\\\").replace("|", "\\|")


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
