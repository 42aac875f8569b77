"""Files that are damaged, endless, deeper or larger than any: one line, and nothing runs."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_inputs import published, rows, run

from rmaudit import files
from rmaudit.errors import DataError, SchemaError


def test_deep_json_of_a_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text("[" * 100_000)
    code, out, _ = run("doctor", "--model", str(tmp_path))
    assert code == 1
    assert "cannot be read" in " ".join(out.split()) or "RecursionError" not in out


def test_too_large_rewards_alone_are_made_infinite() -> None:
    from rmaudit.scoring.requests import Column, Scores, measurable

    no = np.zeros(4, dtype=np.bool_)
    length = np.ones(4, dtype=np.int64)
    reward = np.array([1e150, -1.7e308, 1e139, np.nan])
    key = ("eval", "", "chosen", "plain")
    column = Column(reward, length, length, no, no, no)
    changed = measurable(Scores(requests=(), by_request={key: column})).by_request[key].reward
    assert changed[:3].tolist() == [np.inf, -np.inf, 1e139]
    assert np.isnan(changed[3])


DEEP = "[" * 100_000 + "]" * 100_000
"""JSON that no parser of depth-first calls can hold."""


def test_deep_json_is_no_crash_wherever_a_stranger_writes_it(tmp_path: Path) -> None:
    import sqlite3

    from rmaudit.overoptimization.logs.stores import read_database
    from rmaudit.rewards.local.recipe import declared
    from rmaudit.rewards.served.replies import _json_scores
    from rmaudit.scoring import ScoreStore
    from rmaudit.suites.entries import _is_one_value

    with sqlite3.connect(tmp_path / "run.db") as database:
        database.execute("CREATE TABLE metrics (id INTEGER, run_name TEXT, step INTEGER, metrics)")
        database.execute("INSERT INTO metrics VALUES (1, 'a', 3, ?)", (DEEP,))
    database.close()
    assert [row["step"] for row in read_database(tmp_path / "run.db")] == [3]
    assert _is_one_value(DEEP)
    assert _json_scores('{"score": ' + DEEP + "}") is None
    for name in ("config.json", "tokenizer_config.json", "adapter_config.json"):
        (tmp_path / name).write_text(DEEP)
    assert declared(tmp_path).source == ""
    store = ScoreStore(tmp_path / "store.sqlite")
    store.keep_card("key", {"name": "m"})
    store.close()
    with sqlite3.connect(tmp_path / "store.sqlite") as database:
        database.execute("UPDATE cards SET card = ?", (DEEP,))
    database.close()
    with ScoreStore(tmp_path / "store.sqlite") as store:
        assert store.card("key") is None


@pytest.mark.parametrize("digits", [11, 400])
def test_a_number_beyond_what_is_reckoned_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: int
) -> None:
    monkeypatch.chdir(tmp_path)
    data, huge = rows(tmp_path), "9" * digits
    settings = tmp_path / "audit.toml"
    settings.write_text(f"seed = {huge}\n")
    for more in (("--config", str(settings)), ("--seed", huge), ("--resamples", huge)):
        code, out, err = run("audit", "-m", "recorded", "--eval", data, "--out", "out", *more)
        assert code == 2
        assert "4294967295" in out + err
    assert not (tmp_path / "out").exists()


def test_a_huge_number_of_a_report_takes_no_screen(tmp_path: Path) -> None:
    from rmaudit.report.wording import number

    assert number(1e308) == number(10**308) == "1.00e+308"
    assert number(-(10**400)) == "\u22121.00e+400"
    assert number(10**14) == "100,000,000,000,000"


def test_a_file_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = rows(tmp_path)
    os.mkfifo("pipe")
    for kind, target in (("device", "/dev/zero"), ("pipe", tmp_path / "pipe")):
        for name in ("endless/report.json", "endless.jsonl", "endless.toml", "endless.txt"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).unlink(missing_ok=True)
            Path(name).symlink_to(target)
        for command in (
            ("gate", "endless"),
            ("compare", "endless", "endless"),
            ("validate", "endless.jsonl"),
            ("audit", "-m", "recorded", "--eval", "endless.jsonl"),
            ("audit", "-m", "recorded", "--eval", data, "--samples", "endless.jsonl"),
            ("audit", "--config", "endless.toml"),
            ("gate", "endless", "--policy", "endless.toml"),
            ("audit", "-m", "mix:endless.toml", "--eval", data),
            ("audit", "-m", "endless", "--eval", data),
            ("bench", "rewardbench", "--data", "endless.jsonl", "--model", "recorded"),
            ("audit", "-m", "http://127.0.0.1:9", "--http-format", "openai", "--http-model", "m",
             "--rubric", "endless.txt", "--eval", data),
        ):  # fmt: skip
            code, out, err = run(*command)
            assert code == 2, command
            assert f"is a {kind}, and no file" in " ".join((out + err).split()), (command, out, err)


def test_a_file_larger_than_any_is_given_up(tmp_path: Path) -> None:
    large = tmp_path / "large.txt"
    large.write_text("x" * 11)
    assert files.read_text(large, 11) == "x" * 11
    with pytest.raises(OSError, match="larger than 10 bytes"):
        files.read_text(large, 10)


def test_inputs_are_opened_in_one_place() -> None:
    """A plain open() waits for a named pipe: every module reads by `rmaudit.files`."""
    ours = {
        "files.py",
        "training/checkpoint.py",  # folders that training wrote itself, and code of the package
        "training/policy",
        "cli/train.py",
        "rewards/functions/sources.py",
        "rewards/local/devices.py",
        "rewards/local/checkpoint_files.py",  # folders that check_folder has looked at
        "rewards/described.py",
        "overoptimization/paper.py",
        "provenance.py",
        "report/schema.py",
        "starter/__init__.py",
        "plots/gain_lines.py",  # stands alone in the folder of a paper
        "export/hub.py",  # what the hub's client has just written
    }
    root = Path(files.__file__).parent
    plain = re.compile(
        r"\.open\((\"rb?\"|encoding|newline|\))|[^_]read_(text|bytes)\(\s*(\)|enc|\"utf)"
    )
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root).as_posix()
        if not any(name == each or name.startswith(f"{each}/") for each in ours):
            assert not plain.search(path.read_text("utf-8")), name


def test_a_long_or_broken_message_is_one_short_line(tmp_path: Path) -> None:
    version = "9" * 4000
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.json").write_text(f'{{"schema_version": {version}}}')
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "suite.yaml").write_text(f"schema_version: {version}\n")
    for command in (("gate", folder), ("audit", "-m", "recorded", "--eval", rows(tmp_path),
                                       "--only", "robustness", "--probe-path", suite)):  # fmt: skip
        code, out, err = run(*map(str, command))
        assert code == 2
        assert "9" * 100 not in out + err
    told = str(DataError("one\ntwo\r\n three\u2028four" + "x" * 5000 + " at the end"))
    assert told.startswith("one two three four")
    assert told.endswith("x at the end")
    assert len(told) < 2010


def test_a_recorded_reward_of_a_benchmark_that_fits_no_float_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = published(tmp_path, scores_chosen=10**400)
    code, out, err = run("bench", "rewardbench", "--data", file, "--model", "recorded")
    assert code == 2
    assert "fits no float64" in " ".join((out + err).split())


def test_half_a_surrogate_pair_in_a_benchmark_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = published(tmp_path, subset="\udfff x")
    code, out, err = run("bench", "rewardbench", "--data", file, "--model", "recorded")
    assert code == 2
    assert "row 1: text is not valid Unicode" in " ".join((out + err).split())


def test_a_report_that_nests_deeper_than_one_can_be_written_is_refused(tmp_path: Path) -> None:
    from rmaudit import Report
    from rmaudit.report.plain import deeper_than

    assert not deeper_than([[1]], 3)
    assert deeper_than([[1]], 2)
    nested: dict[str, Any] = {}
    for _ in range(400):
        nested = {"further": nested}
    example = Path(__file__).parents[1] / "reports" / "example" / "report.json"
    (tmp_path / "report.json").write_text(json.dumps(json.loads(example.read_text()) | nested))
    with pytest.raises(SchemaError, match="nested too deeply"):
        Report.load(tmp_path)


def test_names_as_long_as_a_book_keep_the_page_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = rows(tmp_path, subset=lambda i: "s" * 200_000 + str(i % 2))
    run("audit", "-m", "recorded", "--eval", data, "--only", "preference,length", "--out", "out")
    assert (tmp_path / "out" / "report.html").stat().st_size < 1_000_000
