"""Preflight: is the reward that is measured the model's reward?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.preflight.findings import (
    DISCREPANCY,
    NONFINITE,
    NOT_APPLICABLE,
    discrepancy_findings,
    nonfinite,
    text_findings,
    unusable_findings,
)
from rmaudit.audits.preflight.sample import Rescored, Texts
from rmaudit.case import Case
from rmaudit.order import natural
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import Mode, does_not_apply
from rmaudit.scoring.requests import Column, Request, Scores
from rmaudit.stats.intervals import cluster_mean
from rmaudit.stats.scale import within_prompt_sd

SIDE = "sample"
_OF_REWARDS = (NONFINITE, NOT_APPLICABLE)  # counted without a look at the tokenizer
CHECKS: dict[str, Mode] = {"alone": "alone", "left-padded": "left"}


@register_audit
class Preflight(Audit):
    """Whether batching, padding, truncation and special tokens leave the reward what it is."""

    name = "preflight"
    title = "Preflight"
    question = "Is the reward that is measured here the model's own reward?"
    meaning = (
        "A sample of texts of all lengths is scored alone, in batches and padded on the left: "
        "whatever differs by more than rounding is a fault of the set-up, and every other number "
        "in this report is in doubt. The shares say how many texts were cut to fit the model, "
        "began with a doubled special token, or got a reward that is no finite number."
    )
    source = "Lambert et al. 2024 (RewardBench, arXiv 2403.13787)"
    order = 10
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        DISCREPANCY: MetricSpec(
            "SD",
            "zero",
            "largest change of a sampled text's reward by batching or left padding",
            "Largest batch discrepancy",
        ),
        "preflight.truncated_share": MetricSpec(
            "share", "zero", "texts that lost their oldest prompt tokens", "Truncated texts"
        ),
        "preflight.output_truncated_share": MetricSpec(
            "share",
            "zero",
            "texts whose response alone is longer than the model can read",
            "Truncated responses",
        ),
        NONFINITE: MetricSpec(
            "share", "zero", "texts whose reward is not a finite number", "Non-finite rewards"
        ),
        NOT_APPLICABLE: MetricSpec(
            "share",
            "none",
            "texts that the reward does not apply to (None); they are left out, and no fault",
            "Reward does not apply",
        ),
        "preflight.double_bos_share": MetricSpec(
            "share", "zero", "texts that begin with two beginning-of-sequence tokens", "Doubled BOS"
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs texts."""
        if any(len(request.ids) for request in case.data_requests):
            return None
        return "needs responses in --eval"

    def requests(self, case: Case) -> Sequence[Request]:
        """A sample of the data's texts as it is measured, alone, and padded on the left."""
        if not case.new_text:
            return ()
        texts = Texts.of(case)
        places = texts.sample(case.rng(self.name)).tolist()
        ask = partial(
            Request,
            SIDE,
            [f"{texts.ids[i]} {texts.sides[i]}" for i in places],
            [texts.prompts[i] for i in places],
            [texts.outputs[i] for i in places],
            self.name,
            row_ids=[texts.ids[i] for i in places],
        )
        return [ask("plain"), *(ask(mode) for mode in _checks(case).values())]

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Shares over all texts; differences over the sample."""
        texts = Texts.of(case)
        columns = [scores.column(request.side) for request in case.data_requests]
        rewards = np.concatenate([column.reward for column in columns])
        flags = _flags(columns)
        sd = within_prompt_sd(rewards, case.clusters[texts.rows])
        rescored = _rescored(case, texts, scores, sd, self.name)
        metrics = [Metric(DISCREPANCY, _largest(rescored, texts, case))]
        reads = case.model.length_unit == "tokens"
        for id_, flag in flags.items():
            metrics += _shares(id_, flag, texts, case, known=reads or id_ in _OF_REWARDS)
        facts = [(fact, str(value)) for fact, value in case.model.describe().items()]
        findings = [
            *unusable_findings(case, scores),
            *discrepancy_findings(rescored, texts, case),
            *text_findings(metrics, flags, texts, case),
        ]
        tables = {"model": pd.DataFrame(facts, columns=["fact", "value"])}
        if rescored is not None:
            tables["sample"] = _table(rescored, texts)
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(findings),
            tables=tables,
            figures=()
            if rescored is None or not sd > 0
            else (_figure(rescored, case.model.length_unit),),
            not_run=tuple(_not_run(case)),
        )


def _checks(case: Case) -> dict[str, Mode]:
    """The ways of scoring a text that this model has, besides the measured one."""
    return {name: mode for name, mode in CHECKS.items() if mode != "left" or case.model.pads_left}


def _not_run(case: Case) -> list[NotRun]:
    if not case.new_text:
        return [NotRun("batching and padding", case.new_text_needs)]
    not_run = []
    if not case.model.pads_left:
        needs = "a model that can be padded on the left; scoring pads this one otherwise"
        not_run.append(NotRun("left padding", needs))
    return not_run


def _flags(columns: Sequence[Column]) -> dict[str, NDArray[np.bool_]]:
    """What is counted of every text, (n,) each, by the metric's name."""
    join = np.concatenate
    rewards = join([c.reward for c in columns])
    return {
        "preflight.truncated_share": join([c.truncated for c in columns]),
        "preflight.output_truncated_share": join([c.output_truncated for c in columns]),
        NONFINITE: nonfinite(rewards),
        NOT_APPLICABLE: does_not_apply(rewards),
        "preflight.double_bos_share": join([c.double_bos for c in columns]),
    }


def _shares(
    id_: str, flag: NDArray[np.bool_], texts: Texts, case: Case, *, known: bool
) -> list[Metric]:
    """A share overall and per subset; undefined where no tokenizer could be watched."""
    if not known:
        reason = "the model's tokenizer is not available, so what it cuts is not known"
        undefined = Estimate.undefined(reason, n=flag.size, confidence=case.confidence)
        return [Metric(id_, undefined)]
    clusters = case.clusters[texts.rows]
    share = partial(cluster_mean, confidence=case.confidence, bounds=(0.0, 1.0))
    found = [Metric(id_, share(flag, clusters))]
    if "subset" in case.eval.frame:
        subsets = case.eval.frame["subset"].astype(str).to_numpy()[texts.rows]
        for name in sorted(set(subsets), key=natural):
            here = subsets == name
            found.append(Metric(id_, share(flag[here], clusters[here]), {"subset": str(name)}))
    return found


def _rescored(case: Case, texts: Texts, scores: Scores, sd: float, audit: str) -> Rescored | None:
    if not case.new_text:
        return None
    return Rescored(
        places=texts.sample(case.rng(audit)),
        batched=scores.column(SIDE, audit=audit),
        others={
            name: scores.reward(SIDE, audit=audit, mode=mode)
            for name, mode in _checks(case).items()
        },
        sd=sd,
    )


def _largest(rescored: Rescored | None, texts: Texts, case: Case) -> Estimate:
    """The largest difference. It is what it is for the texts checked: no sampling error."""
    undefined = partial(Estimate.undefined, confidence=case.confidence)
    if rescored is None:
        return undefined("recorded rewards cannot be scored again")
    if not rescored.sd > 0:
        return undefined(
            "the rewards within a prompt do not vary, or no prompt has two texts: there is no unit"
        )
    value = max(float(moved.max()) for moved in rescored.differences.values())
    if not np.isfinite(value):
        return undefined("a reward is finite in one batch and not in another")
    rows = texts.rows[rescored.places]
    n_clusters = np.unique(case.clusters[rows]).size
    return Estimate(value, value, value, case.confidence, "exact", rows.size, int(n_clusters))


def _table(rescored: Rescored, texts: Texts) -> pd.DataFrame:
    places = rescored.places
    columns: dict[str, Any] = {
        "id": [texts.ids[i] for i in places],
        "side": [texts.sides[i] for i in places],
        "length": rescored.batched.tokens,
        "reward": rescored.batched.reward,
    }
    for name, reward in rescored.others.items():
        columns[f"reward {name}"] = reward
    return pd.DataFrame(columns)


def _figure(rescored: Rescored, length_unit: str) -> Figure:
    length = rescored.batched.tokens.tolist()
    series = [
        {
            "name": f"{name} against batched",
            "x": length,
            "y": [float(y) if np.isfinite(y) else None for y in moved],
        }
        for name, moved in rescored.differences.items()
    ]
    return Figure(
        name="batch_discrepancy",
        kind="scatter",
        title="Change of reward when a text is scored in another way",
        alt=f"Absolute change of reward in SD against length, for {len(length)} sampled texts.",
        data={
            "series": series,
            "xlabel": f"length of the text ({length_unit})",
            "ylabel": "change of reward (SD)",
        },
    )
