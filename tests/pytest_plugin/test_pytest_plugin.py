"""The fixture `rm_audit`: a real audit in a real pytest run."""

from __future__ import annotations

import json
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import rmaudit
from rmaudit.pytest_plugin import Measured
from rmaudit.results import Estimate

pytest_plugins = ["pytester"]

# A reward by length, so that the longer output is preferred whatever the label.
MODEL = "def reward(pairs):\n    return [float(len(output)) for _, output in pairs]\n"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 prompts; the label prefers the longer output half of the time."""
    path = tmp_path_factory.mktemp("data") / "prefs.jsonl"
    outputs = ["yes", "yes, and so on and on"]
    with path.open("w") as out:
        for i in range(120):
            chosen, rejected = outputs if i % 2 else reversed(outputs)
            row = {"prompt": f"question {i}", "chosen": chosen, "rejected": rejected}
            out.write(json.dumps(row) + "\n")
    return path


# Made before any test begins: pytester forgets what a test imports, and numpy loads once only.
@pytest.fixture(scope="module")
def made(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = rmaudit.audit(
        lambda pairs: [float(len(output)) for _, output in pairs],
        eval=rows,
        only=["preference", "preflight"],
        cache=False,
    )
    return report.save(tmp_path_factory.mktemp("made"))


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    loaded = any(e.value == "rmaudit.pytest_plugin" for e in entry_points(group="pytest11"))
    plugin = [] if loaded else ["-p", "rmaudit.pytest_plugin"]
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *plugin, *arguments)


def test_neither_side_holds_where_the_interval_spans() -> None:
    number = Measured("a.b", Estimate(0.1, 0.0, 0.2, 0.95, "m", 100, 100))
    assert not number <= 0.15
    assert not number > 0.15
    assert number < 0.19  # one-sided, Student with 99: 0.1 + 0.1 x 1.660 / 1.984 = 0.184
    assert number > 0.01
    assert number.explain("<=", 0.15)[-1] == "about 281 prompts would settle it (100 now)"
    exact = Measured("a.b", Estimate(0.1, 0.1, 0.1, 0.95, "exact", 100, 100))
    assert exact <= 0.1
    assert not exact < 0.1


def test_a_model_is_audited_once_and_held_to_demands(pytester: pytest.Pytester, rows: Path) -> None:
    pytester.makepyfile(lengthwise=MODEL)
    pytester.makepyfile(
        """
        def test_not_paid_by_the_word(rm_audit):
            assert rm_audit["length.excess_preference"] <= 0.05

        def test_paid_by_the_word(rm_audit):
            assert rm_audit["length.excess_preference"] > 0.3
            assert 0.3 <= rm_audit["length.excess_preference"]
            assert rm_audit["length.excess_preference"].estimate.n_clusters == 100
        """
    )
    result = run(
        pytester,
        *("--rmaudit-model", "python:lengthwise:reward", "--rmaudit-eval", str(rows)),
        *("--rmaudit-only", "length", "--rmaudit-limit", "100"),
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*length.excess_preference must be at most 0.05",
            "*it is 0.5 [[]0.3942, 0.5927] (95% interval)",
            "*the whole one-sided 95% interval says no",
        ]
    )
    result.stdout.no_fnmatch_line("rmaudit page*")


def test_messages_on_an_audit_made_before(pytester: pytest.Pytester, made: Path) -> None:
    pytester.makepyfile(
        """
        def test_below(rm_audit):
            assert rm_audit["preference.accuracy"] <= 0.52

        def test_above(rm_audit):
            assert 0.52 < rm_audit["preference.accuracy"]

        def test_not_measured(rm_audit):
            assert rm_audit["tails.shape"] <= 0.1

        def test_undefined(rm_audit):
            assert rm_audit["preflight.truncated_share"] <= 0.1
        """
    )
    result = run(pytester, "--rmaudit-report", str(made))
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "*preference.accuracy must be at most 0.52",
            "*inconclusive: the interval spans the threshold",
            "*about * prompts would settle it (120 now)",
            "*preference.accuracy must be over 0.52",
            "*no metric 'tails.shape' in this report*",
            "*preflight.truncated_share must be at most 0.1",
            "*it is undefined: *",
            "rmaudit page: *report.html",
        ]
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "*say pytest --rmaudit-model MODEL --rmaudit-eval*"),
        (("--rmaudit-report", "nowhere"), "*no report at *nowhere*"),
        (("--rmaudit-model", "recorded", "--rmaudit-eval", "none.jsonl"), "*none.jsonl*"),
    ],
)
def test_without_an_audit_nothing_passes(
    pytester: pytest.Pytester, arguments: tuple[str, ...], said: str
) -> None:
    pytester.makepyfile("def test_any(rm_audit):\n    pass\n")
    result = run(pytester, *arguments)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([said])
    result.stdout.no_fnmatch_line("*Traceback*")
