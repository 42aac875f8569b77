"""`policy`: what did the optimiser do to the policy?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd

from rmaudit.audits.base import Audit, grade, register_audit
from rmaudit.audits.common.samples import proxy_lacks, sample_requests
from rmaudit.audits.common.support import Support
from rmaudit.audits.policy.rows import (
    cluster_codes,
    policy_names,
    policy_rows,
    samples_support,
)
from rmaudit.case import Case
from rmaudit.results import (
    AuditResult,
    Estimate,
    Figure,
    Finding,
    Metric,
    MetricSpec,
    NotRun,
    Severity,
)
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_mean, cluster_ratio, cluster_ratios
from rmaudit.stats.law import p_at_least, p_at_most
from rmaudit.support.conformal import threshold_mean
from rmaudit.typing import Float

LEVELS = ("kl", "distinct_2", "self_bleu", "embedding_diversity", "shared_share")
CHANGES = ("proxy", "gold", "task_score", "heldout_nll")
Numbers = dict[str, Estimate]


@register_audit
class Policy(Audit):
    """Samples of two policies on the same prompts, compared."""

    name = "policy"
    title = "Policy"
    question = "What did optimisation do to the policy?"
    meaning = (
        "Samples of the initial policy and of optimised ones on the same prompts: how far they "
        "went, whether they still vary, how long they are, and whether they left what the reward "
        "model was taught. Proxy up with gold down is over-optimisation in the run itself. The "
        "overall numbers are of the policy that comes last; diversities are of equally many "
        "responses per prompt."
    )
    source = "Gao et al. 2022 (arXiv 2210.10760); Kirk et al. 2023 (2310.06452)"
    order = 88
    metrics: ClassVar = {
        "policy.kl": MetricSpec(
            "nats",
            "none",
            "KL divergence from the initial policy, nats per sequence",
            "KL from the initial policy",
        ),
        "policy.distinct_2": MetricSpec(
            "share",
            "none",
            "distinct bigrams over all bigrams among a prompt's responses",
            "Distinct-2",
        ),
        "policy.self_bleu": MetricSpec(
            "0..1", "none", "BLEU of a response against the others of its prompt", "Self-BLEU"
        ),
        "policy.embedding_diversity": MetricSpec(
            "0..2", "none", "mean cosine distance among a prompt's responses", "Embedding diversity"
        ),
        "policy.shared_share": MetricSpec(
            "share",
            "none",
            "responses of five words or more that share most words and word pairs with one that "
            "another prompt got",
            "Responses shared by prompts",
        ),
        "policy.token_entropy": MetricSpec(
            "nats per token",
            "none",
            "mean negative log-probability of the sampled tokens",
            "Token entropy",
        ),
        "policy.length_ratio": MetricSpec(
            "ratio", "none", "mean response length over the initial policy's", "Length ratio"
        ),
        "policy.outside_support_share": MetricSpec(
            "share", "zero", "samples outside the feedback's support", "Samples outside the support"
        ),
        "policy.heldout_nll_change": MetricSpec(
            "nats per token", "zero", "change of held-out negative log-likelihood", "Alignment tax"
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs samples of two policies."""
        if case.samples is None:
            return "needs --samples of two policies, with a column policy (the initial one first)"
        if len(policy_names(case.samples)) < 2:
            return "needs a column policy in --samples that names two policies or more"
        return proxy_lacks(case)

    def requests(self, case: Case) -> Sequence[Request]:
        """The samples."""
        return sample_requests(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Levels of every policy and changes from the first, on the prompts all answered."""
        samples = case.samples
        if samples is None:
            return AuditResult(self.name, "not_run", self.missing(case))
        names = policy_names(samples)
        rows = policy_rows(case, samples, scores)
        by_policy = {name: levels(case, rows, name) for name in names}
        compared = {name: changes(rows, names[0], name, case.confidence) for name in names[1:]}
        metrics = []
        for name in names:
            numbers = by_policy[name] | _public(compared.get(name, {}))
            metrics += [Metric(f"policy.{k}", e, {"policy": name}) for k, e in numbers.items()]
        metrics = [
            Metric(f"policy.{k}", e)
            for k, e in (by_policy[names[-1]] | _public(compared[names[-1]])).items()
        ] + metrics
        table = _table(names, by_policy, compared)
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(
                finding
                for name in names[1:]
                for finding in findings(name, compared[name], by_policy[names[0]], by_policy[name])
            ),
            tables={"policies": table},
            figures=(_figure(names, compared),),
            not_run=tuple(_not_run(rows, samples_support(case))),
            tests=6,
        )


def levels(case: Case, rows: pd.DataFrame, name: str) -> Numbers:
    """What a policy's samples are like, each with an interval clustered by prompt."""
    own, confidence = rows[rows["policy"] == name], case.confidence
    found = {}
    for key in LEVELS:
        bounds = None if key in ("kl", "embedding_diversity") else (0.0, 1.0)
        values = own[key].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        found[key] = _or_undefined(
            cluster_mean(values[known], _codes(own)[known], confidence=confidence, bounds=bounds),
            key,
        )
    total, tokens = (own[c].to_numpy(dtype=np.float64) for c in ("entropy_sum", "entropy_tokens"))
    known = np.isfinite(total) & np.isfinite(tokens)
    entropy = cluster_ratio(total[known], tokens[known], _codes(own)[known], confidence=confidence)
    found["outside_support_share"] = outside_share(samples_support(case), own, confidence)
    return found | {"token_entropy": _or_undefined(entropy, "token_entropy")}


def outside_share(where: Support | None, own: pd.DataFrame, confidence: float) -> Estimate:
    """Mean share of a row's outputs outside the support, 0 to 1, zero is best.

    `own` has a policy's rows, with the columns cluster and distances (`policy_rows`). The interval
    includes the error of where the support ends. Undefined without feedback.
    """
    if where is None:
        needs = f"needs {_NEEDS['outside_support_share']}"
        return Estimate.undefined(needs, confidence=confidence)
    rows = [part for part in own["distances"] if len(part)]
    known = np.array([len(part) > 0 for part in own["distances"]], dtype=np.bool_)

    def outside_at(threshold: float) -> Float:
        return np.array([np.mean(part > threshold) for part in rows], dtype=np.float64)

    return threshold_mean(outside_at, where.calibration, _codes(own)[known], confidence=confidence)


def changes(rows: pd.DataFrame, first: str, name: str, confidence: float) -> Numbers:
    """Changes from the first policy, paired by prompt; `length_ratio` as a ratio of means."""
    both = rows[rows["policy"].isin([first, name])]
    codes = _codes(both)
    now = (both["policy"] == name).to_numpy(dtype=np.float64)
    found = {}
    for key in CHANGES:
        values = both[key].to_numpy(dtype=np.float64)
        known = np.isfinite(values)
        v, w, c = values[known], now[known], codes[known]
        terms = [(1.0, v * w, w), (-1.0, v * (1 - w), 1 - w)]
        found[key] = _or_undefined(cluster_ratios(terms, c, confidence=confidence), key)
    length = both["length"].to_numpy(dtype=np.float64)
    known = np.isfinite(length) & (length > 0)
    found["length_ratio"] = _ratio(length[known], now[known], codes[known], confidence)
    return found


def _ratio(length: np.ndarray, now: np.ndarray, codes: np.ndarray, confidence: float) -> Estimate:
    """Mean length now over mean length before, by the delta method on its logarithm."""
    means = [float(np.average(length, weights=w)) if w.sum() else np.nan for w in (now, 1 - now)]
    if not np.isfinite(means).all():
        return Estimate.undefined("no lengths of both policies", confidence=confidence)
    terms = [(1 / means[0], length * now, now), (-1 / means[1], length * (1 - now), 1 - now)]
    log_ratio = cluster_ratios(terms, codes, confidence=confidence)  # its value is zero
    if not log_ratio.defined:
        return replace(log_ratio, influence=None)
    ratio = means[0] / means[1]
    return replace(
        log_ratio,
        value=ratio,
        low=ratio * float(np.exp(log_ratio.low)),
        high=ratio * float(np.exp(log_ratio.high)),
        influence=None,
        bounds=(0.0, np.inf),
    )


def findings(name: str, change: Numbers, before: Numbers, now: Numbers) -> list[Finding]:
    """Over-optimisation in the run, collapses, growth, leaving the support, an alignment tax."""
    found = (
        _past_the_peak(change["proxy"], change["gold"]),
        _collapse(before["distinct_2"], now["distinct_2"]),
        _same_everywhere(before["shared_share"], now["shared_share"]),
        _growth(change["length_ratio"]),
        _outside(before["outside_support_share"], now["outside_support_share"]),
        _tax(change["heldout_nll"]),
    )
    return [replace(each, title=f"Policy {name}: {each.title}") for each in found if each]


def _found(severity: Severity, metric: str, title: str, detail: str, p: float) -> Finding:
    return Finding(severity, "policy", f"policy.{metric}", title, detail, p=p)


def _past_the_peak(proxy: Estimate, gold: Estimate) -> Finding | None:
    if not (proxy.defined and gold.defined and proxy.low > 0 and gold.high < 0):
        return None
    return _found(
        "high",
        "kl",
        f"the proxy reward rose by {proxy.value:.3g} and the gold reward fell by {-gold.value:.3g}",
        "The run went past the peak. Take an earlier checkpoint; see over-optimisation for "
        "the KL that is safe.",
        max(p_at_most(proxy, 0.0), p_at_least(gold, 0.0)),
    )


def _collapse(before: Estimate, now: Estimate) -> Finding | None:
    if not (before.defined and now.defined and now.high < 0.8 * before.low):
        return None
    return _found(
        grade(1 - now.high / before.low, 0.3, 0.6),
        "distinct_2",
        f"a prompt's responses repeat one another: different bigrams fell from "
        f"{before.value:.1%} to {now.value:.1%}",
        "The policy collapses onto few responses. Raise beta or add an entropy bonus.",
        p_at_least(now, 0.8 * before.low),
    )


def _same_everywhere(before: Estimate, now: Estimate) -> Finding | None:
    if not (before.defined and now.defined and now.low > max(before.high, 0.1)):
        return None
    return _found(
        grade(now.low - before.value, 0.1, 0.3),
        "shared_share",
        f"{now.value:.1%} of its responses are given to other prompts as well, "
        f"{before.value:.1%} of the initial policy's are",
        "One half of the prompts is compared with the other half; of responses of five words or "
        "more, those count that share most of their words and word pairs. The policy collapses "
        "over prompts: it answers without regard to what was asked. Read the responses that come "
        "most often (refusals may rightly be alike), and see whether the reward depends on the "
        "prompt.",
        p_at_most(now, max(before.high, 0.1)),
    )


def _growth(length: Estimate) -> Finding | None:
    if not (length.defined and length.low > 1.25):
        return None
    return _found(
        grade(length.low - 1, 0.5, 1.0),
        "length_ratio",
        f"responses are {length.value:.2f} times as long as at the start",
        "Growth of length is what a length-paying reward teaches: see the audit of length.",
        p_at_most(length, 1.25),
    )


def _outside(before: Estimate, now: Estimate) -> Finding | None:
    if not (before.defined and now.defined and now.low > max(before.high, 0.1)):
        return None
    return _found(
        grade(now.low - before.high, 0.1, 0.3),
        "outside_support_share",
        f"{now.value:.1%} of its samples lie outside what the reward model was taught, "
        f"{before.value:.1%} of the initial policy's do",
        "The reward model judges what it never saw: label such samples and retrain it.",
        p_at_most(now, max(before.high, 0.1)),
    )


def _tax(nll: Estimate) -> Finding | None:
    if not (nll.defined and nll.low > 0):
        return None
    return _found(
        grade(nll.low, 0.05, 0.2),
        "heldout_nll_change",
        f"held-out text costs {nll.value:.3f} nats per token more",
        "An alignment tax. Mix a language-model loss into the run, or stay nearer.",
        p_at_most(nll, 0.0),
    )


def _codes(rows: pd.DataFrame) -> np.ndarray:
    return cluster_codes(rows["cluster"].to_numpy())


def _public(change: Numbers) -> Numbers:
    names = {"length_ratio": "length_ratio", "heldout_nll": "heldout_nll_change"}
    return {names[key]: e for key, e in change.items() if key in names}


_NEEDS = {
    "kl": "logprobs and reference_logprobs in --samples: the summed log-probability of each "
    "response under its own policy and under the initial one",
    "shared_share": "two prompts and responses of five words or more in --samples",
    "token_entropy": "logprobs in --samples, and tokens or a model that counts them",
    "outside_support_share": "--feedback and texts in --samples",
    "heldout_nll_change": "heldout_nll in --samples, nats per token of held-out text",
    "gold": "gold_rewards in --samples",
}


def _or_undefined(estimate: Estimate, name: str) -> Estimate:
    if estimate.defined or estimate.n:
        return estimate
    needs = _NEEDS.get(name, f"{name} in --samples")
    return Estimate.undefined(f"needs {needs}", confidence=estimate.confidence)


def _not_run(rows: pd.DataFrame, where: Support | None) -> list[NotRun]:
    columns = {"kl": "kl", "token_entropy": "entropy_sum", "outside_support_share": "outside"}
    columns |= {"heldout_nll_change": "heldout_nll", "gold": "gold"}
    undefined = None if where is None else where.calibration.undefined_reason
    needs = _NEEDS | ({"outside_support_share": undefined} if undefined else {})
    return [NotRun(k, needs[k]) for k, column in columns.items() if rows[column].isna().all()]


def _table(
    names: list[str], by_policy: dict[str, Numbers], compared: dict[str, Numbers]
) -> pd.DataFrame:
    rows = []
    for name in names:
        row: dict[str, object] = {"policy": name}
        changed = {
            f"{k}_change" if k in CHANGES else k: e for k, e in compared.get(name, {}).items()
        }
        for key, e in (by_policy[name] | changed).items():
            row |= {key: e.value, f"{key}_low": e.low, f"{key}_high": e.high}
        rows.append(row)
    return pd.DataFrame(rows)


def _figure(names: list[str], compared: dict[str, Numbers]) -> Figure:
    rows = [
        {"label": f"{name}: {key}", "value": e.value, "low": e.low, "high": e.high}
        for name in names[1:]
        for key, e in compared[name].items()
        if key in ("proxy", "gold") and e.defined
    ]
    return Figure(
        "change",
        "intervals",
        "Change of the mean rewards from the initial policy",
        "; ".join(f"{row['label']} {row['value']:+.3g}" for row in rows) or "No rewards are known.",
        {"rows": rows, "xlabel": "change of the mean reward (its own unit)", "reference": 0.0},
    )
