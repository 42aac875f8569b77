"""From a suite, its published rows and a reward model to a result."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from rmaudit.data.fields import field_names
from rmaudit.data.types import Dataset, Source
from rmaudit.errors import DataError
from rmaudit.results import AuditResult, MetricSpec
from rmaudit.rewards.base import MissingColumnError, RewardModel, leaves
from rmaudit.scoring import Progress, Scores, score
from rmaudit.scoring.requests import data_requests
from rmaudit.scoring.store_types import Store
from rmaudit.suites import measures
from rmaudit.suites.base import SUITES, Suite, suites
from rmaudit.suites.entries import Entry, read_entries
from rmaudit.suites.findings import findings
from rmaudit.suites.item import Item
from rmaudit.suites.joined import joined
from rmaudit.suites.scored import Official, Scored, as_array
from rmaudit.typing import Float

PARTIAL = (
    "Part of the benchmark only: blind rules and the smallest detectable difference belong to the "
    "score of the groups present, score_present."
)
_AGAIN = re.compile(r"#\d+$")  # what `items_of` adds to an id that another item has


@dataclass(frozen=True)
class SuiteRun:
    """One benchmark and one reward model: official numbers, ours, and the rewards."""

    suite: Suite
    dataset: Dataset
    official: Official
    headline: str | None
    result: AuditResult
    scores: Scores
    inputs: Mapping[str, Source]
    notes: tuple[str, ...] = ()
    recorded_by: str = ""  # whose rewards the file records, as far as it says


@dataclass(frozen=True)
class Declared:
    """What a report says of a suite: the interface of an audit's class."""

    name: str
    title: str
    question: str
    meaning: str
    source: str
    metrics: Mapping[str, MetricSpec]

    @classmethod
    def of(cls, suite: Suite) -> Declared:
        """A suite as a report needs it."""
        quirks = " ".join(suite.quirks)
        meaning = f"{suite.rule} {quirks}".strip()
        return cls(
            suite.key, suite.title, suite.question, meaning, suite.source, measures.specs(suite)
        )


def run_suite(
    name: str,
    data: str | Path,
    model: RewardModel,
    *,
    results: str | Path | None = None,
    store: Store | None = None,
    progress: Progress | None = None,
    limit: int | None = None,
    threshold: float | None = None,
    logit: bool = True,
    seed: int = 0,
    confidence: float = 0.95,
) -> SuiteRun:
    """Score one benchmark's responses, or read the rewards in its file, and apply its rule.

    The parameters are those of `rmaudit.bench`; `logit` says whether sigmoid(margin) claims to be
    a probability. A `DataError` says that a row lacks what the suite declares, or that there are
    no recorded rewards.
    """
    suite = SUITES[name]()
    items, inputs, named = _read(suite, data, results, limit)
    dataset = with_columns(as_dataset(items, inputs["eval"]), items, model)
    scored, scores = _rewarded(suite, model, items, dataset, store, progress)
    scored = replace(scored, threshold=threshold)
    official = suite.official(scored)
    headline = measures.headline_of(official, suite.headlines)
    rng = np.random.default_rng([seed, len(items)])
    found, absent = measures.metrics(
        suite, scored, official, headline, logit=logit, rng=rng, confidence=confidence
    )
    result = AuditResult(
        suite.key,
        metrics=tuple(found),
        findings=tuple(findings(suite, scored)),
        figures=measures.figures(suite, found),
        not_run=tuple(absent),
    )
    notes = _notes(suite, scored, official, headline)
    return SuiteRun(suite, dataset, official, headline, result, scores, inputs, notes, named)


def _read(
    suite: Suite, data: str | Path, results: str | Path | None, limit: int | None
) -> tuple[list[Item], dict[str, Source], str]:
    """The items, the files they are from, and whose rewards are recorded in them."""
    entries, source = _entries(suite, data, limit)
    items = items_of(suite, entries, source)
    if results is None:
        return items, {"eval": source}, suite.recorded_by(entries[0]) or Path(data).stem
    rows, found = read_entries(results)
    items = joined(
        suite, items, items_of(suite, rows, found), source, found, part=limit is not None
    )
    inputs = {"eval": source, "results": found}
    return items, inputs, suite.recorded_by(rows[0]) or Path(results).stem


def _entries(suite: Suite, data: str | Path, limit: int | None) -> tuple[list[Entry], Source]:
    try:
        return read_entries(data, limit)
    except DataError as error:
        if Path(data).exists():
            raise
        raise DataError(f"{error}. Or download {suite.download}: --data FILE") from error


def _notes(
    suite: Suite, scored: Scored, official: Official, headline: str | None
) -> tuple[str, ...]:
    partial = [PARTIAL] if headline == measures.PRESENT else []
    return (*partial, *_undefined(official), *_repeated(scored.items), *suite.notes(scored))


def _repeated(items: Sequence[Item]) -> list[str]:
    """Items whose id another one has: see `items_of`."""
    again = [item.id for item in items if _AGAIN.search(item.id)]
    if not again:
        return []
    first = again[0].rpartition("#")[0]
    return [f"Rows that repeat the id of another: {len(again):,}, first {first}; each counts."]


def _rewarded(
    suite: Suite,
    model: RewardModel,
    items: Sequence[Item],
    dataset: Dataset,
    store: Store | None,
    progress: Progress | None,
) -> tuple[Scored, Scores]:
    """The items with a reward for each response, and what it took to score them."""
    if not model.scores_new_text:
        rewards = recorded_rewards(suite, items, dataset.source)
        return Scored(items, rewards, dataset.clusters, recorded=True), Scores([], {})
    rewards, scores = _scored_by(model, items, dataset, store, progress)
    scored = Scored(items, rewards, dataset.clusters)
    if model.signal != "preference":
        return scored, scores
    both = [_in_both_orders(pair) for pair in rewards]
    return replace(scored, rewards=both, shown_first=rewards), scores


def items_of(suite: Suite, entries: Sequence[Entry], source: Source) -> list[Item]:
    """The items of published rows, each with an id of its own.

    Raises
    ------
    DataError
        If the rows are another benchmark's, or one lacks what the suite declares.
    """
    _check(suite, entries, source)
    items = suite.items(entries)
    if len(items) == len(entries):
        items = [replace(item, row=e.row) for item, e in zip(items, entries, strict=True)]
    seen: Counter[str] = Counter()
    distinct = []
    for item in items:
        seen[item.id] += 1
        again = seen[item.id]
        distinct.append(item if again == 1 else replace(item, id=f"{item.id}#{again}"))
    return distinct


def suites_in(folder: Path) -> list[tuple[str, Path]]:
    """The files and folders in a folder that are a suite's, with its name, by path.

    What fits no suite, or more than one, is passed over.
    """
    found = []
    for path in sorted(folder.iterdir()):
        try:
            first = read_entries(path, 1)[0][0].row
        except (DataError, OSError):
            continue
        names = [suite.name for suite in suites() if suite.fits(first)]
        if len(names) == 1:
            found.append((names[0], path))
    return found


def as_dataset(items: Sequence[Item], source: Source) -> Dataset:
    """The items as samples: a prompt with its responses; the cluster is the group."""
    frame = pd.DataFrame(
        {
            "id": [item.id for item in items],
            "prompt": pd.Series([item.prompt for item in items], dtype=object),
            "outputs": pd.Series([list(item.responses) for item in items], dtype=object),
            "group": [item.cluster for item in items],
            "subset": [item.subset for item in items],
            "row": np.arange(1, len(items) + 1),
        }
    )
    return Dataset("samples", frame, source)


def with_columns(dataset: Dataset, items: Sequence[Item], model: RewardModel) -> Dataset:
    """The data with those columns of the published rows that the model, or a part of it, reads.

    One that is missing is told when the texts are scored.
    """
    own = set(dataset.frame.columns)
    names = [
        name for name in dict.fromkeys(n for item in items for n in item.row) if name not in own
    ]
    frame = dataset.frame.assign(
        **{name: pd.Series([item.row.get(name) for item in items], dtype=object) for name in names}
    )
    known = field_names(replace(dataset, frame=frame))
    read: set[str] = set()
    for each in leaves(model):
        with contextlib.suppress(MissingColumnError):
            read.update(each.columns(known))
    kept = {name.partition(".")[0] for name in read}
    return replace(dataset, frame=frame[[n for n in frame.columns if n in own or n in kept]])


def _check(suite: Suite, entries: Sequence[Entry], source: Source) -> None:
    """Refuse a file of another benchmark before any row of it is read."""
    if suite.fits(entries[0].row):
        return
    others = [name for name, cls in SUITES.items() if cls().fits(entries[0].row)]
    hint = f"; it looks like {' or '.join(others)}" if others else ""
    columns = " or ".join(", ".join(names) for names in suite.columns)
    raise DataError(
        f"{source.path}: is no file of {suite.title}: its rows need the columns {columns}{hint}. "
        f"Download {suite.download}"
    )


def _scored_by(
    model: RewardModel,
    items: Sequence[Item],
    dataset: Dataset,
    store: Store | None,
    progress: Progress | None,
) -> tuple[list[Float], Scores]:
    without = next((item for item in items if not item.responses), None)
    if without is not None:
        raise DataError(
            f"{dataset.source.path}: {without.id} has no texts to score (a file of results?); "
            "give the benchmark's data, or --model recorded"
        )
    requests = data_requests(dataset, "eval")
    if model.signal == "preference":
        more = next((item for item in items if item.size != 2), None)
        if more is not None:
            raise DataError(
                f"{dataset.source.path}: {more.id} has {more.size} responses and {model.name} "
                "compares two; give a model with one reward per response"
            )
        first, second = (request.outputs for request in requests)
        requests = [
            replace(request, others=others)
            for request, others in zip(requests, (second, first), strict=True)
        ]
    scores = score(model, requests, datasets={"eval": dataset}, store=store, progress=progress)
    rewards = [np.full(item.size, np.nan) for item in items]
    place = {item.id: i for i, item in enumerate(items)}
    for request in requests:
        column = int(request.side.removeprefix("output_"))
        for id_, value in zip(request.ids, scores.reward(request.side), strict=True):
            rewards[place[id_]][column] = value
    return rewards, scores


def _in_both_orders(shown_first: Float) -> Float:
    """Rewards of two responses from P(each is better) with that one shown first."""
    better = float(shown_first[0] + 1 - shown_first[1]) / 2
    return np.array([better, 1 - better])


def recorded_rewards(suite: Suite, items: Sequence[Item], source: Source) -> list[Float]:
    """The rewards that a file records, one array an item; `DataError` if there are none."""
    if not any(item.rewards is not None or suite.verdicts(item) for item in items):
        raise DataError(
            f"{source.path}: no recorded rewards: --model recorded reads {suite.recorded} of "
            f"{suite.title}"
        )
    return [
        as_array(item.rewards)
        if item.rewards is not None
        else np.full(0 if suite.verdicts(item) else item.size, np.nan)
        for item in items
    ]


def _undefined(official: Official) -> list[str]:
    """Why official numbers are null, each reason once."""
    reasons: dict[str, list[str]] = {}
    for name, number in official.items():
        if not number.defined:
            reasons.setdefault(number.reason or "", []).append(name)
    return [
        f"{', '.join(names[:6])}{' and others' if len(names) > 6 else ''}: no number ({reason})"
        for reason, names in reasons.items()
    ]
