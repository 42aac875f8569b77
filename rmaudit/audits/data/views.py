"""What the data audit shows: findings with examples, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import example, grade
from rmaudit.audits.common.shares import data_words, percent
from rmaudit.data.types import Dataset
from rmaudit.results import Estimate, Figure, Finding
from rmaudit.stats.law import p_at_least, p_at_most

LONGER = "chosen response is longer"
FIRST = "chosen response was shown first"


@dataclass(frozen=True)
class Fault:
    """A way in which rows can be wrong: its words, and the shares from which it is grave."""

    label: str
    verb: str  # "Rows that <verb>: <n> of <m>"
    detail: str
    medium: float
    high: float
    unit: str = "rows"


FAULTS = {
    "duplicate_share": Fault(
        "duplicate",
        "repeat an earlier row",
        "Same prompt, same responses, same label. Repeats weigh some prompts more than others and "
        "make intervals that ignore them too narrow; drop them.",
        # Intervals here take the prompt as the unit, so a few repeats only move weights.
        0.05,
        0.20,
    ),
    "contradiction_share": Fault(
        "contradicted",
        "are contradicted by another row",
        "The same responses to the same prompt carry opposite labels. No reward model can be right "
        "on both: they cap its accuracy. Decide them again, or keep them as votes.",
        0.01,
        0.05,
    ),
    "identical_pair_share": Fault(
        "identical pair",
        "compare a response with itself",
        "The responses differ at most in white space, so the label is noise and every margin is "
        "(nearly) zero; drop these rows.",
        0.005,
        0.02,
    ),
    "leakage_share": Fault(
        "leaked",
        "are in the feedback data",
        "The prompt and at least one response stand in the data that the model learnt from, so the "
        "numbers of this report are too good on them; take them out of --eval or --feedback.",
        0.005,
        0.05,
    ),
    "near_leakage_share": Fault(
        "nearly in feedback",
        "are in the feedback data with a word or two changed",
        "They share most words and word pairs with a feedback row, and more of them do than rows "
        "of the feedback among themselves. A model that has seen such rows is measured on its "
        "memory: leave them out, and take evaluation data from another source.",
        0.01,
        0.10,
    ),
    "cycle_share": Fault(
        "circular",
        "have preferences that run in a circle",
        "Response A is preferred to B, B to C, and C to A: no scalar reward can agree with all "
        "three. Look at whether the responses trade one quality for another.",
        0.02,
        0.10,
        unit="prompts",
    ),
    "empty": Fault(
        "empty response",
        "hold an empty response",
        "An empty (or blank) response is legal for a reward model, but is usually a generation "
        "that "
        "failed; check that these are meant.",
        0.005,
        0.02,
    ),
}


def fault_finding(
    name: str,
    source: str,
    count: int,
    estimate: Estimate,
    examples: Sequence[Mapping[str, Any]],
) -> Finding:
    """A finding on a fault that `count` rows (or prompts) have."""
    fault = FAULTS[name]
    where = "" if source == "eval" else f" of the {data_words(source)}"
    share = percent(estimate) if estimate.defined else estimate.undefined_reason
    return Finding(
        grade(estimate.low, fault.medium, fault.high) if estimate.defined else "low",
        "data",
        f"data.{name}" if name.endswith("_share") else "",
        f"{fault.unit.capitalize()}{where} that {fault.verb}: {count:,} of {estimate.n:,} "
        f"({share})",
        fault.detail,
        tuple(examples),
    )


def set_aside_finding(data: Dataset, source: str, limit: int) -> Finding | None:
    """Rows that could not be used at all; a count of the whole input, so it has no interval."""
    counts = data.source
    if not counts.rows_set_aside:
        return None
    share = counts.rows_set_aside / counts.rows_read
    reasons = ", ".join(f"{reason} ({n:,})" for reason, n in counts.reasons.items())
    examples = [
        {
            "id": str(row.row),
            "note": " ".join(filter(None, (row.column, row.reason, row.detail))),
        }
        for row in data.set_aside[:limit]
    ]
    return Finding(
        grade(share, 0.01, 0.10),
        "data",
        "",
        f"Rows of the {data_words(source)} that were set aside: {counts.rows_set_aside:,} of "
        f"{counts.rows_read:,} ({share:.1%})",
        f"They could not be used: {reasons}. All are listed in set_aside.jsonl.",
        tuple(examples),
    )


def skew_finding(what: str, source: str, estimate: Estimate) -> Finding | None:
    """A skew whose interval leaves out one half."""
    if not estimate.defined or estimate.low <= 0.5 <= estimate.high:
        return None
    bound = min(abs(estimate.low - 0.5), abs(estimate.high - 0.5))
    details = {
        LONGER: (
            "Picking the longer response is this accurate on these labels. Read accuracy beside "
            "it, and see the length audit for how much of it the model has learnt."
        ),
        FIRST: (
            "The place of a response should not tell its label: shuffle the responses before they "
            "are shown to annotators, and before any judge that sees both reads them."
        ),
    }
    return Finding(
        "medium" if bound >= 0.15 else "low",
        "data",
        "",
        f"In the {data_words(source)} the {what} in {percent(estimate)} of the pairs",
        details[what],
        p=min(1.0, 2 * min(p_at_most(estimate, 0.5), p_at_least(estimate, 0.5))),
    )


def examples_of(
    data: Dataset,
    partners: NDArray[np.int64],
    limit: int,
    note: str,
    other: Dataset | None = None,
) -> list[dict[str, Any]]:
    """Rows that have a partner, each with a note; ``{}`` in it is the partner's id."""
    ids = (other or data).frame["id"]
    return [
        example(data.frame.iloc[i].to_dict(), note=note.format(ids.iloc[partners[i]]))
        for i in np.flatnonzero(partners >= 0)[:limit]
    ]


Share = tuple[str, str, Estimate]
"""Input, what is counted, and its share."""


def shares_figure(shares: Sequence[Share]) -> Figure:
    """The shares of faulty rows, with intervals."""
    rows = [
        {"label": f"{what} ({source})", "value": e.value, "low": e.low, "high": e.high}
        for source, what, e in shares
    ]
    words = [
        f"{what} in {source} {e.value:.1%}" if e.defined else f"{what} in {source} undefined"
        for source, what, e in shares
        if e.value != 0
    ]
    told = f"{', '.join(words)}; all others 0" if words else "none of them occurs"
    return Figure(
        "shares",
        "intervals",
        "Faults in the data",
        f"Share of rows with each fault, with its interval: {told}.",
        {"rows": rows, "xlabel": "share of rows", "xunit": "percent", "reference": 0.0},
    )


def shares_table(shares: Sequence[Share]) -> pd.DataFrame:
    """One row a share: input, what, value, low, high, n, n_prompts, reason."""
    rows = [
        (source, what, e.value, e.low, e.high, e.n, e.n_clusters, e.undefined_reason)
        for source, what, e in shares
    ]
    names = ["input", "what", "value", "low", "high", "n", "n_prompts", "reason"]
    return pd.DataFrame(rows, columns=names)


def length_figure(ratios: Mapping[str, NDArray[np.float64]]) -> Figure:
    """Histogram of log2 of chosen over rejected length; longer chosen outputs on the right."""
    edges = np.linspace(-6, 6, 49)
    series = [
        {
            "name": source,
            "edges": edges.tolist(),
            "counts": np.histogram(np.clip(values, -6, 6), edges)[0].tolist(),
        }
        for source, values in ratios.items()
    ]
    words = "; ".join(
        f"{source}: median {median:+.2f} doublings"
        if round(median := float(np.median(v)), 2)
        else f"{source}: median 0"
        for source, v in ratios.items()
    )
    return Figure(
        "length_difference",
        "histogram",
        "Length of chosen against rejected responses",
        f"Histogram of the length difference of chosen and rejected responses ({words})",
        {
            "series": series,
            "xlabel": "log2 of chosen length over rejected length (characters)",
            "ylabel": "pairs",
            "reference_x": 0.0,
        },
    )


def reasons_figure(inputs: Mapping[str, Dataset]) -> Figure:
    """Bars of why rows were set aside, one series an input."""
    reasons = list(dict.fromkeys(r for data in inputs.values() for r in data.source.reasons))
    series = [
        {
            "name": name,
            "values": [float(data.source.reasons.get(reason, 0)) for reason in reasons],
            "low": None,
            "high": None,
        }
        for name, data in inputs.items()
        if data.source.reasons
    ]
    counts = [sum(data.source.reasons.get(r, 0) for data in inputs.values()) for r in reasons]
    words = ", ".join(f"{reason} {n}" for reason, n in zip(reasons, counts, strict=True))
    return Figure(
        "set_aside",
        "bars",
        "Why rows were set aside",
        f"Rows set aside by reason: {words}",
        {"labels": reasons, "series": series, "ylabel": "rows", "reference": None},
    )


def inputs_table(inputs: Mapping[str, Dataset]) -> pd.DataFrame:
    """What was read of each input; rows_read = rows_used + rows_set_aside."""
    rows = [
        (name, d.type, d.source.rows_read, d.source.rows_used, d.source.rows_set_aside)
        for name, d in inputs.items()
    ]
    names = ["input", "type", "rows_read", "rows_used", "rows_set_aside"]
    return pd.DataFrame(rows, columns=names)


def reasons_table(inputs: Mapping[str, Dataset]) -> pd.DataFrame:
    """Rows set aside of each input by reason."""
    rows = [
        (name, reason, count)
        for name, data in inputs.items()
        for reason, count in data.source.reasons.items()
    ]
    return pd.DataFrame(rows, columns=["input", "reason", "rows"])
