"""The folder of a benchmark run: bench.json, and what comparisons by item need beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit import files
from rmaudit.errors import UsageError
from rmaudit.report.folder import BENCHMARK, REPORT, SCORES, write_influence

if TYPE_CHECKING:
    from rmaudit.report.document import Report


def write_benchmark(report: Report, folder: Path) -> Path:
    """Write bench.json, influence.parquet and scores.parquet; returns the folder.

    Raises
    ------
    UsageError
        If the folder holds an audit, whose files have the same names.
    """
    from rmaudit.scoring.table import write_scores

    if (folder / REPORT).is_file():
        raise UsageError(f"{folder}: holds an audit; name another folder for the benchmark")
    scores, influence = report.scores, report.influence
    files.write(folder / BENCHMARK, report.to_json())
    if influence is not None:
        write_influence(folder, influence)
    if scores is not None:
        write_scores(folder / SCORES, scores)
    return folder
