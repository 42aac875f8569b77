"""The prompt audit: by hand, by slow definition, on a reward that is blind and one that is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from town_world import broken, clean, town_pairs

from rmaudit.audits.common.allocation import PROMPT_PAIRS
from rmaudit.audits.prompt.audit import (
    SIDES,
    PromptDependence,
    other_prompts,
    same_topic,
)
from rmaudit.audits.prompt.turns import earlier_turns, system_prompt
from rmaudit.case import Case
from rmaudit.results import AuditResult
from rmaudit.stats.intervals import cluster_mean, for_skewness

Make = Callable[..., Case]
Run = Callable[..., AuditResult]


def answers(n: int = 20) -> list[dict[str, Any]]:
    return [{"prompt": f"{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(n)]


def test_by_hand(make_case: Make, run_audit: Run) -> None:
    # Own prompt: margin 2. Another's: -1 (the answer is to another question). None: 1, "good".
    def reward(prompt: str, output: str) -> float:
        word, number = output.split()
        if prompt == "":
            return float(word == "good")
        return 2.0 * (word == "good") if prompt == number else -1.0 * (word == "good")

    result = run_audit(PromptDependence(), make_case(answers(), reward))
    assert result["prompt.accuracy_shuffled"].value == 0.0
    assert result["prompt.accuracy_removed"].value == 1.0
    assert result["prompt.margin_shift"].value == pytest.approx(3 / math.sqrt(2.0))
    assert result["prompt.dependence"].value == 0.0  # (1 - max(0, 1)) / (1 - 1/2)
    assert result.findings == ()


def test_the_same_topic_is_the_nearest_that_is_not_the_same() -> None:
    near = "what is the tallest tree of the northern woods"
    prompts = [near, near + " ?", "which bird lives in the northern woods", "how do I boil an egg"]
    other = same_topic([*prompts, prompts[2]])
    assert other[0] == prompts[2]  # not the same question with a mark more
    assert other[1] == prompts[2]
    assert other[2] in prompts[:2]
    assert other[4] == other[2]
    assert all(a != b for a, b in zip(prompts, other, strict=False))
    assert same_topic([[{"role": "user", "content": "a"}], "b"]) == [
        "b",
        [{"role": "user", "content": "a"}],
    ]


def test_a_reward_that_reads_the_topic_alone(make_case: Make, run_audit: Run) -> None:
    words = ["tree", "bird", "egg", "wool", "salt", "moon"]
    rows = [
        {"prompt": f"tell {i} {word} {word}", "chosen": f"{word} {i}", "rejected": f"no {i}"}
        for word in words
        for i in range(100, 106)
    ]

    def reward(prompt: str, output: str) -> float:
        return float(output.split()[0] in prompt.split())

    result = run_audit(PromptDependence(), make_case(rows, reward))
    assert result["prompt.accuracy_same_topic"].value == 1.0
    assert result["prompt.accuracy_removed"].value == 0.5
    assert result["prompt.accuracy_shuffled"].value < 0.7


def test_full_dependence(make_case: Make, run_audit: Run) -> None:
    def reward(prompt: str, output: str) -> float:
        word, number = output.split()
        return float(word == "good" and prompt == number)

    result = run_audit(PromptDependence(), make_case(answers(), reward))
    assert result["prompt.accuracy_shuffled"].value == 0.5  # ties
    assert result["prompt.dependence"].value == 1.0


def test_equals_the_slow_definition(make_case: Make, run_audit: Run) -> None:
    frame = town_pairs(120)
    case = make_case(frame, clean)
    result = run_audit(PromptDependence(), case)
    asked = {request.side: request for request in PromptDependence().requests(case)}
    rows = frame.set_index("id").loc[list(asked["shuffled_better"].ids)]
    right, shuffled, removed, shift = [], [], [], []
    for i, row in enumerate(rows.to_dict("records")):
        other = str(asked["shuffled_better"].prompts[i])
        assert other != row["prompt"]
        assert other == asked["shuffled_worse"].prompts[i]
        margins = [
            clean(p, row["chosen"]) - clean(p, row["rejected"]) for p in (row["prompt"], other, "")
        ]
        for into, margin in zip((right, shuffled, removed), margins, strict=True):
            into.append((np.sign(margin) + 1) / 2)
        shift.append(abs(margins[1] - margins[0]))
    rewards = {
        (row["prompt"], row[side]): clean(row["prompt"], row[side])
        for row in frame.to_dict("records")
        for side in ("chosen", "rejected")
    }
    by_prompt: dict[str, list[float]] = {}
    for (prompt, _), value in rewards.items():
        by_prompt.setdefault(prompt, []).append(value)
    squares = sum(float(np.sum((np.array(v) - np.mean(v)) ** 2)) for v in by_prompt.values())
    sd = math.sqrt(squares / (len(rewards) - len(by_prompt)))
    accuracy = np.mean(right)
    assert result["prompt.accuracy_shuffled"].value == pytest.approx(np.mean(shuffled))
    assert result["prompt.accuracy_removed"].value == pytest.approx(np.mean(removed))
    assert result["prompt.margin_shift"].value == pytest.approx(np.mean(shift) / sd)
    best = max(np.mean(shuffled), np.mean(removed))
    estimate = result["prompt.dependence"]
    assert estimate.value == pytest.approx((accuracy - best) / (accuracy - 0.5))
    assert estimate.low < estimate.value <= estimate.high


def test_a_blind_reward_is_found(make_case: Make, run_audit: Run) -> None:
    case = make_case(town_pairs(160), broken("prompt blindness"))
    result = run_audit(PromptDependence(), case)
    (finding,) = result.findings
    assert finding.severity == "high"
    assert finding.metric == "prompt.margin_shift"
    assert finding.examples
    assert result["prompt.margin_shift"].high < 0.05
    assert result["prompt.dependence"].value == pytest.approx(0.0, abs=1e-12)


def test_a_subset_that_is_scored_blind_is_found(make_case: Make, run_audit: Run) -> None:
    frame = town_pairs(160)
    frame["chosen"] = np.where(frame["subset"] == "south", frame["chosen"] + " !", frame["chosen"])
    frame["rejected"] = np.where(
        frame["subset"] == "south", frame["rejected"] + " !", frame["rejected"]
    )
    blind = broken("prompt blindness")

    def reward(prompt: str, output: str) -> float:
        return (blind if output.endswith("!") else clean)(prompt, output)

    (finding,) = run_audit(PromptDependence(), make_case(frame, reward)).findings
    assert finding.severity == "medium"
    assert finding.title.endswith(": south")


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_reward_has_no_finding(make_case: Make, run_audit: Run, seed: int) -> None:
    result = run_audit(PromptDependence(), make_case(town_pairs(160, seed), clean, seed=seed))
    assert result.findings == ()
    assert result["prompt.dependence"].low > 0.3


def test_dependence_is_undefined_without_accuracy(make_case: Make, run_audit: Run) -> None:
    case = make_case(answers(), lambda prompt, output: float(len(prompt + output) % 3))
    estimate = run_audit(PromptDependence(), case)["prompt.dependence"]
    assert math.isnan(estimate.value)
    assert estimate.undefined_reason == "accuracy is not above one half with confidence"


def test_removed_prompts_keep_their_type_and_texts_are_bounded(make_case: Make) -> None:
    rows = [
        {
            "prompt": f"p{i}" if i % 2 else [{"role": "user", "content": f"p{i}"}],
            "chosen": "a",
            "rejected": "b",
        }
        for i in range(2 * PROMPT_PAIRS)
    ]
    asked = {r.side: r for r in PromptDependence().requests(make_case(rows))}
    assert tuple(asked) == SIDES
    assert {str(prompt) for prompt in asked["removed_better"].prompts} == {"", "[]"}
    assert {len(request.ids) for request in asked.values()} == {PROMPT_PAIRS}


def test_no_prompt_is_its_own_and_rows_of_one_share_another() -> None:
    prompts = ["a", "b", "a", "c", "b", "d"]
    swapped = other_prompts(list(prompts), 0)
    assert all(own != other for own, other in zip(prompts, swapped, strict=True))
    assert swapped[0] == swapped[2]
    assert swapped[1] == swapped[4]
    assert sorted({str(p) for p in swapped}) == ["a", "b", "c", "d"]
    backwards = other_prompts(list(reversed(prompts)), 0)
    assert list(reversed(backwards)) == swapped


def test_what_it_needs(make_case: Make) -> None:
    rows = answers(4)
    for case, said in (
        (make_case(rows, new_text=False), "new text"),
        (make_case([{**row, "prompt": ""} for row in rows]), "two different prompts"),
        (make_case([{**row, "prompt": "same"} for row in rows]), "two different prompts"),
        (make_case([{"prompt": "p"}], kind="deployment"), "--eval"),
    ):
        missing = PromptDependence().missing(case)
        assert missing is not None
        assert said in missing


def test_prompts_without_a_word_are_near_none() -> None:
    assert same_topic([" ", "\n"]) == ["\n", " "]
    assert same_topic([]) == []


def test_pairs_that_are_all_ties_are_undefined(make_case: Make, run_audit: Run) -> None:
    rows = [{**row, "tie": True} for row in answers(4)]
    result = run_audit(PromptDependence(), make_case(rows))
    assert all(not metric.estimate.defined for metric in result.metrics)


def conversations(n: int = 40, system: bool = True) -> list[dict[str, Any]]:
    """The task is in the first turn, the manner in the system prompt; the last turn says go on."""
    rows = []
    for i in range(n):
        turns = [("user", f"Name {i}."), ("assistant", "Shall I?"), ("user", f"Go on, friend {i}.")]
        said = [("system", f"Speak as {i}."), *turns] if system else turns
        prompt = [{"role": role, "content": content} for role, content in said]
        rows.append({"prompt": prompt, "chosen": f"good {i}", "rejected": f"bad {i}"})
    return rows


def test_a_part_that_moves_few_margins_far_is_not_called_unread(
    make_case: Make, run_audit: Run
) -> None:
    """Two of 115 margins move by 0.9 SD: by 0.016 on average, and a symmetric bound is 0.037."""

    def reward(prompt: Any, output: str) -> float:
        word, number = output.split()
        lost = int(number) < 2 and f"Name {number}." not in str(prompt)
        size = (f"friend {number}." in str(prompt)) - (0.9 / math.sqrt(2.0)) * lost
        return size if word == "good" else -size

    rows = conversations(115, system=False)
    result = run_audit(PromptDependence(), make_case(rows, reward))
    found = result["prompt.earlier_turns_shift"]
    assert found.value == pytest.approx(2 * 0.9 / 115, rel=1e-6)
    assert found.high > 0.05
    assert result.findings == ()
    # 7.6 % move by 0.86 SD, 0.066 on average: of 1,000 draws a one-sided bound of 97.5 % may miss
    # 25 (standard error 5) where it is exact; a symmetric one misses 120.
    rng, missed = np.random.default_rng(0), np.zeros(2)
    for _ in range(1000):
        moved = np.where(rng.random(115) < 0.0765, rng.gamma(1.5, 0.86 / 1.5, 115), 0.0)
        mean = cluster_mean(moved, np.arange(115))
        missed += [mean.high < 0.0765 * 0.86, for_skewness(mean).high < 0.0765 * 0.86]
    assert missed[0] > 80
    assert missed[1] <= 25 + 4 * 5


@pytest.mark.parametrize(
    ("read", "blind_to"),
    [
        (("Name {}.", "Speak as {}."), set()),
        (("Speak as {}.", "friend {}."), {"prompt.earlier_turns_shift"}),
        (("Name {}.", "friend {}."), {"prompt.system_shift"}),
        (("friend {}.",), {"prompt.earlier_turns_shift", "prompt.system_shift"}),
    ],
)
def test_parts_of_a_conversation_that_the_reward_does_not_read(
    make_case: Make, run_audit: Run, read: tuple[str, ...], blind_to: set[str]
) -> None:
    def reward(prompt: Any, output: str) -> float:
        word, number = output.split()
        text = str(prompt)
        return sum(each.format(number) in text for each in read) * (1.0 if word == "good" else -1.0)

    result = run_audit(PromptDependence(), make_case(conversations(), reward))
    assert {finding.metric for finding in result.findings} == blind_to
    # Every part that is read moves each margin by 2; a pair's SD is its margin over root two.
    for id_, part in (("earlier_turns", "Name {}."), ("system", "Speak as {}.")):
        expected = 2.0 / (2.0 * len(read) / math.sqrt(2.0)) if part in read else 0.0
        assert result[f"prompt.{id_}_shift"].value == pytest.approx(expected)


def test_without_such_parts_the_shifts_are_undefined(make_case: Make, run_audit: Run) -> None:
    chats = run_audit(PromptDependence(), make_case(conversations(system=False), lambda p, o: 1.0))
    assert "system prompt" in chats["prompt.system_shift"].undefined_reason
    plain = run_audit(PromptDependence(), make_case(answers(), lambda p, o: float(len(o))))
    assert "before the last" in plain["prompt.earlier_turns_shift"].undefined_reason


def test_a_tool_result_is_not_cut_from_its_call() -> None:
    prompt = [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]
    assert earlier_turns(prompt) == (prompt, [])
    assert earlier_turns("text") == ([], [])
    assert system_prompt([{"role": "system", "content": "alone"}]) == ([], [])
