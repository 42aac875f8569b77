"""What vLLM, TEI and a judge are sent, and what is read from their answers."""

from __future__ import annotations

import math
from math import log

import pytest
from reward_server import Answer, serving, true_reward

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import ServerOptions, Text, load_reward_model
from rmaudit.rewards.served.client import RetryPolicy
from rmaudit.rewards.served.judge import RUBRIC, score

TEXTS = [Text("ask", "yes"), Text([{"role": "user", "content": "b"}], "no, no")]
QUICK = RetryPolicy(tries=2, first=0.001)


def run(behaviour, path, texts=TEXTS, *, format=None, head=None, **options):
    """Rewards, what was sent, and where to."""
    with serving(behaviour) as server:
        settings = ServerOptions(patience=QUICK, **{"concurrency": 1, **options})
        model = load_reward_model(server.url + path, server=settings, format=format, head=head)
        rewards = model.forward(model.encode(texts)).tolist()
        return rewards, server.bodies, [headers["path"] for headers in server.headers]


def pooled(values):
    """vLLM's answer to /pooling."""
    data = [{"index": i, "object": "pooling", "data": v} for i, v in enumerate(values)]
    return Answer({"object": "list", "data": data})


def test_vllm_pooling_gets_messages_one_text_a_request():
    def serve(server, body):
        said = body["messages"][-1]
        assert said["role"] == "assistant"
        return pooled([[true_reward("", said["content"])]])

    rewards, bodies, paths = run(serve, "/pooling", http_format="vllm", http_model="rm")
    assert rewards == [3.0, 6.0]
    assert paths == ["/pooling"] * 2
    assert bodies[0] == {
        "messages": [
            {"role": "user", "content": "ask"},
            {"role": "assistant", "content": "yes"},
        ],
        "add_generation_prompt": False,
        "use_activation": False,
        "model": "rm",
    }


def test_vllm_pooling_gets_texts_if_a_format_is_given():
    values = [[[0.1], [0.2], [1.5]], [[0.3], [-2.0]]]  # a value per token: the last one counts
    rewards, bodies, _ = run(
        lambda *_: pooled(values), "/pooling", http_format="vllm", format="{prompt} > {output}"
    )
    assert rewards == [1.5, -2.0]
    assert [body["input"] for body in bodies] == [["ask > yes", "User: b > no, no"]]


@pytest.mark.parametrize("places", [[0, 1], [1, 0]])
def test_vllm_classify_reads_a_head_whatever_the_order(places):
    probs = {0: [0.25, -1.0], 1: [0.75, 4.0]}
    answer = Answer({"data": [{"index": i, "label": "L", "probs": probs[i]} for i in places]})
    rewards, bodies, _ = run(
        lambda *_: answer, "/classify", http_format="vllm", format="{prompt}{output}", head=1
    )
    assert rewards == [-1.0, 4.0]
    assert bodies[0]["use_activation"] is False


def test_vllm_score_gets_pairs():
    answer = Answer({"data": [{"index": 0, "score": 2.5}, {"index": 1, "score": None}]})
    rewards, bodies, _ = run(lambda *_: answer, "/v1/score", http_format="vllm")
    assert rewards[0] == 2.5
    assert math.isnan(rewards[1])
    assert bodies == [
        {"text_1": ["ask", "User: b"], "text_2": ["yes", "no, no"], "use_activation": False}
    ]


@pytest.mark.parametrize(
    ("answer", "head", "said"),
    [
        (pooled([[1.0, 2.0]]), None, "the model has 2 heads; say which .*--head N"),
        (pooled([[1.0, 2.0]]), 2, "there is no head 2, only 2"),
        (pooled([]), None, "0 rewards came back for 1 texts"),
        (Answer({"error": "x"}), None, 'expected an object with a list "data"'),
        (Answer({"data": [1.0]}), None, 'expected an object with a list "data"'),
    ],
)
def test_vllm_answers_that_leave_the_reward_open_are_refused(answer, head, said):
    with pytest.raises(RewardModelError, match=said):
        run(lambda *_: answer, "/pooling", TEXTS[:1], http_format="vllm", head=head)


def test_tei_gets_a_batch_and_gives_raw_scores():
    def serve(server, body):
        one = [[{"score": len(text), "label": "LABEL_0"}] for (text,) in body["inputs"]]
        return Answer(one)

    rewards, bodies, _ = run(serve, "/predict", http_format="tei", format="{prompt}|{output}")
    assert rewards == [len("ask|yes"), len("User: b|no, no")]
    assert bodies[0]["raw_scores"] is True
    assert bodies[0]["truncation_direction"] == "Left"


def test_tei_finds_a_head_by_its_label_for_it_sorts_by_score():
    labels = [{"score": 9.0, "label": "LABEL_1"}, {"score": 1.0, "label": "LABEL_0"}]
    texts = TEXTS[:1]
    rewards, *_ = run(lambda *_: Answer([labels]), "/predict", texts, http_format="tei", head=0)
    assert rewards == [1.0]
    with pytest.raises(RewardModelError, match="labels LABEL_1, LABEL_0; say --head N"):
        run(lambda *_: Answer([labels]), "/predict", texts, http_format="tei")


def completion(reply, positions=None):
    logprobs = None if positions is None else {"content": positions}
    return Answer({"choices": [{"message": {"content": reply}, "logprobs": logprobs}]})


def likely(token, table):
    top = [{"token": word, "logprob": log(p)} for word, p in table.items()]
    return {"token": token, "logprob": -0.1, "top_logprobs": top}


def test_the_judge_gets_rubric_and_text_and_its_expected_score_is_the_reward(tmp_path):
    rubric = tmp_path / "rubric.txt"
    rubric.write_text("Be strict.\n")
    # 0.6 on 8, 0.2 on 6, the rest on no score: (0.6 x 8 + 0.2 x 6) / 0.8
    answer = completion("8", [likely("8", {"8": 0.6, "6": 0.2, "Well": 0.1})])
    rewards, bodies, paths = run(
        lambda *_: answer, "/v1", http_format="openai", http_model="j", rubric=rubric
    )
    assert rewards == pytest.approx([7.5, 7.5])
    assert paths == ["/v1/chat/completions"] * 2
    system, user = bodies[0]["messages"]
    assert system == {"role": "system", "content": "Be strict."}
    assert "ask" in user["content"]
    assert "<answer>\nyes\n</answer>" in user["content"]
    assert (bodies[0]["model"], bodies[0]["temperature"], bodies[0]["logprobs"]) == ("j", 0, True)


def test_the_default_rubric_is_used_where_none_is_given():
    _, bodies, _ = run(lambda *_: completion("3"), "/v1", http_format="openai", http_model="j")
    assert bodies[0]["messages"][0]["content"] == RUBRIC


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("7", 7.0),
        (" 10\n", 10.0),
        ("Score: 4", 4.0),
        ("8/10", 8.0),
        ("6.5", 6.5),
        ("0", math.nan),
        ("11", math.nan),
        ("100", math.nan),
        ("I cannot grade this.", math.nan),
        ("", math.nan),
    ],
)
def test_without_log_probabilities_the_number_written_counts(reply, expected):
    assert score(reply) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("reply", "positions", "expected"),
    [
        # 10 as one token: 0.5 x 10 + 0.5 x 9
        ("10", [likely("10", {"10": 0.5, "9": 0.5})], 9.5),
        # 10 as two: P(1) = 0.8, of which 0.75 go on with 0; (0.6 x 10 + 0.2 x 1 + 0.2 x 2) / 1
        ("10", [likely("1", {"1": 0.8, "2": 0.2}), likely("0", {"0": 0.75, ".": 0.25})], 6.6),
        # "1" was written and might have gone on: the same mass
        ("1.", [likely("1", {"1": 0.8, "2": 0.2}), likely(".", {"0": 0.75, ".": 0.25})], 6.6),
        # words before the number, and two tokens for one score
        (
            "Score: 4",
            [likely("Score:", {"Score:": 1.0}), likely(" 4", {" 4": 0.3, "4": 0.3, " 1": 0.4})],
            (0.6 * 4 + 0.4 * 1) / 1.0,
        ),
        # no likely token is a score: the number written
        ("4", [likely("4", {"x": 0.9})], 4.0),
        ("4", [], 4.0),
    ],
)
def test_the_expected_score_by_hand(reply, positions, expected):
    assert score(reply, positions) == pytest.approx(expected)


def test_a_parameter_that_a_server_does_not_know_is_left_out_from_then_on():
    def serve(server, body):
        for name in ("logprobs", "max_tokens", "temperature"):
            if name in body:
                said = {"error": {"message": f"'{name}' is not supported with this model"}}
                return Answer(said, status=400)
        return completion("5")

    rewards, bodies, _ = run(serve, "/v1", http_format="openai", http_model="j")
    assert rewards == [5.0, 5.0]
    assert len(bodies) == 3 + 2
    assert sorted(bodies[-1]) == ["max_completion_tokens", "messages", "model"]


def test_another_refusal_is_an_error_and_not_asked_again():
    with pytest.raises(RewardModelError, match=r"HTTP 400 \(no such model"):
        run(
            lambda *_: Answer("no such model", status=400),
            "/v1",
            http_format="openai",
            http_model="j",
        )


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{"message": "x"}]}, [1]])
def test_an_answer_that_is_no_completion_is_said(answer):
    with pytest.raises(RewardModelError, match="expected a chat completion"):
        run(lambda *_: Answer(answer), "/v1", http_format="openai", http_model="j")


@pytest.mark.parametrize(
    ("path", "options", "said"),
    [
        ("/embed", {"http_format": "vllm"}, "must end in /pooling, /classify, /score"),
        ("/v1", {"http_format": "openai"}, "--http-model NAME"),
        ("/v1", {"rubric": "x"}, "--rubric is for a judge"),
        ("/v1", {"http_format": "grpc"}, r"no protocol .*named 'grpc'"),
        ("/v1", {"timeout": 0}, "--timeout"),
        ("/v1", {"concurrency": 0}, "--concurrency"),
    ],
)
def test_options_that_do_not_fit_are_said_before_anything_is_sent(path, options, said):
    with pytest.raises(UsageError, match=said):
        load_reward_model(f"http://localhost:1{path}", server=ServerOptions(**options))


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"  ", "0 characters")])
def test_a_rubric_that_cannot_be_used_is_said(content, said, tmp_path):
    rubric = tmp_path / "rubric.txt"
    if content is not None:
        rubric.write_bytes(content)
    settings = ServerOptions(http_format="openai", http_model="j", rubric=rubric)
    with pytest.raises(UsageError, match=said):
        load_reward_model("http://localhost:1", server=settings)
