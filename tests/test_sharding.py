"""Shares of an audit's scoring, merged, are the whole: every text once, the same report."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rmaudit.cli import app
from rmaudit.errors import StoreError, UsageError
from rmaudit.scoring import Request, ScoreStore
from rmaudit.scoring.keys import text_keys
from rmaudit.scoring.rows import ROW
from rmaudit.scoring.texts import Texts
from rmaudit.sharding import Shard, merge_stores

AUDIT = ("audit", "--model", "python:sharded:reward", "--eval", "eval.jsonl")
AUDITS = ("--only", "preflight,preference,length,robustness")


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, list(arguments))
    return done.exit_code, done.output


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "sharded.py").write_text(
        "def reward(pairs):\n    return [float(len(o) - len(p) % 3) for p, o in pairs]\n"
    )
    rows = [
        {"prompt": f"q {i % 20}", "chosen": f"yes, it is {i}", "rejected": "no " * (1 + i % 9)}
        for i in range(40)
    ]
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def metrics(folder: Path) -> tuple[int, str]:
    report = json.loads((folder / "report.json").read_text())
    numbers = {name: audit["metrics"] for name, audit in report["audits"].items()}
    return report["cost"]["texts_scored"], json.dumps(numbers)


def test_shares_merged_are_the_whole(folder: Path) -> None:
    code, shown = run(*AUDIT, *AUDITS, "--store", "whole.sqlite", "--out", "whole")
    assert code == 0, shown
    scored, numbers = metrics(folder / "whole")
    shares = []
    for i in (1, 2, 3):
        code, shown = run(*AUDIT, *AUDITS, "--store", f"share{i}.sqlite", "--shard", f"{i}/3")
        assert code == 0, shown
        shares.append(int(shown.split(": ")[-1].split(" of")[0].replace(",", "")))
    assert sum(shares) == scored
    assert min(shares) > 0
    parts = [f"share{i}.sqlite" for i in (1, 2, 3)]
    code, shown = run("merge", *parts, "--store", "merged.sqlite")
    assert code == 0, shown
    assert f"{scored:,} rewards merged" in shown
    code, shown = run(*AUDIT, *AUDITS, "--store", "merged.sqlite", "--out", "merged")
    assert code == 0, shown
    assert metrics(folder / "merged") == (0, numbers)


@pytest.mark.skipif(sys.platform == "win32", reason="a script of bash")
def test_the_slurm_array_of_the_docs(folder: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
    blocks = re.findall(r"```sh\n(.*?)```", page.split("## A batch cluster")[1], re.DOTALL)
    for old, new in (("org/reward", "python:sharded:reward"), ("prefs.parquet", "eval.jsonl"),
                     (" --dtype bfloat16", "")):  # fmt: skip
        blocks = [block.replace(old, new) for block in blocks]

    def commands(script: str, **variables: str) -> list[list[str]]:
        """What the shell makes of a script's calls of rmaudit."""
        said = subprocess.run(
            ["bash", "-c", 'rmaudit() { printf "%s\\0" "$@" "$PWD/end"; }\n' + script],
            env={"PATH": os.environ["PATH"], **variables},
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        calls = said.split(f"{folder.resolve()}/end\0")[:-1]
        return [call.split("\0")[:-1] for call in calls]

    for task in ("1", "2"):
        variables = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2"}
        (task_call,) = commands(blocks[0], **variables)
        assert task_call[-1] == f"{task}/2"
        code, shown = run(*task_call, *AUDITS)
        assert code == 0, shown
    for call in commands(blocks[1]):
        code, shown = run(*call, *(AUDITS if call[0] == "audit" else ()))
        assert code == 0, shown
    assert metrics(folder / "reports" / "mine")[0] == 0  # every reward was there


def test_every_text_is_in_one_share_with_all_others_of_its_prompt() -> None:
    prompts = [[{"role": "user", "content": f"p{i % 30}"}] if i % 2 else f"p{i}" for i in range(90)]
    request = Request("chosen", [str(i) for i in range(90)], prompts, [f"o{i}" for i in range(90)])
    texts = Texts([request])
    shares = np.stack([texts.of_shard(i, 4) for i in (1, 2, 3, 4)])
    assert (shares.sum(axis=0) == 1).all()
    assert (shares.sum(axis=1) > 5).all()
    codes, of = texts.prompts(np.arange(len(texts))), shares.argmax(axis=0)
    assert all(len(set(of[codes == code])) == 1 for code in set(codes))


def rows(*rewards: float) -> np.ndarray:
    made = np.zeros(len(rewards), dtype=ROW)
    made["reward"] = rewards
    return made


def test_models_are_told_apart_by_their_fingerprint(tmp_path: Path) -> None:
    keys = text_keys([Request("chosen", ["a", "b"], ["p", "q"], ["x", "y"])])
    for name, models in (("one", "ab"), ("two", "ba")):  # numbered in another order
        with ScoreStore(tmp_path / name) as store:
            for model in models:
                place = int(name == "two")
                value = 10 * place + (model == "b")
                store.add(model, keys[place : place + 1], rows(value))
    assert merge_stores([tmp_path / "one", tmp_path / "two"], tmp_path / "all") == 4
    with ScoreStore(tmp_path / "all") as store:
        for model, expected in (("a", [0, 10]), ("b", [1, 11])):
            found, there = store.look_up(model, keys)
            assert there.all()
            assert found["reward"].tolist() == expected


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_what_is_no_store_is_refused_and_the_store_stays(tmp_path: Path, content: bytes) -> None:
    keys = text_keys([Request("chosen", ["a"], ["p"], ["x"])])
    (tmp_path / "part").write_bytes(content)
    with ScoreStore(tmp_path / "store") as store:
        store.add("m", keys, rows(3))
        with pytest.raises(StoreError, match="part"):
            store.merge(tmp_path / "part")
        with pytest.raises(StoreError, match="no score store"):
            store.merge(tmp_path / "absent")
        assert store.look_up("m", keys)[1].all()
    assert not list(tmp_path.glob("*.damaged*"))


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2"])
def test_a_share_must_be_one_of_so_many(text: str) -> None:
    with pytest.raises(UsageError, match="I/N"):
        Shard.parse(text)
    assert Shard.parse("3/3") == Shard(3, 3)
