"""What the cells say, as Markdown tables and one figure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy.stats import binomtest

from detection.cells import raised
from detection.flaws import CLEAN, FLAWS, MEDIUM, OTHERS
from rmaudit.plots import to_png
from rmaudit.results import Figure

Rows = Sequence[Mapping[str, Any]]
ENOUGH = 0.8  # power
# Of the data, not of the reward, and true: the sound score likes length a little, the labels are
# noisy, and the clinic's texts are filled from one set of phrases.
TRUE_OF_CLEAN = (  # metric, and words of the title
    ("", "chosen response is longer"),
    ("", "chosen output is longer"),  # as older cells have it
    ("data.suspect_label_share", "feedback"),
)
TRUE_OF_CLINIC = (("data.near_leakage_share", "with a word or two changed"),)


def share(count: int, n: int) -> str:
    """A share with its exact (Clopper-Pearson) interval."""
    if not n:
        return "-"
    found = binomtest(count, n).proportion_ci(method="exact")
    return f"{count}/{n} ({100 * found.low:.0f}-{100 * found.high:.0f} %)"


def false_alarms(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Audit and metric of the findings on a clean twin that are not true of it."""
    true = TRUE_OF_CLEAN + (TRUE_OF_CLINIC if row["world"] == "clinic" else ())
    return [
        (audit, metric)
        for audit, metric, _, title in row["findings"]
        if not any(metric == id_ and words in title for id_, words in true)
    ]


def write(rows: Rows, folder: Path) -> str:
    """All tables, written to `folder` with the figure."""
    parts = []
    for world in sorted({row["world"] for row in rows}):
        for pairs in sorted({row["pairs"] for row in rows if row["world"] == world}):
            part = [row for row in rows if (row["world"], row["pairs"]) == (world, pairs)]
            parts.append(f"### {world}, {pairs:,} pairs\n\n{power_table(part)}")
            parts.append(f"Clean twins with a finding:\n\n{clean_table(part)}")
            parts.append(f"Findings at medium strength:\n\n{confusion_table(part)}")
    parts.append(f"### Smallest strength with power {ENOUGH}\n\n{smallest_table(rows)}")
    text = "\n\n".join(parts) + "\n"
    (folder / "detection.md").write_text(text, encoding="utf-8")
    (folder / "detection.png").write_bytes(to_png(figure(rows), dpi=150))
    return text


def power(rows: Rows, flaw: str, strength: float) -> tuple[int, int]:
    """Cells in which the intended finding was raised, and cells."""
    found = [raised(row) for row in rows if (row["flaw"], row["strength"]) == (flaw, strength)]
    return sum(found), len(found)


def power_table(rows: Rows) -> str:
    """One row a flaw, one column a strength; the third is the medium one."""
    lines = [
        "| flaw | strength is | 1 | 2 | 3 (medium) | 4 | 5 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, flaw in FLAWS.items():
        found = [(s, *power(rows, name, s)) for s in flaw.strengths]
        if any(n for _, _, n in found):
            cells = " | ".join(f"{s:.3g}: {share(count, n)}" for s, count, n in found)
            lines.append(f"| {name} | {flaw.unit} | {cells} |")
    return "\n".join(lines)


def clean_table(rows: Rows) -> str:
    """One row an audit, and the report."""
    clean = [row for row in rows if not row["flaw"]]
    lines = ["| audit | with a finding | findings |", "| --- | --- | --- |"]
    found = [false_alarms(row) for row in clean]
    for audit in CLEAN:
        hits = sum(any(name == audit for name, _ in each) for each in found)
        what = Counter(metric for each in found for name, metric in each if name == audit)
        lines.append(f"| {audit} | {share(hits, len(clean))} | {', '.join(what)} |")
    any_ = sum(bool(each) for each in found)
    lines.append(f"| **report** | {share(any_, len(clean))} | |")
    return "\n".join(lines)


def confusion_table(rows: Rows) -> str:
    """One row a flaw at medium strength, one column an audit's finding: share of seeds, percent.

    The intended finding is bold. Audits that did not run beside a flaw are left open.
    """
    by_flaw: dict[str, tuple[int, Counter[str], set[str]]] = {}
    for name, flaw in FLAWS.items():
        part = [
            row
            for row in rows
            if (row["flaw"], row["strength"]) == (name, flaw.strengths[MEDIUM])
            and set(OTHERS) <= set(row["audits"])
        ]
        count = Counter(
            m for r in part for m in {metric or audit for audit, metric, *_ in r["findings"]}
        )
        by_flaw[name] = len(part), count, {audit for r in part for audit in r["audits"]}
    columns = sorted({metric for _, count, _ in by_flaw.values() for metric in count})
    lines = [f"| flaw | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for name, (n, count, ran) in by_flaw.items():
        if n:
            cells = []
            for column in columns:
                known = column.partition(".")[0] in ran
                text = f"{100 * count[column] / n:.0f}" if known else ""
                wanted = any(column.startswith(metric) for _, metric, _ in FLAWS[name].raises)
                cells.append(f"**{text}**" if wanted and text else text)
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def smallest_table(rows: Rows) -> str:
    """One row a flaw: the smallest strength from which power is enough, by world and size."""
    where = sorted({(row["world"], row["pairs"]) for row in rows})
    lines = [
        f"| flaw | strength is | {' | '.join(f'{w}, {n:,} pairs' for w, n in where)} |",
        "| --- " * (len(where) + 2) + "|",
    ]
    for name, flaw in FLAWS.items():
        cells = []
        for place in where:
            part = [row for row in rows if (row["world"], row["pairs"]) == place]
            counts = [power(part, name, s) for s in flaw.strengths]
            if not all(n for _, n in counts):
                cells.append("not run")
                continue
            enough = [count >= ENOUGH * n for count, n in counts]
            from_ = next((i for i in range(len(enough)) if all(enough[i:])), None)
            cells.append("none" if from_ is None else f"{flaw.strengths[from_]:.3g}")
        lines.append(f"| {name} | {flaw.unit} | {' | '.join(cells)} |")
    return "\n".join(lines)


def figure(rows: Rows) -> Figure:
    """Power by flaw and strength, over the worlds, at the smaller size."""
    least = min(row["pairs"] for row in rows)
    part = [row for row in rows if row["pairs"] == least]
    values: list[list[float | None]] = []
    names = [name for name, flaw in FLAWS.items() if power(part, name, flaw.strengths[0])[1]]
    for name in names:
        counts = [power(part, name, s) for s in FLAWS[name].strengths]
        values.append([count / n if n else None for count, n in counts])
    data = {
        "rows": names,
        "columns": ["1", "2", "3", "4", "5"],
        "values": values,
        "unit": "power",
        "center": None,
        "xlabel": "strength",
        "ylabel": "planted flaw",
    }
    alt = f"Share of seeds in which each planted flaw was found, by strength, {least} pairs."
    return Figure("power", "heatmap", "Power by planted flaw and strength", alt, data)
