"""Logs that somebody damaged, or wrote to do harm: read, or one line; never a hang."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import DataError
from rmaudit.overoptimization.logs import read_log
from rmaudit.overoptimization.logs.rollouts import gold_records, read_rollouts

ROWS = [{"step": i, "kl_k1": 0.3 * i, "proxy": 0.5 * i, "gold": 0.4 * i} for i in range(12)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def deep(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


def texts(content: str | bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = folder / "run.log"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def mlflow(lines: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "run" / "metrics").mkdir(parents=True)
        for name in ("kl_k1", "proxy", "gold"):
            good = b"".join(b"1 %f %d\n" % (i * 0.5, i) for i in range(12))
            (folder / "run" / "metrics" / name).write_bytes(good + lines)
        return folder / "run"

    return write


def database(runs: list[Any]) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        with closing(sqlite3.connect(folder / "run.db")) as made, made:
            made.execute("CREATE TABLE metrics (run_uuid, key, value, step, timestamp)")
            made.executemany(
                "INSERT INTO metrics VALUES (?, NULL, 1.0, 'x', 0)", [(r,) for r in runs]
            )
        return folder / "run.db"

    return write


def parquet_of_bad_text(folder: Path) -> Path:
    raw = pa.array([b"\xff\xfe"] * 12, pa.binary())
    text = pa.StringArray.from_buffers(12, raw.buffers()[1], raw.buffers()[2])
    pq.write_table(pa.table({"step": list(range(12)), "note": text}), folder / "run.parquet")
    return folder / "run.parquet"


def events(folder: Path) -> Path:
    path = folder / "events.out.tfevents.1"
    body = b"\x10" + b"\xff" * 300_000  # a whole number without end
    path.write_bytes(len(body).to_bytes(8, "little") + b"\0" * 4 + body + b"\0" * 4)
    return path


HARM: dict[str, Callable[[Path], Path]] = {
    "keys of slashes": texts(f"step:1 - {'a/' * 200}\n" * 3),
    "one long word": texts(f"step:1 - {'a' * 300_000}\n"),
    "tensor without end": texts("{'a': tensor(" + "1" * 300_000 + "}"),
    "a step of 5,000 digits": texts(f"step:{'9' * 5000} - kl:1.0\n"),
    "deep records": texts(LINES + deep(600) + "\n"),
    "a cell without end": texts('a,b\n"' + "x" * 200_000 + ",1\n"),
    "no UTF-8 in MLflow": mlflow(b"\xff\xfe 1 2\n"),
    "a step that is no number": mlflow("1 2 \u00b2\n1 2 --5\n".encode()),
    "runs of several types": database([None, "a", 3]),
    "a key that is NULL": database(["a", "a"]),
    "no UTF-8 in Parquet": parquet_of_bad_text,
    "events": events,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_hostile_log_is_read_or_refused(tmp_path: Path, harm: str) -> None:
    path = HARM[harm](tmp_path)
    before = time.process_time()
    done = CliRunner().invoke(app, ["overopt", "--log", str(path), "--out", str(tmp_path / "o")])
    assert done.exit_code in (0, 2), done.output
    assert "internal error" not in done.output
    assert "nested too deeply" not in done.output
    # Each of them took minutes where a reader's work grew as the square of the length, or worse.
    assert time.process_time() - before < 60


def test_numbers_stand_where_they_stood(tmp_path: Path) -> None:
    lines = [
        f"(task) step:{i} - actor/kl_loss:np.float64({0.1 * i}) - response_length/mean:20.0 - "
        f"critic/score/mean:{0.5 * i} - val/x:gold:{0.3 * i}"
        for i in range(12)
    ]
    (tmp_path / "verl.log").write_text("\n".join(lines))
    run = read_log(tmp_path / "verl.log", gold="gold").run
    assert run.gold == pytest.approx([0.3 * i for i in range(12)])
    assert run.kl == pytest.approx([2.0 * i for i in range(12)])
    printed = [
        f"{{'step': {i}, 'kl_k1': tensor({0.3 * i}, device='cuda:0'), 'proxy': tensor({i}.), "
        f"'gold': torch.tensor({0.2 * i})}}"
        for i in range(12)
    ]
    (tmp_path / "printed.log").write_text("\n".join(printed))
    run = read_log(tmp_path / "printed.log").run
    assert run.kl == pytest.approx([0.3 * i for i in range(12)])
    assert run.gold == pytest.approx([0.2 * i for i in range(12)])


def test_a_response_may_hold_other_line_ends(tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    for step in range(3):
        rows = [{"input": "p", "output": "a\u2028b\u0085c", "gold": float(step)}] * 2
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (tmp_path / "rollouts" / f"{step}.jsonl").write_text(text, encoding="utf-8")
    assert gold_records(read_rollouts(tmp_path, None)) == [
        {"step": s, "rmaudit/gold": s} for s in range(3)
    ]


@pytest.mark.parametrize("output", [3, None, [], [{"role": "user"}], {"a": 1}])
def test_a_response_that_is_no_text_is_named(tmp_path: Path, output: Any) -> None:
    (tmp_path / "rollouts").mkdir()
    row = json.dumps({"input": "p", "output": output})
    (tmp_path / "rollouts" / "1.jsonl").write_text(row + "\n")
    with pytest.raises(DataError, match="output holds what is neither text nor messages"):
        read_rollouts(tmp_path, lambda prompts, responses: [0.0 for _ in responses])  # type: ignore[arg-type, return-value]


def test_a_run_named_like_a_formula_writes_no_formula(tmp_path: Path) -> None:
    log = tmp_path / "=1+1.jsonl"
    log.write_text(LINES)
    done = CliRunner().invoke(app, ["overopt", str(log), "--out", str(tmp_path / "o")])
    assert done.exit_code == 0, done.output
    for name in ("curve.csv", "fits.csv", "gains.csv"):
        text = (tmp_path / "o" / name).read_text()
        assert "'=1+1" in text
        assert not any(
            cell.startswith("=") for line in text.splitlines() for cell in line.split(",")
        )


def test_progress_bars_are_no_log_and_are_named(tmp_path: Path) -> None:
    bar = "Train epoch [1/1]: {}%| | {}/9 [00:12<03:50, 12.1s/it, kl=0.01, rm={}, glen=12]\n"
    path = tmp_path / "run.log"
    path.write_text("started, with 2 nodes\n" + "".join(bar.format(i, i, i) for i in range(1, 9)))
    with pytest.raises(DataError, match=r"progress bars \(kl, rm, glen\)"):
        read_log(path)
    path.write_text("".join(bar.format(i, i, i) for i in range(1, 9)))  # nor is one the header
    with pytest.raises(DataError, match=r"progress bars \(kl, rm, glen\)"):
        read_log(path)
    path.write_text("".join(bar.format(i, i, i) for i in range(1, 9)) + LINES)
    assert read_log(path).run.step.size == 12


def test_what_the_end_of_a_file_may_have_cut_is_said(tmp_path: Path) -> None:
    path = tmp_path / "run.log"
    line = "step:{0} - kl_k1:{0}.25 - proxy:{0}.5 - gold:{0}.75 - rmaudit/length:100.0\n"
    text = "".join(line.format(i) for i in range(12))
    path.write_text(text[:-3])
    assert any("may lack digits" in note for note in read_log(path).notes)
    path.write_text(text)
    assert not any("may lack digits" in note for note in read_log(path).notes)
    table = "step,kl_k1,proxy,gold\n" + "".join(f"{i},{i}.25,{i}.5,{i}.75\n" for i in range(12))
    (tmp_path / "run.csv").write_text(table[: -len("5,11.75\n")])  # of 11.5 the 5 is missing
    log = read_log(tmp_path / "run.csv")
    assert "the last row is cut off: read up to there" in log.notes
    assert log.run.step[-1] == 10
    (tmp_path / "run.csv").write_text(table.rstrip("\n"))  # a whole row without a line end
    assert read_log(tmp_path / "run.csv").run.step[-1] == 11
