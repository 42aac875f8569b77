"""Tables and slices of a page: names, units, and one line for what says the same throughout."""

from __future__ import annotations

import pandas as pd
import pytest
from report_samples import estimate, sample_report

from rmaudit.report.page import render
from rmaudit.report.tables import cell_words, columns
from rmaudit.report.wording import heading, words
from rmaudit.results import AuditResult, Estimate, Finding, Metric


def test_many_slices_are_counted_where_they_do_not_fit() -> None:
    metrics = [
        Metric("length.padding_effect", estimate(0.1, 0.1), {"subset": f"s{i}"}) for i in range(340)
    ]
    text = render(sample_report([AuditResult("length", metrics=tuple(metrics))]))
    assert "340 numbers" in text
    assert "40 more in report.json" in text


def test_tables_show_names_for_the_letters_that_their_files_have() -> None:
    assert cell_words("bon", "method") == "best of n"
    assert cell_words("wco", "run") == "worst case (WCO)"
    assert cell_words("bon", "subset") == "bon"  # a name of the data's own
    assert heading("x", "reward_by_length") == "doublings of the prompt's mean length"
    assert heading("x", "mine") == "x"


def test_shares_in_tables_are_in_percent_and_their_files_keep_fractions() -> None:
    frame = pd.DataFrame(
        {
            "subset": ["a", "b"],
            "pairs": [1, 0],
            "accuracy": [0.5, 0.25],
            "low": [0.25, 0.125],
            "margin_mean": [0.5, 0.25],
            "high": [0.6, 0.7],  # the end of an interval of margins
            "excess_share": [1.5, 0.2],  # no share, whatever its name
        }
    )
    metrics = (Metric("preference.accuracy", estimate(0.7, 0.1)),)
    report = sample_report([AuditResult("preference", metrics=metrics, tables={"subsets": frame})])
    audit = report.audits["preference"]
    shown = columns(audit, "subsets")
    assert [c.unit for c in shown] == [None, None, "percent", "percent", None, None, None]
    assert shown[2].shown(0.25) == "25.0%"
    assert shown[4].shown(0.25) == 0.25
    assert audit.tables["subsets"].rows[1][2] == 0.25
    text = render(report)
    assert '<td class="right">12.5%</td>' in text


def test_differences_of_shares_in_tables_are_in_points() -> None:
    frame = pd.DataFrame({"subset": ["a"], "excess_preference": [-0.125]})
    metrics = (Metric("length.excess_preference", estimate(0.1, 0.1)),)
    report = sample_report([AuditResult("length", metrics=metrics, tables={"subsets": frame})])
    (_, column) = columns(report.audits["length"], "subsets")
    assert (column.head, column.shown(-0.125)) == ("excess preference, points", "\u221212.5")


def test_what_is_undefined_in_every_slice_is_said_once() -> None:
    slices = [
        Metric("length.padding_effect", Estimate.undefined("no two lengths"), {"subset": name})
        for name in ("a", "b")
    ]
    text = render(sample_report([AuditResult("length", metrics=tuple(slices))]))
    assert text.count("undefined in every <bdi>subset</bdi>: <bdi>no two lengths</bdi>") == 1


def test_numbers_that_are_zero_in_every_slice_take_one_line() -> None:
    def rate(subset: str, value: float, high: float) -> Metric:
        number = Estimate(value, 0.0, high, 0.95, "cluster-robust", 40, 40)
        return Metric("preference.tie_rate", number, {"subset": subset})

    zero = [rate("a", 0.0, 0.02), rate("b", 0.0, 0.05)]
    text = render(sample_report([AuditResult("preference", metrics=tuple(zero))]))
    # What could have been missed stands beside it.
    assert "0.0% in every <bdi>subset</bdi>; the widest interval is 0.0% to 5.0%" in text
    one = [rate("a", 0.0, 0.02), rate("b", 0.1, 0.2)]
    text = render(sample_report([AuditResult("preference", metrics=tuple(one))]))
    assert "in every" not in text
    assert "10.0%" in text


def test_columns_without_a_word_are_left_out_and_those_without_a_number_keep_their_place() -> None:
    frame = pd.DataFrame(
        {
            "made of": ["", ""],
            "effect": [None, None],
            "pairs": [3, 4],
            "note": [None, None],
            "reason": [None, "moved by -0.50"],
        }
    )
    report = sample_report([AuditResult("length", tables={"subsets": frame})])
    audit = report.audits["length"]
    shown = columns(audit, "subsets")
    assert [(c.name, c.kind) for c in shown] == [
        ("effect", "right"),
        ("pairs", "right"),
        ("reason", ""),
    ]
    assert len(audit.tables["subsets"].columns) == 5
    text = render(report)
    # Each value stands under its own head.
    row = (
        '<tr><td class="right">–</td>\n<td class="right">4</td>\n<td><bdi>moved by −0.50</bdi></td>'
    )
    assert row in text


@pytest.mark.parametrize(
    ("value", "ends", "said"),
    [
        (-1.1e-8, (-3.5e-8, 1.2e-8), ("0", "0 to 0")),
        (-1.1e-8, (-0.3, 0.2), ("0.00", "−0.30 to 0.20")),
        (1.4e-6, (1.4e-6, 1.4e-6), ("1.4e−06", "1.4e−06 to 1.4e−06")),
    ],
)
def test_what_rounding_leaves_of_zero_reads_as_zero(
    value: float, ends: tuple[float, float], said: tuple[str, str]
) -> None:
    number = Estimate(value, *ends, 0.95, "cluster-robust", 40, 40)
    metric = Metric("length.padding_effect", number, {"edit": "repetition"})
    report = sample_report([AuditResult("length", metrics=(metric,))])
    record = next(m for m in report.audits["length"].metrics if m.slice)
    assert (words(record).value, words(record).interval) == said
    assert record.value == value  # the file keeps what was measured


def test_an_empty_response_of_an_example_is_said_to_be_empty() -> None:
    rows = ({"prompt": "p", "chosen": "", "rejected": "ok"}, {"prompt": "", "output": "yes"})
    finding = Finding("low", "length", "length.padding_effect", "Title", "Detail.", examples=rows)
    text = render(sample_report([AuditResult("length", findings=(finding,))]))
    assert text.count("(empty)") == 2
