"""Inputs, servers and reports that misbehave cost one clear line, not a run, secret or wait."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rmaudit import files
from rmaudit.cli import app
from rmaudit.errors import DataError, RewardModelError, SchemaError, UsageError
from rmaudit.files import csv_text
from rmaudit.report.schema import check
from rmaudit.rewards.served.client import JsonClient, RetryPolicy

ROOT = Path(__file__).parents[1]
ONCE = RetryPolicy(tries=1)
_PACK = zlib.compressobj(wbits=31)
BOMB = b"".join(_PACK.compress(b" " * (1 << 20)) for _ in range(200)) + _PACK.flush()


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def rows(folder: Path, name: str = "eval.jsonl", count: int = 40, **more: Any) -> str:
    written = [
        {"prompt": f"p{i}", "chosen": f"yes {i}", "rejected": f"no {i}"}
        | {"chosen_reward": (i * 7) % 5, "rejected_reward": (i * 3) % 4}
        | {key: value(i) if callable(value) else value for key, value in more.items()}
        for i in range(count)
    ]
    (folder / name).write_text("\n".join(map(json.dumps, written)))
    return str(folder / name)


def published(folder: Path, **more: Any) -> str:
    """A file of RewardBench with rewards."""
    where = folder / f"published{len(more)}{next(iter(more), '')}"
    where.mkdir(exist_ok=True)
    written = [
        {"id": i, "prompt": f"q {i}", "chosen": "a longer answer", "rejected": "an answer",
         "subset": ("alpacaeval-easy", "math-prm")[i % 2], "scores_chosen": i % 3,
         "scores_rejected": i % 2} | more
        for i in range(8)
    ]  # fmt: skip
    (where / "rb.json").write_text(json.dumps(written))
    return str(where / "rb.json")


class Misbehaving(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path in ("/status", "/headers"):
            self.drip(b"HTTP/1.1 200 " if self.path == "/status" else b"HTTP/1.1 200 OK\r\nX: ")
            return
        self.send_response(200)
        if self.path == "/bomb":
            body = BOMB
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            pieces: Iterator[bytes] = iter([body])
        else:
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            endless = b" " if self.path == "/drip" else b" " * (1 << 20)
            pieces = iter(lambda: endless, b"")
        try:
            for piece in pieces:
                self.wfile.write(piece)
                time.sleep(0.05 if self.path == "/drip" else 0)
        except OSError:
            self.close_connection = True

    def drip(self, start: bytes) -> None:
        """The head of an answer that never ends, a byte at a time."""
        try:
            self.wfile.write(start)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            self.close_connection = True


class Quiet(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Who asked has gone away: that is what is tested."""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    listening = Quiet(("127.0.0.1", 0), Misbehaving)
    listening.daemon_threads = True
    Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/drip", "no (whole )?answer within 2 s"),
        ("/status", "no answer within 2 s"),
        ("/headers", "no answer within 2 s"),
        ("/endless", "longer"),
        ("/bomb", "longer"),
    ],
)
def test_an_answer_without_end_is_given_up(server: str, path: str, said: str) -> None:
    client = JsonClient(server + path, timeout=2.0 if "within" in said else 60, patience=ONCE)
    with pytest.raises(RewardModelError, match=said):
        client.post({"texts": []})


def test_what_is_decompressed_is_bounded(server: str) -> None:
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(RewardModelError, match="longer"):
        JsonClient(server + "/bomb", patience=ONCE).post({})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20  # the answer would take 200 MiB; 32 of them are read


@pytest.mark.parametrize("hidden", ["\ufeff", "\u200b", "\u2060", "\u00ad", " ", ""])
@pytest.mark.parametrize("sign", "=+-@\uff1d")
def test_no_formula_hides_behind_what_has_no_shape(hidden: str, sign: str) -> None:
    assert csv_text(["a"], [[f"{hidden}{sign}1+1"]]).splitlines()[1].lstrip('"').startswith("'")
    assert csv_text(["a"], [[f"{hidden}1{sign}1"]]).splitlines()[1].lstrip('"')[:1] != "'"


def test_no_escape_of_names_or_errors_reaches_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loud.py").write_text(
        "def f(pairs):\n    raise ValueError('\\x1b]0;title\\x07 \\x1b[2J')\n"
    )
    (tmp_path / "odd.jsonl").write_text(json.dumps({"pro\x1b[31mmpt": 1, "\x1b[2Jq": 2}))
    for command in (
        ("validate", "odd.jsonl"),
        ("audit", "-m", "recorded", "--eval", "odd.jsonl"),
        ("audit", "-m", "recorded:\x1b[31m", "--eval", rows(tmp_path)),
        ("score", "-m", "python:loud:f", "--data", rows(tmp_path), "--no-cache"),
    ):
        code, out, err = run(*command)
        assert code == 2
        assert "\x1b" not in out + err, command


ESCAPE = "\x1b[2J\x1b]0;title\x07"
GATE = 'schema_version = 1\n[[rule]]\nmetric = "preference.accuracy"\nmin = 0.9\nslice = "*"\n'
PROBE = {"name": "opening", "meaning": ESCAPE, "transform": "opening", "expected": "not_higher",
         "parameters": {"texts": ["Sure."]}, "tolerance": 0.1}  # fmt: skip


def test_no_escape_of_a_report_suite_or_benchmark_reaches_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    data = rows(tmp_path, subset=lambda i: f"{ESCAPE}{i % 2}")
    for out in ("a", "b"):
        run("audit", "-m", "recorded", "--eval", data, "--only", "preference", "--out", out)
        report = json.loads(Path(out, "report.json").read_text())
        report["model"]["name"] = f"{ESCAPE}{out}"
        Path(out, "report.json").write_text(json.dumps(report))
    Path("gate.toml").write_text(GATE)
    Path("probes").mkdir()
    suite = {"schema_version": 1, "name": "odd", "version": 1, "title": "Odd", "probes": [PROBE]}
    suite |= {"kind": "invariance", "question": ESCAPE, "licence": ESCAPE, "sources": [ESCAPE]}
    Path("probes", "suite.yaml").write_text(json.dumps(suite))
    Path("probes", "DATASHEET.md").write_text(f"A sheet {ESCAPE}\n")
    made = published(tmp_path, prompt=ESCAPE, model=ESCAPE)
    bench = ("bench", "rewardbench", "-m", "recorded", "--no-cache", "--out", "rb")
    commands = {
        ("gate", "a", "--policy", "gate.toml", "--github"): "preference.accuracy",
        ("gate", "a", "--policy", "gate.toml", "--baseline", "b"): "preference.accuracy",
        ("plan", "a", "--gate", "gate.toml"): "preference.accuracy",
        ("compare", "a", "b"): "preference.accuracy",
        ("compare", "a", "b", "a"): "Preference accuracy",
        ("card", "a"): "a",
        ("index", "."): "page: ",
        ("probes", "show", "odd", "--probe-path", "probes"): "A sheet",
        (*bench, "--data", made, "--name", ESCAPE): "page: rb",
        (*bench, "--data", published(tmp_path, subset=ESCAPE)): "subset",
        (*bench, "--data", published(tmp_path, scores_chosen=ESCAPE)): "scores_chosen",
        ("validate", made): "rb.json",
    }
    for command, shown in commands.items():
        _, out, err = run(*command)
        assert shown in out + err, command
        assert not {"\x1b", "\x07"} & set(out + err), command


def test_a_name_of_a_book_is_cut_in_messages(tmp_path: Path) -> None:
    given = {
        "prompt": "p",
        "response_1": "a b",
        "response_2": "c d",
        "preference_" + "x" * 50_000: 1,
    }
    (tmp_path / "d.jsonl").write_text(json.dumps(given) + "\n")
    code, _, err = run("validate", str(tmp_path / "d.jsonl"))
    assert code == 2
    assert "preference_xxx" in err
    assert len(err) < 3_000


def test_a_name_that_cannot_be_drawn_costs_no_page(tmp_path: Path) -> None:
    data = rows(tmp_path, subset=lambda i: ["code", "\ufeffmath", "\u200b"][i % 3])
    made = ("--eval", data, "--only", "preference", "--out", str(tmp_path / "o"))
    code, _, said = run("audit", "-m", "recorded", *made)
    assert code == 0, said
    assert "[U+FEFF]math" in (tmp_path / "o" / "report.html").read_text()


def test_rewards_whose_difference_overflows_are_a_finding(tmp_path: Path) -> None:
    data = rows(tmp_path, chosen_reward=1.7e308, rejected_reward=-1.7e308)
    code, _, said = run("audit", "-m", "recorded", "--eval", data, "--out", str(tmp_path / "o"))
    assert code == 0, said
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    assert not [name for name, a in report["audits"].items() if a["status"] == "failed"]
    assert any(f["title"].startswith("Non-finite rewards: ") for f in report["findings"])


def test_score_tells_rewards_that_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gaps.py").write_text(
        "def f(pairs):\n    return [float('nan') if o == 'yes 3' else 1.0 for _, o in pairs]\n"
    )
    code, _, said = run("score", "-m", "python:gaps:f", "--data", rows(tmp_path), "--no-cache")
    assert code == 0
    assert said.count("warning") == 1
    assert "1 of 80 texts: the reward is not finite" in said
    assert "row-4 (chosen)" in said


@pytest.mark.parametrize("name", ["leaves", "endless"])
def test_a_callable_that_leaves_or_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rude.py").write_text(
        "import itertools, sys\n"
        "def leaves(pairs):\n    sys.exit(0)\n"
        "def endless(pairs):\n    return itertools.repeat(1.0)\n"
    )
    code, _, said = run("score", "-m", f"python:rude:{name}", "--data", rows(tmp_path, count=4))
    assert code == 2
    assert f"rude:{name}" in said


@pytest.mark.parametrize(
    "command", ["audit", "score", "overopt", "bench", "bench all", "tensorboard"]
)
def test_a_place_that_cannot_be_written_is_refused_before_scoring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mark.py").write_text(
        "from pathlib import Path\n"
        "def f(pairs):\n    Path('scored').touch()\n    return [1.0] * len(pairs)\n"
    )
    (tmp_path / "file").write_text("")
    given = {
        "audit": ("audit", "--eval", rows(tmp_path)),
        "score": ("score", "--data", rows(tmp_path)),
        "overopt": ("overopt", "--samples", rows(tmp_path)),
        "bench": ("bench", "rewardbench", "--data", published(tmp_path)),
        "bench all": ("bench", "all", "--data", str(Path(published(tmp_path)).parent)),
        "tensorboard": ("audit", "--eval", rows(tmp_path), "--log-to", "tensorboard:file/below"),
    }[command]
    if command == "tensorboard":
        pytest.importorskip("tensorboard")
    out = "o" if command == "tensorboard" else "file/below/o"
    code, _, said = run(*given, "-m", "python:mark:f", "--out", out, "--no-cache")
    assert code == 2
    assert "cannot write to file/below" in said
    assert ("--log-to tensorboard:DIR" in said) == (command == "tensorboard")
    assert not (tmp_path / "scored").exists()


def test_quiet_prints_errors_only(tmp_path: Path) -> None:
    made = ("--eval", rows(tmp_path), "--only", "preference", "--out", str(tmp_path / "o"))
    assert run("audit", "-m", "recorded", *made, "--quiet") == (0, "", "")
    Path(tmp_path, "rb").mkdir()
    for again in (
        ("bench", "rewardbench", published(tmp_path), "-m", "recorded", "--out", tmp_path / "rb"),
        ("compare", tmp_path / "o", tmp_path / "o"),
        ("compare", tmp_path / "o", tmp_path / "o", tmp_path / "o"),
        ("index", tmp_path),
        ("validate", rows(tmp_path)),
        ("plan", tmp_path / "o"),
        ("gate", tmp_path / "o", "--policy", "default"),
    ):
        assert run(*map(str, again), "--quiet")[1:] == ("", ""), again
    code, out, err = run("audit", "-m", "recorded", "--eval", "gone.jsonl", "--quiet")
    assert (code, out) == (2, "")
    assert err.startswith("error: ")


def edited(path: str, change: Any) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((ROOT / "reports" / "example" / "report.json").read_text())
    metric = report["audits"]["preference"]["metrics"][0]
    if path == "inputs":
        report["inputs"]["eval"]["rows_used"] += 1
    elif path == "twice":
        report["audits"]["preference"]["metrics"].append(metric)
    else:
        metric[path] = change
    return report


@pytest.mark.parametrize(
    ("path", "change", "said"),
    [
        ("ci", [1.0, -1.0], "ends before it begins"),
        ("ci", [None, None], "a value without an interval"),
        ("n", 0, "a value from 0 rows"),
        ("n_prompts", 0, "of 0 prompts"),
        ("id", "length.excess_preference", "another audit's"),
        ("twice", None, "stands there twice"),
        ("inputs", None, "rows_read"),
    ],
)
def test_a_report_with_impossible_numbers_is_refused(path: str, change: Any, said: str) -> None:
    check(json.loads((ROOT / "reports" / "example" / "report.json").read_text()), "example")
    with pytest.raises(SchemaError, match=said):
        check(edited(path, change), "example")


@pytest.mark.parametrize("text", ['{"run": ', "[]", '{"run": 3, "result": null}', "[" * 100_000])
def test_a_damaged_training_folder_says_what_to_delete(tmp_path: Path, text: str) -> None:
    from rmaudit.training.checkpoint import open_run

    (tmp_path / "training.json").write_text(text)
    with pytest.raises(UsageError, match=r"training\.json: is damaged.*delete the folder"):
        open_run(tmp_path, {"base": "x"})


def test_deep_json_of_a_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "ensemble.json").write_text("[" * 100_000)
    code, out, _ = run("doctor", "--model", str(tmp_path))
    assert code == 1
    assert "cannot be read" in " ".join(out.split()) or "RecursionError" not in out


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_as_an_interrupt_does(tmp_path: Path, name: str) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\ndef f(pairs):\n    print('', end='')\n    time.sleep(60)\n"
    )
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"  # ignored where nohup began the tests
        "from rmaudit.console import Console\nfrom rmaudit.cli.command import _finish\n"
        "import time\ndef body():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "raise SystemExit(_finish(Console(), body))"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    started.send_signal(getattr(signal, name))
    _, said = started.communicate()
    assert started.returncode == 130
    assert "interrupted; the same command goes on" in said


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
        "training/precision.py",
        "cli/train.py",
        "rewards/functions/sources.py",
        "rewards/local/devices.py",
        "rewards/local/quicker.py",
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
