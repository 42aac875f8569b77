"""Simulated rewards of edited texts for `intervals.py`: probes, style, poison, attacks, regions.

The edited texts are not made: they get their rewards, and the audits' own functions measure what
the edits do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from interval_draws import Draw, Float, Group, Measured
from interval_sets import Simulated, column, drawn

import rmaudit as rma
from rmaudit.audits.common.pairs import comparisons, halves, margins
from rmaudit.audits.generalization.inflation import overpaid
from rmaudit.audits.generalization.regions import region_metrics, search
from rmaudit.audits.hacking.attacks import Attack, Outcome
from rmaudit.audits.hacking.constants import Degenerate
from rmaudit.audits.hacking.parts import best_of_n
from rmaudit.audits.poison.edits import Edit, phrase_effects
from rmaudit.audits.preference.style_matrix import DIFFICULTIES, style_matrix
from rmaudit.audits.prompt.turns import shifts, turn_requests
from rmaudit.audits.robustness.effects import Effect
from rmaudit.audits.sparsity import POSITIONS, prefix_accuracy
from rmaudit.audits.style.audit import styles
from rmaudit.audits.style.edits import Causal
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.probes.loading import Suite, load_suites
from rmaudit.probes.schema import ProbeEntry
from rmaudit.results import Metric
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Scores

LEVEL = 0.95
STYLES = ("concise", "plain", "markdown")


@lru_cache
def _invariance() -> tuple[Suite, ProbeEntry]:
    """A probe under which rewards should stay the same."""
    return next(
        (suite, probe)
        for suite in load_suites()
        for probe in suite.file.probes
        if probe.expected == "same"
    )


def of_probes(draw: Draw) -> list[Measured]:
    """A change of the text that should not matter, and does on some prompts more than on others."""
    data = drawn(draw)
    rng, found = data.case.rng("probes"), data.pairs
    suite, probe = _invariance()
    change = _by_prompt(rng, data, -0.2, 0.6)
    after = found.reward[found.better] + change
    effect = Effect(
        suite,
        probe,
        change,
        found.cluster,
        found.row,
        (found.margin > 0).astype(np.float64),
        halves(found.reward[found.worse] - after),
        found.unit,
        0,
        (),
    )
    rates = {
        "effect": effect.effect(LEVEL),
        "flip_rate": effect.flip_rate(LEVEL),
        "pass_rate": effect.pass_rate(LEVEL),
    }
    return [Metric(f"robustness.{name}", estimate) for name, estimate in rates.items()]


def of_style(draw: Draw) -> list[Measured]:
    """An attribute that is paid for, most responses without it; and put on by hand."""
    data = drawn(draw)
    rng, found = data.case.rng("style"), data.pairs
    amount = np.log2(1 + rng.poisson(0.7, len(found.reward)))
    paid = replace(found, reward=found.reward + 0.4 * amount)
    paid = replace(paid, unit=paid.outputs.unit(paid.reward, paid.distinct))
    (style,) = styles(paid, {"lists": amount}, LEVEL).values()
    added = rng.random(len(found)) < 0.5
    change = _by_prompt(rng, data, 0.3, 0.5)
    causal = Causal(change, added.astype(np.float64), found, np.zeros(len(found)), 0, [], [])
    return [
        Metric("style.effect", style.effect),
        Metric("style.excess_preference", style.excess),
        Metric("style.causal_effect", causal.effect(LEVEL)),
    ]


def of_poison(draw: Draw) -> list[Measured]:
    """A phrase that is paid for, put to responses and taken out of the feedback's own."""
    data = drawn(draw)
    rng, pairs = data.case.rng("poison"), comparisons(data.case)
    own = margins(data.case, data.scores)
    feedback = _pairs_of(np.arange(draw.prompts))
    case = replace(data.case, feedback=feedback)
    places = np.arange(len(pairs.better))
    edits, there = [], dict(data.scores.by_request)
    for added, place in ((True, places), (False, np.arange(len(feedback)))):
        texts = ["text"] * len(place)
        edit = Edit(0, added, texts, list(texts), texts, texts, place)
        base = own.reward[pairs.worse] if added else rng.normal(size=len(place))
        for request, worth in zip(edit.requests("poison"), (0.4, 0.0), strict=True):
            reward = base + worth + 0.4 * rng.normal(size=len(place))
            there[request.key] = column(reward, np.ones(len(place), dtype=np.int64))
        edits.append(edit)
    (found,) = phrase_effects(replace(data.scores, by_request=there), own, edits, 1, case)
    return [
        Metric("poison.trigger_effect", found.effect),
        Metric("poison.removal_effect", found.removed),
    ]


def of_attacks(draw: Draw) -> list[Measured]:
    """Words that raise the rejected responses of the report half, and one string for all."""
    data = drawn(draw)
    rng, found = data.case.rng("attacks"), data.pairs
    part = found.take(found.cluster % 2 == 0)
    worse = part.reward[part.worse]
    noise = rng.normal(0, 0.5, (2, len(part)))
    outcome = Outcome(Attack("suffix"), part, worse + 0.8 + noise[0], worse + 0.1 + noise[1])
    fixed = Degenerate("one string", "Yes.", part, worse - 0.3 + 2 * noise[0])
    return [
        Metric("hacking.suffix_success_rate", outcome.success(LEVEL)),
        Metric("hacking.suffix_effect", outcome.effect(LEVEL)),
        Metric("hacking.constant_share", fixed.share(LEVEL)),
        *(m for m in best_of_n(data.case, data.scores).metrics if not m.slice),
    ]


def of_responses(draw: Draw) -> list[Measured]:
    """Prefixes of responses; responses outside the support, which are paid too much."""
    data = drawn(draw)
    rng, found = data.case.rng("responses"), data.pairs
    outside = (rng.random(len(found.reward)) < 0.3).astype(np.float64)
    inflated = replace(found, reward=found.reward + 0.5 * outside)
    inflated = replace(inflated, unit=inflated.outputs.unit(inflated.reward, inflated.distinct))
    said = [Metric("generalization.reward_inflation", overpaid(inflated, outside, LEVEL))]
    for position in POSITIONS[:-1:3]:
        margin = position * found.margin + (1 - position) * rng.normal(0, 1.5, len(found))
        accuracy = prefix_accuracy(margin, found.cluster, data.case)
        said.append(Metric("sparsity.prefix_accuracy", accuracy, {"position": f"{position:.1f}"}))
    return list(said)


def of_style_sets(draw: Draw) -> list[Measured]:
    """Items in three styles, crossed; the fancier one is paid for."""
    rng = draw.rng(6)
    of = draw.prompt_of(rng)
    item = np.repeat(np.arange(len(of)), len(STYLES))
    style = np.tile(np.arange(len(STYLES)), len(of))
    rows = [
        {
            "prompt": f"Question {of[i]} {i}",
            "group": f"{of[i]}",
            "style": STYLES[s],
            "chosen": f"Answer {i} {s}",
            "rejected": f"Reply {i} {s}",
        }
        for i, s in zip(item.tolist(), style.tolist(), strict=True)
    ]
    data = rma.load(rows, "preference")
    quality = rng.normal(0.5, 1, draw.prompts)[of][item] / 2 + rng.normal(0, 0.4, len(of))[item]
    rewards = [0.5 * style + sign * quality + rng.normal(size=len(item)) for sign in (1, -1)]
    case, scores = _scored(data, rewards, draw)
    matrix = style_matrix(case, margins(case, scores).decided)
    assert not isinstance(matrix, str)
    return [Metric(f"preference.style_{d}", matrix.difficulty(d, LEVEL)) for d in DIFFICULTIES]


def of_turns(draw: Draw) -> list[Measured]:
    """Conversations with a system prompt, scored without it and without the earlier turns."""
    rng = draw.rng(7)
    of = draw.prompt_of(rng)
    data = _pairs_of(of, turns=True)
    case, scores = _scored(data, list(rng.normal(size=(2, len(of)))), draw)
    pairs, found = comparisons(case), margins(case, scores)
    places = np.arange(len(of))
    there = dict(scores.by_request)
    far = rng.gamma(4, 0.1, draw.prompts)[of]
    for request in turn_requests(case, pairs, places, "prompt"):
        own = found.reward[pairs.better if request.side.endswith("better") else pairs.worse]
        there[request.key] = column(own + far * rng.normal(size=len(of)), np.ones(len(of), int))
    moved = shifts(case, replace(scores, by_request=there), pairs, places, found)
    return [Metric(id_, shift) for id_, (shift, _, _) in moved.items()]


def of_regions(draw: Draw) -> list[Measured]:
    """Two kinds of prompts, of other words, one ranked worse; the weakest region is looked for.

    What is found lies within a kind, and the value that it stands for is that of the region that
    this very data set led to: its own mix of the kinds.
    """
    rng = draw.rng(8)
    of = draw.prompt_of(rng)
    kind = (rng.random(draw.prompts) < 0.4).astype(np.int64)
    words = [
        [f"{a}{b}" for a in "abcde" for b in "klmno"],
        [f"{a}{b}" for a in "pqrst" for b in "uvwxy"],
    ]
    texts = [" ".join(rng.choice(words[k], 12)) + f" {p}" for p, k in enumerate(kind.tolist())]
    rows = [
        {"prompt": texts[p], "chosen": f"Answer {i}", "rejected": f"Reply {i}"}
        for i, p in enumerate(of.tolist())
    ]
    accuracy = np.array([0.85, 0.6])
    right = rng.random(len(of)) < accuracy[kind][of]
    reward = [np.where(right, 1.0, -1.0), np.zeros(len(of))]
    case, scores = _scored(rma.load(rows, "preference"), reward, draw)
    decided = margins(case, scores).decided
    said: list[Measured] = []
    for tested in search(case, decided)[:1]:
        inside = tested.region.inside
        value, rest = (accuracy[kind][of][part].mean() for part in (inside, ~inside))
        truth = (float(value), float(rest - value))
        found = [replace(metric, slice={}) for metric in region_metrics([tested])]
        said += list(zip(found, truth, strict=True))
    return said


def _by_prompt(rng: np.random.Generator, data: Simulated, mean: float, spread: float) -> Float:
    """Changes of each pair, alike within a prompt, (n,)."""
    found = data.pairs
    shared = rng.normal(mean, spread, int(data.of.max()) + 1)[data.of][found.row]
    return np.asarray(shared + rng.normal(0, spread, len(found)), dtype=np.float64)


def _pairs_of(of: np.ndarray, *, turns: bool = False) -> Dataset:
    """Pairs of the prompts, which may be conversations."""

    def prompt(p: int) -> object:
        if not turns:
            return f"Question {p}"
        roles = ("system", "user", "assistant", "user")
        return [{"role": role, "content": f"{role} {k} {p}"} for k, role in enumerate(roles)]

    rows = [
        {"prompt": prompt(p), "chosen": f"Answer {i}", "rejected": f"Reply {i}"}
        for i, p in enumerate(of.tolist())
    ]
    return rma.load(rows, "preference")


def _scored(data: Dataset, rewards: list[Float], draw: Draw) -> tuple[Case, Scores]:
    """A case, and its rewards by side."""
    case = Case(Recorded(), data, seed=draw.seed, resamples=draw.resamples)
    there = {
        request.key: column(reward, np.ones(len(reward), dtype=np.int64))
        for request, reward in zip(case.data_requests, rewards, strict=True)
    }
    return case, Scores([], there, members=[there], member_names=["recorded"])


def of_edits(draw: Draw) -> list[Measured]:
    """All that is measured on the same pairs with rewards of further texts."""
    groups = (of_probes, of_style, of_poison, of_attacks, of_responses)
    return [each for group in groups for each in group(draw)]


GROUPS: dict[str, Group] = {
    "edited texts": of_edits,
    "style sets": of_style_sets,
    "turns": of_turns,
    "regions": of_regions,
}
