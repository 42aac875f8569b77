"""`Comparison`: two audits held against each other, what got worse first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from rmaudit.comparison.pairing import Key, Pairing
from rmaudit.report.binding import plain_name
from rmaudit.report.document import Report
from rmaudit.report.plain import dumps, plain
from rmaudit.results import Better
from rmaudit.stats.multiple import holm

Verdict = Literal["worse", "changed", "better", "no difference", "not compared"]  # as listed


@dataclass(frozen=True, slots=True)
class Difference:
    """One number of two audits. NaN throughout where it is not compared, with the reason.

    `first` and `second` are the values on the shared prompts, `difference` the second minus the
    first, `regression` the growth of what is bad about it (positive: worse; NaN where no direction
    is better). `p` and `p_adjusted` (Holm, over the overall numbers and over the slices apart) are
    two-sided and belong to the difference. Numbers that are exact have no error to compare by.
    `title` is the metric's name as shown, `meaning` its definition.
    """

    id: str
    title: str
    slice: dict[str, str]
    unit: str
    better: Better
    meaning: str
    verdict: Verdict
    first: float = math.nan
    second: float = math.nan
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan
    regression: float = math.nan
    regression_low: float = math.nan
    regression_high: float = math.nan
    p: float = math.nan
    p_adjusted: float = math.nan
    n_prompts: int = 0
    method: str = ""
    reason: str | None = None

    @property
    def name(self) -> str:
        """The metric and its slice."""
        where = ", ".join(f"{key}={value}" for key, value in self.slice.items())
        return f"{self.id}[{where}]" if where else self.id


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two audits compared: every number, what got worse first."""

    first: dict[str, str]  # model name and fingerprint
    second: dict[str, str]
    confidence: float
    prompts: dict[str, int]  # first, second, shared
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    paired: bool = True  # False: a report lacks influences, and all is compared as independent

    def of(self, verdict: Verdict) -> tuple[Difference, ...]:
        """The numbers with one verdict."""
        return tuple(d for d in self.differences if d.verdict == verdict)

    @property
    def worse(self) -> tuple[Difference, ...]:
        """What got worse beyond chance, most surely first."""
        return self.of("worse")

    def __getitem__(self, metric_id: str) -> Difference:
        """The overall difference of a metric id."""
        return self.get(metric_id)

    def get(self, metric_id: str, **slice_: str) -> Difference:
        """The difference of a metric id on a slice; `KeyError` if neither report holds it."""
        for difference in self.differences:
            if difference.id == metric_id and difference.slice == slice_:
                return difference
        raise KeyError(f"{metric_id} {slice_ or ''}".strip())

    @property
    def answer(self) -> str:
        """What came of it, in a sentence."""
        compared = len(self.differences) - len(self.of("not compared"))
        counted = f"{compared} {'number' if compared == 1 else 'numbers'}"
        worse, better = len(self.worse), len(self.of("better"))
        if not worse and not better and not self.of("changed"):
            return f"No difference beyond chance in {counted}."
        return f"{worse or 'None'} of {counted} got worse beyond chance, {better or 'none'} better."

    def to_frame(self) -> pd.DataFrame:
        """One row a number, in the order of `differences`, with the fields of `Difference`."""
        columns = list(Difference.__dataclass_fields__)
        return pd.DataFrame([_fields(d) for d in self.differences], columns=columns)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; null for what is not defined."""
        document: dict[str, Any] = plain(
            {
                "schema_version": 1,
                "first": self.first,
                "second": self.second,
                "confidence": self.confidence,
                "prompts": self.prompts,
                "paired": self.paired,
                "answer": self.answer,
                "notes": self.notes,
                "differences": [_fields(d) for d in self.differences],
            }
        )
        return document

    def to_json(self) -> str:
        """The text of comparison.json."""
        return dumps(self.to_dict())

    def save(self, folder: str | Path) -> Path:
        """Write comparison.json and comparison.html; returns the folder.

        Raises
        ------
        StoreError
            If it cannot be written.
        """
        from rmaudit import files
        from rmaudit.comparison.page import render

        folder = Path(folder)
        files.write(folder / "comparison.json", self.to_json())
        files.write(folder / "comparison.html", render(self))
        return folder

    def _repr_html_(self) -> str:
        from rmaudit.comparison.page import summary

        return summary(self)


def compare(first: Report, second: Report, *, confidence: float = 0.95) -> Comparison:
    """Hold two audits against each other, paired by prompt on the prompts that they share.

    Parameters
    ----------
    first, second
        Before and after: a difference is the second minus the first.
    confidence
        Two-sided, of each difference; one minus it is the chance (Holm) that any number is called
        different that is not, over the overall numbers and over the slices apart.

    Returns
    -------
    Comparison
        Verdicts: "worse" and "better" where the adjusted p-value and the interval of the
        regression both say so; "changed" where it differs and neither direction is better, or
        neither is shown; "no difference" where none was shown, which is not a proof of equality:
        the interval says how large one could be; "not compared" with the reason.

    Raises
    ------
    UsageError
        If the two share no prompt.
    """
    pairing = Pairing.of(first, second)
    described = {
        id_: (audit.names.get(id_) or plain_name(id_), meaning)
        for report in (first, second)
        for audit in report.audits.values()
        for id_, meaning in audit.definitions.items()
    }
    differences = [_difference(pairing, key, described, confidence) for key in pairing.keys]
    judged = sorted(_judged(differences, confidence), key=_place)
    return Comparison(
        _model(first),
        _model(second),
        confidence,
        {"first": pairing.sizes[0], "second": pairing.sizes[1], "shared": pairing.count},
        tuple(judged),
        tuple(_notes(first, second, pairing)),
        pairing.influences is not None,
    )


def _difference(
    pairing: Pairing, key: Key, described: Mapping[str, tuple[str, str]], confidence: float
) -> Difference:
    a, b = pairing.first.get(key), pairing.second.get(key)
    metric = b or pairing.first[key]
    title, meaning = described[metric.id]
    made = Difference(
        metric.id, title, metric.slice, metric.unit, metric.better, meaning, "not compared"
    )
    change = pairing.change(key, confidence)
    if isinstance(change, str):
        before, after = (math.nan if m is None or m.value is None else m.value for m in (a, b))
        return replace(made, reason=change, first=before, second=after)
    if change.method == "exact":
        reason = "no interval to compare by"
        return replace(made, reason=reason, first=change.first, second=change.second)
    worse = change.regression
    return replace(
        made,
        verdict="no difference",
        first=change.first,
        second=change.second,
        difference=change.difference.value,
        low=change.difference.low,
        high=change.difference.high,
        p=change.difference.p,
        regression=math.nan if worse is None else worse.value,
        regression_low=math.nan if worse is None else worse.low,
        regression_high=math.nan if worse is None else worse.high,
        n_prompts=change.n_prompts,
        method=change.method,
    )


def _judged(found: list[Difference], confidence: float) -> Iterator[Difference]:
    """With adjusted p-values and verdicts; overall numbers and slices are families of their own."""
    for sliced in (False, True):
        family = [d for d in found if bool(d.slice) == sliced]
        tested = [d for d in family if math.isfinite(d.p)]
        adjusted = dict(zip((d.name for d in tested), holm([d.p for d in tested]), strict=True))
        for d in family:
            p = adjusted.get(d.name, math.nan)
            if d.verdict == "not compared" or not p < 1 - confidence:
                yield replace(d, p_adjusted=p)
                continue
            verdict: Verdict = "changed"
            if d.regression_low > 0:
                verdict = "worse"
            elif d.regression_high < 0:
                verdict = "better"
            yield replace(d, p_adjusted=p, verdict=verdict)


def _place(d: Difference) -> tuple[int, bool, float]:
    """Worst first; overall numbers before slices; then by how sure it is."""
    p = d.p if math.isfinite(d.p) else 1.0
    return get_args(Verdict).index(d.verdict), bool(d.slice), p


def _model(report: Report) -> dict[str, str]:
    model = report.record.model
    return {"name": model.name, "kind": model.kind, "fingerprint": model.fingerprint}


def _notes(first: Report, second: Report, pairing: Pairing) -> Iterator[str]:
    """What a reader must know before the numbers."""
    if pairing.influences is None:
        yield (
            "Without influence.parquet beside both reports nothing is paired: the two are compared "
            "as if independent, which hides small differences. Reports of prompts, audited again, "
            "are paired."
        )
    elif pairing.count < max(pairing.sizes):
        yield (
            f"{pairing.count:,} prompts are shared, of {pairing.sizes[0]:,} and "
            f"{pairing.sizes[1]:,}: paired values are those on the shared prompts."
        )
    for name, source in second.record.inputs.items():
        before = first.record.inputs.get(name)
        if before is not None and before.sha256 != source.sha256:
            yield f"The input {name} is not the same file in the two audits."
    if first.record.seed != second.record.seed:
        yield "The seeds differ: audits that draw a sample drew different ones."


def _fields(difference: Difference) -> dict[str, Any]:
    return {name: getattr(difference, name) for name in difference.__dataclass_fields__}
