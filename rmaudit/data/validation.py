"""Check data alone, in a stream: what is wrong, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from rmaudit.data.containers import Input, open_reader
from rmaudit.data.intake import Intake
from rmaudit.data.mapping import ColumnMap, parse_columns
from rmaudit.data.types import DataType, Reading, SetAside, Source, notices
from rmaudit.errors import StoreError


@dataclass(frozen=True, slots=True)
class Validation:
    """What a check of some data found; `type` is None where no row tells."""

    type: DataType | None
    source: Source
    set_aside: tuple[SetAside, ...]
    reading: Reading
    advice: str = ""  # what to do where nothing can be used

    @property
    def notices(self) -> tuple[str, ...]:
        """What of the source is not used, a line each."""
        return notices(self.source, self.reading)

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


def validate(
    path: Input,
    type: DataType | None = None,
    columns: str | Mapping[str, str] | ColumnMap | None = None,
) -> Validation:
    """Check every row as `load` does, without holding the data.

    Parameters are those of `load`.

    Raises
    ------
    DataError
        If the input cannot be read at all, no row of it can be used, or its labels are not
        understood.
    """
    mapping = parse_columns(columns)
    intake = Intake(open_reader(path, sorted(mapping.reads)), type, None, mapping)
    for _ in intake.pieces():
        pass
    source = intake.source()
    if not source.rows_read:
        raise intake.nothing_usable()
    return Validation(
        intake.kind, source, tuple(intake.set_aside), intake.reading(), str(intake.nothing_usable())
    )


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
