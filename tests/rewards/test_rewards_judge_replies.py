"""A judge's score is the number that it meant, or there is none."""

from __future__ import annotations

import math

import pytest
from reward_server import Answer, serving
from test_rewards_http_formats import QUICK, TEXTS, completion, likely

from rmaudit.errors import UsageError
from rmaudit.rewards import ServerOptions, load_reward_model
from rmaudit.rewards.served.judge import score
from rmaudit.rewards.served.replies import Scale, read_score

NONE = math.nan


@pytest.mark.parametrize(
    ("reply", "meant"),
    [
        ("7", 7),
        ("**7**\n", 7),
        ("7/10", 7),
        ("6,5", 6.5),
        ("Score: 4", 4),
        ("**Score:** 4/10", 4),
        ("Score\uff1a4", 4),
        ("Score (1-10): 7", 7),
        ("Score from 1 to 10: 7", 7),
        ("On a scale of 1 to 10, I would give this a 3.", 3),
        ("I'd rate it 8 out of 10.", 8),
        ("This is an 8/10 answer.", 8),
        ("My rating is 7.", 7),
        ("1. Facts: good\n2. Tone: fine\nOverall: 8", 8),
        ("Helpfulness: 7\nFinal score: 5", 5),
        ("Score: 8\n(The first draft had 3.)", 8),
        ("Previous score: 3\nScore: 8", 8),
        ("8\n\nIt has 3 flaws.", 8),
        ("It has 3 flaws.\n\n8", 8),
        ("Rating: [[5]]", 5),
        ('{"helpfulness": 4, "score": 9}', 9),
        ('```json\n{"score": "8", "reason": "9 of 10 facts"}\n```', 8),
        ("<think>2 claims, 1 is wrong.</think>\n6", 6),
        ("It makes 2 claims, so 4?\n</think>\n6", 6),
        ("<think>a <think>3</think> 9</think>\n7", 7),
        ("<score>7</score>", 7),
        ("{'accuracy': 4, 'score': 7}", 7),
        ("Rating: 8 points out of 10", 8),
        ("Score: 8/10 for style, 3/10 for truth\nOverall: 6/10", 6),
    ],
)
def test_the_number_that_is_said_to_be_the_score_is_read(reply, meant):
    assert score(reply) == meant


@pytest.mark.parametrize(
    "reply",
    [
        "I cannot grade this.",
        "",
        "-5",
        "0",
        "11",
        "reward:-3.28",
        "Score: 1e1",
        "Score: 8th percentile",
        "rating = 4.5 out of 5",
        "Rating: 3 stars out of 5",
        "<rating>3/5</rating>",
        "Score: 8/10 for style, 3/10 for truth",
        "Score: 1,000",
        "[[A]]",
        "The correct answer is \\boxed{4}.",
        "The answer makes 2 good points.",
        "3 of the 5 claims are wrong.",
        "1. good",
        "2/3 of it holds",
        "Score: 4 out of 5",
        "Score: 80%",
        "Score: 80/100",
        "Score: 7-8",
        "Score: 7 or 8",
        "[[5]] or [[6]]",
        "I would not give this a 9.",
        "I cannot grade 3 of these.",
        "I would have given it a 9 had it been shorter.",
        "Accuracy score: 4, tone score: 9",
        "9\n\n4",
        '{"accuracy": 3, "tone": 4}',
        "<think>The user has 2 questions and",
        "<think>8</think>",
    ],
)
def test_a_number_that_leaves_a_choice_is_no_score(reply):
    assert math.isnan(score(reply))
    assert isinstance(read_score(reply, Scale()), str)


def test_a_scale_of_its_own_is_asked_for_and_read():
    seen = []

    def serve(server, body):
        seen.append(body["messages"])
        return completion("85")

    with serving(serve) as server:
        options = ServerOptions("openai", "j", scale="0-100", patience=QUICK)
        judge = load_reward_model(server.url + "/v1", server=options)
        assert judge.forward(judge.encode(TEXTS[:1])).tolist() == [85.0]
    assert "from 0 (worst) to 100 (best)" in seen[0][0]["content"]
    assert seen[0][1]["content"].endswith("Score of the answer, 0 to 100:")
    assert judge.describe()["scale"] == "0 to 100"
    assert judge.signal == "score"
    with pytest.raises(UsageError, match="the worst first"):
        Scale.parse("10-1")


def test_the_expected_score_is_taken_where_the_score_stands():
    # The first "4" is one of the thoughts; only the last one is the score.
    tokens = [
        likely("<think>", {"<think>": 1.0}),
        likely("4", {"4": 0.5, "9": 0.5}),
        likely("</think>", {"</think>": 1.0}),
        likely("4", {"4": 0.75, "8": 0.25}),
    ]
    assert score("<think>4</think>4", tokens) == pytest.approx(5.0)
    assert score("<think>4</think>4", tokens[1:]) == 4.0  # of another reply


def test_a_cut_reply_is_asked_for_with_more_room_and_else_is_nan_and_counted(caplog):
    reply = "<think>" + "hm " * 40 + "</think>\n7"

    def thinks(server, body):
        room = body["max_tokens"]
        cut = room < 100
        choice = completion(reply[: 4 * room] if cut else reply).body["choices"][0]
        return Answer({"choices": [choice | {"finish_reason": "length" if cut else "stop"}]})

    def never_ends(server, body):
        choice = completion("Score: 1").body["choices"][0]
        return Answer({"choices": [choice | {"finish_reason": "length"}]})

    options = ServerOptions("openai", "j", concurrency=1, patience=QUICK)
    with serving(thinks) as server:
        judge = load_reward_model(server.url + "/v1", server=options)
        assert judge.forward(judge.encode(TEXTS)).tolist() == [7.0, 7.0]
        assert [body["max_tokens"] for body in server.bodies] == [16, 4096, 4096]
    with serving(never_ends) as server:
        judge = load_reward_model(server.url + "/v1", server=options)
        assert np_isnan(judge.forward(judge.encode(TEXTS)))
        assert judge.describe()["unreadable_replies"] == "2 of 2"
        assert "2: it is cut" in judge.describe()["unreadable_because"]
    assert caplog.text.count("so its reward is NaN") == 1


@pytest.mark.parametrize(
    ("message", "meant"),
    [
        ({"content": [{"type": "text", "text": "2 flaws.\n"}, {"type": "text", "text": "8"}]}, 8),
        ({"content": [{"type": "reasoning", "summary": []}, {"type": "text", "text": "8"}]}, 8),
        ({"content": None, "refusal": "I cannot grade 3 of these."}, math.nan),
        ({"content": [], "reasoning_content": "8"}, math.nan),
    ],
)
def test_content_may_come_in_parts_and_a_refusal_is_quoted(message, meant, caplog):
    def serve(server, body):
        return Answer({"choices": [{"message": message, "finish_reason": "stop"}]})

    with serving(serve) as server:
        options = ServerOptions("openai", "j", patience=QUICK)
        judge = load_reward_model(server.url + "/v1", server=options)
        found = judge.forward(judge.encode(TEXTS[:1])).tolist()
    assert found == [meant] or (np_isnan(found) and math.isnan(meant))
    assert ("cannot grade" in caplog.text) == bool(message.get("refusal"))


def test_equal_scores_of_a_judge_are_not_taken_for_a_softmax(caplog):
    with serving(lambda server, body: completion("1")) as server:
        options = ServerOptions("openai", "j", patience=QUICK)
        judge = load_reward_model(server.url + "/v1", server=options)
        assert judge.forward(judge.encode(TEXTS)).tolist() == [1.0] * len(TEXTS)
    assert "softmax" not in caplog.text


def np_isnan(values) -> bool:
    return all(math.isnan(value) for value in values)
