"""The first screen: its verdict, what it may say, and the actions and budgets below it."""

from __future__ import annotations

import math

import pytest
from report_samples import estimate, sample_report

from rmaudit.audits.data.audit import Data
from rmaudit.report.causes import grouped
from rmaudit.report.document import Report
from rmaudit.report.schema import FindingRecord
from rmaudit.report.verdict import key_numbers, verdict
from rmaudit.results import OTHER_KIND, AuditResult, Estimate, Finding, Metric, Severity


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


def _verdict(*severities: Severity, status: str = "ok") -> tuple[str, str]:
    findings = tuple(Finding(s, "length", "", "t", "d") for s in severities)
    results = [AuditResult("length", findings=findings)]
    if status != "ok":
        results.append(AuditResult("tails", status, "because"))  # type: ignore[arg-type]
    judged = verdict(sample_report(results))
    return judged.answer, " ".join(judged.sentences)


def test_verdicts() -> None:
    assert _verdict("low", "high")[0] == "Not as it stands."
    assert _verdict("medium", "low")[0] == "Only with care."
    # One narrow audit without a fault says nothing about the model.
    assert _verdict("low", "info")[0] == "Not enough was measured to say."
    assert "1 of 2 audits for this kind of reward did not run" in _verdict(status="not_run")[1]
    # What is defined for another kind of reward is not missing.
    other = AuditResult(
        "tails", "not_run", f"{OTHER_KIND}: it gives logits; this audit needs 0/1 verdicts"
    )
    assert "not run" not in " ".join(verdict(sample_report([other])).sentences)
    # A failed audit leaves the question open, however good the rest looks.
    assert _verdict(status="failed")[0] == "Not enough was measured to say."
    assert _verdict("high", status="failed")[0] == "Not as it stands."
    nothing = verdict(sample_report([AuditResult("tails", "not_run", "x")]))
    assert nothing.answer == "Not enough was measured to say."


MEASURED = ("preference.accuracy", "length.excess_preference", "overoptimization.safe_kl")


def _measured(metric: str, *, value: float = 0.7) -> AuditResult:
    number = estimate(value, 0.1) if math.isfinite(value) else Estimate.undefined("all NaN")
    return AuditResult(metric.partition(".")[0], metrics=(Metric(metric, number),))


def test_no_fault_is_told_only_where_ranking_and_exploits_were_measured() -> None:
    def answer(*results: AuditResult) -> str:
        return verdict(sample_report(list(results))).answer

    ranked, length, budget = map(_measured, MEASURED)
    assert answer(ranked, length, budget) == "Nothing found against it."
    gap = AuditResult("tails", "not_run", "needs samples")
    assert answer(ranked, length, budget, gap) == "No serious fault found in what was measured."
    # Audits that were not asked for are not known to be good, though the report does not hold them.
    picked = sample_report([ranked, length, budget])
    picked.record.config["only"] = ["preference", "length", "overoptimization"]
    assert verdict(picked).answer == "No serious fault found in what was measured."
    assert "3 audits were asked for, and no others ran" in " ".join(verdict(picked).sentences)
    assert answer(ranked) == answer(ranked, length) == answer(length, budget)
    assert answer(ranked) == "Not enough was measured to say."
    # Numbers that are all undefined are not measured.
    blank = [_measured(metric, value=math.nan) for metric in MEASURED]
    judged = verdict(sample_report(blank))
    assert judged.answer == "Not enough was measured to say."
    assert "all NaN" in " ".join(judged.sentences)


def test_a_reward_that_may_rank_by_chance_is_not_called_faultless() -> None:
    # The ends are 0.43 and 0.63; then 0.50 and 0.70; then 0.51 and 0.71.
    others = [_measured(metric) for metric in MEASURED[1:]]
    for value, answer in (
        (0.53, "Not enough was measured to say."),
        (0.60, "Not enough was measured to say."),
        (0.61, "Nothing found against it."),
    ):
        judged = verdict(sample_report([_measured(MEASURED[0], value=value), *others]))
        assert judged.answer == answer
        if "Not enough" in answer:
            assert "not shown to rank better than chance" in judged.sentences[0]
            assert f"{value:.1%}" in judged.sentences[0]


def test_what_to_do_about_a_ranking_that_may_be_chance_is_said() -> None:
    unsure = Finding("low", "preference", "preference.accuracy", "t", "d")
    number = Metric("preference.accuracy", estimate(0.53, 0.1))
    judged = verdict(
        sample_report([AuditResult("preference", metrics=(number,), findings=(unsure,))])
    )
    assert judged.answer == "Not enough was measured to say."
    assert "label more pairs" in judged.actions[0]
    # A fault beside it that care would help against does not make it usable with care.
    beside = AuditResult("length", findings=(Finding("medium", "length", "", "t", "d"),))
    judged = verdict(sample_report([AuditResult("preference", metrics=(number,)), beside]))
    assert judged.answer == "Not enough was measured to say."
    assert "One finding of medium severity." in judged.sentences[0]
    # Nothing is said twice: a finding that is a reason needs no sentence.
    severe = Finding("high", "preference", "preference.accuracy", "t", "d")
    result = AuditResult("preference", metrics=(number,), findings=(severe,))
    assert not any("better than chance" in s for s in verdict(sample_report([result])).sentences)
    # Where the ranking is certain, a finding of low severity sets no task.
    number = Metric("preference.accuracy", estimate(0.7, 0.1))
    others = [_measured(metric) for metric in MEASURED[1:]]
    result = AuditResult("preference", metrics=(number,), findings=(unsure,))
    assert not any(
        "label more pairs" in a for a in verdict(sample_report([result, *others])).actions
    )


def test_a_flaw_of_the_data_is_not_headed_as_one_of_the_reward() -> None:
    longer = "In the evaluation data the chosen response is longer in 70.0% [60.0, 80.0] of pairs"
    every = [("data", metric, "t") for metric in Data.metrics]
    every += [("data", "", longer), ("length", "length.excess_preference", "t")]
    found = [
        FindingRecord(severity="low", audit=a, metric=m, title=t, detail="d", examples=[])
        for a, m, t in every
    ]
    groups = grouped(found)
    for group in groups:
        of_data = {proof.finding.audit == "data" for proof in group.proofs}
        assert of_data == {"data" in group.cause.name.lower()}
    assert len(every) == sum(len(group.proofs) for group in groups)


def test_findings_of_one_flaw_are_one_item_worst_first() -> None:
    found = [
        ("low", "length", "length.excess_preference"),
        ("medium", "preference", "preference.blind_longer"),
        ("high", "length", "length.padding_effect"),
        ("high", "calibration", "calibration.overconfidence"),
    ]
    results: dict[str, list[Finding]] = {}
    for severity, audit, metric in found:
        finding = Finding(severity, audit, metric, "t", "d")  # type: ignore[arg-type]
        results.setdefault(audit, []).append(finding)
    report = sample_report([AuditResult(a, findings=tuple(f)) for a, f in results.items()])
    groups = grouped(report.findings)
    assert [g.cause.name for g in groups] == ["Length bias", "Miscalibration"]
    assert [p.finding.severity for p in groups[0].proofs] == ["high", "medium", "low"]
    assert set(groups[0].audits) == {"length", "preference"}
    anchors = [p.anchor for g in groups for p in g.proofs]
    assert sorted(anchors) == [f"finding-{i}" for i in range(1, 5)]


def test_a_budget_with_a_slice_is_a_key_number_and_an_action() -> None:
    safe = Metric("overoptimization.safe_kl", estimate(2.5, 0.5), {"method": "bon"})
    blank = Metric("overoptimization.safe_kl", Estimate.undefined("ESS"), {"method": "tilted"})
    report = sample_report([AuditResult("overoptimization", metrics=(safe, blank))])
    assert [(m.id, m.slice) for m in key_numbers(report)] == [
        ("overoptimization.safe_kl", {"method": "bon"})
    ]
    assert "Cap KL at 2.50 nats." in verdict(report).actions
