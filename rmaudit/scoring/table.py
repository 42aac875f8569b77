"""Scores as a table: `scores.parquet`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from rmaudit import files
from rmaudit.scoring.requests import Column, Request, Scores
from rmaudit.typing import Integers

COLUMNS = ("id", "side", "reward", "tokens", "truncated", "model", "request")


def scores_frame(scores: Scores, model_name: str) -> pd.DataFrame:
    """One row a text.

    Parameters
    ----------
    scores
        What `rmaudit.scoring.score` returned.
    model_name
        The name of the audited model, for the column ``model``.

    Returns
    -------
    DataFrame
        ``id``, ``side``, ``reward`` (float64; NaN and infinities kept), ``tokens``,
        ``truncated``, ``model``, ``request`` (the audit that asked; empty for the data itself).
        Where there are several members, each adds rows of its own under its own name. Texts
        asked for in another mode have it after their side: ``chosen@left``.
    """
    asked = [(request, scores.by_request[request.key], model_name) for request in scores.requests]
    if len(scores.members) > 1:
        asked += [
            (request, columns[request.key], name)
            for name, columns in zip(scores.member_names, scores.members, strict=True)
            if name != model_name
            for request in scores.requests
            if request.key in columns
        ]
    return _stacked(asked) if asked else pd.DataFrame(columns=list(COLUMNS))


def with_components(frame: pd.DataFrame, scores: Scores) -> pd.DataFrame:
    """The table with one column for each named part of the rewards; NaN where a part is not there.

    A part whose name a column of `scores_frame` has already is called ``component.NAME``.
    """
    columns = [scores.by_request[request.key] for request in scores.requests]
    names = dict.fromkeys(name for column in columns for name in column.components)
    parts = {}
    for name in names:
        values = np.full(len(frame), np.nan)
        end = 0
        for column in columns:
            start, end = end, end + len(column.reward)
            if name in column.components:
                values[start:end] = column.components[name]
        parts[f"component.{name}" if name in COLUMNS else name] = values
    return frame.assign(**parts)


def write_scores(path: str | Path, frame: pd.DataFrame) -> None:
    """Write `scores_frame` as Parquet; the file appears whole or not at all.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full.
    """
    with files.unfinished(Path(path)) as place:
        frame.to_parquet(place, index=False)


def _stacked(asked: Sequence[tuple[Request, Column, str]]) -> pd.DataFrame:
    """The rows of all requests; a request may be one text of a hundred thousand of a prompt."""
    sizes = np.array([len(column.reward) for _, column, _ in asked])
    ids = {request.key: pa.array(list(request.ids), pa.large_string()) for request, *_ in asked}
    return pd.DataFrame(
        {
            "id": pa.chunked_array([ids[request.key] for request, *_ in asked]).to_pandas(),
            "side": _repeated([_side(request) for request, *_ in asked], sizes),
            "reward": np.concatenate([column.reward for _, column, _ in asked]).astype(np.float64),
            "tokens": np.concatenate([column.tokens for _, column, _ in asked]),
            "truncated": np.concatenate([column.truncated for _, column, _ in asked]),
            "model": _repeated([name for *_, name in asked], sizes),
            "request": _repeated([request.audit for request, *_ in asked], sizes),
        },
        copy=False,
    )


def _side(request: Request) -> str:
    return request.side if request.mode == "plain" else f"{request.side}@{request.mode}"


def _repeated(texts: Sequence[str], sizes: Integers) -> pd.Series:
    """Each text as often as its request has rows."""
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    codes = np.repeat([place[text] for text in texts], sizes)
    column: pd.Series = pa.array(list(place), pa.large_string()).take(pa.array(codes)).to_pandas()
    return column
