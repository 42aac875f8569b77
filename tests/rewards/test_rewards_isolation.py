"""Functions that hang, end, print or fork cost their own texts and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from rmaudit.errors import RewardModelError
from rmaudit.rewards import Text
from rmaudit.rewards.base import failed
from rmaudit.rewards.functions.function import load_python

SOURCE = """
import os, sys, time

def hangs(pairs):
    if any(text == "bad" for _, text in pairs):
        time.sleep(60)
    return [float(len(text)) for _, text in pairs]

def always_hangs(pairs):
    time.sleep(60)

def exits(pairs):
    if any(text == "bad" for _, text in pairs):
        sys.exit(0)
    return [float(len(text)) for _, text in pairs]

def dies(pairs):
    if any(text == "bad" for _, text in pairs):
        print("out of luck", flush=True)
        os._exit(3)
    return [float(len(text)) for _, text in pairs]

def raises(pairs):
    if any(text == "bad" for _, text in pairs):
        raise ValueError("no verdict")
    return [float(len(text)) for _, text in pairs]

def prints(pairs):
    print("\x1b[31m" * 100_000)
    os.write(1, b"more")
    return [float(len(text)) for _, text in pairs]

def forks(pairs):
    os.fork()
    return [float(len(text)) for _, text in pairs]

def endless(pairs):
    def forever():
        while True:
            yield 1.0
    return forever()

def leaves(pairs):
    sys.exit(0)

def spawns(pairs):
    import subprocess
    child = subprocess.Popen(["sleep", "60"])
    open("child.txt", "w").write(str(child.pid))
    time.sleep(60)
"""
TEXTS = [Text("p", text) for text in ("a", "bad", "ccc")]


@pytest.fixture
def function(tmp_path, monkeypatch):
    """Loads a function of the module above in a process of its own."""
    name = f"isolated_{tmp_path.name.replace('-', '_')}"
    Path(tmp_path, f"{name}.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)

    def load(callable: str, limit: float = 10.0):
        return load_python(f"python:{name}:{callable}", time_limit=limit)

    return load


@pytest.mark.parametrize(
    ("callable", "limit", "reason"),
    [
        ("hangs", 1.0, "took over 1 seconds"),
        ("exits", 10, r"ended its process \(exit code 0\)"),
        ("dies", 10, r"ended its process \(exit code 3\), last words: out of luck"),
        ("raises", 10, "raised ValueError: no verdict"),
    ],
)
def test_a_text_that_fails_is_named_and_the_others_are_rewarded(function, callable, limit, reason):
    model = function(callable, limit)
    rewarded = model.score_batch(model.encode(TEXTS))
    assert rewarded.total[[0, 2]].tolist() == [1.0, 3.0]
    assert failed(rewarded.total).tolist() == [False, True, False]
    assert list(rewarded.failures) == [1]
    with pytest.raises(RewardModelError, match=reason):
        model.forward(model.encode(TEXTS))


@pytest.mark.parametrize("callable", ["prints", "forks"])
def test_prints_and_forks_change_nothing(function, callable, capfd):
    model = function(callable)
    for _ in range(2):
        assert model.forward(model.encode(TEXTS)).tolist() == [1.0, 3.0, 3.0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("callable", "limit", "match"),
    [
        ("always_hangs", 0.2, "took over 0.2 seconds"),
        ("leaves", 10, "ended its process"),
        ("endless", 10, "returned more than 3 rewards for 3 texts"),
    ],
)
def test_a_function_that_never_works_is_an_error(function, callable, limit, match):
    model = function(callable, limit)
    with pytest.raises(RewardModelError, match=match):
        model.score_batch(model.encode(TEXTS))


def test_what_a_killed_function_started_ends_with_it(function, tmp_path):
    model = function("spawns", 5.0)
    with pytest.raises(RewardModelError, match="took over"):
        model.score_batch(model.encode(TEXTS[:1]))
    child = int(Path(tmp_path, "child.txt").read_text())
    for _ in range(6000):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        pytest.fail("the child goes on")


def test_a_function_handed_over_cannot_end_the_process():
    from rmaudit.rewards.functions.function import given_function

    def leaves(pairs):
        raise SystemExit(0)

    model = given_function(leaves)
    with pytest.raises(RewardModelError, match="tried to end the process"):
        model.score_batch(model.encode(TEXTS))


def test_a_function_that_always_ends_its_process_is_told_after_three_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "always_leaves.py").write_text(
        "import os\ndef reward(pairs):\n    open('calls', 'a').write('x')\n    os._exit(3)\n"
    )
    model = load_python("python:always_leaves:reward")
    texts = model.encode([Text("q", str(k)) for k in range(20)])
    with pytest.raises(RewardModelError, match=r"ended its process \(exit code 3\)"):
        model.score_batch(texts)
    assert (tmp_path / "calls").read_text() == "x" * 4  # together, then three one by one
