"""What goes wrong with machines: killed at random moments of every stage, and run again.

    python benchmarks/faults.py [--chains 10] [--kills 4] [--seed 0] [--stage audit]

Each stage (audit, merge, overopt, train reward, train policy by PPO and best of n) runs once
undisturbed. Then each chain kills it (SIGKILL) at random moments of that run's time, again and
again, and lets it end: the results must be the same to the byte, but for times. Writes a JSON line
and a Markdown table. Exit 1 if a result differs.

`Runner` is the tests' too: it forks a process with everything imported, so that a run costs what
it does and not what Python does to start.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Self

MODEL = """
import time

def reward(pairs):
    time.sleep(0.002 * len(pairs))
    return [float(len(output)) for _, output in pairs]

def cramped(pairs):
    if len(pairs) > 3:
        raise MemoryError
    return [float(len(output)) for _, output in pairs]

def picky(pairs):
    from pathlib import Path
    if any("yes 17" in output for _, output in pairs) and not Path("mended").exists():
        raise ValueError("cannot read this one")
    return [float(len(output)) for _, output in pairs]
"""


WARM = (
    *(
        "rmaudit.api",
        "rmaudit.overoptimization.sample_curves",
        "rmaudit.training.reward.train",
        "rmaudit.sharding",
    ),
    *("rmaudit.training.policy.train", "transformers.models.llama"),
    *("matplotlib.backends.backend_pdf", "matplotlib.backends.backend_svg", "sklearn"),
)


class Runner:
    """Runs commands of rmaudit in forks of a warm process."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )

    def run(
        self,
        folder: Path,
        *commands: list[str],
        kill_after: float | None = None,
        fault: str | None = None,
    ) -> tuple[list[int], str]:
        """Run the commands at once; their exit statuses (-9: killed), and what they said."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        wish = {"folder": str(folder), "commands": commands, "after": kill_after, "fault": fault}
        self._server.stdin.write(json.dumps(wish) + "\n")
        self._server.stdin.flush()
        statuses = json.loads(self._server.stdout.readline())
        return statuses, (folder / "said.txt").read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.stdout.close()
        self._server.wait()


def serve() -> None:
    """The warm process: one wish a line, one list of exit statuses a line."""
    import torch

    for name in WARM:
        import_module(name)
    from rmaudit.audits.base import audits
    from rmaudit.cli import app
    from rmaudit.plots import to_pdf, to_svg
    from rmaudit.results import Figure

    torch.set_num_threads(1)
    audits()  # imports them
    bars = {"labels": ["a"], "series": [{"name": "b", "values": [1.0]}]}
    for draw in (to_svg, to_pdf):  # fonts are looked for once
        draw(Figure("warm", "bars", "", "", bars))
    for line in sys.stdin:
        wish = json.loads(line)
        begun = time.monotonic()
        children = [_fork(app, wish, command) for command in wish["commands"]]
        if wish["after"] is not None:
            time.sleep(max(0.0, begun + wish["after"] - time.monotonic()))
            for child in children:
                os.kill(child, signal.SIGKILL)
        statuses = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        sys.stdout.write(json.dumps(statuses) + "\n")
        sys.stdout.flush()


def _fork(app: Callable[[list[str]], object], wish: dict[str, Any], command: list[str]) -> int:
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.chdir(wish["folder"])
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.path.insert(0, wish["folder"])
        FAULTS[wish["fault"]]()
        app(command)
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _clock_going_back() -> None:
    start = time.time()
    told = iter(range(10**9))
    time.time = lambda: start - 60.0 * next(told)
    at = time.time_ns()
    time.time_ns = lambda: at - 60 * 10**9 * next(told)


def _small_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


FAULTS: dict[str | None, Callable[[], None]] = {
    None: lambda: None,
    "clock": _clock_going_back,
    "full": _small_files,
}
AUDIT = ["audit", "--model", "python:faulty:reward", "--eval", "eval.jsonl", "--out", "report"]
AUDIT += ["--only", "preference", "--store", "s.sqlite", "--resamples", "200", "--quiet"]


def prepare(folder: Path, pairs: int = 60) -> Path:
    """The inputs of all stages."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "faulty.py").write_text(MODEL)
    rows = [
        {"prompt": f"what of {i % 30}?", "chosen": f"yes {i} " * (1 + i % 4), "rejected": f"no {i}"}
        for i in range(pairs)
    ]
    _lines(folder / "eval.jsonl", rows)
    chance = random.Random(0)
    samples = []
    for i in range(20):
        gold = [chance.gauss(0, 1) for _ in range(6)]
        proxy = [g + chance.gauss(0, 0.5) for g in gold]
        samples.append({"prompt": f"p{i}", "rewards": proxy, "gold_rewards": gold})
    _lines(folder / "samples.jsonl", samples)
    return folder


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def report(folder: Path) -> str:
    """report.json but for times and for what the store spared, and every table."""
    document = json.loads((folder / "report" / "report.json").read_text())
    del document["created"], document["cost"]
    tables = sorted((folder / "report" / "tables").glob("*.csv"))
    assert not list((folder / "report").rglob("*.unfinished"))
    return json.dumps([document, *(table.read_text() for table in tables)])


def _rewards(folder: Path) -> str:
    with sqlite3.connect(folder / "merged.sqlite") as raw:
        assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = raw.execute(
            "SELECT fingerprint, hex(key), hex(value) FROM scores JOIN models ON id = model "
            "ORDER BY fingerprint, key"
        ).fetchall()
    raw.close()
    return json.dumps(rows)


def _files(*patterns: str) -> Callable[[Path], str]:
    def digest(folder: Path) -> str:
        found = sorted(path for pattern in patterns for path in folder.glob(pattern))
        assert found, f"nothing like {patterns} in {folder}"
        return json.dumps(
            [
                [str(p.relative_to(folder)), hashlib.sha256(p.read_bytes()).hexdigest()]
                for p in found
            ]
        )

    return digest


@dataclass(frozen=True)
class Stage:
    """A command that may be killed, and what of it must come out the same."""

    command: list[str]
    result: Callable[[Path], str]
    before: Callable[[Runner, Path], None] = lambda runner, folder: None


def _shards(runner: Runner, folder: Path) -> None:
    for i in (1, 2):
        command = [*AUDIT, "--shard", f"{i}/2"]
        command[command.index("s.sqlite")] = f"{i}.sqlite"
        assert runner.run(folder, command)[0] == [0]


WORDS = ["what of yes no", *map(str, range(60))]


def _base(runner: Runner, folder: Path) -> None:
    from rmaudit.training.tiny import tiny_base

    tiny_base(folder / "base", WORDS, layers=1, width=32)


def _policy(runner: Runner, folder: Path) -> None:
    from rmaudit.training.tiny import tiny_causal

    tiny_causal(folder / "policy", WORDS)


def stages() -> dict[str, Stage]:
    """Every stage by name."""
    policy = ["train", "policy", "--model", "policy", "--data", "eval.jsonl", "--out", "tuned"]
    policy += ["--reward", "python:faulty:reward", "--max-new-tokens", "6", "--quiet"]
    policy += ["--max-prompt-tokens", "40", "--device", "cpu", "--method"]
    train = ["train", "reward", "--base", "base", "--data", "eval.jsonl", "--out", "model"]
    train += ["--batch-pairs", "8", "--max-length", "64", "--quiet"]
    return {
        "audit": Stage(AUDIT, report),
        "merge": Stage(["merge", "1.sqlite", "2.sqlite", "--store", "merged.sqlite"], _rewards,
                       _shards),
        "overopt": Stage(
            ["overopt", "--samples", "samples.jsonl", "--out", "o", "--resamples", "200",
             "--venue", "neurips", "--quiet"], _files("o/*.csv", "o/*.json")),
        "train reward": Stage(train, _files("model/*.safetensors"), _base),
        "ppo": Stage([*policy, "ppo", "--steps", "120", "--batch", "16"],
                     _files("tuned/*.safetensors"), _policy),
        "best of n": Stage([*policy, "bon", "-n", "8"], _files("tuned/samples.jsonl"), _policy),
    }  # fmt: skip


def chain(
    runner: Runner, stage: Stage, folder: Path, kills: int, seconds: float, rng: random.Random
) -> str:
    """Kill a stage again and again, and let it end; its result."""
    prepare(folder)
    stage.before(runner, folder)
    for _ in range(kills):
        statuses, said = runner.run(folder, stage.command, kill_after=rng.uniform(0, seconds))
        assert statuses in ([-signal.SIGKILL], [0]), said
    statuses, said = runner.run(folder, stage.command)
    assert statuses == [0], said
    return stage.result(folder)


def undisturbed(runner: Runner, stage: Stage, folder: Path) -> tuple[str, float]:
    """The result of a stage that nothing happens to, and the seconds it takes."""
    prepare(folder)
    stage.before(runner, folder)
    begun = time.monotonic()
    statuses, said = runner.run(folder, stage.command)
    assert statuses == [0], said
    return stage.result(folder), time.monotonic() - begun


def main() -> int:
    """Run the chains, and write how many ended as the undisturbed run did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chains", type=int, default=10)
    parser.add_argument("--kills", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stage", choices=list(stages()))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    if arguments.serve:
        serve()
        return 0
    rng = random.Random(arguments.seed)
    rows, wrong = [], 0
    with Runner() as runner, tempfile.TemporaryDirectory() as name:
        for title, stage in stages().items():
            if arguments.stage not in (None, title):
                continue
            expected, seconds = undisturbed(runner, stage, Path(name) / "undisturbed" / title)
            same = 0
            for number in range(arguments.chains):
                folder = Path(name) / title / str(number)
                same += chain(runner, stage, folder, arguments.kills, seconds, rng) == expected
                shutil.rmtree(folder)
            wrong += arguments.chains - same
            rows.append({"stage": title, "seconds": round(seconds, 2), "chains": arguments.chains,
                         "kills": arguments.kills, "same": same})  # fmt: skip
            print(json.dumps(rows[-1]), flush=True)
    arguments.results.mkdir(parents=True, exist_ok=True)
    lines = ["| stage | runs | killed each | ended as if undisturbed |",
             "| --- | ---: | ---: | ---: |"]  # fmt: skip
    lines += [f"| {r['stage']} | {r['chains']} | {r['kills']} | {r['same']} |" for r in rows]
    (arguments.results / "faults.md").write_text("\n".join(lines) + "\n")
    (arguments.results / "faults.json").write_text(json.dumps(rows) + "\n")
    print("\n".join(lines))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
