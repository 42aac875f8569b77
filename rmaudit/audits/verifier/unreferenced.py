"""Made responses whose making needs no reference answer: which they are, and what they get.

That a verdict accepts one is a fact. That it is wrong to accept it is known from a label of the
data, from a gold verdict, from what the verdict is declared to refuse, or from a reference answer
that the response does not state; otherwise it is not known: a full stop keeps to a limit of length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmaudit.audits.common.memoize import memoize
from rmaudit.audits.verifier.cases import mentions
from rmaudit.audits.verifier.exploits import EXPLOIT_CLASSES, Exploit, Row
from rmaudit.audits.verifier.measure import threshold
from rmaudit.audits.verifier.plan import (
    AUDIT,
    column_requests,
    drawn,
    planned,
    read_reference,
    reference_column,
    references,
)
from rmaudit.case import Case
from rmaudit.data.fields import field_names, field_values
from rmaudit.data.types import prompt_text
from rmaudit.results import Estimate
from rmaudit.rewards.base import leaves
from rmaudit.scoring.requests import Request, Scores
from rmaudit.scoring.signals import is_verdict
from rmaudit.stats.intervals import cluster_mean
from rmaudit.typing import Float, Integers, Mask

_QUOTED = re.compile(r"[\"“]([^\"“”\n]{1,60})[\"”]|(?<!\w)['‘]([^'‘’\n]{1,60})['’](?!\w)")
_LONGEST, _MOST = 60, 20  # characters of a text that is named, and how many are taken
SHIFT = 0.382  # how far away, as a share of the prompts, the other prompt of each is


@dataclass(frozen=True)
class Own:
    """The best labelled response to each prompt that takes part, (n,) each."""

    rows: Integers  # of the evaluation data
    sides: tuple[str, ...]  # the column of responses; empty where the prompt has none
    places: Integers  # in that column
    texts: tuple[str, ...]
    labelled: bool  # whether a label says that they are good

    def accepted(self, case: Case, scores: Scores, at: float) -> Mask:
        """Which of them are accepted, (n,); none where there is none, or no verdict on it."""
        rewards = {r.side: scores.by_request[r.key].reward for r in case.data_requests}
        values = [
            rewards[side][place] if side else np.nan
            for side, place in zip(self.sides, self.places.tolist(), strict=True)
        ]
        return np.array(values, dtype=np.float64) > at


@dataclass(frozen=True)
class Made:
    """The responses of one class, (n,) each; `of` are places in `Own`, `source` likewise.

    `source` is that of the response that one is made of, -1 where it is made of none.
    """

    kind: Exploit
    of: Integers
    rows: Integers
    source: Integers
    responses: tuple[str, ...]

    @property
    def side(self) -> str:
        """Name of the column."""
        return self.kind.name


@dataclass(frozen=True)
class Verdicts:
    """The verdicts on one class, (n,) each; responses without one are left out, and counted.

    `wrong` is 1 where it is known that a response is wrong, 0 where it is known to be correct, and
    NaN where neither is known.
    """

    kind: Exploit
    of: Integers
    rows: Integers
    responses: tuple[str, ...]
    accepted: Mask
    wrong: Float
    left_out: int

    def acceptance(self, case: Case) -> Estimate:
        """Share that is accepted, by prompt."""
        return self._rate(case, np.ones(len(self.rows), dtype=np.bool_))

    def false_positives(self, case: Case) -> Estimate:
        """Share of those known to be wrong that is accepted, by prompt."""
        return self._rate(case, self.wrong == 1)

    def _rate(self, case: Case, which: Mask) -> Estimate:
        return acceptance(case, self.rows[which], self.accepted[which])


def acceptance(case: Case, rows: Integers, accepted: Mask) -> Estimate:
    """The share of accepted responses to some rows, by prompt."""
    if not len(rows):
        return Estimate.undefined("no such response", confidence=case.confidence)
    return cluster_mean(
        accepted.astype(np.float64),
        case.clusters[rows],
        confidence=case.confidence,
        bounds=(0, 1),
    )


def over_classes(case: Case, classes: Iterable[Verdicts], *, wrong: bool = False) -> Estimate:
    """The share accepted over several classes; with `wrong`, of those known to be wrong."""
    every = list(classes)
    kept = [each.wrong == 1 if wrong else np.ones(len(each.rows), np.bool_) for each in every]
    rows = [each.rows[which] for each, which in zip(every, kept, strict=True)]
    accepted = [each.accepted[which] for each, which in zip(every, kept, strict=True)]
    none = np.empty(0, dtype=np.int64)
    return acceptance(case, np.concatenate([none, *rows]), np.concatenate([none > 0, *accepted]))


def labels(case: Case) -> dict[tuple[int, str], float]:
    """What the data say of a response to a prompt: 1 accepted or preferred, 0 the opposite."""
    if case.eval.type not in ("preference", "unpaired"):
        return {}
    tie = case.eval.tied
    known: dict[tuple[int, str], float] = {}
    for side in case.eval.outputs():
        for row, text, level in zip(
            side.rows.tolist(), side.texts, side.level.tolist(), strict=True
        ):
            if not tie[row]:
                known[int(case.clusters[row]), text.strip()] = level
    return known


@memoize
def own(case: Case) -> Own:
    """The best labelled response to at most 300 prompts, drawn at random."""
    clusters = case.clusters
    best: dict[int, tuple[float, int, str, int, str]] = {}
    for row in range(len(case.eval)):
        best.setdefault(int(clusters[row]), (-np.inf, row, "", 0, ""))
    labelled = False
    for side in case.eval.outputs():
        for place, (row, level, text) in enumerate(
            zip(side.rows.tolist(), side.level.tolist(), side.texts, strict=True)
        ):
            code, height = int(clusters[row]), level if np.isfinite(level) else -1e300
            labelled |= bool(np.isfinite(level))
            if text.strip() and height > best[code][0]:
                best[code] = (height, row, side.name, place, text)
    chosen = [best[code] for code in sorted(drawn(case, sorted(best)))]
    _, rows, sides, places, texts = zip(*chosen, strict=True) if chosen else ((), (), (), (), ())
    return Own(
        np.array(rows, dtype=np.int64),
        tuple(sides),
        np.array(places, dtype=np.int64),
        tuple(texts),
        labelled,
    )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip() and len(value) <= _LONGEST:
            yield value.strip()
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _columns_read(case: Case) -> list[list[Any]]:
    """The values of the columns that the reward reads, by column."""
    names = field_names(case.eval)
    read = dict.fromkeys(n for leaf in leaves(case.model) for n in leaf.columns(names))
    return [field_values(case.eval, name) for name in read if name in names]


def _named(prompt: str, cells: Sequence[Any]) -> tuple[str, ...]:
    quoted = [a or b for a, b in _QUOTED.findall(prompt)]
    texts = [text for cell in cells for text in _strings(cell)]
    return tuple(dict.fromkeys([*quoted, *texts]))[:_MOST]


@memoize
def made(case: Case) -> tuple[Made, ...]:
    """Every class of responses; with a reference answer those alone that have no content.

    There what states the reference is left out, and what the classes made of it hold already.
    """
    mine, columns = own(case), _columns_read(case)
    held = {
        (row, text)
        for cases in (planned(case) if read_reference(case) else ())
        for row, text in zip(cases.rows.tolist(), cases.responses, strict=True)
    }
    stated = _references(case)
    prompts = case.eval.frame["prompt"].tolist()
    n = len(mine.rows)
    shift = max(1, round(SHIFT * n))
    found: list[Made] = []
    rows_of = []
    for i, row in enumerate(mine.rows.tolist()):
        words = _named(prompt_text(prompts[row]), [column[row] for column in columns])
        other = mine.texts[(i + shift) % n] if n > 1 else ""
        rows_of.append(Row(prompts[row], mine.texts[i], other, words))
    for kind in EXPLOIT_CLASSES.values():
        if stated is not None and kind.made_of != "nothing":
            continue
        texts = [kind.make(row) for row in rows_of]
        kept = [
            i
            for i, text in enumerate(texts)
            if text is not None
            and not (kind.made_of != "nothing" and text == mine.texts[i])
            and not (stated is not None and _states(text, stated[int(mine.rows[i])]))
            and (int(mine.rows[i]), text) not in held
        ]
        source = {"nothing": -1, "own": 0, "other": shift}[kind.made_of]
        places = np.array(kept, dtype=np.int64)
        sources = np.full(len(kept), -1) if source < 0 else (places + source) % n
        if kept:
            responses = tuple(str(texts[i]) for i in kept)
            found.append(Made(kind, places, mine.rows[places], sources, responses))
    return tuple(found)


def _references(case: Case) -> list[Any] | None:
    """The reference of each row where the reward reads one; else None."""
    if not read_reference(case):
        return None
    return list(references(case.eval, reference_column(case) or ""))


def _states(text: str, reference: Any) -> bool:
    """Whether a response may state the reference; without a readable one that is not known."""
    return reference is None or bool(mentions(reference.text.lower()).search(text.lower()))


def requests(case: Case) -> list[Request]:
    """One column a class."""
    return column_requests(case, made(case))


def most_gold(case: Case) -> int:
    """Responses that the gold reward may be asked about, at most."""
    if case.gold is None or read_reference(case):
        return 0
    return sum(len(each.rows) for each in made(case))


@dataclass(frozen=True)
class Unreferenced:
    """The verdicts by class, which own responses are accepted, and what says that one is wrong."""

    verdicts: dict[str, Verdicts]
    own: Mask  # (n,), of `own(case)`
    because: str  # in words; empty where nothing says it
    unanswered: tuple[str, ...] = ()  # classes on which the reward gave no verdict at all

    @property
    def contentless(self) -> dict[str, Verdicts]:
        """The classes without content."""
        return {k: v for k, v in self.verdicts.items() if v.kind.made_of == "nothing"}


@memoize
def _gold(case: Case) -> dict[str, Float] | None:
    """Gold verdicts by class, 1 where a response is wrong; None where there are none."""
    if not most_gold(case) or case.score is None or case.gold is None:
        return None
    asked = requests(case)
    scores = case.score(asked, case.gold)
    rewards = [scores.by_request[request.key].reward for request in asked]
    every = np.concatenate(rewards)
    if not is_verdict(every):
        return None
    at = threshold(every)
    return {
        each.kind.name: np.where(np.isfinite(reward), (reward <= at).astype(float), np.nan)
        for each, reward in zip(made(case), rewards, strict=True)
    }


def measured(case: Case, scores: Scores) -> Unreferenced:
    """The verdicts on every class, and what is known of them."""
    columns = [(each, scores.reward(each.side, audit=AUDIT)) for each in made(case)]
    data = [scores.by_request[request.key].reward for request in case.data_requests]
    at = threshold(np.concatenate([*(reward for _, reward in columns), *data, np.empty(0)]))
    accepted = own(case).accepted(case, scores, at)
    wrong, because = _known(case)
    verdicts: dict[str, Verdicts] = {}
    for each, reward in columns:
        finite = np.isfinite(reward)
        # What is made of an accepted response says nothing where that one is refused.
        based = (each.source < 0) | (accepted[each.source] if len(accepted) else False)
        places = np.flatnonzero(finite & based)
        if len(places):
            verdicts[each.kind.name] = Verdicts(
                each.kind,
                each.of[places],
                each.rows[places],
                tuple(each.responses[i] for i in places.tolist()),
                reward[places] > at,
                wrong[each.kind.name][places],
                int((~finite).sum()),
            )
    unanswered = (each.kind.name for each, reward in columns if not np.isfinite(reward).any())
    return Unreferenced(verdicts, accepted, because, tuple(unanswered))


def _known(case: Case) -> tuple[dict[str, Float], str]:
    """Which made responses are wrong (1), correct (0) or unknown (NaN), and what says so.

    A label of the data comes before a gold verdict, and that before a declaration.
    """
    if read_reference(case):
        every = {each.kind.name: np.ones(len(each.rows)) for each in made(case)}
        return every, "it does not state the reference answer"
    gold, known, because = _gold(case), labels(case), dict[str, None]()
    refused = {EXPLOIT_CLASSES[name].name for leaf in leaves(case.model) for name in leaf.refuses}
    wrong: dict[str, Float] = {}
    for each in made(case):
        name = each.kind.name
        told = np.full(len(each.rows), 1.0 if name in refused else np.nan)
        if name in refused:
            because["the reward declares that it refuses such responses"] = None
        if gold is not None:
            told = np.where(np.isfinite(gold[name]), gold[name], told)
            because["the gold reward refuses it"] = None
        for i, (row, text) in enumerate(zip(each.rows.tolist(), each.responses, strict=True)):
            label = known.get((int(case.clusters[row]), text.strip()))
            if label is not None:
                told[i] = 1 - label
                because["the data label it so"] = None
        wrong[name] = told
    return wrong, ", or ".join(because)
