"""A new user's first commands: `rmaudit init` and `rmaudit doctor`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.config import AuditConfig
from rmaudit.doctor import TEN_TEXTS, examine, memory
from rmaudit.doctor import _budget as budget_checks
from rmaudit.errors import RewardModelError
from rmaudit.gating import Policy
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import Encoded, RewardModel
from rmaudit.starter import starter_files

WRITTEN = ["audit.toml", "gate.toml", "test_reward_model.py", ".github/workflows/reward-model.yml"]


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.stdout, done.stderr


def test_init_writes_settings_a_gate_a_test_and_a_workflow(tmp_path: Path) -> None:
    model, data = 'python:my"reward:score', r"C:\data\prefs.jsonl"
    code, _, said = run("init", str(tmp_path / "new"), "--model", model, "--eval", data)
    assert code == 0, said
    assert all(f"new/{name}" in said for name in WRITTEN)
    settings = AuditConfig.resolve({}, tmp_path / "new" / "audit.toml")
    assert (settings.model, settings.eval) == (model, data)
    assert Policy.read(tmp_path / "new" / "gate.toml") == Policy.read("default")


def test_init_touches_nothing_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "gate.toml").write_text("mine")
    code, _, said = run("init", str(tmp_path))
    assert code == 2
    assert "gate.toml: there already, and nothing was written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["gate.toml"]
    assert (tmp_path / "gate.toml").read_text() == "mine"


def test_the_settings_file_shows_every_setting_and_each_line_is_valid(tmp_path: Path) -> None:
    text = starter_files()["audit.toml"]
    # A commented line "# name = value" is a setting; prose has no " = ".
    live = re.sub(r"^# (?=\w+ = )", "", text, flags=re.MULTILINE)
    values = tomllib.loads(live)
    only_said = {"api_key_env", "trust_code", "trust_remote_code", "allow_pickle"}
    assert set(values) == set(AuditConfig.model_fields) - only_said
    path = tmp_path / "audit.toml"
    path.write_text(live)
    settings = AuditConfig.resolve({}, path)
    defaults = AuditConfig(model="m", eval="e")
    for name in ("seed", "resamples", "confidence", "embedder", "search_texts", "beta", "device"):
        assert getattr(settings, name) == getattr(defaults, name), name
    for name in ("timeout", "concurrency", "http_format", "no_cache", "dtype"):
        assert getattr(settings, name) == getattr(defaults, name), name


def test_the_workflow_is_valid_and_its_commands_exist(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema")
    text = starter_files()[WRITTEN[3]]
    path = tmp_path / "reward-model.yml"
    path.write_text(text)
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    done = subprocess.run(
        [*command, "vendor.github-workflows", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = yaml.safe_load(text)["jobs"]["gate"]["steps"]
    commands = "\n".join(step.get("run", "") for step in steps)
    for name in WRITTEN[:3]:
        assert name in commands
    assert "${{" not in commands  # inputs reach no shell
    assert not re.search(r"install (--?\S+ )*rmaudit\b", commands)  # not on PyPI yet


def test_a_strangers_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Init, audit, gate and the test file, as the files and the last lines of init say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("RMAUDIT_STORE", str(tmp_path / "store.sqlite"))
    (tmp_path / "stranger.py").write_text(
        "def score(pairs):\n    return [float('sorry' not in output) for _, output in pairs]\n"
    )
    rows = [
        f'{{"prompt": "Question {i}?", "chosen": "Answer {i}.", "rejected": "I am sorry {i}."}}'
        for i in range(400)
    ]
    (tmp_path / "prefs.jsonl").write_text("\n".join(rows))
    assert run("init", "--model", "python:stranger:score")[0] == 0
    with Path("audit.toml").open("a") as file:
        file.write('only = ["preflight", "preference", "length", "calibration"]\nresamples = 200\n')
    code, _, said = run("audit", "--config", "audit.toml", "--trust-code", "--out", "reports/mine")
    assert code == 0, said
    code, shown, _ = run("gate", "reports/mine", "--policy", "gate.toml", "--json")
    outcomes = {o["metric"]: o["verdict"] for o in json.loads(shown)["rules"]}
    assert outcomes["preference.accuracy"] == "pass"  # right on every pair
    assert outcomes["length.excess_preference"] == "pass"  # and the longer output is the wrong one
    # What is undefined here (a function cuts no text that we could see, rewards of 0 and 1 are no
    # log-odds) only warns.
    failed = [o for o in json.loads(shown)["rules"] if o["verdict"] == "fail"]
    assert {o["metric"] for o in failed} <= {
        "preflight.output_truncated_share",
        "preference.worst_subset_accuracy",
        "calibration.overconfidence",
    }
    assert all((o["value"], o["level"]) == (None, "warn") for o in failed), failed
    assert code == 0
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "test_reward_model.py", "--rmaudit-report", "reports/mine"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "..." in done.stdout


def by_what(checks: list) -> dict[str, list]:
    found: dict[str, list] = {}
    for check in checks:
        found.setdefault(check.what, []).append(check)
    return found


def test_doctor_looks_at_versions_memory_device_and_store(tmp_path: Path) -> None:
    checks = by_what(examine(store=tmp_path / "s.sqlite"))
    assert {"rmaudit", "torch", "transformers", "memory", "device", "store"} <= checks.keys()
    assert not [c for each in checks.values() for c in each if c.status == "fail"]
    free, total = memory()
    assert free is None or total is None or 0 < free <= total
    (tmp_path / "other").write_text("not a store" * 100)
    bad = by_what(examine(store=tmp_path / "other" / "s.sqlite"))["store"]
    assert bad[0].status == "fail"


def test_doctor_tries_a_model_on_ten_texts(tmp_path: Path) -> None:
    assert len(TEN_TEXTS) == 10
    sizes: list[int] = []

    def by_length(pairs: list) -> list[float]:
        sizes.append(len(pairs))
        return [float(len(output)) for _, output in pairs]

    checks = by_what(examine(lambda: load_reward_model(by_length), tmp_path / "s.sqlite"))
    assert [check.status for check in checks["preflight"]] == ["ok", "ok"]
    lengths = [len(output) for _, output in TEN_TEXTS]
    assert f"rewards from 0 to {max(lengths)}" in checks["preflight"][0].said
    assert sizes == [10] + [1] * 10


def _nan(pairs: list) -> list[float]:
    return [float("nan") if not output else 1.0 for _, output in pairs]


def _batch(pairs: list) -> list[float]:
    return [len(output) + 1000.0 * len(pairs) for _, output in pairs]


def _breaks(pairs: list) -> list[float]:
    raise ValueError("no weights")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (_nan, "rewards of text 5 of ten are not finite"),
        (lambda pairs: [1.0 for _ in pairs], "ten different texts all have reward 1"),
        (_batch, "moves by .* SD at most with what shares its batch"),
        (_breaks, "raised ValueError: no weights"),
    ],
)
def test_doctor_names_the_fault_of_a_model(function, said: str, tmp_path: Path) -> None:
    checks = by_what(examine(lambda: load_reward_model(function), tmp_path / "s.sqlite"))
    failed = [check for check in checks["preflight"] if check.status == "fail"]
    assert len(failed) == 1
    assert re.search(said, failed[0].said)


def test_doctor_says_why_a_model_does_not_load(tmp_path: Path) -> None:
    def load():
        raise RewardModelError("folder: no weights")

    checks = by_what(examine(load, tmp_path / "s.sqlite"))
    assert [(c.status, c.said) for c in checks["model"]] == [("fail", "folder: no weights")]
    code, shown, _ = run("doctor", "--model", "no/such", "--store", str(tmp_path / "s.sqlite"))
    assert code == 1
    assert "no/such" in shown
    code, shown, _ = run("doctor", "--model", "recorded", "--store", str(tmp_path / "s.sqlite"))
    assert code == 0
    assert "there is no text" in shown


def test_the_ten_texts_differ() -> None:
    keys = {(str(prompt), output) for prompt, output in TEN_TEXTS}
    assert len(keys) == 10
    assert np.ptp([len(output) for _, output in TEN_TEXTS]) > 1000


def test_doctor_finds_the_fastest_batches_of_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("rmaudit.doctor.time.perf_counter", lambda: clock[0])
    model = PaidByTheBatch(clock)
    (found,) = budget_checks(model)
    # A call costs 1 s and 0.001 s a token up to 3,000 tokens, ten times that for those behind.
    assert found.said.startswith("--token-budget 2048 is the fastest here (tokens/s at 1,024: ")
    model.token_budget = 2048
    assert budget_checks(model)[0].said.startswith("the token budget 2,048 is as fast as any")


def test_doctor_stops_before_batches_that_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("rmaudit.doctor.time.perf_counter", lambda: clock[0])
    model = PaidByTheBatch(clock, call=30.0)
    (found,) = budget_checks(model)
    assert "1,024: " in found.said
    assert "2,048: " not in found.said


class PaidByTheBatch(RewardModel):
    """A clock goes on by what a batch costs."""

    name = kind = fingerprint = "paid"

    def __init__(self, clock: list[float], call: float = 1.0) -> None:
        self.clock, self.call = clock, call

    def encode(self, texts):
        return [Encoded(text, len(text.output.split()) + 2, 1) for text in texts]

    def forward(self, batch, *, pad_left=False):
        tokens = sum(each.tokens for each in batch)
        self.clock[0] += self.call + 0.001 * tokens + 0.009 * max(0, tokens - 3000)
        return np.zeros(len(batch))
