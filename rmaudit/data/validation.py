"""Check data alone, in a stream: what is wrong, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from rmaudit.data.readers import Input, Intake, nothing_usable, open_reader
from rmaudit.data.types import DataType, SetAside, Source
from rmaudit.errors import StoreError


@dataclass(frozen=True, slots=True)
class Validation:
    """What a check of some data found; `type` is None where no row tells."""

    type: DataType | None
    source: Source
    set_aside: tuple[SetAside, ...]

    @property
    def exit_code(self) -> int:
        """0: every row can be used; 1: some were set aside; 2: none can be used."""
        if not self.source.rows_used:
            return 2
        return 1 if self.set_aside else 0

    def to_frame(self) -> pd.DataFrame:
        """One row a fault: column, reason, rows, first_row, example; most frequent first."""
        faults: dict[tuple[str, str], list[SetAside]] = {}
        for row in self.set_aside:
            faults.setdefault((row.column or "", row.reason), []).append(row)
        table = pd.DataFrame(
            [
                (column, reason, len(rows), rows[0].row, rows[0].detail)
                for (column, reason), rows in faults.items()
            ],
            columns=["column", "reason", "rows", "first_row", "example"],
        )
        return table.sort_values(
            ["rows", "first_row"], ascending=[False, True], kind="stable", ignore_index=True
        )


def validate(path: Input, type: DataType | None = None) -> Validation:
    """Check every row as `load` does, without holding the data.

    Parameters are those of `load`.

    Raises
    ------
    DataError
        If the input cannot be read at all, or is empty.
    """
    intake = Intake(open_reader(path), type, limit=None)
    for _ in intake.pieces():
        pass
    source = intake.source()
    if not source.rows_read:
        raise nothing_usable(source, [])
    return Validation(intake.kind, source, tuple(intake.set_aside))


def write_set_aside(path: Path, rows: Iterable[SetAside]) -> None:
    """Write the rows set aside as JSON Lines: file, row, column, reason, detail.

    Raises
    ------
    StoreError
        If the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or error}); choose another folder"
        ) from error
