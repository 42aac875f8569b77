"""The report in Python: numbers by name, files whole or not at all, the same bytes each time."""

from __future__ import annotations

import errno
import json
import math
import re
from pathlib import Path

import pytest
from report_samples import AUDITS, estimate, sample_report

from rmaudit.errors import SchemaError, StoreError, UsageError
from rmaudit.files import csv_text, file_name
from rmaudit.report.document import Report
from rmaudit.results import AuditResult, Estimate, Finding, Metric


@pytest.fixture(scope="module")
def report() -> Report:
    return sample_report()


def test_numbers_by_name_and_slice(report: Report) -> None:
    assert report["length.excess_preference"].value == 0.094
    assert report["length.excess_preference"].ci == pytest.approx((0.067, 0.121))
    assert report.get("preference.accuracy", subset="code").value == 0.74 - 0.04
    assert report["preference.accuracy"].value == 0.7123
    assert "length.excess_preference" in report
    assert "length.nothing" not in report
    assert report.metric("length.excess_preference").unit == "probability"


def test_an_undefined_number_is_nan_with_its_reason(report: Report) -> None:
    temperature = report["calibration.temperature"]
    assert math.isnan(temperature.value)
    assert temperature.undefined_reason == "the mean margin is not positive"


@pytest.mark.parametrize(
    ("metric", "slice_", "said"),
    [
        ("length.exces_preference", {}, "did you mean length.excess_preference"),
        ("preference.accuracy", {"subset": "coed"}, "subset=code"),
        ("tails.shape", {}, "not run: needs --samples"),
        ("hacking.suffix_success_rate", {}, "failed: internal error"),
    ],
)
def test_a_number_that_is_not_there(
    report: Report, metric: str, slice_: dict[str, str], said: str
) -> None:
    with pytest.raises(UsageError) as usage:
        report.get(metric, **slice_)
    assert said in str(usage.value)
    with pytest.raises(KeyError):
        report.get(metric, **slice_)


def test_findings_are_worst_first_and_then_in_page_order(report: Report) -> None:
    order = ["high", "medium", "low", "info"]
    ranks = [order.index(f.severity) for f in report.findings]
    assert ranks == sorted(ranks)
    medium = [f.audit for f in report.findings if f.severity == "medium"]
    assert medium == ["calibration", "length", "coverage"]
    assert report.failed  # the adversarial search


def test_non_finite_rewards_of_an_example_are_null(report: Report) -> None:
    row = report.findings[0].examples[0]
    assert (row["reward_chosen"], row["reward_rejected"]) == (None, None)


def test_to_frame_has_a_row_a_number(report: Report) -> None:
    frame = report.to_frame()
    assert len(frame) == sum(1 for _ in report.metrics())
    row = frame[(frame["id"] == "length.padding_effect")].iloc[1]
    assert row["slice"] == {"edit": "repetition"}
    assert (row["value"], row["unit"], row["better"]) == (0.2, "SD", "lower")
    assert frame["value"].dtype == "float64"


UNDECLARED = Metric("length.padding", estimate(0.1, 0.1))
SLICED = Metric("length.padding_effect", estimate(0.1, 0.1), {"edit": "a"})
UNWRITABLE = [
    (AuditResult("length", metrics=(UNDECLARED,)), r"length\.padding_effect"),
    (AuditResult("length", metrics=(SLICED, SLICED)), "twice for edit=a"),
    (AuditResult("length", findings=(Finding("grave", "length", "", "", ""),)), "severity"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("faulty", "said"), UNWRITABLE)
def test_one_audits_fault_does_not_cost_the_report(faulty: AuditResult, said: str) -> None:
    sound = AuditResult("preference", metrics=(Metric("preference.accuracy", estimate(0.7, 0.1)),))
    report = sample_report([sound, faulty])
    assert report["preference.accuracy"].value == 0.7
    assert report.audits["length"].status == "failed"
    assert re.search(said, report.audits["length"].reason or "")
    assert not report.audits["length"].metrics
    assert not report.findings


@pytest.mark.parametrize(("faulty", "said"), UNWRITABLE)
def test_with_strict_a_fault_is_raised(faulty: AuditResult, said: str) -> None:
    with pytest.raises((SchemaError, ValueError), match=said):
        sample_report([faulty], strict=True)


def test_a_bare_nan_and_an_unbounded_interval() -> None:
    metrics = (
        Metric("length.padding_effect", Estimate(math.nan, 0.0, 1.0, 0.95, "m", 1, 1)),
        Metric("length.excess_preference", Estimate(0.5, 0.1, math.inf, 0.95, "m", 1, 1)),
    )
    report = sample_report([AuditResult("length", metrics=metrics)])
    first, second = report.metrics()
    assert first.value is None
    assert first.reason
    assert (second.ci, second.reason) == ((0.1, None), None)


def test_save_and_load_keep_everything(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path / "deep" / "folder")
    names = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert {
        "report.json",
        "report.html",
        "set_aside.jsonl",
        "scores.parquet",
        "figures/calibration-reliability.svg",
        "figures/calibration-reliability.pdf",
        "tables/coverage-ledger.csv",
    } <= names
    assert not any("unfinished" in name for name in names)
    assert json.loads((folder / "set_aside.jsonl").read_text())["row"] == 17
    again = Report.load(folder)
    assert again.to_dict() == report.to_dict()
    assert again.to_json() == (folder / "report.json").read_text()
    assert Report.load(folder / "report.json").record == report.record
    again.save(folder)  # over itself: the scores of the first save stay
    assert (folder / "scores.parquet").exists()


def test_the_same_audit_writes_the_same_bytes_but_for_times() -> None:
    def text() -> str:
        return re.sub(r'"created": "[^"]+"', "", sample_report().to_json())

    assert text() == text()


def test_text_that_a_spreadsheet_would_run_is_neutralised(report: Report, tmp_path: Path) -> None:
    rows = [["=1+1", "+a", "-b", "@c", "\td", "plain"], [-1, 0.5, None, True, "", "a=b"]]
    assert csv_text(["=head", "b", "c", "d", "e", "f"], rows) == (
        "'=head,b,c,d,e,f\n'=1+1,'+a,'-b,'@c,'\td,plain\n-1,0.5,,True,,a=b\n"
    )
    wide = [["\uff1d1+1", " =1", "\n=1", "\u00a0@a", "a\n=b", "", " a", "1-1"]]
    assert csv_text([], wide) == ("\n'\uff1d1+1,' =1,\"'\n=1\",'\u00a0@a,\"a\n=b\",, a,1-1\n")
    report.save(tmp_path)
    ledger = (tmp_path / "tables" / "coverage-ledger.csv").read_text()
    assert "'=HYPERLINK" in ledger
    assert ",-1\n" in ledger  # a number stays a number


def test_file_names_are_safe() -> None:
    assert file_name("length", "../../etc/passwd") == "length-etc-passwd"
    assert file_name("a b", "..") == "a-b-x"


def test_an_unwritable_folder_is_one_clear_line(report: Report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write") as error:
        report.save(tmp_path / "file" / "out")
    assert "\n" not in str(error.value)


def test_a_full_disk_leaves_the_old_report_whole(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.json").write_text("old")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StoreError, match="No space left on device"):
        report.save(tmp_path)
    assert (tmp_path / "report.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_no_report_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no report at"):
        Report.load(tmp_path)


def test_a_report_of_nothing_can_be_saved(tmp_path: Path) -> None:
    empty = sample_report([])
    empty.save(tmp_path)
    assert Report.load(tmp_path).to_frame().empty
    assert "Not enough was measured to say" in (tmp_path / "report.html").read_text()


def test_a_finding_on_another_audit_is_sorted_in() -> None:
    finding = Finding("high", "elsewhere", "", "t", "d")
    report = sample_report([AuditResult(AUDITS[0].name, findings=(finding,))])
    assert report.findings[0].audit == "elsewhere"


def test_half_a_surrogate_pair_in_a_report_made_elsewhere(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path / "one")
    document = json.loads((folder / "report.json").read_text())
    document["config"]["note"] = "half \ud800"
    (folder / "report.json").write_text(json.dumps(document))
    again = Report.load(folder).save(tmp_path / "two")
    assert Report.load(again).record.config["note"] == "half \ud800"
