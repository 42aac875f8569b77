"""Two audits compared: paired by prompt, against hand, scipy and the audit of the shared part."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recorded_pairs import Float, audit
from scipy.stats import binom, t, ttest_rel
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.comparison.page import render, words
from rmaudit.comparison.paired import Influence, change
from rmaudit.errors import UsageError
from rmaudit.report.document import Report
from rmaudit.report.schema import MetricRecord, ReportRecord
from rmaudit.report.wording import MINUS, UNITS

N = 400


@pytest.fixture(scope="module")
def margins() -> Float:
    return np.random.default_rng(0).normal(1.0, 1.0, N)


@pytest.fixture(scope="module")
def before(margins: Float) -> Report:
    return audit(margins)


@pytest.fixture(scope="module")
def noise() -> Float:
    return np.random.default_rng(1).normal(0.0, 0.5, N)


@pytest.fixture(scope="module")
def after(margins: Float, noise: Float) -> Report:
    return audit(margins + noise - 0.4)


def record(value: float, low: float, high: float, better: str = "zero") -> MetricRecord:
    return MetricRecord(
        id="a.b",
        value=value,
        ci=(low, high),
        confidence=0.95,
        n=100,
        n_prompts=100,
        unit="-",
        better=better,  # type: ignore[arg-type]
        slice={},
        method="m",
        reason=None,
    )


def test_a_mean_is_compared_as_by_the_paired_t_test(
    before: Report, after: Report, margins: Float, noise: Float
) -> None:
    found = rmaudit.compare(before, after)["calibration.nll"]
    a, b = np.logaddexp(0, -margins), np.logaddexp(0, -(margins + noise - 0.4))
    slow = ttest_rel(b, a)
    assert found.difference == pytest.approx(np.mean(b - a))
    interval = slow.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-9)
    assert found.p == pytest.approx(slow.pvalue, rel=1e-6)
    assert (found.verdict, found.method, found.n_prompts) == ("worse", "paired", N)


def test_a_share_has_the_interval_of_bonett_and_price(
    before: Report, after: Report, margins: Float, noise: Float
) -> None:
    found = rmaudit.compare(before, after)["preference.accuracy"]
    d = (margins + noise - 0.4 > 0).astype(float) - (margins > 0)
    assert found.difference == pytest.approx(d.mean())
    squares = d.var(ddof=1) / N + 2 / (N + 2) ** 2
    assert found.high - found.difference == pytest.approx(1.96594 * math.sqrt(squares), rel=1e-4)


def test_what_got_worse_stands_first_and_most_surely_first(before: Report, after: Report) -> None:
    result = rmaudit.compare(before, after)
    order = [d.verdict for d in result.differences]
    rank = ["worse", "changed", "better", "no difference", "not compared"]
    assert order == sorted(order, key=rank.index)
    assert {"preference.accuracy", "preference.margin_mean"} <= {d.id for d in result.worse}
    overall = [d.p for d in result.worse if not d.slice]
    assert overall == sorted(overall)
    assert "got worse" in result.answer
    # The other way round it is better by the same.
    back = rmaudit.compare(after, before)["preference.accuracy"]
    assert back.verdict == "better"
    assert back.difference == -result["preference.accuracy"].difference


def test_a_model_is_no_different_from_itself(before: Report) -> None:
    result = rmaudit.compare(before, before)
    assert {d.verdict for d in result.differences} <= {"no difference", "not compared"}
    assert result["calibration.nll"].low == result["calibration.nll"].high == 0
    # Agreement on all of 400 prompts: 1.966 x sqrt(2) / 402, not certainty.
    assert result["preference.accuracy"].high == pytest.approx(1.96594 * 2**0.5 / 402, rel=1e-4)
    assert result.answer.startswith("No difference beyond chance")


def test_only_shared_prompts_count(margins: Float, noise: Float) -> None:
    shifted = margins + noise - 0.4
    part = slice(100, 300)
    result = rmaudit.compare(audit(margins[:300]), audit(shifted[100:], first=100))
    alone = rmaudit.compare(audit(margins[part], first=100), audit(shifted[part], first=100))
    assert result.prompts == {"first": 300, "second": 300, "shared": 200}
    assert "200 prompts are shared" in result.notes[0]
    for id_ in ("calibration.nll", "preference.accuracy"):
        some, exact = result[id_], alone[id_]
        # One step is exact for a mean but for sqrt(1 - 1/n) in the influence.
        assert some.first == pytest.approx(exact.first, rel=2e-3)
        assert some.difference == pytest.approx(exact.difference, rel=2e-2)
        assert some.high - some.low == pytest.approx(exact.high - exact.low, rel=1e-2)
        assert some.n_prompts == 200


def test_no_prompt_in_common_is_an_error(margins: Float) -> None:
    with pytest.raises(UsageError, match="share no prompt"):
        rmaudit.compare(audit(margins[:50]), audit(margins[:50], first=50))


def test_without_influences_the_two_are_taken_as_independent(
    tmp_path: Path, before: Report
) -> None:
    folder = before.save(tmp_path)
    (folder / "influence.parquet").unlink()
    result = rmaudit.compare(folder, before)
    assert "nothing is paired" in result.notes[0]
    accuracy = result["preference.accuracy"]
    low, high = before["preference.accuracy"].ci
    value = before["preference.accuracy"].value
    # Zou & Donner: the halves of the two intervals, squared and added.
    reach = math.hypot(value - low, high - value)
    assert (accuracy.low, accuracy.high) == pytest.approx((-reach, reach))
    assert accuracy.method == "independent"


def test_a_number_that_is_gone_or_undefined_is_listed_with_the_reason(before: Report) -> None:
    margins = np.full(N, 0.5)  # no margin on the wrong side: no temperature
    result = rmaudit.compare(before, audit(margins, only=["calibration"]))
    assert result["preference.accuracy"].reason == "only in the first report"
    temperature = result["calibration.temperature"]
    assert temperature.verdict == "not compared"
    assert str(temperature.reason).startswith("undefined in the second report: ")
    assert temperature.first == before["calibration.temperature"].value


@pytest.mark.parametrize(
    ("better", "a", "b", "regression"),
    [
        ("higher", 0.7, 0.6, 0.1),
        ("lower", 0.7, 0.6, -0.1),
        ("zero", 0.1, -0.3, 0.2),
        ("zero", -0.3, -0.1, -0.2),
        ("one", 0.5, 4.0, math.log(2)),
        ("none", 0.7, 0.6, None),
    ],
)
def test_regression_is_growth_of_what_is_bad(
    better: str, a: float, b: float, regression: float | None
) -> None:
    first, second = Influence(np.array([0.001, 0.0]), 1), Influence(np.array([0.0, 0.001]), 1)
    for influences in ((first, second), (None, None)):
        found = change(
            record(a, a - 0.01, a + 0.01, better),
            record(b, b - 0.01, b + 0.01, better),
            *influences,
            0.95,
        )
        assert not isinstance(found, str)
        assert found.difference.value == pytest.approx(b - a)
        if regression is None:
            assert found.regression is None
        else:
            assert found.regression is not None
            assert found.regression.value == pytest.approx(regression)
            assert found.regression.low < regression < found.regression.high


def test_intervals_that_hold_the_turning_point_reach_down_to_no_fault() -> None:
    # |0.3| - |0.05|, where 0.05 may be anything from -0.05 to 0.15.
    found = change(record(0.05, -0.05, 0.15), record(0.3, 0.2, 0.4), None, None, 0.95)
    assert not isinstance(found, str)
    assert found.regression is not None
    assert found.regression.low == pytest.approx(0.25 - math.hypot(0.1, 0.1))
    assert found.regression.high == pytest.approx(0.25 + math.hypot(0.1, 0.05))


@pytest.mark.parametrize(
    ("a", "margin", "rho", "sign"), [(0.0, 0.5, 0.9, 1), (0.5, 0.5, 0.98, -1), (0.0, 2.0, 0.0, 1)]
)
def test_near_the_turning_point_neither_end_is_missed(
    a: float, margin: float, rho: float, sign: int
) -> None:
    # True values a and sign * (a + margin), in standard errors; the delta method alone lets a
    # regression of the whole margin pass in 22 % of the first, and fails 31 % of the second.
    rng, n, draws = np.random.default_rng(7), 200, 1_000
    passed = failed = 0
    for _ in range(draws):
        z = rng.normal(size=(2, n))
        x = z[0] + a / math.sqrt(n)
        y = rho * z[0] + math.sqrt(1 - rho**2) * z[1] + sign * (a + margin) / math.sqrt(n)
        influences = [Influence((v - v.mean()) / math.sqrt(n * (n - 1)), n) for v in (x, y)]
        records = [record(v.mean(), -1.0, 1.0) for v in (x, y)]
        found = change(records[0], records[1], influences[0], influences[1], 0.90)
        assert not isinstance(found, str)
        assert found.regression is not None
        passed += found.regression.high <= margin / math.sqrt(n)
        failed += found.regression.low > margin / math.sqrt(n)
    most = binom.ppf(1 - 1e-4, draws, 0.053)
    assert max(passed, failed) <= most


def test_exact_numbers_differ_or_not_and_have_no_p_value() -> None:
    exact = record(1e-7, 1e-7, 1e-7).model_copy(update={"method": "exact"})
    larger = exact.model_copy(update={"value": 2e-7, "ci": (2e-7, 2e-7)})
    found = change(exact, larger, None, None, 0.95)
    assert not isinstance(found, str)
    assert math.isnan(found.difference.p)
    assert found.regression is not None
    assert found.regression.value == pytest.approx(1e-7)


def test_an_exact_number_is_shown_and_not_called_worse(before: Report) -> None:
    def exactly(value: float) -> Report:
        document = before.to_dict()
        [first, *_] = document["audits"]["preference"]["metrics"]
        first.update(value=value, ci=[value, value], method="exact")
        return Report(ReportRecord.model_validate(document))

    found = rmaudit.compare(exactly(1e-7), exactly(2e-7))["preference.accuracy"]
    assert found.verdict == "not compared"
    assert found.reason == "no interval to compare by"
    assert (found.first, found.second) == (1e-7, 2e-7)


def test_a_bound_without_a_width_is_no_certainty() -> None:
    """As the safe KL of a log of RL: two of them differ, and nothing says whether by chance."""
    bound = record(14.5, 14.5, 14.5, "higher")
    assert bound.method != "exact"
    found = change(bound, record(14.6, 14.6, 14.6, "higher"), None, None, 0.95)
    assert not isinstance(found, str)
    assert (found.method, math.isnan(found.difference.p)) == ("exact", True)
    wide = change(bound, record(14.6, 14.0, 15.2, "higher"), None, None, 0.95)
    assert not isinstance(wide, str)
    assert wide.difference.p > 0.5


def test_views_hold_the_same_numbers(before: Report, after: Report, tmp_path: Path) -> None:
    result = rmaudit.compare(before, after)
    hostile = replace(result, second={**result.second, "name": "<script>alert(1)</script>"})
    folder = hostile.save(tmp_path)
    document = json.loads((folder / "comparison.json").read_text())
    frame = result.to_frame()
    assert len(frame) == len(document["differences"]) == len(result.differences)
    assert frame["difference"].tolist()[0] == document["differences"][0]["difference"]
    page = (folder / "comparison.html").read_text()
    assert "What got worse?" in page
    assert "<script" not in page + hostile._repr_html_()
    assert page.index(">Worse<") < page.index(">No difference")
    assert all(d.id in page.replace("<wbr>", "") for d in result.differences)


def test_metrics_are_shown_by_name_and_shares_in_percent(before: Report, after: Report) -> None:
    result = rmaudit.compare(before, after)
    found = result["preference.accuracy"]
    assert found.title == "Pairwise accuracy"
    shown = words(found)
    assert shown.first == f"{100 * found.first:.1f}%"
    assert shown.difference == f"{100 * found.difference:+.1f}".replace("-", MINUS)
    assert shown.unit == "points"
    ends = [f"{100 * end:.1f}".replace("-", MINUS) for end in (found.low, found.high)]
    assert shown.interval == " to ".join(ends)
    margin = words(result["preference.margin_mean"])  # a reward is no share
    assert (margin.unit, "%" in margin.first) == (
        UNITS[result["preference.margin_mean"].unit],
        False,
    )
    page = render(result)
    assert f"<summary>{found.title}</summary>" in page
    assert ">probability<" not in page


def test_the_command_says_what_got_worse(before: Report, after: Report, tmp_path: Path) -> None:
    first, second = before.save(tmp_path / "a"), after.save(tmp_path / "b")
    run = CliRunner().invoke(
        app, ["compare", str(first), str(second), "--out", str(tmp_path / "c")]
    )
    assert run.exit_code == 0, run.output
    assert "Worse" in run.stdout
    assert "preference.margin_mean" in run.stdout.replace("\n", "")
    assert (tmp_path / "c" / "comparison.html").exists()
    run = CliRunner().invoke(app, ["compare", str(first), str(second), "--json"])
    assert json.loads(run.stdout)["prompts"]["shared"] == N
    run = CliRunner().invoke(app, ["compare", str(first), str(tmp_path / "none")])
    assert (run.exit_code, "no report at" in run.stderr) == (2, True)


def test_two_published_reward_models_on_their_shared_prompts(shared_data: Path) -> None:
    from rmaudit.data.recorded import with_scores

    data = rmaudit.load(shared_data / "rewardmath" / "rm_scores_10way.jsonl.gz")
    right = {}
    reports = []
    for name in ("ArmoRM", "Eurus-RM"):
        table = with_scores(data, name)
        reports.append(rmaudit.audit("recorded", table, only=["preference"], cache=False))
        # One right answer and nine wrong ones a prompt: the share of wins, a tie one half.
        right[name] = np.array(
            [
                np.mean(
                    [
                        (r[k.index(1)] > x) + (r[k.index(1)] == x) / 2
                        for x, p in zip(r, k, strict=True)
                        if p > 1
                    ]
                )
                for r, k in zip(table.frame["rewards"], table.frame["ranking"], strict=True)
            ]
        )
    found = rmaudit.compare(*reports)["preference.accuracy"]
    d = right["Eurus-RM"] - right["ArmoRM"]
    assert found.difference == pytest.approx(np.mean(d))
    error = math.sqrt(np.var(d, ddof=1) / d.size + 2 / (d.size + 2) ** 2)
    assert found.p == pytest.approx(2 * t.sf(abs(np.mean(d)) / error, d.size - 1), rel=1e-6)
    assert found.verdict == "worse"
