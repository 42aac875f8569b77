"""`League`: many audits or benchmark runs in one table, with what is told apart from what.

Every two runs are compared by the paired difference on the prompts that all runs share
(`rmaudit.comparison.paired`), Holm-adjusted over all pairs of one number. Runs that share a letter
are not told apart (`rmaudit.comparison.letters`). The interval of a rank counts the runs that are
better and worse beyond chance. Runs of one training in order of their steps also have a trend.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import stdtrit

from rmaudit.comparison.letters import letters
from rmaudit.comparison.paired import Change, Influence, change, moved
from rmaudit.comparison.pairing import Key, influences_on, own_prompts
from rmaudit.comparison.trend import Trend, steps_of, trend
from rmaudit.errors import UsageError, nearest
from rmaudit.report.document import Report
from rmaudit.report.folder import BENCHMARK, report_file
from rmaudit.report.plain import dumps, plain
from rmaudit.report.schema import MetricRecord
from rmaudit.results import Better
from rmaudit.stats.multiple import holm
from rmaudit.typing import Float, Mask

OVERALL = "{}"  # the slice of an overall number, as text
# Endings of the ids that are shown by default: the first that all runs have defined.
_DEFAULTS = (("preference.accuracy", ".score"), (".score_present",), (".accuracy",))


@dataclass(frozen=True, slots=True)
class Standing:
    """One run in the table. Ranks count from 1; NaN where the number is undefined, with a reason.

    `letters`: runs that share one are not told apart. `step` is None where runs are no training.
    """

    name: str
    value: float
    low: float
    high: float
    rank: int
    rank_low: int
    rank_high: int
    letters: str
    n_prompts: int
    step: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Board:
    """One number of all runs, the best first."""

    metric: str
    title: str
    unit: str
    better: Better
    standings: tuple[Standing, ...]
    p_adjusted: NDArray[np.float64]  # (k, k) in the order of the standings; NaN: not compared
    detectable: float  # smallest difference of two runs that would be shown with 80% power
    shared: int  # prompts that all runs have; 0: nothing is paired
    trend: Trend | None = None

    @property
    def apart(self) -> int:
        """How many letters are needed: 1 if no two runs are told apart."""
        return len(set("".join(s.letters for s in self.standings)))


@dataclass(frozen=True, slots=True)
class League:
    """Many runs: one board a number."""

    boards: tuple[Board, ...]
    confidence: float
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row a number and run: metric, name, value, low, high, rank, ..."""
        rows = [
            {"metric": board.metric, **{f: getattr(s, f) for f in Standing.__dataclass_fields__}}
            for board in self.boards
            for s in board.standings
        ]
        return pd.DataFrame(rows, columns=["metric", *Standing.__dataclass_fields__])

    def to_dict(self) -> dict[str, Any]:
        """Plain values; null for what is not defined."""
        document: dict[str, Any] = plain(
            {
                "schema_version": 1,
                "confidence": self.confidence,
                "notes": self.notes,
                "boards": [
                    {
                        **{f: getattr(b, f) for f in ("metric", "title", "unit", "better")},
                        "detectable_difference": b.detectable,
                        "shared_prompts": b.shared,
                        "standings": [_fields(s) for s in b.standings],
                        "p_adjusted": b.p_adjusted.tolist(),
                        "trend": None if b.trend is None else _fields(b.trend),
                    }
                    for b in self.boards
                ],
            }
        )
        return document

    def to_json(self) -> str:
        """The text of league.json."""
        return dumps(self.to_dict())

    def save(self, folder: str | Path) -> Path:
        """Write league.json and league.html; returns the folder."""
        from rmaudit import files
        from rmaudit.comparison.page import render_league

        folder = Path(folder)
        files.write(folder / "league.json", self.to_json())
        files.write(folder / "league.html", render_league(self))
        return folder


def league(
    reports: Sequence[Report | str | Path],
    metrics: Iterable[str] | None = None,
    *,
    steps: Sequence[float] | None = None,
    confidence: float = 0.95,
) -> League:
    """Bring many audits or benchmark runs into one table per number.

    Parameters
    ----------
    reports
        Two or more, or their folders; a folder may hold those of several benchmarks (``bench
        all``), and then each benchmark that all runs have is compared.
    metrics
        Ids of overall numbers, such as "rm_bench.score"; by default a benchmark's score, else
        pairwise accuracy.
    steps
        Of the runs, where they are checkpoints of one training; by default the last number in
        their names, where the names differ in nothing else.
    confidence
        Two-sided, of each interval; one minus it is the chance that any two equal runs are told
        apart on one number.

    Raises
    ------
    UsageError
        If runs share no prompt, or no number.
    """
    runs = [_opened(report) for report in reports]
    if len(runs) < 2:
        raise UsageError("a league needs two runs or more")
    common = [key for key in runs[0] if all(key in run for run in runs[1:])]
    if not common:
        held = "; ".join(", ".join(run) for run in runs[:3])
        raise UsageError(f"the runs share no audit or benchmark: they hold {held}")
    boards: list[Board] = []
    notes: list[str] = []
    wanted = None if metrics is None else list(metrics)
    for key in common:
        of = [run[key] for run in runs]
        names = _distinct_names(of)
        at = steps_of(names, steps)
        shared, influences = _shared(of)
        for id_ in _metrics(of, wanted if len(common) == 1 else _belonging(wanted, of)):
            boards.append(_board(of, names, id_, influences, at, confidence, shared))
        notes += [n if len(common) == 1 else f"{key}: {n}" for n in _notes(of, shared)]
    return League(tuple(boards), confidence, tuple(notes))


def _opened(report: Report | str | Path) -> dict[str, Report]:
    """A run by what it is of: "audit", or the benchmark's name; a folder may hold several."""
    if isinstance(report, Report):
        return {_kind(report): report}
    path = Path(report)
    if path.is_dir() and not report_file(path).is_file():
        inside = sorted(file.parent for file in path.glob(f"*/{BENCHMARK}"))
        reports = [Report.load(folder) for folder in inside]
        if reports:
            return {_kind(each): each for each in reports}
    one = Report.load(path)
    return {_kind(one): one}


def _kind(report: Report) -> str:
    return "audit" if report.suite is None else str(report.suite["name"])


def _belonging(wanted: Sequence[str] | None, runs: Sequence[Report]) -> list[str] | None:
    """The wanted numbers that are of these runs' audits; None for the default ones."""
    if wanted is None:
        return None
    return [id_ for id_ in wanted if id_.partition(".")[0] in runs[0].audits]


def _board(
    runs: Sequence[Report],
    names: Sequence[str],
    metric: str,
    influences: Sequence[dict[Key, Influence]] | None,
    steps: Sequence[float] | None,
    confidence: float,
    shared: int,
) -> Board:
    records = [run.metric(metric) for run in runs]
    key = (metric, OVERALL)
    own = (
        [None] * len(runs)
        if influences is None
        else [influence.get(key) for influence in influences]
    )
    pairs = list(combinations(range(len(runs)), 2))
    changes = [change(records[i], records[j], own[i], own[j], confidence) for i, j in pairs]
    p = _adjusted(len(runs), pairs, changes)
    values = _values(records, own)
    order = _order(values, records[0].better)
    p, values = p[np.ix_(order, order)], values[order]
    apart = np.nan_to_num(p, nan=1.0) < 1 - confidence
    standings = [
        _standing(names[run], records[run], values, place, apart, shown, steps, run)
        for (place, run), shown in zip(enumerate(order), letters(apart), strict=True)
    ]
    audit = runs[0].audits[metric.partition(".")[0]]
    return Board(
        metric,
        f"{audit.title}: {audit.names.get(metric, metric)}",
        records[0].unit,
        records[0].better,
        tuple(standings),
        p,
        _detectable(changes),
        shared,
        trend(records, own, steps, confidence),
    )


def _standing(
    name: str,
    record: MetricRecord,
    values: Float,
    place: int,
    apart: Mask,
    shown: str,
    steps: Sequence[float] | None,
    run: int,
) -> Standing:
    """One row; `values` and `apart` are in the order of the table."""
    better = int(apart[place, :place].sum())
    worse = int(apart[place, place + 1 :].sum())
    low, high = (math.nan if end is None else end for end in record.ci)
    # On the shared prompts the value may be another than on the run's own.
    shift = 0.0 if record.value is None else float(values[place]) - record.value
    return Standing(
        name,
        float(values[place]),
        low + shift,
        high + shift,
        place + 1,
        1 + better,
        len(values) - worse,
        shown if record.value is not None else "",
        record.n_prompts,
        None if steps is None else steps[run],
        record.reason,
    )


def _adjusted(
    count: int, pairs: Sequence[tuple[int, int]], changes: Sequence[Change | str]
) -> NDArray[np.float64]:
    """Holm-adjusted p-values of all pairs, (count, count); NaN where not compared."""
    p = np.full((count, count), math.nan)
    tested = [
        (pair, shift.difference.p)
        for pair, shift in zip(pairs, changes, strict=True)
        if isinstance(shift, Change) and math.isfinite(shift.difference.p)
    ]
    for ((i, j), _), adjusted in zip(tested, holm([p for _, p in tested]), strict=True):
        p[i, j] = p[j, i] = adjusted
    return p


def _values(records: Sequence[MetricRecord], own: Sequence[Influence | None]) -> Float:
    """The value of each run on the shared prompts, (k,); NaN where undefined."""
    return np.array(
        [
            math.nan
            if record.value is None
            else record.value
            if influence is None
            else moved(record.value, influence, record.n_prompts).value
            for record, influence in zip(records, own, strict=True)
        ],
        dtype=np.float64,
    )


def _order(values: Float, better: Better) -> NDArray[np.int64]:
    """Places of the runs, the best first and the undefined last."""
    with np.errstate(divide="ignore"):  # the logarithm of a value of 0
        badness = {"lower": values, "zero": np.abs(values), "one": np.abs(np.log(np.abs(values)))}
    return np.argsort(badness.get(better, -values), kind="stable").astype(np.int64)


def _detectable(changes: Sequence[Change | str]) -> float:
    """The median over pairs of 2.8 standard errors of the paired difference, roughly."""
    errors = []
    for shift in changes:
        if isinstance(shift, Change) and shift.method == "paired" and shift.n_prompts > 1:
            quantile = float(stdtrit(shift.n_prompts - 1, 0.975))
            errors.append((shift.difference.high - shift.difference.low) / 2 / quantile)
    return float(np.median(errors)) * (1.959964 + 0.841621) if errors else math.nan


def _shared(
    runs: Sequence[Report],
) -> tuple[int, list[dict[Key, Influence]] | None]:
    """How many prompts all runs have, and each one's influences on these."""
    frames = [frame for run in runs if (frame := run.influence) is not None and not frame.empty]
    if len(frames) < len(runs):
        return 0, None
    common = own_prompts(frames[0])
    for frame in frames[1:]:
        common = common.intersection(own_prompts(frame))
    if common.empty:
        raise UsageError(
            "the runs share no prompt: nothing can be paired; run all models on the same data"
        )
    return len(common), [influences_on(frame, common) for frame in frames]


def _metrics(runs: Sequence[Report], wanted: Iterable[str] | None) -> list[str]:
    """Ids of overall numbers that every run has."""
    held = [[m.id for m in run.metrics() if not m.slice] for run in runs]
    common = [id_ for id_ in held[0] if all(id_ in ids for ids in held[1:])]
    if wanted is None:
        for names in _DEFAULTS:
            defined = [id_ for id_ in common if id_.endswith(names) and _defined(runs, id_)]
            if defined:
                return defined
        raise UsageError(
            "the runs have no headline number in common; name one with --metric: "
            + (", ".join(common[:8]) or "they share none (different benchmarks?)")
        )
    chosen = list(wanted)
    for id_ in chosen:
        if id_ not in common:
            raise UsageError(f"not every run has {id_!r}; {nearest(id_, common)}")
    return chosen


def _defined(runs: Sequence[Report], id_: str) -> bool:
    return any(run.metric(id_).value is not None for run in runs)


def _distinct_names(runs: Sequence[Report]) -> list[str]:
    """The models' names; with the folder's where two are equal."""
    names = [run.record.model.name for run in runs]
    shown = []
    for name, run in zip(names, runs, strict=True):
        folder = "" if run.folder is None else f" ({run.folder.name})"
        shown.append(f"{name}{folder}" if names.count(name) > 1 else name)
    return shown


def _notes(runs: Sequence[Report], shared: int) -> Iterator[str]:
    known = (m for run in runs for m in run.metrics() if m.ci[0] is not None)
    most = max((m.n_prompts for m in known), default=0)  # without an interval it counts rows
    if shared == 0:
        yield "Not every run has influence.parquet: runs are compared as if independent."
    elif shared < most:
        yield f"{shared:,} prompts are shared by all runs, of up to {most:,}."
    digests = {source.sha256 for run in runs for source in [run.record.inputs["eval"]]}
    if len(digests) > 1 and shared == most:
        yield "The runs read different files that hold the same items."


def _fields(item: Any) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}
