"""Which texts the probes make: variants of sampled pairs, and the fixed items of contrasts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rmaudit.audits.common.allocation import FIRST_LOOK, PROBE_PAIRS
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import Comparisons, comparisons
from rmaudit.case import Case
from rmaudit.data.types import Prompt
from rmaudit.probes.loading import Suite
from rmaudit.probes.schema import ContrastEntry, ProbeEntry
from rmaudit.probes.variants import variant
from rmaudit.scoring.requests import Request
from rmaudit.typing import Integers

LOOKED_AT = 2000  # pairs that are tried for a probe which applies to few
CONTRAST_SIDES = ("better", "worse", "neutral_better", "neutral_worse")


@dataclass(frozen=True)
class Variants:
    """What one probe makes of the pairs it applies to, (n,) each."""

    suite: Suite
    entry: ProbeEntry
    place: Integers  # of the pair, in `Comparisons`
    prompts: tuple[Prompt, ...]  # of the preferred output, after the probe
    prompts_worse: tuple[Prompt, ...]  # of the other output, where the prompt is changed
    outputs: tuple[str, ...]  # the preferred output, after the probe

    @property
    def key(self) -> str:
        """``suite/probe``."""
        return self.suite.key(self.entry)

    def part(self, some: slice) -> Variants:
        """Some of the pairs, which are in random order."""
        return replace(
            self,
            place=self.place[some],
            prompts=self.prompts[some],
            prompts_worse=self.prompts_worse[some],
            outputs=self.outputs[some],
        )


def plan(case: Case, suites: Sequence[Suite]) -> Iterator[Variants]:
    """The variants of each probe that acts on the evaluation data."""
    pairs = comparisons(case)
    order = sampled(case, pairs)
    others = other_outputs(pairs, order)
    for suite in suites:
        for entry in suite.file.probes:
            yield _variants(case, pairs, order, others, suite, entry)


def requests(case: Case, suites: Sequence[Suite], audit: str) -> list[Request]:
    """One column a probe of the output, two a probe of the prompt, two or four a contrast."""
    wanted = []
    for made in plan(case, suites):
        wanted += probe_requests(case, made.part(first_look(case)), audit)
    for suite in suites:
        for entry in suite.file.contrasts if not case.reads_rows else ():
            wanted += contrast_requests(suite, entry, audit)
    return [request for request in wanted if request.ids]


def first_look(case: Case) -> slice:
    """The pairs of a probe that are asked for in the pass: all where none can be asked later."""
    return slice(PROBE_PAIRS if case.score is None else FIRST_LOOK)


def probe_requests(case: Case, made: Variants, audit: str) -> list[Request]:
    """One column of a probe of the output, two of a probe of the prompt."""
    pairs = comparisons(case)
    ids = case.eval.frame["id"].to_numpy(dtype=object)
    better, worse = pairs.better[made.place], pairs.worse[made.place]
    own = ids[pairs.outputs.row[better]].tolist()
    wanted = [Request(made.key, own, made.prompts, made.outputs, audit)]
    if made.entry.acts_on == "prompt":
        outputs = pairs.outputs.words[worse].tolist()
        rejected = ids[pairs.outputs.row[worse]].tolist()
        side = worse_side(made.key)
        wanted.append(Request(side, rejected, made.prompts_worse, outputs, audit))
    return wanted


def contrast_requests(suite: Suite, entry: ContrastEntry, audit: str) -> list[Request]:
    """The fixed items of a contrast; under their neutral prompts too where those matter."""
    items = suite.items_of(entry)
    ids = [f"{suite.key(entry)}/{item.item}" for item in items]
    own: list[Prompt] = [item.prompt for item in items]
    neutral: list[Prompt] = [item.neutral_prompt or item.prompt for item in items]
    better, worse = [item.better for item in items], [item.worse for item in items]
    columns = ((own, better), (own, worse), (neutral, better), (neutral, worse))
    used = 4 if entry.expected == "not_lower" else 2
    return [
        Request(contrast_side(suite.key(entry), name), ids, prompts, outputs, audit)
        for name, (prompts, outputs) in list(zip(CONTRAST_SIDES, columns, strict=True))[:used]
    ]


def worse_side(key: str) -> str:
    """Column of the other output under a changed prompt."""
    return f"{key}:rejected"


def contrast_side(key: str, side: str) -> str:
    """Column of a contrast: see `CONTRAST_SIDES`."""
    return f"{key}:{side}"


def sampled(case: Case, pairs: Comparisons) -> Integers:
    """Places of decided pairs in random order, (n,), each pair of texts once, at most 2,000.

    The order depends on the texts and the seed, not on the order of the rows.
    """
    outputs = pairs.outputs
    places = np.flatnonzero(~pairs.tied)
    texts = np.stack([outputs.text[pairs.better[places]], outputs.text[pairs.worse[places]]])
    places = places[np.unique(texts, axis=1, return_index=True)[1]]
    better, worse = outputs.words[pairs.better[places]], outputs.words[pairs.worse[places]]
    keys = [f"{a}\x00{b}" for a, b in zip(better, worse, strict=True)]
    return places[sample_order(keys, case.seed)[:LOOKED_AT]]


def other_outputs(pairs: Comparisons, order: Integers) -> list[str]:
    """For each sampled pair the preferred output of the next one with another prompt, (n,)."""
    better = pairs.better[order]
    prompts, words = pairs.outputs.prompt[better], pairs.outputs.words[better]
    found, n = [], len(order)
    for i in range(n):
        after = ((i + step) % n for step in range(1, min(n, 20)))
        found.append(next((str(words[j]) for j in after if prompts[j] != prompts[i]), ""))
    return found


def _variants(
    case: Case,
    pairs: Comparisons,
    order: Integers,
    others: Sequence[str],
    suite: Suite,
    entry: ProbeEntry,
) -> Variants:
    frame, outputs = case.eval.frame, pairs.outputs
    prompts = frame["prompt"].to_numpy(dtype=object)
    worse_prompts = frame[case.eval.rejected_prompt].to_numpy(dtype=object)
    kept: list[tuple[int, Prompt, Prompt, str]] = []
    for place, other in zip(order.tolist(), others, strict=True):
        if len(kept) == PROBE_PAIRS:
            break
        better, worse = pairs.better[place], pairs.worse[place]
        prompt, output = prompts[outputs.row[better]], str(outputs.words[better])
        changed = variant(entry, prompt, output, other=other, seed=case.seed)
        other_prompt = worse_prompts[outputs.row[worse]]
        if changed is not None and entry.acts_on == "prompt":
            words = str(outputs.words[worse])
            changed_other = variant(entry, other_prompt, words, seed=case.seed)
            other_prompt = other_prompt if changed_other is None else changed_other[0]
        if changed is not None:
            kept.append((place, changed[0], other_prompt, changed[1]))
    return Variants(
        suite,
        entry,
        np.array([row[0] for row in kept], dtype=np.int64),
        tuple(row[1] for row in kept),
        tuple(row[2] for row in kept),
        tuple(row[3] for row in kept),
    )
