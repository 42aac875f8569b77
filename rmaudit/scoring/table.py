"""Scores as a table: `scores.parquet`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.errors import StoreError
from rmaudit.scoring.requests import Column, Request, Scores

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
    ids = {r.key: pd.array(list(r.ids), dtype="str") for r in scores.requests}
    parts = [
        _rows(request, ids[request.key], scores.by_request[request.key], model_name)
        for request in scores.requests
    ]
    if len(scores.members) > 1:
        parts += [
            _rows(request, ids[request.key], columns[request.key], name)
            for name, columns in zip(scores.member_names, scores.members, strict=True)
            if name != model_name
            for request in scores.requests
            if request.key in columns
        ]
    if not parts:
        parts = [pd.DataFrame(columns=list(COLUMNS))]
    return pd.concat(parts, ignore_index=True)


def write_scores(path: str | Path, frame: pd.DataFrame) -> None:
    """Write `scores_frame` as Parquet; the file appears whole or not at all.

    Raises
    ------
    StoreError
        If the folder cannot be written or the disk is full.
    """
    path = Path(path)
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(unfinished, index=False)
        unfinished.replace(path)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}: {error}; make room or permission there, or name another file"
        ) from error


def _rows(request: Request, ids: Any, column: Column, model: str) -> pd.DataFrame:
    side = request.side if request.mode == "plain" else f"{request.side}@{request.mode}"
    return pd.DataFrame(
        {
            "id": ids,
            "side": side,
            "reward": column.reward.astype(np.float64),
            "tokens": column.tokens,
            "truncated": column.truncated,
            "model": model,
            "request": request.audit,
        }
    )
