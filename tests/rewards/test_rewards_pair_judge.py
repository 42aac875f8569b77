"""A judge of pairs behind a URL: what it is asked, in both orders, and what its replies say."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from reward_server import Answer, serving

import rmaudit as rma
from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.served.pair_judge import RUBRIC
from rmaudit.rewards.served.preferences import read_verdict

SAYS_A = [
    "A",
    "a.",
    " **A** ",
    "(A)",
    "Answer A",
    "[[A]]",
    "I compared both, and B has a slip. [[A]]",
    "[[A>>B]]",
    "A > B",
    "B is short.\n\n**A>B**",
    "Verdict\uff1aA",
    "[[B < A]]",
    "<verdict>A</verdict>",
    "<winner>Response A</winner> since B is wrong",
    '{"reason": "B is short", "winner": "A"}',
    '```json\n{"verdict": "Answer A"}\n```',
    "Answer B has an error in line 2.\n\nA",
    "A\n\nAnswer B has an error.",
    "Verdict: A",
    "**Winner:** Assistant A",
    "The better answer is A.",
    "My choice is answer A, for its examples.",
    "Answer A is clearly better, as B repeats itself.",
    "Response A is the better response.",
    "I prefer answer A.",
    "A wins.",
    "The first answer is better.",
    "<think>B is better. B!</think>A",
    "Let me see. B it is? No.</think>\nA",
]
SAYS_TIE = [
    "T", "C", "tie", "[[C]]", "[[A=B]]", "Verdict: tie", "It is a tie.", "Both are equally good.",
    '{"winner": "both"}', "Tie.", "It's a tie.",
]  # fmt: skip
SAYS_NOTHING = [
    "",
    "I would rather not say.",
    "A or B",
    "Answer A is not better.",
    "I cannot prefer A.",
    "If you like poems, answer A is better.",
    "Answer A is better. Answer B is better.",
    "[[A]] or [[B]]",
    "A good reply needs sources.",
    "A is worse than B",
    "<think>A is better",
    '{"winner": "A", "better": "B"}',
    "8",
    "Both answers mention option A in passing.",
    "A\n\nB",
]


@pytest.mark.parametrize("reply", SAYS_A)
def test_a_verdict_is_read_in_either_order(reply):
    assert read_verdict(reply).value == 1
    if "first" in reply:
        swapped = reply.replace("first", "second")
    else:
        other = {"A": "B", "B": "A", "a": "b"}
        swapped = re.sub(r"\b[ABa]\b", lambda m: other[m[0]], reply)
    if swapped != "I compared both, and A has b slip. [[B]]":
        assert read_verdict(swapped.replace(" b slip", " a slip")).value == 0


@pytest.mark.parametrize("reply", SAYS_TIE)
def test_a_tie_is_read(reply):
    assert read_verdict(reply).value == 0.5


@pytest.mark.parametrize("reply", SAYS_NOTHING)
def test_what_leaves_a_choice_is_no_verdict(reply):
    assert isinstance(read_verdict(reply), str)


ROWS = [
    {
        "id": f"row {i}",
        "prompt": f"Question {i}?",
        "chosen": f"Chosen answer {i}, of some length.",
        "rejected": f"Rejected {i}.",
    }
    for i in range(12)
]
ASKED = re.compile(r"<answer_a>\n(.*)\n</answer_a>\n\n<answer_b>\n(.*)\n</answer_b>", re.S)


def chat(content, positions=None, reason="stop"):
    choice = {"message": {"content": content}, "finish_reason": reason}
    if positions is not None:
        choice["logprobs"] = {"content": positions}
    return Answer({"choices": [choice]})


def judge(url, **options):
    return load_reward_model(url, http_format="openai-pairs", http_model="judge", **options)


def test_both_orders_are_asked_and_an_unread_reply_is_nan_and_counted(tmp_path):
    def behave(server, body):
        system, user = body["messages"]
        assert system == {"role": "system", "content": RUBRIC}
        first, second = ASKED.search(user["content"]).groups()
        if "7" in first + second:
            return chat("I cannot choose.")
        return chat("A" if len(first) > len(second) else "B")

    with serving(behave) as server:
        model = judge(f"{server.url}/v1")
        rewards = rma.score(model, ROWS, cache=False).set_index(["side", "id"]).reward
        asked = {ASKED.search(b["messages"][1]["content"]).groups() for b in server.bodies}
        assert server.headers[0]["path"] == "/v1/chat/completions"
    each = [(row["chosen"], row["rejected"]) for row in ROWS]
    assert asked == {*each, *((b, a) for a, b in each)}
    assert model.signal == "preference"
    assert rewards["chosen"].dropna().eq(1).all()
    assert rewards["rejected"].dropna().eq(0).all()
    assert rewards[rewards.isna()].index.tolist() == [("chosen", "row 7"), ("rejected", "row 7")]
    assert model.describe()["unreadable_replies"] == "2 of 24"
    assert "nothing in it is said to be the verdict" in model.describe()["unreadable_because"]


def test_the_probability_by_hand():
    def behave(server, body):
        top = [("A", 0.6), ("B", 0.1), (" T", 0.2), ("The", 0.1)]
        position = {
            "token": "A",
            "top_logprobs": [{"token": t, "logprob": math.log(p)} for t, p in top],
        }
        return chat("A", [position])

    with serving(behave) as server:
        rewards = rma.score(judge(server.url), ROWS[:2], cache=False).reward
    np.testing.assert_allclose(rewards, (0.6 + 0.2 / 2) / 0.9, rtol=1e-12)


def test_a_cut_reply_gets_room_once_and_then_is_unread():
    def behave(server, body):
        return chat("A" if body["max_tokens"] > 16 else "Let me think", reason="stop" if
                    body["max_tokens"] > 16 else "length")  # fmt: skip

    with serving(behave) as server:
        model = judge(server.url, concurrency=1)
        assert rma.score(model, ROWS[:1], cache=False).reward.tolist() == [1.0, 1.0]
    with serving(lambda server, body: chat("A", reason="length")) as server:
        model = judge(server.url, concurrency=1)
        assert rma.score(model, ROWS[:1], cache=False).reward.isna().all()
        assert "2: it is cut" in model.describe()["unreadable_because"]


def test_an_order_bias_is_found_over_http_and_rewordings_are_asked_for():
    wordings = set()

    def behave(server, body):
        asked = body["messages"][1]["content"]
        wordings.add(re.sub(r"\d+|Chosen answer.*|Rejected.*|.*Question.*", "", asked)[:40])
        return chat("A")  # whatever stands first

    with serving(behave) as server:
        report = rma.audit(judge(server.url), ROWS * 4, only=["judge"], cache=False, debug=True)
    assert report["judge.order_flip_rate"].value == 1
    assert any("order" in f.title or "order" in f.detail for f in report.findings)
    assert len(wordings) >= 2


def test_options_without_an_effect_are_refused():
    for options, match in (
        ({"scale": "1-5"}, "scores one response"),
        ({"activation": "sigmoid"}, "answers which response is better"),
        ({"head": 1}, "--head has no effect"),
    ):
        with pytest.raises(UsageError, match=match):
            judge("http://127.0.0.1:1", **options)
    with pytest.raises(UsageError, match="--http-model NAME"):
        load_reward_model("http://127.0.0.1:1", http_format="openai-pairs")
