"""The JSON Schema: current, strict about what matters, one clear line for what breaks it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import sample_report

from rmaudit.errors import SchemaError
from rmaudit.report.document import Report
from rmaudit.report.plain import TEXT_LIMIT, dumps, example, plain, table
from rmaudit.report.schema import check, json_schema, shipped_schema


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(sample_report().to_json())


def test_the_shipped_schema_is_current() -> None:
    assert shipped_schema() == json_schema(), "run python -m rmaudit.report.schema"


def test_the_fixed_fields_are_where_the_design_puts_them(document: dict[str, Any]) -> None:
    assert {
        "schema_version",
        "rmaudit_version",
        "created",
        "seed",
        "model",
        "inputs",
        "cost",
        "audits",
        "findings",
    } <= set(document)
    assert document["schema_version"] == 1
    assert {"name", "kind", "fingerprint"} <= set(document["model"])
    assert document["inputs"]["eval"]["rows_set_aside"] == 10
    assert document["cost"] == {
        "texts": 4210,
        "texts_scored": 4000,
        "tokens": 812_345,
        "seconds": 61.27,
    }
    length = document["audits"]["length"]
    assert {"status", "reason", "metrics", "tables", "figures"} <= set(length)
    metric = length["metrics"][0]
    assert metric["id"] == "length.excess_preference"
    assert metric["ci"] == pytest.approx([0.067, 0.121])
    assert (metric["unit"], metric["better"], metric["slice"]) == ("probability", "zero", {})
    assert (metric["confidence"], metric["n"], metric["n_prompts"]) == (0.95, 1000, 240)
    assert {"severity", "audit", "metric", "title", "detail", "examples"} <= set(
        document["findings"][0]
    )


def test_undefined_is_null_with_its_reason(document: dict[str, Any]) -> None:
    metrics = document["audits"]["calibration"]["metrics"]
    temperature = next(m for m in metrics if m["id"] == "calibration.temperature")
    assert (temperature["value"], temperature["ci"]) == (None, [None, None])
    assert temperature["reason"] == "the mean margin is not positive"


def _without_reason(d: dict[str, Any]) -> None:
    d["audits"]["length"]["metrics"][0]["value"] = None


def _bad_better(d: dict[str, Any]) -> None:
    d["audits"]["length"]["metrics"][0]["better"] = "up"


def _no_seed(d: dict[str, Any]) -> None:
    del d["seed"]


def _newer(d: dict[str, Any]) -> None:
    d["schema_version"] = 2


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_without_reason, r"length\.metrics\[0\]\.reason"),
        (_bad_better, "better"),
        (_no_seed, "'seed' is a required property"),
        (_newer, "update rmaudit"),
    ],
)
def test_a_broken_record_is_one_clear_line(document: dict[str, Any], harm: Any, said: str) -> None:
    broken = json.loads(json.dumps(document))
    harm(broken)
    with pytest.raises(SchemaError, match=said) as error:
        check(broken, "somewhere/report.json")
    assert str(error.value).startswith("somewhere/report.json: ")
    assert "\n" not in str(error.value)


def test_fields_of_a_later_minor_version_are_kept(document: dict[str, Any], tmp_path: Path) -> None:
    later = {**document, "weather": {"sun": [1, 2]}}
    (tmp_path / "report.json").write_text(json.dumps(later))
    assert Report.load(tmp_path).to_dict()["weather"] == {"sun": [1, 2]}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"schema_version": NaN}', "\x00", "[" * 100_000]
)
def test_a_file_that_is_no_report(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(text)
    with pytest.raises(SchemaError, match=r"report\.json") as error:
        Report.load(tmp_path)
    assert "\n" not in str(error.value)


def test_a_report_may_be_nested_too_deeply(document: dict[str, Any], tmp_path: Path) -> None:
    text = json.dumps({**document, "config": {"x": 1}})
    deep = text.replace('{"x": 1}', '{"x": ' + "[" * 400 + "]" * 400 + "}")
    assert deep != text
    (tmp_path / "report.json").write_text(deep)
    with pytest.raises(SchemaError, match=r"nested too deeply") as error:
        Report.load(tmp_path)
    assert "\n" not in str(error.value)


def test_plain_turns_everything_into_json() -> None:
    value = {
        1: np.float32(0.5),
        "a": np.array([[1.0, np.nan], [np.inf, 2.0]]),
        "b": (np.int64(3), np.bool_(True), pd.NA, pd.NaT, None),
        "c": {"y", "x"},
        "d": Path("p"),
        "e": "lone \ud800 half",
    }
    assert plain(value) == {
        "1": 0.5,
        "a": [[1.0, None], [None, 2.0]],
        "b": [3, True, None, None, None],
        "c": ["x", "y"],
        "d": "p",
        "e": "lone \ufffd half",
    }


def test_a_table_keeps_an_index_that_means_something() -> None:
    frame = pd.DataFrame({"n": [1, 2]}, index=pd.Index(["a", "b"], name="family"))
    assert table(frame) == {"columns": ["family", "n"], "rows": [["a", 1], ["b", 2]]}
    assert table(pd.DataFrame({"n": []})) == {"columns": ["n"], "rows": []}


def test_numbers_share_a_line_and_texts_are_left_alone() -> None:
    tricky = {"numbers": [1, -2.5e-7, None], "text": ["[\n 1,\n 2\n]"], "empty": []}
    text = dumps(tricky)
    assert json.loads(text) == tricky
    assert ' "numbers": [1, -2.5e-07, null],\n' in text
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps([math.nan])


def test_a_five_megabyte_example_is_cut_and_says_so() -> None:
    cut = example({"prompt": "x" * 5_000_000})["prompt"]
    assert len(cut) < TEXT_LIMIT + 50
    assert cut.endswith("(4,980,000 more characters)")
