"""Which cases are made of which rows, and the requests for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.audits.verifier.answers import Reference
from rmaudit.audits.verifier.cases import (
    BARE,
    EQUIVALENTS,
    EXPLOITS,
    GENERIC,
    Frame,
    Kind,
    own_frame,
    subject,
)
from rmaudit.case import Case
from rmaudit.data.fields import REFERENCES, field_names, field_values
from rmaudit.data.types import Dataset, Prompt
from rmaudit.rewards.base import MissingColumnError, leaves
from rmaudit.scoring.requests import Request
from rmaudit.typing import Integers

MOST_PROMPTS = 300  # that cases are made of, one row each
AUDIT = "verifier"


@dataclass(frozen=True)
class Cases:
    """The made responses of one class in one frame, (n,) each."""

    kind: Kind
    frame: str
    rows: Integers  # of the evaluation data
    responses: tuple[str, ...]

    @property
    def side(self) -> str:
        """Name of the column."""
        return f"{self.kind.name} ({self.frame})"


def reference_column(case: Case) -> str | None:
    """The column with the reference answer.

    That is the one given, or of those of `REFERENCES` that the data have the first that the reward
    reads; the first of all where it reads none.
    """
    names = field_names(case.eval)
    wanted = REFERENCES if case.reference is None else (case.reference,)
    there = [name for name in wanted if name in names]
    read: set[str] = set()
    for each in leaves(case.model):
        with suppress(MissingColumnError):
            read.update(each.columns(names))
    return next((name for name in there if name in read), there[0] if there else None)


def read_reference(case: Case) -> bool:
    """Whether the reward reads a reference answer of which cases can be made."""
    column = reference_column(case)
    if column is None:
        return False
    names = field_names(case.eval)
    read = any(column in leaf.columns(names) for leaf in leaves(case.model))
    return read and bool(planned(case))


def references(data: Dataset, column: str) -> list[Reference | None]:
    """The reference of each row; None where it has none that can be read."""
    return [Reference.read(value) for value in field_values(data, column)]


@memoize
def planned(case: Case) -> tuple[Cases, ...]:
    """Every class of cases; the same for the same case."""
    column = reference_column(case)
    if column is None:
        return ()
    known = references(case.eval, column)
    rows = _rows(case, known)
    prompts: list[Prompt] = case.eval.frame["prompt"].tolist()
    every = [reference for reference in known if reference is not None]
    made: dict[tuple[str, str], tuple[Kind, list[int], list[str]]] = {}
    for row in rows:
        reference = known[row]
        if reference is None:
            continue
        frame = _own_frame(case, row, reference)
        for each in GENERIC if frame is None else (frame,):
            about = subject(prompts[row], reference, each, every)
            if about is None:
                continue
            for kind in (*EXPLOITS, BARE, *EQUIVALENTS):
                response = kind.make(about)
                if response is not None:
                    entry = made.setdefault((kind.name, each.name), (kind, [], []))
                    entry[1].append(row)
                    entry[2].append(response)
    return tuple(
        Cases(kind, frame_name, np.array(places, dtype=np.int64), tuple(responses))
        for (_, frame_name), (kind, places, responses) in made.items()
    )


def _rows(case: Case, known: Sequence[Reference | None]) -> list[int]:
    """One row of each prompt, at most `MOST_PROMPTS`, at random."""
    clusters = case.clusters
    first: dict[int, int] = {}
    for row, reference in enumerate(known):
        if reference is not None:
            first.setdefault(int(clusters[row]), row)
    return sorted(first[code] for code in drawn(case, sorted(first)))


def drawn(case: Case, codes: list[int]) -> list[int]:
    """At most `MOST_PROMPTS` prompt codes, at random.

    Codes follow the prompts' names, so the draw does not depend on the order of the rows.
    """
    if len(codes) <= MOST_PROMPTS:
        return codes
    places = case.rng(AUDIT).choice(len(codes), MOST_PROMPTS, replace=False)
    return [codes[i] for i in places.tolist()]


def _own_frame(case: Case, row: int, reference: Reference) -> Frame | None:
    """The frame of the row's own correct response, if it states the reference."""
    frame = case.eval.frame
    if case.eval.type == "preference":
        return own_frame(str(frame["chosen"].iloc[row]), reference)
    if case.eval.type == "unpaired" and bool(frame["label"].iloc[row]):
        return own_frame(str(frame["output"].iloc[row]), reference)
    return None


def requests(case: Case) -> list[Request]:
    """One column a class and frame; none where the reward reads no reference answer."""
    return column_requests(case, planned(case)) if read_reference(case) else []


class Column(Protocol):
    """Made responses to some rows."""

    @property
    def side(self) -> str:
        """Name of the column."""

    @property
    def rows(self) -> Integers:
        """Of the evaluation data, (n,)."""

    @property
    def responses(self) -> tuple[str, ...]:
        """One to each of the rows."""


def column_requests(case: Case, made: Iterable[Column]) -> list[Request]:
    """What is asked of the reward to have its verdicts on made responses."""
    frame = case.eval.frame
    ids, prompts = frame["id"].tolist(), frame["prompt"].tolist()
    return [
        Request(
            each.side,
            [ids[row] for row in each.rows],
            [prompts[row] for row in each.rows],
            list(each.responses),
            AUDIT,
        )
        for each in made
    ]
