"""What a function says of its rewards is held: probabilities, scales, one weight per function."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.errors import RmauditError
from rmaudit.rewards import load_reward_model

ROWS = [
    {"prompt": f"What is {i}?", "chosen": f"A {i} is so", "rejected": f"B {i}"} for i in range(8)
]


def scored(function):
    return rma.score(function, ROWS, cache=False)["reward"].to_numpy()


def judge(value):
    def reward(prompts, completions):
        return [value(text) for text in completions]

    reward.scale = (1, 10)
    return reward


def test_a_probability_outside_0_and_1_is_refused():
    def pairwise(prompts, responses_a, responses_b):
        return [1.7] * len(responses_a)

    with pytest.raises(RmauditError, match=r"returned 1\.7, which is outside a probability"):
        scored(pairwise)


def test_a_score_outside_the_scale_costs_that_text_alone():
    rewards = scored(judge(lambda text: 11.0 if "A 3" in text else 10.0))
    assert np.isnan(rewards).sum() == 1
    assert set(rewards[np.isfinite(rewards)]) == {10.0}
    with pytest.raises(RmauditError, match=r"returned 0, which is outside its scale, 1 to 10"):
        scored(judge(lambda text: 0.0))


def test_a_rubric_needs_one_weight_per_function_and_loses_none_of_a_name():
    def long(completion):
        return len(completion)

    functions = [long, lambda completion: 1.0, lambda completion: 2.0]
    whole = SimpleNamespace(funcs=functions, weights=[0.0, 1.0, 10.0])
    frame = rma.score(whole, ROWS, cache=False)
    assert set(frame["reward"]) == {21.0}
    for weights in ([1.0], None):
        with pytest.raises(RmauditError, match=r"3 and its weights [01]: give one weight"):
            scored(SimpleNamespace(funcs=functions, weights=weights))


def test_a_function_of_one_parameter_that_wants_texts_is_told_what_it_got():
    def tagged(completions):
        return [float(text.startswith("<")) for text in completions]

    with pytest.raises(RmauditError, match=r"list of \(prompt, response\) tuples; f\(completions"):
        scored(tagged)


def test_a_fault_that_no_form_explains_has_no_hint():
    def broken(prompts, completions, **columns):
        raise KeyError("solution")

    with pytest.raises(RmauditError) as error:
        scored(broken)
    assert "messages" not in str(error.value)


@pytest.mark.parametrize("weight", ['"1"', "true", "nan"])
def test_a_weight_that_is_no_number_is_refused(tmp_path, weight):
    (tmp_path / "own_reward.py").write_text("def reward(pairs):\n    return [1.0] * len(pairs)\n")
    (tmp_path / "mix.toml").write_text(
        'schema_version = 1\n[[reward]]\nname = "a"\nmodel = "python:own_reward:reward"\n'
        f"weight = {weight}\n"
    )
    with pytest.raises(RmauditError, match=r"reward\.0\.weight: Input should be a"):
        load_reward_model(f"mix:{tmp_path / 'mix.toml'}", trust_code=True)
