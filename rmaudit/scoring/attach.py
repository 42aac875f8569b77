"""Rows of the data, put beside the texts that belong to them, for rewards that read columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rmaudit.data.fields import field_names, field_values
from rmaudit.data.types import Dataset, prompt_key
from rmaudit.errors import DataError, RewardModelError
from rmaudit.rewards.base import MissingColumnError, RewardModel, Row
from rmaudit.scoring.requests import Request

ColumnsRead = Mapping[str, tuple[str, ...]]
"""By data set, the columns of its rows that a reward reads."""


def columns_read(
    model: RewardModel, datasets: Mapping[str, Dataset], requests: Sequence[Request]
) -> ColumnsRead:
    """What one model reads of each data set that is asked for; empty for most models.

    Raises
    ------
    DataError
        If a data set lacks a column that the model needs.
    """
    read: dict[str, tuple[str, ...]] = {}
    for request in requests:
        name = request.data
        if name in read:
            continue
        if name in datasets:
            path, there = datasets[name].source.path, field_names(datasets[name])
        else:  # a worker is sent the rows
            path, there = "the texts", tuple(next(iter(request.rows or ()), ()))
        try:
            read[name] = model.columns(there)
        except MissingColumnError as error:
            raise DataError(f"{path}: {error}") from error
    return read if any(read.values()) else {}


def with_rows(
    requests: Sequence[Request], datasets: Mapping[str, Dataset], reads: Sequence[ColumnsRead]
) -> list[Request]:
    """The requests with the rows that any of the models reads.

    A text whose id is no row's (one of a search) gets the row of its prompt, if all rows with that
    prompt agree.

    Raises
    ------
    RewardModelError
        If a text belongs to no row.
    """
    columns = {
        name: tuple(dict.fromkeys(column for read in reads for column in read.get(name, ())))
        for name in datasets
    }
    tables = {name: _RowTable(datasets[name], c) for name, c in columns.items() if c}
    return [
        replace(request, rows=tables[request.data].of(request))
        if request.data in tables and request.rows is None
        else request
        for request in requests
    ]


class _RowTable:
    """The rows of one data set, reduced to some columns, by id and by prompt."""

    def __init__(self, data: Dataset, columns: Sequence[str]) -> None:
        values = [field_values(data, name) for name in columns]
        self._path = data.source.path
        self._columns = ", ".join(columns)
        self._rows: list[Row] = [
            dict(zip(columns, each, strict=True)) for each in zip(*values, strict=True)
        ]
        self._by_id = dict(zip(data.frame["id"].tolist(), self._rows, strict=True))
        self._prompts = data.frame["prompt"].tolist()
        self._by_prompt: dict[str, Row | None] = {}

    def of(self, request: Request) -> list[Row]:
        """One row a text."""
        by_id = self._by_id
        rows = [by_id.get(each) for each in request.row_ids or request.ids]
        if None not in rows:
            return [row for row in rows if row is not None]
        return [
            self._of_prompt(request, place) if row is None else row
            for place, row in enumerate(rows)
        ]

    def _of_prompt(self, request: Request, place: int) -> Row:
        if not self._by_prompt:
            for prompt, each in zip(self._prompts, self._rows, strict=True):
                key = prompt_key(prompt)
                known = self._by_prompt.setdefault(key, each)
                self._by_prompt[key] = known if known == each else None
        key = prompt_key(request.prompts[place])
        row = self._by_prompt.get(key)
        if row is None:
            what = (
                "belongs to no row of"
                if key not in self._by_prompt
                else f"could belong to several rows, which differ in {self._columns}, of"
            )
            raise RewardModelError(
                f"{request.audit or request.data} asks for the reward of a text that {what} "
                f"{self._path} (id {request.ids[place]!r}), and the reward reads the row"
            )
        return row
