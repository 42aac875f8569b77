"""Files that came from elsewhere name data: nothing is run, opened or sent because they say so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rmaudit
from rmaudit.cli import app
from rmaudit.config import AuditConfig
from rmaudit.errors import RewardModelError, SchemaError, UsageError
from rmaudit.rewards import load_reward_model

ROWS = [{"prompt": f"p{i}", "chosen": f"yes {i} yes", "rejected": f"no {i}"} for i in range(40)]
TRAP = "from pathlib import Path\nPath('SPRUNG').write_text('x')\ndef f(pairs):\n    return [1.0]"


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with data, a reward that may be used and a module that must not be imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMAUDIT_STORE", str(tmp_path / "store.sqlite"))
    rows = [{**row, "chosen_reward": i % 5, "rejected_reward": 1} for i, row in enumerate(ROWS)]
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "trap.py").write_text(TRAP)
    (tmp_path / "honest.py").write_text("def f(pairs):\n    return [len(o) for _, o in pairs]\n")
    yield tmp_path
    sys.modules.pop("trap", None)


def sprung(folder: Path) -> bool:
    return any(folder.rglob("SPRUNG"))


@pytest.mark.parametrize(
    "text",
    [
        'model = "python:trap:f"',
        'model="recorded"\nensemble=["python:trap:f"]',
        'model = "recorded"\ngold = "python:trap:f"',
    ],
)
def test_code_that_only_a_settings_file_names_needs_the_flag(folder: Path, text: str) -> None:
    (folder / "audit.toml").write_text(f'{text}\neval = "eval.jsonl"\nonly = "preference"\n')
    code, said = run("audit", "--config", "audit.toml", "--out", "o")
    assert (code, sprung(folder)) == (2, False)
    assert "audit.toml names python:trap:f" in said
    assert "--trust-code" in said
    # Two-sided: with the flag it is imported.
    run("audit", "--config", "audit.toml", "--out", "o", "--trust-code")
    assert sprung(folder)


def test_code_that_the_command_line_names_needs_no_flag(folder: Path) -> None:
    (folder / "audit.toml").write_text('model = "python:trap:f"\neval = "eval.jsonl"\n')
    code, said = run(
        *("audit", "--config", "audit.toml", "--model", "python:honest:f"),
        *("--only", "preference", "--out", "o"),
    )
    assert code == 0, said
    assert not sprung(folder)


@pytest.mark.parametrize("name", ["trust_code", "trust_remote_code", "allow_pickle"])
def test_a_file_gives_no_permission(folder: Path, name: str) -> None:
    path = folder / "audit.toml"
    path.write_text(f'model = "recorded"\neval = "eval.jsonl"\n{name} = true\n')
    flag = "--" + name.replace("_", "-")
    with pytest.raises(SchemaError, match=f"audit.toml: {name} is not a file's to give.*{flag}"):
        AuditConfig.resolve({}, path)
    assert getattr(AuditConfig.resolve({name: True}, path), name) is True
    path.write_text(f'model = "recorded"\neval = "eval.jsonl"\n{name} = false\n')
    assert getattr(AuditConfig.resolve({}, path), name) is False


class Listening(BaseHTTPRequestHandler):
    heard: list[str | None] = []  # noqa: RUF012

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append(self.headers.get("Authorization"))
        body = json.dumps({"rewards": [0.5] * len(asked["texts"])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Listening.heard = []
    listening = HTTPServer(("127.0.0.1", 0), Listening)
    Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}/score"
    listening.shutdown()
    listening.server_close()


def test_a_secret_that_only_a_file_names_is_not_sent(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "hush")
    (folder / "audit.toml").write_text(
        f'model = "{server}"\neval = "eval.jsonl"\nonly = "preference"\n'
        'api_key_env = "CLOUD_SECRET"\n'
    )
    code, said = run("audit", "--config", "audit.toml", "--out", "o")
    assert (code, Listening.heard) == (2, [])
    assert "--api-key-env CLOUD_SECRET" in said
    code, said = run(
        *("audit", "--config", "audit.toml", "--api-key-env", "CLOUD_SECRET", "--model", server),
        *("--out", "o"),
    )
    assert code == 0, said
    assert set(Listening.heard) == {"Bearer hush"}


def test_a_secret_is_not_sent_to_a_server_that_a_mix_names(
    folder: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUD_SECRET", "hush")
    (folder / "mix.toml").write_text(
        f'schema_version = 1\n[[reward]]\nname = "theirs"\nmodel = "{server}"\n'
    )
    asked = ("audit", "--model", "mix:mix.toml", "--eval", "eval.jsonl", "--only", "preference")
    code, said = run(*asked, "--api-key-env", "CLOUD_SECRET", "--out", "o")
    assert (code, Listening.heard) == (2, [])
    assert "mix.toml names" in said
    assert "--trust-code" in said
    code, said = run(*asked, "--api-key-env", "CLOUD_SECRET", "--trust-code", "--out", "o")
    assert code == 0, said
    assert set(Listening.heard) == {"Bearer hush"}
    Listening.heard.clear()
    code, said = run(*asked, "--no-cache", "--out", "o")  # without a secret nothing is held back
    assert code == 0, said
    assert set(Listening.heard) == {None}


def report_of(folder: Path, **config: object) -> Path:
    """An honest report on recorded rewards, whose settings then say something else."""
    if not (folder / "o" / "report.json").exists():
        made = ("--eval", "eval.jsonl", "--only", "preference", "--out", "o")
        code, said = run("audit", "--model", "recorded", *made)
        assert code == 0, said
    path = folder / "o" / "report.json"
    report = json.loads(path.read_text())
    report["config"] |= config
    path.write_text(json.dumps(report))
    return path.parent


def test_an_honest_report_on_recorded_rewards_verifies(folder: Path) -> None:
    code, said = run("verify", str(report_of(folder)))
    assert code == 0, said


@pytest.mark.parametrize("rescore", [(), ("--rescore",)])
@pytest.mark.parametrize(
    "config",
    [
        {"model": "python:trap:f"},
        {"ensemble": ["python:trap:f"]},
        {"ensemble": ["nested"]},
        {"gold": "python:trap:f", "samples": "eval.jsonl"},
    ],
)
def test_verify_runs_no_code_that_a_report_names(
    folder: Path, config: dict[str, object], rescore: tuple[str, ...]
) -> None:
    inner = folder / "nested" / "inner"
    inner.mkdir(parents=True)
    (folder / "nested" / "ensemble.json").write_text('{"members": ["inner"]}')
    (inner / "ensemble.json").write_text('{"members": ["python:trap:f"]}')
    code, said = run("verify", str(report_of(folder, **config)), *rescore)
    assert (code, sprung(folder)) == (2, False), said


def test_verify_sends_nothing_to_a_server_that_a_report_names(folder: Path, server: str) -> None:
    place = str(report_of(folder, model=server))
    assert run("verify", place)[0] == 2
    code, said = run("verify", place, "--rescore")
    assert (code, Listening.heard) == (2, [])
    assert f"--model {server}" in said
    run("verify", place, "--rescore", "--model", server)
    assert Listening.heard


def test_verify_opens_no_model_where_the_store_describes_it(folder: Path) -> None:
    made = ("--eval", "eval.jsonl", "--only", "preflight,preference", "--out", "p")
    assert run("audit", "--model", "python:honest:f", *made)[0] == 0
    (folder / "honest.py").write_text(TRAP)  # whatever stands there now is not run
    code, said = run("verify", "p")
    assert code == 0, said
    assert not sprung(folder)


@pytest.mark.parametrize("members", [["python:trap:f"], ["inner"]])
def test_an_ensemble_file_imports_nothing_unasked(folder: Path, members: list[str]) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "ensemble.json").write_text('{"members": ["python:trap:f"]}')
    (folder / "ensemble.json").write_text(json.dumps({"members": members}))
    code, _ = run("doctor", "--model", ".")
    assert (code, sprung(folder)) == (1, False)
    with pytest.raises(UsageError, match=r"ensemble\.json names python:trap:f.*--trust-code"):
        load_reward_model(folder)
    assert load_reward_model(folder, trust_code=True).members
    assert sprung(folder)


@pytest.mark.parametrize("depth", [0, 1, 12])
def test_an_ensemble_that_holds_itself_is_named(tmp_path: Path, depth: int) -> None:
    place = tmp_path
    for _ in range(depth):
        (place / "ensemble.json").write_text('{"members": ["sub"]}')
        place = place / "sub"
        place.mkdir()
    up = "/".join([".."] * depth) or "."
    (place / "ensemble.json").write_text(json.dumps({"members": [up]}))
    with pytest.raises(RewardModelError, match=r"holds itself|ensembles in one another"):
        load_reward_model(tmp_path)


def test_the_data_audit_alone_opens_no_model(folder: Path) -> None:
    report = rmaudit.audit("python:trap:f", "eval.jsonl", only=["data"])
    assert not sprung(folder)
    assert report.record.cost.texts == 0
    assert report["data.duplicate_share"].value == 0


def test_a_described_model_is_opened_by_a_new_text_alone(tmp_path: Path) -> None:
    from rmaudit.rewards.base import Encoded, Rewarded, RewardModel, Text
    from rmaudit.rewards.described import DescribedModel, card
    from rmaudit.scoring import Request, open_store, score

    class Long(RewardModel):
        name, kind, fingerprint = "long", "plain", "f"

        def encode(self, texts: Any) -> list[Encoded]:
            return [Encoded(text, len(text.output), len(text.output)) for text in texts]

        def forward(self, batch: Any, *, pad_left: bool = False) -> Any:
            return np.array([float(each.tokens) for each in batch])

    opened: list[int] = []

    def load() -> RewardModel:
        opened.append(1)
        return Long()

    def ask(*texts: str) -> list[float]:
        request = Request("output", list(texts), ["q"] * len(texts), list(texts))
        with open_store(tmp_path / "s.sqlite") as store:
            described = DescribedModel(json.loads(json.dumps(card(Long(), ()))), load)
            assert described.columns(["prompt"]) == ()
            return score(described, [request], store=store).reward("output").tolist()

    assert ask("a", "bb") == [1.0, 2.0]
    assert opened == [1]
    assert ask("bb", "a") == [2.0, 1.0]
    assert opened == [1]  # the store knows both
    assert ask("a", "ccc") == [1.0, 3.0]
    assert opened == [1, 1]
    assert isinstance(
        DescribedModel(card(Long(), ()), load).score_batch([*Long().encode([Text("q", "dd")])]),
        Rewarded,
    )
