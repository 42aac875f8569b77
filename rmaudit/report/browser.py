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
from rmaudit.order import natural
from rmaudit.plots import visible
from rmaudit.report.page import asset, fill
from rmaudit.typing import Float, Integers, Mask

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
MOST_RESPONSES = 64  # of a row; of more, those with the lowest and the highest rewards
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
    worst, left_out = worst_rows(data, report.scores)
    rows = items(data, worst, _findings_of(report))
    if not rows:
        return None
    shown = [_visible(row) for row in rows]
    for limit in LIMITS:
        page = _page(report, shown, left_out, limit)
        if page is not None:
            return page
    while len(shown) > 1:  # rows of many responses: fewer of them
        left_out += len(shown) - len(shown) // 2
        shown = shown[: len(shown) // 2]
        page = _page(report, shown, left_out, LIMITS[-1])
        if page is not None:
            return page
    return _render(report, *_as_json(shown, LIMITS[-1]), left_out, LIMITS[-1])


def _page(
    report: Report, shown: Sequence[Mapping[str, Any]], left_out: int, limit: int
) -> str | None:
    """The page with texts of so many characters; None where it is too large."""
    cut, written = _as_json(shown, limit)
    if len(written.encode()) >= PAGE_BYTES:
        return None  # the rows alone are too much: no page need be made of them
    page = _render(report, cut, written, left_out, limit)
    return page if len(page.encode()) < PAGE_BYTES else None


def _as_json(shown: Sequence[Mapping[str, Any]], limit: int) -> tuple[list[dict[str, Any]], str]:
    """Rows whose texts are cut, and the same as JSON without a "<"."""
    cut = [_cut(row, limit) for row in shown]
    return cut, json.dumps(cut, ensure_ascii=False).replace("<", "\\u003c")


class Rewards(NamedTuple):
    """What is known of a row before its texts are looked at."""

    place: int  # in the data
    by_side: dict[str, float]
    margin: float | None


def worst_rows(data: Dataset, scores: pd.DataFrame) -> tuple[list[Rewards], int]:
    """The rows with the smallest margins, in their order, and how many more have a reward.

    The margin is the chosen response's reward minus the rejected one's, or best-labelled minus the
    highest of the others in a ranking; None where there is no comparison or a reward is missing:
    these come last.
    """
    mine = (scores["request"].fillna("") == "") & (scores["side"] != "")
    if "model" in scores and mine.any():  # the members of an ensemble come after it
        mine &= scores["model"] == scores["model"].iloc[int(mine.argmax())]
    own = scores[mine]
    place = pd.Index(data.ids).get_indexer(pd.Index(own["id"].astype(str))).astype(np.int64)
    own, place = own[place >= 0], place[place >= 0]
    side = own["side"].astype(str)
    if side.str.startswith("output_").any():
        return _of_lists(data, place, side.tolist(), own["reward"].tolist())
    return _of_columns(data, place, side, own["reward"].to_numpy(np.float64))


def _of_columns(
    data: Dataset, place: Integers, sides: pd.Series, values: Float
) -> tuple[list[Rewards], int]:
    """`worst_rows` of data with a column a side: of a million pairs, few are looked at alone."""
    rewards: dict[str, Float] = {}
    there: dict[str, Mask] = {}
    for side in [name for name in sides.unique().tolist() if name in data.frame]:
        here = (sides == side).to_numpy()
        rewards[side], there[side] = np.full(len(data), np.nan), np.zeros(len(data), dtype=bool)
        rewards[side][place[here]], there[side][place[here]] = values[here], True
    margin = np.full(len(data), np.nan)
    if {"chosen", "rejected"} <= rewards.keys():
        with np.errstate(over="ignore", invalid="ignore"):  # told where margins are measured
            margin = rewards["chosen"] - rewards["rejected"]
    rows = np.flatnonzero(np.any(list(there.values()), axis=0)) if there else np.arange(0)
    order = rows[np.argsort(np.where(np.isfinite(margin), margin, np.inf)[rows], kind="stable")]
    found = [
        Rewards(
            row,
            {side: float(rewards[side][row]) for side in rewards if there[side][row]},
            _finite(float(margin[row])),
        )
        for row in order[:MOST_ITEMS].tolist()
    ]
    return found, max(0, len(order) - MOST_ITEMS)


def _of_lists(
    data: Dataset, place: Integers, sides: Sequence[str], values: Sequence[float]
) -> tuple[list[Rewards], int]:
    """`worst_rows` of data with a list of responses a row."""
    given: dict[int, dict[str, float]] = {}
    for row, side, reward in zip(place.tolist(), sides, values, strict=True):
        given.setdefault(row, {})[side] = float(reward)
    names = [name for name in ("outputs", "ranking") if name in data.frame]
    records = cast(list[dict[str, Any]], data.frame[names].to_dict("records"))
    columns = frozenset(data.frame.columns)
    found = []
    for row in sorted(given):
        record = records[row]
        # Samples of the policy may have the ids of the evaluation data: their sides are not its.
        mine = {side: reward for side, reward in given[row].items() if _has(record, columns, side)}
        if mine:
            found.append(Rewards(row, mine, _margin(record, mine)))
    found.sort(key=lambda row: np.inf if row.margin is None else row.margin)
    return found[:MOST_ITEMS], max(0, len(found) - MOST_ITEMS)


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
            for side, reward in _ends(row.by_side).items()
        ]
        made.append(
            {
                "id": id_,
                "prompt": prompt_text(record["prompt"]),
                "responses": responses,
                "more": len(row.by_side) - len(responses),
                "margin": row.margin,
                "subset": subset,
                "findings": list(findings.get(id_, ())),
            }
        )
    return made


def _ends(rewards: Mapping[str, float]) -> Mapping[str, float]:
    """The lowest and the highest of more rewards than are shown, in their own order."""
    if len(rewards) <= MOST_RESPONSES:
        return rewards
    order = np.argsort(np.array(list(rewards.values())), kind="stable")  # NaN comes last
    half = MOST_RESPONSES // 2
    kept = set(order[:half].tolist()) | set(order[-half:].tolist())
    return {side: reward for i, (side, reward) in enumerate(rewards.items()) if i in kept}


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
        "subsets": sorted({row["subset"] for row in rows if row["subset"]}, key=natural),
        # "<" never stands in the data, so it cannot end the element it lies in.
        "data": Markup(data),  # nosec B704
        "style": Markup(style),  # nosec B704: a file of the package
        "script": Markup(script),  # nosec B704: a file of the package
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }
    return fill("samples.html", view, limit)


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
