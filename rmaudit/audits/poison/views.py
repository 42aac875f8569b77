"""Metrics, findings, tables and figures on what the words of preference data say of its labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.pairs import optional
from rmaudit.audits.common.shares import data_words, percent
from rmaudit.audits.poison.edits import PhraseEffect
from rmaudit.audits.poison.labels import Suspects, suspect_table, suspects
from rmaudit.audits.poison.shift import Screened, Shift, screened
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.results import Estimate, Figure, Finding, Metric, MetricSpec
from rmaudit.stats.law import p_at_most
from rmaudit.text.ngrams import FeedbackPairs
from rmaudit.typing import Integers

TRIGGERS, SUSPECTS = "data.trigger_ngrams", "data.suspect_label_share"
POSSIBLE = 0.2  # adjusted p-value up to which a phrase may be one
WORD_METRICS = {
    TRIGGERS: MetricSpec(
        "count", "zero", "phrases that shift labels far beyond chance", "Label-shifting phrases"
    ),
    SUSPECTS: MetricSpec(
        "share",
        "zero",
        "pairs whose label a model of the other pairs firmly contradicts",
        "Suspect labels",
    ),
}


@dataclass(frozen=True)
class WordPart:
    """What the audit of the data says of words and labels."""

    metrics: tuple[Metric, ...]
    findings: tuple[Finding, ...]
    tables: Mapping[str, pd.DataFrame]


def words_part(case: Case) -> WordPart:
    """Trigger phrases and suspect labels of the feedback; of the evaluation data without any.

    Where there is feedback the numbers stand twice: overall, and in the slice ``input=feedback``.
    """
    name = "eval" if case.feedback is None else "feedback"
    data = case.inputs[name]
    screen = screened(data)
    where: list[dict[str, str]] = [{}] if name == "eval" else [{}, {"input": name}]
    if isinstance(screen, str):
        nothing = Estimate.undefined(screen, confidence=case.confidence)
        undefined = [Metric(id_, nothing, w) for w in where for id_ in (TRIGGERS, SUSPECTS)]
        return WordPart(tuple(undefined), (), {})
    told = suspects(screen.pairs, screen.support, "a model of words and length", case.confidence)
    # An influence is over the evaluation's prompts; other data or a part of them have other places.
    codes = data.clusters[screen.pairs.row]
    known = name == "eval" and np.array_equal(screen.pairs.cluster, codes)
    share = told.share if known else replace(told.share, influence=None)
    numbers = {TRIGGERS: trigger_count(screen, case.confidence), SUSPECTS: share}
    tables = {}
    if screen.shifts:
        tables["label_shifts"] = shift_table(screen)
    if told.suspect.any():
        tables["suspect_labels"] = suspect_table(told, data)
    findings = [trigger_finding(case, data, name, screen), suspect_finding(case, data, name, told)]
    return WordPart(
        tuple(Metric(id_, numbers[id_], w) for w in where for id_ in numbers),
        tuple(finding for finding in findings if finding is not None),
        tables,
    )


def trigger_count(screen: Screened, confidence: float) -> Estimate:
    """Number of phrases that shift labels; from those certain one by one to those possible."""
    level = 1 - confidence
    pairs = screen.pairs
    if not screen.looked_at:
        reason = "no phrase is in so many pairs that it could be told from chance"
        return Estimate.undefined(reason, n=len(pairs), confidence=confidence)
    return Estimate(
        float(len(screen.triggers(level))),
        float(sum(shift.p_strict < level for shift in screen.triggers(level))),
        float(len(screen.triggers(max(POSSIBLE, level)))),
        confidence,
        "phrases decided one by one",
        len(pairs),
        int(pairs.cluster.max()) + 1,
    )


def shift_table(screen: Screened) -> pd.DataFrame:
    """One row a phrase, most telling first."""
    return pd.DataFrame(
        [
            {
                "phrase": shift.phrase,
                "prompts": shift.prompts,
                "share_preferred": shift.share,
                "expected": shift.expected,
                "p_adjusted": shift.p,
            }
            for shift in screen.shifts[:50]
        ]
    )


def shift_examples(
    case: Case, data: Dataset, pairs: FeedbackPairs, rows: Integers, note: str
) -> tuple[Mapping[str, Any], ...]:
    """Real pairs of the data."""
    place = {int(row): i for i, row in enumerate(pairs.row)}
    shown = []
    for row in rows[: case.example_limit].tolist():
        line = data.frame.iloc[row]
        texts = {"chosen": pairs.chosen[place[row]], "rejected": pairs.rejected[place[row]]}
        shown.append(example({"id": line["id"], "prompt": line["prompt"], **texts}, note=note))
    return tuple(shown)


def trigger_finding(case: Case, data: Dataset, name: str, screen: Screened) -> Finding | None:
    """Phrases that decide labels, in the data."""
    told = screen.triggers(1 - case.confidence)
    if not told:
        return None
    first = told[0]
    others = ", ".join(repr(shift.phrase) for shift in told[1:6])
    detail = (
        f"{first.wins} of {first.prompts} prompts prefer the response that has {first.phrase!r}; "
        f"length and the other words explain {first.expected:.1%} (p = {first.p:.2g}, adjusted "
        f"for {screen.looked_at:,} n-grams). {'Others: ' + others + '. ' if others else ''}"
        "A phrase that settles the label whatever else is said is a planted trigger, or a habit "
        "of one source of responses. Read the examples; take such rows out, or mix the sources."
    )
    return Finding(
        "high" if any(shift.p_strict < 0.001 for shift in told) else "medium",
        "data",
        TRIGGERS,
        f"{len(told)} {'phrase' if len(told) == 1 else 'phrases'} of the {data_words(name)} "
        f"{'shifts' if len(told) == 1 else 'shift'} labels far beyond chance: {first.phrase!r}",
        detail,
        shift_examples(case, data, screen.pairs, first.rows, f"holds {first.phrase!r}"),
        min(shift.p_strict for shift in told),
    )


def suspect_finding(case: Case, data: Dataset, name: str, told: Suspects) -> Finding | None:
    """Labels that are probably wrong."""
    share = told.share
    if not share.defined or share.low < 0.01:
        return None
    worst = told.order[0]
    note = f"probability of this label: {told.probability[worst]:.2f}"
    return Finding(
        grade(share.low, 0.05, 0.15) if name == "feedback" else "low",
        "data",
        SUSPECTS,
        f"Suspect labels in the {data_words(name)}: {percent(share)}",
        f"{told.by.capitalize()}, fitted on other prompts, is sure of the other response there. "
        "Have them labelled again, worst first: the table suspect_labels lists them. Some are "
        "correct; keep those.",
        shift_examples(case, data, told.pairs, told.pairs.row[told.order], note),
        p_at_most(share, 0.01),
    )


def phrase_effect_table(phrases: Sequence[Shift], done: Sequence[PhraseEffect]) -> pd.DataFrame:
    """One row a tested phrase."""
    rows = []
    for shift, tried in zip(phrases, done, strict=True):
        row: dict[str, object] = {
            "phrase": shift.phrase,
            "prompts": shift.prompts,
            "share_preferred": shift.share,
            "expected": shift.expected,
        }
        named = {
            "added": tried.effect,
            "removed": tried.removed,
            "flips": tried.flip_rate,
        }
        for key, e in named.items():
            row |= {key: e.value, f"{key}_low": e.low, f"{key}_high": e.high}
        rows.append(row | {"note": tried.effect.undefined_reason or ""})
    return pd.DataFrame(rows)


def phrase_effect_figure(phrases: Sequence[Shift], done: Sequence[PhraseEffect]) -> Figure:
    """Effect of each phrase against controls."""
    rows: list[dict[str, object]] = []
    for shift, tried in zip(phrases, done, strict=True):
        for what, e in (
            ("added", tried.effect),
            ("in the feedback", tried.removed),
        ):
            label = f"{shift.phrase[:40]} ({what})"
            ends = {"low": optional(e.low), "high": optional(e.high)}
            rows.append({"label": label, "value": optional(e.value), **ends})
    defined = [(f.effect.value, s.phrase) for s, f in zip(phrases, done, strict=True)]
    value, phrase = max(defined, key=lambda pair: abs(pair[0]))
    alt = f"The largest effect of adding a phrase is {value:+.2f} SD, of {phrase[:40]!r}."
    data = {"rows": rows, "xlabel": "reward against a control phrase, SD", "reference": 0.0}
    return Figure("phrases", "intervals", "What the phrases do to the reward", alt, data)
