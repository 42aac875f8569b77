"""Every command with every kind of reward: it works, or refuses by name in one line with exit 2."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.config import AuditConfig
from rmaudit.errors import UsageError
from rmaudit.integrations.serving import RewardService, server
from rmaudit.rewards import load_reward_model

REWARDS = """
import re
from types import SimpleNamespace

def worth(text):
    found = re.search(r"is (\\d+)", text)
    return int(found[1]) if found else 0

def scalar(pairs):
    return [worth(text) / 7 + len(text) / 100 for _, text in pairs]

def correct(completions, solution, **columns):
    return [float(text.endswith(f"is {s}.")) for text, s in zip(completions, solution)]

def judge(prompts, completions):
    return [1 + worth(text) % 10 for text in completions]
judge.scale = (1, 10)

def pair(prompts, responses_a, responses_b):
    return [float(worth(a) < worth(b)) for a, b in zip(responses_a, responses_b)]

def right(completion, answer):
    return float(completion.endswith(f"is {answer}."))

def brief(completion):
    return 1 / len(completion)

rubric = SimpleNamespace(funcs=[right, brief], weights=[1.0, 0.5])

def steps(prompts, completions):
    return [{"total": worth(t) / 10, "steps": [0.5, worth(t) / 100]} for t in completions]
"""
MIX = """schema_version = 1
scale = "group"
[[reward]]
name = "correct"
model = "python:kinds_of_rewards:correct"
kind = "verdict"
[[reward]]
name = "brief"
model = "python:kinds_of_rewards:scalar"
weight = -0.1
"""
MODELS = {
    name: f"python:kinds_of_rewards:{name}"
    for name in ("scalar", "correct", "judge", "pair", "rubric", "steps")
} | {"mix": "mix:mix.toml"}
KINDS = tuple(MODELS)
# The audit that is the kind's own, and a number of it.
OWN = {
    "scalar": ("preference", "preference.accuracy"),
    "correct": ("verifier", "verifier.signal_left"),
    "judge": ("judge", "judge.tied_share"),
    "pair": ("judge", "judge.order_flip_rate"),
    "rubric": ("mix", "mix.collapsed_advantage_share"),
    "mix": ("mix", "mix.collapsed_advantage_share"),
    "steps": ("preference", "preference.accuracy"),
}


def rows(count=24):
    return [
        {
            "id": f"id-{i}",
            "prompt": f"What is {i} plus 2?",
            "chosen": f"It is {i + 2}.",
            "rejected": f"It is {i + 3}, or so.",
            "subset": "alpacaeval-easy",
            "solution": str(i + 2),
            "answer": str(i + 2),
        }
        for i in range(count)
    ]


def jsonl(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where all commands run: rewards, a mix, pairs (also as a benchmark's rows), samples."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "kinds_of_rewards.py").write_text(REWARDS)
    (folder / "mix.toml").write_text(MIX)
    jsonl(folder / "rows.jsonl", rows())
    jsonl(
        folder / "samples.jsonl",
        [
            {
                **{name: row[name] for name in ("prompt", "solution", "answer")},
                "outputs": [f"It is {int(row['answer']) + k}." for k in (0, 1, 0, 20)],
            }
            for row in rows()
        ],
    )
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RMAUDIT_STORE", str(folder / "store.sqlite"))
    return folder


def command(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def model_of(kind):
    return ("--model", MODELS[kind], *(("--trust-code",) if kind == "mix" else ()))


@pytest.fixture(scope="module")
def audited(folder):
    """Each kind's report folder: made once, by the command."""
    made = {}

    def audit(kind):
        if kind not in made:
            code, output = command(
                "audit", *model_of(kind), "--eval", "rows.jsonl", "--samples", "samples.jsonl",
                "--only", f"{OWN[kind][0]},preference", "--out", folder / f"audit-{kind}",
            )  # fmt: skip
            assert code == 0, output
            made[kind] = folder / f"audit-{kind}"
        return made[kind]

    return audit


@pytest.mark.parametrize("kind", KINDS)
def test_audit_gate_compare_and_exports(here, audited, kind):
    report = audited(kind)
    audit, metric = OWN[kind]
    measured = json.loads((report / "report.json").read_text())["audits"][audit]
    assert measured["status"] == "ok", measured
    value = next(m["value"] for m in measured["metrics"] if m["id"] == metric)
    low, high = (-1, 1) if value <= 1 else (value - 5, value + 5)  # a share is held to shares
    (here / "gate.toml").write_text(
        f'schema_version = 1\n[[rule]]\nmetric = "{metric}"\nmin = {low}\nmax = {high}\n'
    )
    code, output = command(
        "gate", report, "--policy", "gate.toml", "--junit", "j.xml", "--sarif", "s.json"
    )
    assert code == 0, output
    assert metric in (here / "j.xml").read_text()
    code, output = command("compare", report, report)
    assert code == 0, output


@pytest.mark.parametrize("kind", KINDS)
def test_bench_scores_the_published_rows_with_their_columns(here, kind):
    code, output = command(
        "bench", "rewardbench", "--data", "rows.jsonl", *model_of(kind), "--out", f"bench-{kind}"
    )
    assert code == 0, output
    score = json.loads((here / f"bench-{kind}" / "bench.json").read_text())["official"]["score"]
    # The judge of pairs prefers the smaller sum and the verifier the correct one; the judge gives
    # 10 and then 1 where the sum ends in nine; the others like the larger sum, or the longer text.
    lost = sum((i + 2) % 10 != 9 for i in range(24)) / 24
    by_hand = {"correct": 1, "rubric": 1, "mix": 1, "pair": 1, "judge": 1 - lost}
    assert score == pytest.approx(by_hand.get(kind, 0))


def test_bench_names_a_column_that_the_published_rows_lack(here):
    jsonl(here / "bare.jsonl", [{k: v for k, v in r.items() if k != "solution"} for r in rows()])
    for kind in ("correct", "mix"):
        code, output = command("bench", "rewardbench", "--data", "bare.jsonl", *model_of(kind))
        assert code == 2
        (line,) = [each for each in output.splitlines() if each.startswith("error: ")]
        assert "there is no column 'solution'" in line


def loaded(kind):
    config = AuditConfig(model=MODELS[kind], eval="none", trust_code=True)
    return load_reward_model(MODELS[kind], config)


EXPECTED = {"scalar": 4 / 7 + 0.08, "correct": 1.0, "judge": 5.0, "rubric": 1 + 0.5 / 8,
            "mix": 1 - 0.1 * (4 / 7 + 0.08), "steps": 0.4}  # fmt: skip
COMPONENTS = {"rubric": {"right", "brief"}, "mix": {"correct", "brief"}}


@pytest.mark.parametrize("kind", EXPECTED)
def test_serve_answers_and_records_the_components(here, kind):
    service = RewardService(loaded(kind), per_step=2, folder=here / f"serve-{kind}")
    with server(service, "127.0.0.1", 0) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        body = {"query": ["What? It is 4."] * 2, "prompts": ["What? "] * 2, "labels": ["4", "4"]}
        url = f"http://127.0.0.1:{made.server_address[1]}/get_reward"
        request = urllib.request.Request(url, json.dumps(body).encode())
        with urllib.request.urlopen(request) as reply:
            rewards = json.load(reply)["rewards"]
        made.shutdown()
        thread.join()
    assert rewards == pytest.approx([EXPECTED[kind]] * 2)
    log = json.loads((here / f"serve-{kind}" / "training-log.jsonl").read_text())
    assert log["rmaudit/proxy"] == pytest.approx(EXPECTED[kind])
    parts = {name.rpartition("/")[2] for name in log if "/component/" in name}
    assert parts >= COMPONENTS.get(kind, set())


@pytest.mark.parametrize("kind", EXPECTED)
def test_the_monitor_sees_what_a_trainer_is_given(here, kind):
    trl = pytest.importorskip("rmaudit.integrations.trl")
    watch = trl.RunWatch()
    (function,), weights = trl.reward_functions(loaded(kind), watch=watch)
    state, control = SimpleNamespace(global_step=1, log_history=[]), SimpleNamespace()
    given = {"solution": ["4", "4"], "answer": ["4", "4"], "trainer_state": state}
    values = function(prompts=["What?"] * 2, completions=["It is 4."] * 2, **given)
    assert values == pytest.approx([EXPECTED[kind]] * 2)
    watch.on_step_end(None, state, control)
    logs = {"loss": 0.0}
    watch.on_log(None, state, control, logs)
    assert logs["rmaudit/proxy"] == pytest.approx(EXPECTED[kind])
    assert weights == [1.0]
    parts = {name.rpartition("/")[2] for name in logs if "/component/" in name}
    assert parts >= COMPONENTS.get(kind, set())


def test_a_trainer_that_lacks_a_column_is_told_its_name(here):
    trl = pytest.importorskip("rmaudit.integrations.trl")
    (function,), _ = trl.reward_functions(loaded("correct"), watch=trl.RunWatch())
    with pytest.raises(Exception, match=r"no column 'solution', which the reward .*correct reads"):
        function(prompts=["What?"], completions=["It is 4."])


def test_a_judge_of_pairs_has_no_reward_for_a_trainer(here):
    code, output = command("serve", *model_of("pair"), "--port", "0")
    assert code == 2
    said = " ".join(output.split())
    assert "compares two responses and gives none a reward" in said
    trl = pytest.importorskip("rmaudit.integrations.trl")
    with pytest.raises(UsageError, match="compares two responses and gives none a reward"):
        trl.reward_functions(loaded("pair"), watch=trl.RunWatch())


def test_the_pytest_plugin_audits_every_kind(here):
    """One process with a session of pytest for each kind."""
    for kind in KINDS:
        audit, metric = OWN[kind]
        part = metric if audit != "mix" else "preference.accuracy"
        (here / f"test_{kind}.py").write_text(
            f"def test_it(rm_audit):\n    assert rm_audit[{part!r}] <= 9\n"
        )
    script = "import sys, json, pytest\n" + "\n".join(
        f"print({kind!r}, int(pytest.main(['-q', '-p', 'no:cacheprovider', 'test_{kind}.py', "
        f"'--rmaudit-eval', 'rows.jsonl', '--rmaudit-only', {OWN[kind][0] + ',preference'!r}, "
        f"{', '.join(map(repr, ['--rmaudit-model', *model_of(kind)[1:]]))}"
        "])), flush=True)".replace("'--trust-code'", "'--rmaudit-trust-code'")
        for kind in KINDS
    )
    root = str(Path(__file__).parents[1])
    known = any(e.value == "rmaudit.pytest_plugin" for e in entry_points(group="pytest11"))
    loads = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": root, "RMAUDIT_STORE": "plugin.sqlite",
             **({} if known else {"PYTEST_PLUGINS": "rmaudit.pytest_plugin"})},
    )  # fmt: skip
    ended = dict(
        line.split()
        for line in loads.stdout.splitlines()
        if line.split()[:1] and line.split()[0] in KINDS
    )
    assert ended == dict.fromkeys(KINDS, "0"), loads.stdout + loads.stderr
