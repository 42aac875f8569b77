"""Every signature in which trainers call a reward function gives what a direct call gives."""

from __future__ import annotations

import asyncio
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import rmaudit as rma
from rmaudit.data import load
from rmaudit.errors import DataError, RmauditError, UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import does_not_apply
from rmaudit.rewards.functions.function import given_function
from rmaudit.scoring import score
from rmaudit.scoring.requests import data_requests

ROWS = [
    {
        "prompt": f"What is {a} plus {b}?",
        "chosen": f"It is {a + b}.",
        "rejected": f"Perhaps {a + b + 1}, perhaps not.",
        "solution": str(a + b),
        "weight": a / 7,
        "extra_info": {"index": a},
    }
    for a, b in [(1, 2), (3, 4), (10, 5), (8, 8)]
]

# Six rewards of a response, a reference and a number; each is put into all signatures.
RULES = {
    "exact": lambda text, answer, weight: float(answer in text.split()),
    "length": lambda text, answer, weight: len(text) / 3,
    "weighted": lambda text, answer, weight: weight * len(answer) + 0.1,
    "irrational": lambda text, answer, weight: math.sqrt(len(text) * (1 + weight)),
    "negative": lambda text, answer, weight: -math.log1p(len(text)),
    "boolean": lambda text, answer, weight: text.endswith("."),
}


def as_pairs(rule):
    return lambda pairs: [rule(text, "", 0.5) for _, text in pairs]


def as_single(rule):
    def reward(prompt, response):
        return rule(response, "", 0.5)

    return reward


def as_trl(rule):
    def reward(prompts, completions, solution, weight, **columns):
        return [rule(*each) for each in zip(completions, solution, weight, strict=True)]

    return reward


def as_trl_async(rule):
    async def reward(completions, solution, **columns):
        await asyncio.sleep(0)
        weights = columns["weight"]
        return [rule(*each) for each in zip(completions, solution, weights, strict=True)]

    return reward


def as_verl(rule):
    def compute_score(data_source, solution_str, ground_truth, extra_info=None):
        assert extra_info is not None
        return {"score": rule(solution_str, ground_truth, extra_info["index"] / 7), "pred": "x"}

    return compute_score


def as_openrlhf(rule):
    def reward_func(queries, prompts, labels, **kwargs):
        responses = [q.removeprefix(p) for q, p in zip(queries, prompts, strict=True)]
        rewards = [rule(*each, 0.5) for each in zip(responses, labels, strict=True)]
        return {"rewards": np.array(rewards), "scores": [0.0] * len(rewards), "extra_logs": {}}

    return reward_func


def as_items(rule):
    return lambda items: [
        {"total": rule(i.response, i.row["solution"], i.row["weight"]), "one": 1} for i in items
    ]


def as_rubric(rule):
    def score(completion, answer):
        return rule(completion, answer, 0.5)

    async def style(completion):
        return 2.0

    return SimpleNamespace(funcs=[score, style], weights=[1.0, 0.0])


WAYS = {
    "pairs": (as_pairs, lambda row: ("", 0.5)),
    "single": (as_single, lambda row: ("", 0.5)),
    "trl": (as_trl, lambda row: (row["solution"], row["weight"])),
    "trl-async": (as_trl_async, lambda row: (row["solution"], row["weight"])),
    "verl": (as_verl, lambda row: (row["solution"], row["extra_info"]["index"] / 7)),
    "openrlhf": (as_openrlhf, lambda row: (row["solution"], 0.5)),
    "items": (as_items, lambda row: (row["solution"], row["weight"])),
    "rubric": (as_rubric, lambda row: (row["solution"], 0.5)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
def test_rewards_are_bit_equal_to_a_direct_call(way, rule):
    wrap, given = WAYS[way]
    model = load_reward_model(wrap(RULES[rule]))
    assert model.facts.signature == way.removesuffix("-async")
    rewards = rma.score(model, ROWS, cache=False).set_index(["side", "id"]).reward
    for side in ("chosen", "rejected"):
        by_hand = [float(RULES[rule](row[side], *given(row))) for row in ROWS]
        assert rewards[side].tolist() == by_hand


def test_the_reference_answer_is_found_or_named():
    model = as_verl(RULES["exact"])
    renamed = pd.DataFrame(ROWS).rename(columns={"solution": "key"})
    with pytest.raises(DataError, match=r"no column 'ground_truth', which the reward .* reads"):
        rma.score(model, renamed, cache=False)
    named = given_function(model, "key")
    assert rma.score(named, renamed, cache=False).reward.mean() == 0
    nested = [{**row, "reward_model": {"ground_truth": row["solution"]}} for row in ROWS]
    assert rma.score(model, nested, cache=False).reward.mean() == 0


def test_a_missing_column_is_one_line_that_names_it():
    rows = [{k: v for k, v in row.items() if k != "solution"} for row in ROWS]
    for way in ("trl", "trl-async", "items"):
        with pytest.raises(RmauditError, match="no column 'solution'") as raised:
            rma.score(WAYS[way][0](RULES["exact"]), rows, cache=False)
        assert "\n" not in str(raised.value)


def test_none_does_not_apply_and_is_neither_nan_nor_zero():
    def some(completions, **columns):
        return [None, math.nan, 0.0, 1.0]

    rewards = rma.score(some, ROWS[:2], cache=False).reward.to_numpy()
    assert does_not_apply(rewards).sum() == 1
    assert np.isnan(rewards).sum() == 2


def test_parts_come_with_their_total():
    def graded(items):
        return [{"total": 1.5, "correct": True, "format": 0.5, "note": "no number"} for _ in items]

    model = load_reward_model(graded)
    rewarded = model.score_batch(model.encode([rma_text()]))
    assert rewarded.total.tolist() == [1.5]
    assert {name: part.tolist() for name, part in rewarded.components.items()} == {
        "correct": [1.0],
        "format": [0.5],
    }


def rma_text():
    from rmaudit.rewards import Text

    return Text("q", "a")


def test_a_judge_of_pairs_sees_both_responses():
    def judge(prompts, responses_a, responses_b):
        return [float(len(a) > len(b)) for a, b in zip(responses_a, responses_b, strict=True)]

    model = load_reward_model(judge)
    assert model.signal == "preference"
    rewards = rma.score(model, ROWS, cache=False).set_index("side").reward
    assert rewards["chosen"].tolist() == [0.0] * 4
    assert rewards["rejected"].tolist() == [1.0] * 4


def test_messages_reach_a_trainers_function_as_messages():
    seen = []

    def reward(prompts, completions):
        seen.extend(zip(prompts, completions, strict=True))
        return [0.0] * len(prompts)

    prompt = [{"role": "user", "content": "hi"}]
    rma.score(reward, [{"prompt": prompt, "chosen": "a", "rejected": "b"}], cache=False)
    assert (prompt, [{"role": "assistant", "content": "a"}]) in seen


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda prompts, completions, responses_a, responses_b: 0, r"fits .* and .*: rename"),
        (lambda left, right: 0, "left, right: no reward function is called so; known: .*pairs"),
        (3, "is no reward model"),
    ],
)
def test_what_fits_none_or_several_is_refused(function, match):
    with pytest.raises(UsageError, match=match):
        load_reward_model(function)


def test_only_what_is_read_is_read():
    def by_key(completions, **kwargs):
        return [float(a in c) for a, c in zip(kwargs["solution"], completions, strict=True)]

    def handed_on(completions, **kwargs):
        return by_key(completions, **kwargs)

    def declared(items):
        return [0.0] * len(items)

    declared.reads = ("solution",)
    available = ("id", "prompt", "chosen", "solution", "weight")
    for function, columns in (
        (by_key, ("solution",)),
        (handed_on, ("solution", "weight")),
        (declared, ("solution",)),
    ):
        assert load_reward_model(function).columns(available) == columns


def test_a_function_says_its_kind():
    def verdict(completions, **columns):
        return [1.0] * len(completions)

    verdict.kind = "verdict"
    assert load_reward_model(verdict).signal == "verdict"
    verdict.kind = "perfect"
    with pytest.raises(UsageError, match="say logit, score, verdict or preference"):
        load_reward_model(verdict)


SUMS = [
    {
        "prompt": f"{a} plus 2?",
        "chosen": f"It is {a + 2}.",
        "rejected": "No.",
        "solution": str(a + 2),
    }
    for a in range(30, 36)
]


def by_name(**columns):
    """As TRL calls it: everything by name."""
    pairs = zip(columns["completions"], columns["solution"], strict=True)
    return [float(s in c) for c, s in pairs]


def wrapped(*args, **kwargs):
    """A decorator that keeps no parameters."""
    return by_name(*args, **kwargs)


def logs(completions, solution, log_extra=None, log_metric=None, **columns):
    log_extra("n", [1] * len(completions))
    log_metric("mean", 1.0)
    return by_name(completions=completions, solution=solution)


def must(completions, **columns):
    return [float(t in c) for c, t in zip(completions, columns["unit_tests"], strict=True)]


def may(completions, **columns):
    tests = columns.get("unit_tests") or [""] * len(completions)
    return [float(t in c) for c, t in zip(completions, tests, strict=True)]


def stateful(prompts, completions, trainer_state, **columns):
    return [float(trainer_state.global_step)] * len(completions)


@pytest.mark.parametrize("function", [by_name, wrapped, logs])
def test_functions_that_take_everything_by_name_are_called_as_trl_calls_them(function):
    data = load(SUMS)
    scores = score(given_function(function), data_requests(data, "eval"), datasets={"eval": data})
    assert scores.reward("chosen").tolist() == [1.0] * len(SUMS)
    assert scores.reward("rejected").tolist() == [0.0] * len(SUMS)


def test_a_keyword_that_must_be_there_is_a_column_that_must_be_there():
    data = load(SUMS)
    with pytest.raises(DataError, match="no column 'unit_tests'"):
        score(given_function(must), data_requests(data, "eval"), datasets={"eval": data})
    scores = score(given_function(may), data_requests(data, "eval"), datasets={"eval": data})
    assert scores.reward("chosen").tolist() == [1.0] * len(SUMS)


def test_what_only_a_running_trainer_has_is_refused_by_name():
    with pytest.raises(UsageError, match="stateful needs trainer_state, which only a running"):
        given_function(stateful)


def test_a_trainers_function_that_wants_the_other_form_is_told_which_it_got():
    def of_messages(completions, **columns):
        return [float(len(completion[0]["content"])) for completion in completions]

    def of_texts(completions, **columns):
        return [float(len(completion.strip())) for completion in completions]

    pairs = [{"prompt": "q", "chosen": "a", "rejected": "bb"}]
    talks = [{**pairs[0], "prompt": [{"role": "user", "content": "q"}]}]
    assert rma.score(of_messages, talks, cache=False).reward.tolist() == [1, 2]
    assert rma.score(of_texts, pairs, cache=False).reward.tolist() == [1, 2]
    with pytest.raises(RmauditError, match=r"TypeError.* needs prompts that are lists of messages"):
        rma.score(of_messages, pairs, cache=False)
    with pytest.raises(RmauditError, match=r"AttributeError.* needs prompts that are texts"):
        rma.score(of_texts, talks, cache=False)
