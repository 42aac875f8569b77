"""Calibration: does sigmoid(margin) mean what it says?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from rmaudit.audits.base import Audit, register_audit
from rmaudit.audits.calibration.findings import find
from rmaudit.audits.calibration.pairs import Pairs, collect, subsets
from rmaudit.audits.calibration.views import (
    diagram_figure,
    diagram_table,
    forest,
    murphy_table,
    subset_table,
    temperature_figure,
)
from rmaudit.audits.common.pairs import lacks_labels
from rmaudit.case import Case
from rmaudit.results import AuditResult, Estimate, Figure, Metric, MetricSpec, NotRun
from rmaudit.rewards.base import Signal
from rmaudit.scoring.requests import Scores
from rmaudit.stats.binning import binned_calibration
from rmaudit.stats.calibration import (
    brier_score,
    negative_log_likelihood,
    overconfidence,
    temperature,
)
from rmaudit.stats.intervals import count_codes
from rmaudit.stats.reliability import reliability_diagram

NO_PAIRS = "no pair with a chosen response and finite rewards"


@register_audit
class Calibration(Audit):
    """Whether `sigmoid(margin)` is the probability that the chosen output is the preferred one."""

    name = "calibration"
    title = "Calibration"
    question = (
        "When the model claims 90% confidence in a preference, is it correct nine times in ten?"
    )
    meaning = (
        "A reward model trained on pairs claims that a response is preferred with probability "
        "sigmoid(margin). Overconfidence is the mean claim minus the share correct; the "
        "temperature is what margins should be divided by (above 1: overconfident). Binned ECE "
        "and MCE are positive even for a perfect model, so read the debiased one; the intervals "
        "of binned and smooth errors and of the resolution are approximate: nominal 95% covered "
        "92 to 99% in simulation at 200 to 2,000 prompts. The one after temperature takes the "
        "fit as given."
    )
    source = (
        "Guo et al. 2017 (arXiv 1706.04599); Kumar et al. 2019 (1909.10155); Blasiok & Nakkiran "
        "2023 (2309.12236); Murphy 1973"
    )
    order = 40
    signals = frozenset[Signal]({"logit"})
    metrics: ClassVar[Mapping[str, MetricSpec]] = {
        "calibration.ece": MetricSpec(
            "probability",
            "zero",
            "ECE over 15 equal-mass bins; biased upward",
            "Expected calibration error",
        ),
        "calibration.ece_debiased": MetricSpec(
            "probability",
            "zero",
            "expected calibration error less what noise adds to it",
            "Debiased ECE",
        ),
        "calibration.smooth_ece": MetricSpec(
            "probability",
            "zero",
            "calibration error by kernel smoothing, without bins",
            "Smooth ECE",
        ),
        "calibration.mce": MetricSpec(
            "probability",
            "zero",
            "largest calibration error of a bin; biased upward",
            "Maximum calibration error",
            "its 95% interval is wide (98 to 99% coverage in simulation at 200 prompts)",
        ),
        "calibration.brier": MetricSpec(
            "-", "lower", "mean squared error of the predicted probability", "Brier score"
        ),
        "calibration.brier_reliability": MetricSpec(
            "-",
            "lower",
            "part of the Brier score that is miscalibration; biased upward",
            "Brier reliability",
            "its 95% interval is wide (97 to 98% coverage in simulation at 200 prompts)",
        ),
        "calibration.brier_resolution": MetricSpec(
            "-",
            "higher",
            "part of the Brier score that telling pairs apart removes; biased upward",
            "Brier resolution",
            "its 95% interval is short (92 to 94% coverage in simulation at 200 prompts)",
        ),
        "calibration.nll": MetricSpec(
            "-",
            "lower",
            "mean negative log-likelihood of the labels, nats per pair",
            "Negative log-likelihood",
        ),
        "calibration.overconfidence": MetricSpec(
            "probability",
            "zero",
            "mean confidence minus accuracy; positive: too confident",
            "Overconfidence",
        ),
        "calibration.temperature": MetricSpec(
            "-", "one", "what margins should be divided by; above 1: overconfident", "Temperature"
        ),
        "calibration.ece_after_temperature": MetricSpec(
            "probability",
            "zero",
            "ECE after a temperature fitted on other prompts; biased upward",
            "ECE after temperature scaling",
            "its 95% interval is wide (97 to 98% coverage in simulation at 200 prompts)",
        ),
    }

    def missing(self, case: Case) -> str | None:
        """Needs labels that compare outputs."""
        return lacks_labels(case)

    def measure(self, case: Case, scores: Scores) -> AuditResult:
        """Calibration overall and per subset."""
        pairs, counts = collect(case, scores)
        overall = measure_pairs(pairs, case, "all")
        metrics = [Metric(id_, estimate) for id_, estimate in overall.items()]
        tables = {"pairs": counts}
        figures: list[Figure] = []
        not_run = []
        by_subset: dict[str, Pairs] = {}
        if "annotator_votes" not in case.eval.frame:
            needs = "a column annotator_votes in --eval, one label per annotator"
            not_run.append(NotRun("calibration against shares of votes", needs))
        if "subset" in case.eval.frame:
            by_subset = subsets(case, pairs)
            estimates = {name: measure_pairs(p, case, name) for name, p in by_subset.items()}
            metrics += [
                Metric(id_, estimate, {"subset": name})
                for name, found in estimates.items()
                for id_, estimate in found.items()
            ]
            tables["subsets"] = subset_table(estimates)
            figures += forest(estimates)
        else:
            not_run.append(NotRun("calibration per subset", "a column subset in --eval"))
        if pairs.margins.size and count_codes(pairs.clusters) > 1:
            diagram = reliability_diagram(
                pairs.margins,
                pairs.clusters,
                targets=pairs.targets,
                votes=pairs.votes,
                rng=case.rng("calibration.reliability"),
                confidence=case.confidence,
            )
            tables["reliability"] = diagram_table(diagram)
            tables["brier"] = murphy_table(pairs.targets, overall)
            fitted = overall["calibration.temperature"]
            curve = temperature_figure(pairs.margins, pairs.targets, fitted)
            figures = [diagram_figure(diagram), *figures, curve]
        return AuditResult(
            self.name,
            metrics=tuple(metrics),
            findings=tuple(find(case, pairs, overall, by_subset)),
            tables=tables,
            figures=tuple(figures),
            not_run=tuple(not_run),
            tests=1,  # p-values are adjusted over all that is asked
        )


def measure_pairs(pairs: Pairs, case: Case, part: str) -> dict[str, Estimate]:
    """Every metric on these pairs, by id."""
    if pairs.margins.size == 0:
        nothing = Estimate.undefined(NO_PAIRS, confidence=case.confidence)
        return dict.fromkeys(Calibration.metrics, nothing)
    data = (pairs.margins, pairs.clusters)
    binned = binned_calibration(
        *data,
        targets=pairs.targets,
        rng=case.rng(f"calibration.{part}"),
        resamples=case.resamples,
        confidence=case.confidence,
    )
    estimates: dict[str, Estimate] = {}
    for name, statistic in (
        ("brier", brier_score),
        ("nll", negative_log_likelihood),
        ("overconfidence", overconfidence),
        ("temperature", temperature),
    ):
        estimates[name] = statistic(*data, targets=pairs.targets, confidence=case.confidence)
    return {
        id_: estimates[name]
        if (name := id_.partition(".")[2]) in estimates
        else getattr(binned, name)
        for id_ in Calibration.metrics
    }
