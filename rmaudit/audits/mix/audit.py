"""`mix`: which part of a mixed reward moves the policy?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, cast

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.common.samples import gold_lacks, sample_rewards
from rmaudit.audits.mix.findings import (
    CONSTANT,
    SHARE,
    SLOPE,
    WORDS,
    bought,
    dominant,
    starved,
)
from rmaudit.audits.mix.measure import (
    FEWEST,
    Groups,
    advantage_shares,
    best_of_n,
    collapsed_share,
    constant_shares,
    first_movers,
    fitted_weights,
    gold_correlations,
    mean_of_known,
)
from rmaudit.audits.mix.words import word_slopes
from rmaudit.case import Case
from rmaudit.data.types import Dataset
from rmaudit.overoptimization.samples import first_policy, scored_matrix
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec
from rmaudit.rewards.base import UNITS
from rmaudit.rewards.mix import Mix, Scale
from rmaudit.rewards.steps import READINGS
from rmaudit.scoring.requests import Column, Request, Scores, data_requests
from rmaudit.typing import Float

SCALARLESS = "the reward has no components: a mix, a function that returns them, or --components"


@register_audit
class MixAudit(Audit):
    """Shares of the advantage, starved components, and who moves first."""

    name = "mix"
    title = "Reward mix"
    question = "Which component of the reward will move the policy?"
    meaning = (
        "A policy follows differences between its own samples of one prompt. Of these, each "
        "component has a share, whatever its weight says: one that is the same for all samples of "
        "a prompt has none there. The slope says how fast a component rises with the first steps "
        "of optimisation."
    )
    source = "Liu et al. 2026 (GDPO, arXiv 2601.05242); Gao et al. 2022 (arXiv 2210.10760)"
    order = 88
    signals = UNITS | {"verdict"}
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        SHARE: MetricSpec(
            "share",
            "none",
            "covariance of the advantage with a weighted component, over the advantage's variance; "
            "the shares add to 1",
            "Share of the advantage",
        ),
        CONSTANT: MetricSpec(
            "share",
            "zero",
            "prompts whose samples all have the same value of a component",
            "Constant component",
        ),
        "mix.collapsed_advantage_share": MetricSpec(
            "share",
            "zero",
            "prompts whose samples get the same advantages as those of another prompt, from other "
            "values of the components",
            "Collapsed advantages",
        ),
        SLOPE: MetricSpec(
            "SD per sqrt(nat)",
            "none",
            "rise of a component per square root of KL at the start of optimisation, of a policy "
            "that can change each response by itself",
            "First-mover slope",
        ),
        WORDS: MetricSpec(
            "SD per sqrt(nat)",
            "none",
            "rise of a component per square root of KL at the start of optimisation, of a policy "
            "that moves responses together as far as they share words",
            "First-mover slope by words",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs samples, at least four of a prompt."""
        samples = case.samples
        if samples is None:
            return f"needs --samples, {FEWEST} responses of the policy per prompt or more"
        if not samples.columns("outputs"):
            return "needs responses in --samples"
        if samples.frame["outputs"].map(len).max() < FEWEST:
            return f"needs {FEWEST} responses per prompt or more in --samples"
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """The samples."""
        return () if case.samples is None else data_requests(case.samples, "samples")

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Every component's part, over prompts."""
        samples = case.samples
        grouped = None if samples is None else groups_of(case, samples, scores)
        if samples is None or grouped is None:
            return AuditResult(self.name, "not_run", f"needs components; {SCALARLESS}")
        groups, rows = grouped
        if len(groups.total) < 2:
            reason = f"needs two prompts with {FEWEST} rewarded samples or more"
            return AuditResult(self.name, "not_run", reason)
        shares, constant = advantage_shares(groups), constant_shares(groups)
        slopes, unscaled = first_movers(groups), advantage_shares(groups, "none")
        outputs = samples.frame["outputs"]
        worded = word_slopes(groups, [outputs.iloc[row] for row in rows], case.rng(self.name))
        gold = _gold(case, scores, groups, rows)
        by_component: list[tuple[str, Mapping[str, Estimate]]] = [
            (SHARE, shares),
            (CONSTANT, constant),
            (SLOPE, slopes),
            (WORDS, worded),
        ]
        return AuditResult(
            self.name,
            metrics=(
                *(
                    Metric(id_, replace(estimate, influence=None), {"component": name})
                    for id_, estimates in by_component
                    for name, estimate in estimates.items()
                ),
                Metric(
                    "mix.collapsed_advantage_share",
                    replace(collapsed_share(groups), influence=None),
                ),
            ),
            findings=(
                *dominant(groups, shares, unscaled, constant),
                *starved(constant),
                *bought(slopes, gold),
            ),
            tables={
                "components": _table(groups, shares, unscaled, constant, (slopes, worded), gold),
                "best_of_n": _curve(groups),
            },
            figures=(_figure(shares, groups),),
        )


def groups_of(case: Case, samples: Dataset, scores: Scores) -> tuple[Groups, Any] | None:
    """The samples' rewards by prompt, and their rows; None if the reward has no components."""
    columns = {r.side: scores.by_request[r.key] for r in data_requests(samples, "samples")}
    every = dict.fromkeys(n for column in columns.values() for n in column.components)
    names = [name for name in every if not name.startswith(READINGS)]
    if not names:
        return None
    total = scored_matrix(samples, lambda side: columns[side].reward)
    components = {
        name: scored_matrix(samples, partial(_component, columns, name)) for name in names
    }
    rows = np.flatnonzero(first_policy(samples) & (np.isfinite(total).sum(axis=1) >= FEWEST))
    total, components = total[rows], {name: values[rows] for name, values in components.items()}
    model = case.model
    weights = model.weights if isinstance(model, Mix) else fitted_weights(total, components)
    scale: Scale = model.scale if isinstance(model, Mix) else "none"
    codes = samples.clusters[rows]
    return Groups(total, components, weights, codes, scale, case.confidence), rows


def _component(columns: Mapping[str, Column], name: str, side: str) -> Float:
    column = columns[side]
    return column.components.get(name, np.full(column.reward.shape, np.nan))


def _gold(case: Case, scores: Scores, groups: Groups, rows: Any) -> dict[str, Estimate]:
    if gold_lacks(case) is not None or not case.new_text:
        return {}
    gold = sample_rewards(case, scores).gold
    if gold is None:
        return {}
    return gold_correlations(groups, gold[rows][:, : groups.total.shape[1]])


def _table(
    groups: Groups,
    shares: Mapping[str, Estimate],
    unscaled: Mapping[str, Estimate],
    constant: Mapping[str, Estimate],
    slopes: tuple[Mapping[str, Estimate], Mapping[str, Estimate]],
    gold: Mapping[str, Estimate],
) -> pd.DataFrame:
    """One row a component; the exchange rate is in units of the first component."""
    first = next(iter(groups.weights.values()))
    rows = []
    for name, share in shares.items():
        weight = groups.weights.get(name)
        values = groups.components.get(name)
        rows.append(
            {
                "component": name,
                "weight": weight,
                "mean": None if values is None else mean_of_known(values),
                "share of the advantage": share.value,
                "share before scaling": unscaled[name].value if name in unscaled else None,
                "constant": constant[name].value if name in constant else None,
                "slope": slopes[0][name].value if name in slopes[0] else None,
                "slope by words": slopes[1][name].value if name in slopes[1] else None,
                "correlation with gold": gold[name].value if name in gold else None,
                # How much of the first component buys one unit of this at an equal total.
                "exchange rate": None if not weight or not first else weight / first,
            }
        )
    return pd.DataFrame(rows)


def _curve(groups: Groups) -> pd.DataFrame:
    """Components over best-of-n by the total, for n = 1, 2, 4, ... up to the samples there are."""
    most = int(groups.there.sum(axis=1).min())
    sizes = tuple(2**k for k in range(int(np.log2(most)) + 1))
    return pd.DataFrame({"n": sizes, **best_of_n(groups, sizes)})


def _figure(shares: Mapping[str, Estimate], groups: Groups) -> Figure:
    rows = [
        {"label": name, "value": share.value, "low": share.low, "high": share.high}
        for name, share in shares.items()
        if share.defined
    ]
    most = max(rows, key=lambda row: cast(float, row["value"]), default=None)
    alt = f"Share of the advantage of {len(rows)} components, scale {groups.scale}."
    if most is not None:
        alt += f" Largest: {most['label']}, {most['value']:.1%}."
    data = {"rows": rows, "xlabel": "share of the advantage", "xunit": "percent", "reference": 0}
    return Figure("shares", "intervals", "Who has the advantage", alt, data)
