"""Inputs, servers and reports that misbehave cost one clear line, not a run, secret or wait."""

from __future__ import annotations

import json
import os
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

import pytest
from hostile_inputs import published, rows, run

from rmaudit.errors import RewardModelError, SchemaError, UsageError
from rmaudit.files import csv_text
from rmaudit.report.schema import check
from rmaudit.rewards.served.client import JsonClient, RetryPolicy

ROOT = Path(__file__).parents[1]
ONCE = RetryPolicy(tries=1)
_PACK = zlib.compressobj(wbits=31)
BOMB = b"".join(_PACK.compress(b" " * (1 << 20)) for _ in range(200)) + _PACK.flush()


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
        ("compare", "a", "b"): "Pairwise accuracy",
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
        ("value", 1.5, "beyond what it can be"),
        ("ci", [-0.5, 1.0], "beyond what it can be"),
        ("bounds", [1.0, 0.0], "bounds .* end before they begin"),
        ("df", -3.0, "degrees of freedom"),
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


"""JSON that no parser of depth-first calls can hold."""
