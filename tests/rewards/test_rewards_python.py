"""A Python function as a reward model: what it is given, and what it must return."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.functions.function import PythonReward

TEXTS = [Text("a", "bcd"), Text([{"role": "user", "content": "hi"}], "x")]


def rewards_of(function, texts=TEXTS):
    rewarder = PythonReward(function, "mine:score")
    return rewarder.forward(rewarder.encode(texts))


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes `rewards_for_test.py` into the working folder; a new name each time."""
    monkeypatch.chdir(tmp_path)
    names = (f"rewards_for_test_{tmp_path.name.replace('-', '_')}_{i}" for i in range(9))

    def write(source: str) -> str:
        name = next(names)
        Path(f"{name}.py").write_text(source)
        return name

    return write


def test_it_gets_prompts_and_outputs_and_its_numbers_come_back():
    seen = []

    def score(texts):
        seen.extend(texts)
        return [float(len(output)) for _, output in texts]

    rewards = rewards_of(score)
    assert seen == [("a", "bcd"), ([{"role": "user", "content": "hi"}], "x")]
    assert rewards.dtype == np.float64
    assert rewards.tolist() == [3.0, 1.0]


def test_it_gets_at_most_64_texts_a_call():
    sizes = []

    def score(texts):
        sizes.append(len(texts))
        return np.arange(len(texts))

    rewards = rewards_of(score, [Text("p", str(i)) for i in range(150)])
    assert sizes == [64, 64, 22]
    assert rewards.tolist() == [*range(64), *range(64), *range(22)]


def test_lengths_are_characters():
    encoded = PythonReward(len, "len").encode(TEXTS)
    assert [(e.tokens, e.output_tokens) for e in encoded] == [(4, 3), (len("User: hi") + 1, 1)]


def test_non_finite_numbers_are_handed_on():
    rewards = rewards_of(lambda texts: [math.nan, -math.inf])
    assert math.isnan(rewards[0])
    assert rewards[1] == -math.inf


@pytest.mark.parametrize(
    ("returned", "match"),
    [
        ([1.0], "1 rewards for 2 texts"),
        ([1.0, 2.0, 3.0], "3 rewards for 2 texts"),
        ([1.0, None], r"None \(NoneType\) as reward 2 of 2"),
        (["0.5", 1.0], r"'0\.5' \(str\) as reward 1 of 2"),
        (np.zeros((2, 1)), r"\[0\.0\] \(list\) as reward 1"),
        (1.0, r"returned 1\.0 \(float\)"),
        (None, "must return a list of 2 numbers"),
        ("ab", r"'ab' \(str\)"),
    ],
)
def test_what_is_not_a_number_a_text_is_an_error_that_names_it(returned, match):
    with pytest.raises(RewardModelError, match=match) as raised:
        rewards_of(lambda texts: returned)
    assert str(raised.value).startswith("mine:score returned")


def test_a_function_that_once_returned_too_few_is_not_trusted_again():
    rewarder = PythonReward(lambda texts: [0.0], "mine:score")
    encoded = rewarder.encode(TEXTS)
    with pytest.raises(RewardModelError, match="1 rewards for 2 texts"):
        rewarder.forward(encoded)
    with pytest.raises(RewardModelError, match="1 rewards for 2 texts"):
        rewarder.forward(encoded[:1])


def test_its_exception_is_named():
    def score(texts):
        raise KeyError("lexicon")

    with pytest.raises(RewardModelError, match=r"mine:score raised KeyError: 'lexicon'"):
        rewards_of(score)


def test_it_is_found_in_the_working_folder(module):
    name = module("def score(texts):\n    return [len(o) for _, o in texts]\n")
    rewarder = load_reward_model(f"python:{name}:score")
    assert rewarder.kind == "python"
    assert rewarder.forward(rewarder.encode(TEXTS)).tolist() == [3.0, 1.0]


def test_the_fingerprint_is_source_name_and_attribute(module):
    source = "def one(texts): ...\ndef two(texts): ...\n"
    name = module(source)
    one = load_reward_model(f"python:{name}:one").fingerprint
    assert load_reward_model(f"python:{name}:one").fingerprint == one
    assert load_reward_model(f"python:{name}:two").fingerprint != one

    def score(texts): ...

    plain = PythonReward(score, "m:f", b"source").fingerprint
    assert PythonReward(score, "m:f", b"source!").fingerprint != plain
    score.fingerprint = "weights-2"
    assert PythonReward(score, "m:f", b"source").fingerprint != plain


def test_what_cannot_be_found_is_named(module):
    name = module("score = 3\n")
    broken = module("1 / 0\n")
    for spec, match in (
        ("python:no_such_module_here:score", "importing no_such_module_here failed"),
        (f"python:{broken}:score", "ZeroDivisionError"),
        (f"python:{name}:other", f"{name} has no 'other'"),
        (f"python:{name}:score", "cannot be called"),
    ):
        with pytest.raises(RewardModelError, match=match):
            load_reward_model(spec)
    with pytest.raises(UsageError, match="say python:module:callable"):
        load_reward_model("python:my_module.score")


def test_a_function_given_directly_is_a_new_model_each_time_unless_it_says_what_it_is():
    def length(pairs):
        return [float(len(output)) for _, output in pairs]

    first, second = load_reward_model(length), load_reward_model(length)
    assert first.forward(first.encode([Text("q", "four")])).tolist() == [4.0]
    assert first.fingerprint != second.fingerprint
    length.fingerprint = "v1"
    assert load_reward_model(length).fingerprint == load_reward_model(length).fingerprint


def test_what_is_no_model_at_all_is_said():
    with pytest.raises(UsageError, match="no reward model"):
        load_reward_model(3)
