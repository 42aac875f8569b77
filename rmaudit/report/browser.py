"""`samples.html`: every audited item with its rewards, to sort, filter and read."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd
from markupsafe import Markup

from rmaudit.data.types import Dataset, prompt_text
from rmaudit.plots import visible
from rmaudit.report.page import asset, environment

if TYPE_CHECKING:
    from rmaudit.report.document import Report

MOST_ITEMS = 5_000  # the worst margins where there are more
PAGE_BYTES = 4_500_000
LIMITS = (
    2_000,
    800,
    500,
    300,
    220,
    160,
    120,
    60,
)  # characters per text; the first that keeps the page small
FIRST_ROWS = 50  # readable without scripts


def samples_page(report: Report, data: Dataset) -> str | None:
    """The page of an audit's evaluation data; None where it holds no response with a reward.

    Parameters
    ----------
    report
        The audit, with its scores.
    data
        The evaluation data that was scored.
    """
    if report.scores is None or not len(data):
        return None
    rewards = rewarded_rows(data, report.scores)
    worst = sorted(rewards, key=lambda row: np.inf if row.margin is None else row.margin)
    left_out = max(0, len(worst) - MOST_ITEMS)
    rows = items(data, worst[:MOST_ITEMS], _findings_of(report))
    if not rows:
        return None
    shown = [_visible(row) for row in rows]
    page = ""
    for limit in LIMITS:
        cut = [_cut(row, limit) for row in shown]
        written = json.dumps(cut, ensure_ascii=False).replace("<", "\\u003c")
        if limit != LIMITS[-1] and len(written.encode()) >= PAGE_BYTES:
            continue  # the rows alone are too much: no page need be made of them
        page = _render(report, cut, written, left_out, limit)
        if len(page.encode()) < PAGE_BYTES:
            break
    return page


class Rewards(NamedTuple):
    """What is known of a row before its texts are looked at."""

    place: int  # in the data
    by_side: dict[str, float]
    margin: float | None


def rewarded_rows(data: Dataset, scores: pd.DataFrame) -> list[Rewards]:
    """The rows that have a response with a reward.

    The margin is the chosen response's reward minus the rejected one's, or best-labelled minus the
    highest of the others in a ranking; None where there is no comparison or a reward is missing.
    """
    own = scores[(scores["request"].fillna("") == "") & (scores["side"] != "")]
    rewards: dict[str, dict[str, float]] = {}
    for id_, side, reward in zip(
        own["id"].tolist(), own["side"].tolist(), own["reward"].tolist(), strict=True
    ):
        rewards.setdefault(str(id_), {})[str(side)] = float(reward)
    frame = data.frame
    several = [name for name in ("outputs", "ranking") if name in frame]
    records = (
        cast(list[dict[str, Any]], frame[several].to_dict("records"))
        if several
        else [{}] * len(frame)
    )
    columns = frozenset(frame.columns)
    found = []
    for place, (id_, record) in enumerate(zip(frame["id"].tolist(), records, strict=True)):
        given = rewards.get(str(id_), {})
        # Samples of the policy may have the ids of the evaluation data: their sides are not its.
        mine = {side: reward for side, reward in given.items() if _has(record, columns, side)}
        if mine:
            found.append(Rewards(place, mine, _margin(record, mine)))
    return found


def items(
    data: Dataset, rows: Sequence[Rewards], findings: Mapping[str, Sequence[int]]
) -> list[dict[str, Any]]:
    """One record per row: prompt, responses with rewards, margin, subset, findings."""
    frame = data.frame.iloc[[row.place for row in rows]]
    subsets = frame["subset"].astype(str).tolist() if "subset" in frame else [""] * len(frame)
    records = cast(list[dict[str, Any]], frame.to_dict("records"))
    made = []
    for row, record, subset in zip(rows, records, subsets, strict=True):
        id_ = str(record["id"])
        responses = [
            {"side": side, "text": _text(record, side), "reward": _finite(reward)}
            for side, reward in row.by_side.items()
        ]
        made.append(
            {
                "id": id_,
                "prompt": prompt_text(record["prompt"]),
                "responses": responses,
                "margin": row.margin,
                "subset": subset,
                "findings": list(findings.get(id_, ())),
            }
        )
    return made


def _has(record: Mapping[str, Any], columns: frozenset[str], side: str) -> bool:
    """Whether a row has a response of this side."""
    if not side.startswith("output_"):
        return side in columns
    outputs, place = record.get("outputs"), side.removeprefix("output_")
    return outputs is not None and place.isdigit() and int(place) < len(outputs)


def _text(record: Mapping[str, Any], side: str) -> str:
    if side.startswith("output_"):
        return str(record["outputs"][int(side.removeprefix("output_"))])
    return str(record.get(side, ""))


def _margin(record: Mapping[str, Any], rewards: Mapping[str, float]) -> float | None:
    if {"chosen", "rejected"} <= rewards.keys():
        return _finite(rewards["chosen"] - rewards["rejected"])
    ranking = record.get("ranking")
    if not isinstance(ranking, list | tuple | np.ndarray) or len(ranking) < 2:
        return None
    values = [rewards.get(f"output_{j}", np.nan) for j in range(len(ranking))]
    best = min(ranking)
    top = [v for v, rank in zip(values, ranking, strict=True) if rank == best]
    rest = [v for v, rank in zip(values, ranking, strict=True) if rank != best]
    return _finite(min(top) - max(rest)) if top and rest else None


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _findings_of(report: Report) -> dict[str, list[int]]:
    """Which findings show a row as an example: its id -> places in the report, from 1."""
    places: dict[str, list[int]] = {}
    for place, finding in enumerate(report.findings, 1):
        for row in finding.examples:
            if "id" in row:
                places.setdefault(str(row["id"]), []).append(place)
    return places


def _render(
    report: Report, rows: Sequence[Mapping[str, Any]], data: str, left_out: int, limit: int
) -> str:
    """The page of rows whose texts are cut, and the same rows as JSON without a "<"."""
    script, style = asset("samples.js"), asset("page.css")
    view = {
        "report": report.record,
        "rows": rows[:FIRST_ROWS],
        "count": len(rows),
        "left_out": left_out,
        "subsets": sorted({row["subset"] for row in rows if row["subset"]}),
        # "<" never stands in the data, so it cannot end the element it lies in.
        "data": Markup(data),  # nosec B704
        "style": Markup(style),  # nosec B704: a file of the package
        "script": Markup(script),  # nosec B704: a file of the package
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return environment(limit).get_template("samples.html").render(view)


def _visible(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose every text shows what is hidden in it; of long ones what may be shown."""
    most = 2 * LIMITS[0] + 2  # what shows is no shorter, but for "\r\n": one character of two
    responses = [{**each, "text": visible(each["text"][:most])} for each in row["responses"]]
    names = {name: visible(row[name]) for name in ("id", "subset")}
    return {**row, **names, "prompt": visible(row["prompt"][:most]), "responses": responses}


def _cut(row: Mapping[str, Any], limit: int) -> dict[str, Any]:
    def shown(text: str) -> str:
        return text if len(text) <= limit else f"{text[:limit].rstrip()} …"

    responses = [{**each, "text": shown(each["text"])} for each in row["responses"]]
    return {**row, "prompt": shown(row["prompt"]), "responses": responses}
