"""`robustness`: is the reward moved by what should not move it, and by what should?

Suites of probes (Ribeiro et al. 2020, CheckList) change the evaluation data's own texts, or hold
fixed contrasts; each says beforehand what the reward should do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from rmaudit.audits.base import Audit, grade, register_audit
from rmaudit.audits.common.allocation import FIRST_LOOK, PROBE_PAIRS
from rmaudit.audits.common.pairs import lacks_labels, margins
from rmaudit.audits.robustness.effects import (
    LIMITS,
    PASS_WITHIN,
    Effect,
    beyond,
    effects,
    worst,
)
from rmaudit.audits.robustness.plan import first_look, plan, probe_requests, requests
from rmaudit.audits.robustness.views import (
    effect_figure,
    heat_map,
    probe_table,
    suite_table,
    worst_table,
)
from rmaudit.case import Case
from rmaudit.probes.loading import Suite, load_suites
from rmaudit.results import AuditResult, Estimate, Finding, Metric, MetricSpec, NotRun, Severity
from rmaudit.rewards.base import UNITS
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import cluster_ratios, count_codes
from rmaudit.stats.multiple import holm

EFFECT = "robustness.effect"
SHOULD = {
    "same": "stay the same",
    "not_higher": "not rise",
    "not_lower": "not fall",
    "lower": "fall",
    "higher": "be higher for the better response",
}


@register_audit
class Robustness(Audit):
    """Invariance, directional and contrast probes, declared in suites."""

    name = "robustness"
    title = "Robustness"
    question = (
        "Does the reward ignore changes that keep the meaning, and fall when a response gets worse?"
    )
    meaning = (
        f"Each probe changes the chosen response (or the prompt) of up to {PROBE_PAIRS} pairs "
        f"({FIRST_LOOK} where those show no lean toward a fault), or holds fixed items, and says "
        "what the reward should do. Effect: mean change in SDs; flip "
        "rate: correctly ranked pairs that the probe turns; pass rate: texts that behave as "
        "expected "
        f"(an invariance probe fails when the reward moves by over {PASS_WITHIN} SD). Findings are "
        "adjusted for the number of probes in a suite. The overall pass rate is the mean over "
        "probes: it depends on which suites were run."
    )
    source = "Ribeiro et al. 2020 (arXiv 2005.04118); Wu et al. 2025 (arXiv 2503.11751)"
    order = 60
    signals = UNITS
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        EFFECT: MetricSpec(
            "SD",
            "none",
            "change of reward under a probe; the expected direction depends on the probe",
            "Probe effect",
        ),
        "robustness.flip_rate": MetricSpec(
            "probability",
            "none",
            "share of correctly ranked pairs that a probe flips",
            "Probe flip rate",
        ),
        "robustness.pass_rate": MetricSpec(
            "probability",
            "higher",
            "share of texts that behave as the probe expects",
            "Probe pass rate",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels, and a model that scores new text."""
        if unlabelled := lacks_labels(case):
            return unlabelled
        if not case.new_text:
            return f"needs {case.new_text_needs}"
        return None

    def requests(self, case: Case) -> Sequence[Request]:
        """A text a pair per probe of responses, two per probe of prompts, and the items."""
        return requests(case, suites_of(case), self.name)

    def further(self, case: Case) -> int:
        """The pairs beyond the first of each probe."""
        rest = slice(first_look(case).stop, None)
        made = [made.part(rest) for made in plan(case, suites_of(case))]
        return sum(len(r.ids) for m in made for r in probe_requests(case, m, self.name))

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Effect, flip rate and pass rate of every probe."""
        suites = suites_of(case)
        found = effects(case, scores, margins(case, scores), suites)
        by_key = {effect.key: effect.effect(case.confidence) for effect in found}
        p_adjusted = adjusted(found, by_key)
        figures = [effect_figure(found, by_key, p_adjusted, case.confidence)]
        by_subset = heat_map(case, found)
        if by_subset is not None:
            figures.append(by_subset)
        absent = [] if by_subset else [NotRun("effects by subset", "a column subset in --eval")]
        absent += [
            NotRun(e.key, "a text that this probe can change") for e in found if not len(e.change)
        ]
        if case.reads_rows:
            needs = "a reward that reads no further columns: their items belong to no row"
            absent.append(NotRun("contrasts", needs))
        raised = findings(case, found, by_key, p_adjusted)
        return AuditResult(
            self.name,
            metrics=tuple(metrics(found, by_key, case.confidence)),
            findings=tuple(raised),
            tables={
                "probes": probe_table(found, case, p_adjusted),
                "suites": suite_table(suites),
                "worst": worst_table(found),
            },
            figures=tuple(figures),
            not_run=tuple(absent),
            # One of each suite, and of those with several failures no less than these.
            tests=len({e.suite.name for e in found if e.key in p_adjusted}) + len(raised),
        )


def suites_of(case: Case) -> tuple[Suite, ...]:
    """The shipped suites, those of plugins and those of the user's folders."""
    return load_suites(case.probe_paths)


def metrics(
    found: Sequence[Effect], by_key: Mapping[str, Estimate], confidence: float
) -> list[Metric]:
    """The mean pass rate over probes, then each probe's numbers."""
    said = [Metric("robustness.pass_rate", mean_pass_rate(found, confidence))]
    for effect in found:
        if not len(effect.change):
            continue
        where = {"probe": effect.key}
        said.append(Metric(EFFECT, by_key[effect.key], where))
        said.append(Metric("robustness.flip_rate", effect.flip_rate(confidence), where))
        said.append(Metric("robustness.pass_rate", effect.pass_rate(confidence), where))
    return said


def mean_pass_rate(found: Sequence[Effect], confidence: float) -> Estimate:
    """Pass rates averaged over the probes that two prompts or more take part in."""
    kept = [e for e in found if count_codes(e.cluster) > 1 and not e.unit.missing]
    if not kept:
        return Estimate.undefined("no probe applies to two prompts", confidence=confidence)
    probe = np.repeat(np.arange(len(kept)), [len(e.change) for e in kept])
    passed = np.concatenate([e.passed for e in kept])
    terms = [
        (1 / len(kept), passed * here, here)
        for here in ((probe == k).astype(np.float64) for k in range(len(kept)))
    ]
    clusters = np.concatenate([e.cluster for e in kept])
    return cluster_ratios(terms, clusters, confidence=confidence, bounds=(0, 1))


def adjusted(found: Sequence[Effect], by_key: Mapping[str, Estimate]) -> dict[str, float]:
    """P-values by probe against "as expected", Benjamini-Hochberg-adjusted over each suite."""
    from scipy.stats import false_discovery_control

    raw = {e.key: beyond(by_key[e.key], e.entry)[0] for e in found}
    done: dict[str, float] = {}
    for name in dict.fromkeys(e.suite.name for e in found):
        keys = [e.key for e in found if e.suite.name == name and math.isfinite(raw[e.key])]
        if keys:
            ps = false_discovery_control([raw[key] for key in keys])
            done |= dict(zip(keys, (float(p) for p in ps), strict=True))
    return done


def by_suite(found: Sequence[Effect], by_key: Mapping[str, Estimate]) -> dict[str, float]:
    """P-values by probe, Holm's over the suite: a suite is one question of a report.

    `beyond` doubles what one side has; a probe that may go wrong in one direction is tested there.
    """
    done: dict[str, float] = {}
    for name in dict.fromkeys(e.suite.name for e in found):
        raw = {
            e.key: beyond(by_key[e.key], e.entry)[0] * len(LIMITS[e.entry.expected]) / 2
            for e in found
            if e.suite.name == name
        }
        tested = {key: p for key, p in raw.items() if math.isfinite(p)}
        done |= dict(zip(tested, holm(list(tested.values())), strict=True))
    return done


def findings(
    case: Case,
    found: Sequence[Effect],
    by_key: Mapping[str, Estimate],
    p_adjusted: Mapping[str, float],
) -> list[Finding]:
    """The probes on which the reward is not what its suite expects, for certain."""
    said = []
    strict = by_suite(found, by_key)
    for effect in found:
        p = p_adjusted.get(effect.key, math.nan)
        if not p < 1 - case.confidence:
            continue
        estimate, entry = by_key[effect.key], effect.entry
        sign = beyond(estimate, entry)[1]
        flips = effect.flip_rate(case.confidence)
        passed = effect.pass_rate(case.confidence)
        turned = f" {flips.value:.1%} of the correctly ranked pairs flip." if flips.defined else ""
        detail = (
            f"{entry.meaning}. The reward should {SHOULD[entry.expected]}; the interval of the "
            f"effect is {estimate.low:+.2f} to {estimate.high:+.2f} SD (p = {p:.2g}, adjusted for "
            f"the probes of the suite).{turned} {passed.value:.1%} of the texts behave as expected."
        )
        said.append(
            Finding(
                severity(estimate, effect, sign),
                "robustness",
                EFFECT,
                title(estimate, effect),
                detail,
                tuple(worst(effect, sign, case.example_limit)),
                strict[effect.key],
            )
        )
    return said


def title(estimate: Estimate, effect: Effect) -> str:
    """The place and the number."""
    name, value = effect.key, estimate.value
    if effect.entry.expected == "lower":
        moved = (
            "raise" if estimate.low > 0 else "hardly lower" if estimate.high < 0 else "do not lower"
        )
        return f"Corrupted responses {moved} the reward ({name}): change {value:+.2f} SD"
    if effect.entry.expected == "higher":
        return f"The worse response is preferred ({name}): mean margin {value:+.2f} SD"
    if effect.entry.expected == "not_lower":
        return f"The prompt makes the model prefer the worse response ({name}): {value:+.2f} SD"
    if effect.without_before:
        return (
            f"Equally good responses are rewarded unequally ({name}): mean margin {value:+.2f} SD"
        )
    moved = "raises" if value > 0 else "lowers"
    return f"A change without new content {moved} the reward ({name}): {value:+.2f} SD"


def severity(estimate: Estimate, effect: Effect, sign: int) -> Severity:
    """By the end of the interval nearest to what is expected; damage that pays is worse."""
    nearest = estimate.low if sign > 0 else -estimate.high
    if effect.entry.expected in ("lower", "higher"):
        return "high" if nearest >= 0.1 else "medium"
    return grade(max(nearest, 0.0), 0.25, 0.5)
