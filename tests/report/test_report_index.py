"""`rmaudit index`: one page over many audits, with trends where the data are the same."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import rmaudit as rma
from rmaudit.cli import app
from rmaudit.report.index import read_entries

ROWS = 40


def _audit(folder: Path, correct: int) -> None:
    """An audit of a reward that ranks `correct` of the pairs correctly."""
    frame = pd.DataFrame(
        {
            "prompt": [f"p{i}" for i in range(ROWS)],
            "chosen": "c",
            "rejected": "r",
            "chosen_reward": [1.0 if i < correct else -1.0 for i in range(ROWS)],
            "rejected_reward": 0.0,
        }
    )
    rma.audit("recorded", rma.load(frame), only=["preference"], cache=False).save(folder)


def test_the_index_links_every_audit_and_draws_the_trend(tmp_path: Path) -> None:
    for step, correct in ((200, 30), (100, 20), (1000, 36)):
        _audit(tmp_path / f"checkpoint-{step}", correct)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "report.json").write_text("{")
    done = CliRunner().invoke(app, ["index", str(tmp_path)])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "index.html").read_text()
    for step in (100, 200, 1000):
        assert f'href="checkpoint-{step}/report.html"' in page
    assert "not JSON" in page
    entries, faults = read_entries(tmp_path)
    assert len(faults) == 1
    # The steps are read from the folders' names; by hand, 20, 30 and 36 of 40 pairs.
    values = {e.step: number.value for e in entries if (number := e.number("preference.accuracy"))}
    assert values == {100: 0.5, 200: 0.75, 1000: pytest.approx(0.9)}
    assert "Pairwise accuracy by training step" in page
    trend = page.split("Trends on the same evaluation data")[1]
    assert "%</text>" in trend  # the axis of a share, as its column
    assert len({entry.data for entry in entries}) == 1


def test_a_report_without_any_number_and_one_with_a_broken_file_cost_no_other(
    tmp_path: Path,
) -> None:
    _audit(tmp_path / "one", 30)
    _audit(tmp_path / "broken", 30)
    (tmp_path / "broken" / "influence.parquet").write_bytes(b"no table")
    frame = pd.DataFrame({"prompt": ["p", "q"], "chosen": "c", "rejected": "r"})
    rows = rma.load(frame.assign(chosen_reward=float("nan"), rejected_reward=float("nan")))
    rma.audit("recorded", rows, only=["preference"], cache=False).save(tmp_path / "nan")
    entries, faults = read_entries(tmp_path)
    assert {entry.folder.name for entry in entries} == {"one", "nan"}
    assert len(faults) == 1
    assert "influence.parquet" in faults[0]


def test_a_folder_without_an_audit_is_refused(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["index", str(tmp_path)])
    assert done.exit_code == 2
    assert "no report below" in done.output
