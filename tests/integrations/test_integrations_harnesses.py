"""Rewards inside evaluation harnesses: Inspect's scorer and a task of lm-evaluation-harness."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pytest

from rmaudit.errors import DataError, UsageError
from rmaudit.integrations.asking import Reward
from rmaudit.integrations.lm_eval import reward_of
from rmaudit.rewards.base import MissingColumnError

ANSWERS = ["four", "four!", "I do not know"]
QUESTIONS = ["2 + 2?", "What is 2 + 2?", "two and two?"]


def seen(pairs: list[tuple[Any, str]]) -> list[float]:
    """Depends on prompt and response; none for a response that says it does not know."""
    return [np.nan if "know" in o else len(str(p)) + 100.0 * len(o) for p, o in pairs]


def expected(question: str, answer: str) -> float:
    return len(question) + 100.0 * len(answer)


def correct(completions: list[str], solution: list[str], **_: Any) -> list[float]:
    return [float(s in c) for c, s in zip(completions, solution, strict=True)]


def test_one_response_at_a_time_has_the_reward_of_a_batch_and_says_why_there_is_none() -> None:
    reward = Reward(seen, "a test")
    assert reward("2 + 2?", "four", {}).reward == expected("2 + 2?", "four")
    assert "not finite" in reward("2 + 2?", "I do not know", {}).reason
    never = Reward(lambda prompts, completions, **_: [None] * len(completions), "a test")
    assert "does not apply" in never("2 + 2?", "four", {}).reason


def test_the_reference_answer_has_whatever_name_the_reward_reads_and_a_column_comes_first() -> None:
    reward = Reward(correct, "a test")
    assert reward("2 + 2?", "four", {}, reference="four").reward == 1
    assert reward("2 + 2?", "four", {"solution": "five"}, reference="four").reward == 0
    with pytest.raises(MissingColumnError, match="solution"):
        reward("2 + 2?", "four", {"other": 1})


def test_what_cannot_score_one_new_response_is_refused_before_anything_is_generated() -> None:
    with pytest.raises(UsageError, match="scores no new text"):
        Reward("recorded", "a test")

    def better(prompts: Any, responses_a: Any, responses_b: Any) -> list[float]:
        return [0.5] * len(prompts)

    with pytest.raises(UsageError, match="compares two responses"):
        Reward(better, "a test")


def test_process_results_of_a_task() -> None:
    process = reward_of(seen, prompt="question")
    document = {"question": QUESTIONS[0]}
    assert process(document, ["four"]) == {
        "reward": expected(QUESTIONS[0], "four"),
        "reward_missing": 0,
    }
    # Several generations of a document are one value; one without a reward is counted.
    both = process(document, [["four", "I do not know", "fo"]])
    assert both["reward"] == mean(expected(QUESTIONS[0], each) for each in ("four", "fo"))
    assert both["reward_missing"] == pytest.approx(1 / 3)
    assert process(document, ["I do not know"]) == {"reward_missing": 1}
    turns = reward_of(seen, prompt=lambda d: [{"role": "user", "content": d["question"]}])
    assert turns(document, ["four"])["reward"] > both["reward"]
    named = reward_of(correct, prompt="question", reference="target", metric="correct")
    assert named({**document, "target": "four"}, ["four!"])["correct"] == 1
    with pytest.raises(DataError, match="no field 'prompt'; it has question"):
        reward_of(seen)(document, ["four"])
    with pytest.raises(DataError, match="generate_until"):
        process(document, [(-1.5, True)])


TASK = """
task: rewarded
dataset_path: json
dataset_kwargs: {data_files: {test: PROMPTS}}
test_split: test
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: ""
process_results: !function rewarded.process_results
metric_list:
  - {metric: reward, aggregation: mean, higher_is_better: true}
  - {metric: reward_missing, aggregation: mean, higher_is_better: false}
"""
CODE = """
from rmaudit.integrations.lm_eval import reward_of

process_results = reward_of("python:my_reward:reward", prompt="question")
"""
REWARD = "def reward(pairs):\n    return [len(p) + 100.0 * len(o) for p, o in pairs]\n"


@pytest.mark.filterwarnings("default")
def test_a_task_of_the_harness(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = pytest.importorskip("lm_eval")
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Canned(LM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
            return [ANSWERS[QUESTIONS.index(request.args[0])] for request in requests]

        def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
            raise AssertionError

        loglikelihood_rolling = loglikelihood

    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"question": q}) + "\n" for q in QUESTIONS))
    (tmp_path / "rewarded.yaml").write_text(TASK.replace("PROMPTS", str(prompts)))
    (tmp_path / "rewarded.py").write_text(CODE)
    (tmp_path / "my_reward.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    tasks = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = harness.simple_evaluate(Canned(), tasks=["rewarded"], task_manager=tasks)
    rewards = [expected(q, a) for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    numbers = found["results"]["rewarded"]
    assert numbers["reward,none"] == pytest.approx(mean(rewards))
    assert numbers["reward_stderr,none"] == pytest.approx(stdev(rewards) / 3**0.5)
    assert numbers["reward_missing,none"] == 0


def canned() -> Any:
    """Inspect's own mock model with the answers in their order."""
    from inspect_ai.model import ModelOutput, ModelUsage, get_model

    outputs = [ModelOutput.from_content("mockllm/model", each) for each in ANSWERS]
    for output in outputs:
        output.usage = ModelUsage()  # else it counts tokens with a vocabulary that it downloads
    return get_model("mockllm/model", custom_outputs=outputs)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("prompt", ["input", "messages"])
def test_the_scorer_of_inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: Any
) -> None:
    inspect = pytest.importorskip("inspect_ai")
    from inspect_ai.dataset import Sample
    from inspect_ai.solver import generate, system_message

    from rmaudit.integrations.inspect_ai import reward_scorer

    monkeypatch.setenv("INSPECT_LOG_DIR", str(tmp_path))
    task = inspect.Task(
        dataset=[Sample(input=q, target="4") for q in QUESTIONS],
        solver=[system_message("Answer in a word."), generate()],
        scorer=reward_scorer(seen, prompt=prompt),
    )
    (log,) = inspect.eval(
        task, model=canned(), display="none", max_samples=1, log_dir=str(tmp_path)
    )
    assert log.status == "success", log.error
    (score,) = log.results.scores
    assert (score.scored_samples, score.unscored_samples) == (2, 1)
    asked = [
        q
        if prompt == "input"
        else str(
            [
                {"role": "system", "content": "Answer in a word."},
                {"role": "user", "content": q},
            ]
        )
        for q in QUESTIONS
    ]
    rewards = [expected(q, a) for q, a in zip(asked[:2], ANSWERS[:2], strict=True)]
    assert score.metrics["mean"].value == pytest.approx(mean(rewards))
    assert score.metrics["stderr"].value == pytest.approx(stdev(rewards) / 2**0.5)
    given = [sample.scores["reward_scorer"] for sample in log.samples]
    assert [each.value for each in given[:2]] == rewards
    assert np.isnan(given[2].value)
    assert "not finite" in given[2].explanation
    assert given[0].answer == "four"


@pytest.mark.filterwarnings("default")
def test_a_reward_that_reads_the_target_in_inspect(tmp_path: Path) -> None:
    inspect = pytest.importorskip("inspect_ai")
    from inspect_ai.dataset import Sample

    from rmaudit.integrations.inspect_ai import reward_scorer

    task = inspect.Task(
        dataset=[Sample(input=q, target="four!") for q in QUESTIONS],
        scorer=reward_scorer(correct),
    )
    (log,) = inspect.eval(
        task, model=canned(), display="none", max_samples=1, log_dir=str(tmp_path)
    )
    assert [s.scores["reward_scorer"].value for s in log.samples] == [0, 1, 0]
    with pytest.raises(UsageError, match="input"):
        reward_scorer(correct, prompt="all")
