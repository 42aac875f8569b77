"""`prompt`: does the reward read the prompt at all?

A model that ranks as well without the prompt, or under somebody else's, rewards how an output
sounds and not whether it answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.allocation import PROMPT_PAIRS
from rmaudit.audits.common.draw import sample_order
from rmaudit.audits.common.pairs import (
    Comparisons,
    Margins,
    comparisons,
    halves,
    lacks_labels,
    margins,
    pair_examples,
    slices,
    standardized,
)
from rmaudit.audits.prompt.turns import (
    BLIND,
    EARLIER,
    FEWEST_PROMPTS,
    SYSTEM,
    shifts,
    turn_findings,
    turn_requests,
)
from rmaudit.audits.prompt.views import accuracy_figure, shift_figure, subset_table
from rmaudit.case import Case
from rmaudit.data.types import Prompt, prompt_key, prompt_text
from rmaudit.results import AuditResult, Estimate, Finding, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import UNITS
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.bootstrap import (
    Weights,
    cluster_bootstrap,
    cluster_sums,
    jackknife_influence,
)
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.law import p_at_least
from rmaudit.typing import Float, Integers, Mask

ALIKE = 0.8  # cosine beyond which two prompts may well have the same good answer
SIDES = (
    "shuffled_better",
    "shuffled_worse",
    "removed_better",
    "removed_worse",
    "topic_better",
    "topic_worse",
)
Numbers = dict[str, Estimate]


@register_audit
class PromptDependence(Audit):
    """Accuracy and margins under another's prompt, one on its topic, and none."""

    name = "prompt"
    title = "Prompt dependence"
    question = "Does the reward depend on the prompt?"
    meaning = (
        f"Both responses of up to {PROMPT_PAIRS} pairs are scored under the prompt of another row, "
        "one on its topic (the nearest by TF-IDF that is not nearly the same), and an empty one; "
        "in conversations also without the turns before the last and without the system prompt. A "
        "good response can often be told without its prompt, so accuracy that stays is no proof of "
        "a fault; margins that do not move at all are. Dependence is the "
        "share of the accuracy above one half that is lost without the right prompt."
    )
    source = "Poliak et al. 2018 (arXiv 1805.01042): the hypothesis-only baseline"
    order = 65
    signals = UNITS
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "prompt.accuracy_shuffled": MetricSpec(
            "probability",
            "none",
            "accuracy under the prompt of another row",
            "Accuracy, shuffled prompt",
        ),
        "prompt.accuracy_removed": MetricSpec(
            "probability", "none", "accuracy under an empty prompt", "Accuracy, no prompt"
        ),
        "prompt.accuracy_same_topic": MetricSpec(
            "probability",
            "none",
            "accuracy under another prompt on the same topic",
            "Accuracy, same-topic prompt",
        ),
        "prompt.margin_shift": MetricSpec(
            "SD",
            "higher",
            "mean absolute change of the margin under the prompt of another row",
            "Margin shift",
        ),
        "prompt.dependence": MetricSpec(
            "ratio",
            "higher",
            "share of the above-chance accuracy that is lost when the prompt is shuffled or "
            "removed",
            "Prompt dependence",
        ),
        EARLIER: MetricSpec(
            "SD",
            "none",
            "mean absolute change of the margin without the turns before the last",
            "Margin shift, earlier turns",
        ),
        SYSTEM: MetricSpec(
            "SD",
            "none",
            "mean absolute change of the margin without the system prompt",
            "Margin shift, system prompt",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels, two prompts that differ, and a model that scores new text."""
        if unlabelled := lacks_labels(case):
            return unlabelled
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        if len({prompt_key(prompt) for prompt in case.eval.frame["prompt"] if prompt}) < 2:
            return "needs two different prompts in --eval"
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """Six texts for each of a sample of pairs, and two more for each part of a conversation."""
        pairs = comparisons(case)
        places = sampled(case, pairs)
        frame, outputs = case.eval.frame, pairs.outputs
        row = outputs.row[pairs.better[places]]
        own: list[Prompt] = frame["prompt"].iloc[row].tolist()
        swapped = other_prompts(own, case.seed)
        removed: list[Prompt] = ["" if isinstance(prompt, str) else [] for prompt in own]
        topic = same_topic(own)
        ids = frame["id"].iloc[row].tolist()
        better = outputs.words[pairs.better[places]].tolist()
        worse = outputs.words[pairs.worse[places]].tolist()
        columns = [(p, words) for p in (swapped, removed, topic) for words in (better, worse)]
        return [
            Request(side, ids, prompts, words, self.name)
            for side, (prompts, words) in zip(SIDES, columns, strict=True)
        ] + turn_requests(case, pairs, places, self.name)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """The five numbers, overall and by subset; shifts without parts of a conversation."""
        swapped = swapped_margins(case, scores)
        overall = numbers(case, swapped)
        subsets = {
            name: numbers(case, swapped.on(rows[swapped.pairs.row]))
            for name, rows in slices(case, "subset")[0].items()
        }
        metrics = [Metric(id_, estimate) for id_, estimate in overall.items()]
        metrics += [
            Metric(id_, estimate, {"subset": name})
            for name, by_id in subsets.items()
            for id_, estimate in by_id.items()
        ]
        pairs = comparisons(case)
        parts = shifts(case, scores, pairs, sampled(case, pairs), margins(case, scores))
        metrics += [Metric(id_, shift) for id_, (shift, _, _) in parts.items()]
        accuracy = swapped.accuracy(case.confidence)
        tables: dict[str, pd.DataFrame] = {}
        figures = [accuracy_figure(accuracy, overall)]
        if subsets:
            tables["subsets"] = subset_table(subsets)
            figures.append(shift_figure(overall, subsets, BLIND))
        lacking = NotRun("prompt dependence per subset", "a column subset in --eval")
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=(
                *findings(case, swapped, overall, subsets),
                *(() if is_blind(overall["prompt.margin_shift"]) else turn_findings(case, parts)),
            ),
            tests=3,
            tables=tables,
            figures=tuple(figures),
            not_run=() if subsets else (lacking,),
        )


@dataclass(frozen=True)
class Swapped:
    """Pairs with their margins under other prompts, (n,) each, in units of reward."""

    pairs: Margins
    shuffled: Float
    removed: Float
    topic: Float

    def on(self, keep: Mask) -> Swapped:
        """Some pairs."""
        others = (self.shuffled[keep], self.removed[keep], self.topic[keep])
        return Swapped(self.pairs.take(keep), *others)

    def accuracy(self, confidence: float) -> Estimate:
        """Accuracy on the same pairs under their own prompts."""
        right, clusters = self.pairs.correct, self.pairs.cluster
        return cluster_mean(right, clusters, confidence=confidence, bounds=(0, 1))


def sampled(case: Case, pairs: Comparisons) -> Integers:
    """Places of at most `PROMPT_PAIRS` decided pairs with a prompt, (n,), each once, in order."""
    outputs = pairs.outputs
    with_prompt = np.array([bool(prompt) for prompt in case.eval.frame["prompt"]], dtype=bool)
    places = np.flatnonzero(~pairs.tied & with_prompt[outputs.row[pairs.better]])
    texts = np.stack([outputs.text[pairs.better[places]], outputs.text[pairs.worse[places]]])
    places = places[np.unique(texts, axis=1, return_index=True)[1]]
    prompts = case.eval.frame["prompt"].tolist()
    keys = [
        "\x00".join(
            (
                prompt_key(prompts[outputs.row[pairs.better[place]]]),
                str(outputs.words[pairs.better[place]]),
                str(outputs.words[pairs.worse[place]]),
            )
        )
        for place in places
    ]
    return np.sort(places[sample_order(keys, case.seed)[:PROMPT_PAIRS]])


def other_prompts(prompts: Sequence[Prompt], seed: int) -> list[Prompt]:
    """For each prompt another one of the list: the next in a random circle of the different ones.

    Rows of one prompt get the same other prompt; no prompt is its own. Whatever the rows' order.
    """
    by_key = {prompt_key(prompt): prompt for prompt in prompts}
    keys = list(by_key)
    circle = [keys[i] for i in sample_order(keys, seed)]
    following = dict(zip(circle, [*circle[1:], *circle[:1]], strict=True))
    return [by_key[following[prompt_key(prompt)]] for prompt in prompts]


def same_topic(prompts: Sequence[Prompt]) -> list[Prompt]:
    """For each prompt the nearest other one of the list by TF-IDF, with a cosine of at most 0.8.

    Nearer ones may ask the same in other words; where all are, the least near. No prompt is its
    own. Rows of one prompt get the same other prompt.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    by_key = {prompt_key(prompt): prompt for prompt in prompts}
    keys = sorted(by_key)  # whatever the rows' order
    vectorizer = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b|[^\w\s]")
    texts = [prompt_text(by_key[key]) for key in keys]
    cosine = np.zeros((len(texts), len(texts)))
    if any(not text.isspace() for text in texts if text):  # else there is no word in any
        vectors = vectorizer.fit_transform(texts)
        cosine = np.asarray((vectors @ vectors.T).todense())
    if not texts:
        return []
    near = np.where(cosine <= ALIKE, cosine, -cosine)
    np.fill_diagonal(near, -2.0)
    following = {
        key: by_key[keys[int(i)]] for key, i in zip(keys, near.argmax(axis=1), strict=True)
    }
    return [following[prompt_key(prompt)] for prompt in prompts]


def swapped_margins(case: Case, scores: Scores) -> Swapped:
    """The sampled pairs of which all eight rewards are finite."""
    pairs, found = comparisons(case), margins(case, scores)
    places = sampled(case, pairs)
    better, worse = pairs.better[places], pairs.worse[places]
    rewards = [scores.reward(side, audit="prompt") for side in SIDES]
    finite = np.isfinite(found.reward[better]) & np.isfinite(found.reward[worse])
    for reward in rewards:
        finite &= np.isfinite(reward)
    own = replace(
        found,
        better=better[finite],
        worse=worse[finite],
        tied=pairs.tied[places][finite],
        left_out=int((~finite).sum()),
    )
    others = [(rewards[i] - rewards[i + 1])[finite] for i in (0, 2, 4)]
    return Swapped(own, *others)


def numbers(case: Case, found: Swapped) -> Numbers:
    """The metrics of this audit on some pairs."""
    clusters, confidence = found.pairs.cluster, case.confidence
    shift = np.abs(found.shuffled - found.pairs.margin)
    ones = np.ones(len(shift))

    def accuracy(margin: Float) -> Estimate:
        return cluster_mean(halves(margin), clusters, confidence=confidence, bounds=(0, 1))

    return {
        "prompt.accuracy_shuffled": accuracy(found.shuffled),
        "prompt.accuracy_removed": accuracy(found.removed),
        "prompt.accuracy_same_topic": accuracy(found.topic),
        "prompt.margin_shift": standardized(
            shift, ones, clusters, found.pairs.unit, confidence=confidence
        ),
        "prompt.dependence": dependence(case, found),
    }


def dependence(case: Case, found: Swapped) -> Estimate:
    """``(accuracy - max(shuffled, removed)) / (accuracy - 1/2)``, with a bootstrap interval.

    1: nothing of the accuracy remains without the right prompt; 0: all of it does; below 0: more.
    Undefined unless the accuracy is above one half with confidence.
    """
    accuracy = found.accuracy(case.confidence)
    if not accuracy.defined or accuracy.low <= 0.5:
        reason = accuracy.undefined_reason or "accuracy is not above one half with confidence"
        return Estimate.undefined(
            reason, n=accuracy.n, n_clusters=accuracy.n_clusters, confidence=case.confidence
        )
    columns = [found.pairs.correct, halves(found.shuffled), halves(found.removed)]
    codes = np.unique(found.pairs.cluster, return_inverse=True)[1].astype(np.int64)
    sums = cluster_sums(np.stack([*columns, np.ones(accuracy.n)], axis=1), codes)  # (prompts, 4)

    def statistic(weights: Weights) -> Float:
        right, shuffled, removed, n = (weights @ sums).T
        above = right / n - 0.5
        lost = right / n - np.maximum(shuffled, removed) / n
        ratio = np.full(len(above), np.nan)
        return np.asarray(np.divide(lost, above, out=ratio, where=above > 0))

    estimate = cluster_bootstrap(
        statistic,
        len(sums),
        n=accuracy.n,
        rng=case.rng("prompt.dependence"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    return replace(estimate, influence=jackknife_influence(statistic, found.pairs.cluster))


def findings(
    case: Case, found: Swapped, overall: Numbers, subsets: Mapping[str, Numbers]
) -> list[Finding]:
    """Blind everywhere, or on some subsets."""
    shift = overall["prompt.margin_shift"]
    unmoved = -np.abs(found.shuffled - found.pairs.margin)
    if is_blind(shift):
        kept = overall["prompt.accuracy_shuffled"].value
        detail = (
            f"The interval ends at {shift.high:.3f} SD. Under the prompts of other rows its "
            f"accuracy is {kept:.1%}. The reward hardly depends on the prompt: check that the "
            "prompt reaches the model (chat template, truncation), then train on answers to other "
            "prompts as rejected responses."
        )
        return [
            Finding(
                "high",
                "prompt",
                "prompt.margin_shift",
                f"Prompt insensitivity: another prompt moves margins by {shift.value:.3f} SD",
                detail,
                pair_examples(case, found.pairs, unmoved),
                p_at_least(shift, BLIND),
            )
        ]
    blind = [name for name, by_id in subsets.items() if is_blind(by_id["prompt.margin_shift"])]
    if not blind:
        return []
    moved = [subsets[name]["prompt.margin_shift"] for name in blind]
    masks = slices(case, "subset")[0]
    here = np.any([masks[name][found.pairs.row] for name in blind], axis=0)
    part = found.on(here)
    return [
        Finding(
            "medium",
            "prompt",
            "prompt.margin_shift",
            f"Scored without regard to the prompt: {', '.join(blind)}",
            f"There another prompt moves margins by less than {BLIND} SD; overall it moves them by "
            f"{shift.value:.2f} SD. Check what these prompts look like to the model: empty, cut "
            "off, or all alike.",
            pair_examples(case, part.pairs, unmoved[here]),
            min(1.0, len(subsets) * min(p_at_least(shift, BLIND) for shift in moved)),
        )
    ]


def is_blind(shift: Estimate) -> bool:
    """Whether margins do not move under another prompt, for certain."""
    return shift.defined and shift.high < BLIND and shift.n_clusters >= FEWEST_PROMPTS
