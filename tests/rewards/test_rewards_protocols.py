"""What each protocol is sent and answers, and rewards that are no logits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from reward_server import Answer, serving

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import ServerOptions, Text, load_reward_model
from rmaudit.rewards.base import failed
from rmaudit.rewards.served.client import RetryPolicy

QUICK = RetryPolicy(tries=2, first=0.001)
PAIR = [Text("ask", "yes"), Text("ask", "no, no")]
MANY = [Text(f"prompt {i}", "x" * (i + 1)) for i in range(12)]


def run(behaviour, path="/x", texts=PAIR, *, model_options=None, **options):
    with serving(behaviour) as server:
        settings = ServerOptions(patience=QUICK, concurrency=1, **options)
        model = load_reward_model(server.url + path, server=settings, **(model_options or {}))
        return model.forward(model.encode(texts)), server.bodies, model


def lengths(texts):
    return [float(len(text)) for text in texts]


def test_openrlhf_gets_queries_and_answers_rewards():
    rewards, bodies, _ = run(
        lambda _, body: Answer({"rewards": lengths(body["query"]), "extra_logs": {}}),
        http_format="openrlhf",
    )
    assert rewards.tolist() == [6.0, 9.0]
    assert bodies == [
        {"query": ["askyes", "askno, no"], "prompts": ["ask", "ask"], "labels": ["", ""]}
    ]


def test_sglang_gets_texts_and_answers_embeddings():
    rewards, bodies, _ = run(
        lambda _, body: Answer([{"embedding": [len(t), 0.5]} for t in body["text"]]),
        "/classify",
        http_format="sglang",
        http_model="rm",
        model_options={"format": "{prompt}|{output}", "head": 0},
    )
    assert rewards.tolist() == [7.0, 10.0]
    assert bodies == [{"text": ["ask|yes", "ask|no, no"], "model": "rm"}]


@pytest.mark.parametrize("style", ["tei", "jina"])
def test_a_reranker_gets_a_prompt_with_its_responses_and_answers_in_its_own_order(style):
    def serve(server, body):
        assert body["texts"] == body["documents"]
        items = [(i, float(len(t))) for i, t in enumerate(body["texts"])]
        items.sort(key=lambda item: -item[1])
        if style == "tei":
            return Answer([{"index": i, "score": s} for i, s in items])
        return Answer({"results": [{"index": i, "relevance_score": s} for i, s in items]})

    rewards, bodies, _ = run(serve, "/rerank", [*PAIR, Text("b", "c")], http_format="rerank")
    assert rewards.tolist() == [3.0, 6.0, 1.0]
    assert [(body["query"], len(body["texts"])) for body in bodies] == [("ask", 2), ("b", 1)]
    with pytest.raises(RewardModelError, match="1 scores came back for 2 responses"):
        run(lambda *_: Answer([{"index": 0, "score": 1}]), "/rerank", http_format="rerank")


def test_nim_keeps_the_sign_and_refuses_any_other_reply():
    def says(text):
        return lambda *_: Answer({"choices": [{"message": {"content": text}}]})

    rewards, bodies, _ = run(says("reward:-3.28125"), "/v1", http_format="nim", http_model="m")
    assert rewards.tolist() == [-3.28125] * 2
    assert [turn["role"] for turn in bodies[0]["messages"]] == ["user", "assistant"]
    with pytest.raises(RewardModelError, match="expected a reply such as"):
        run(says("a fine answer"), "/v1", http_format="nim", http_model="m")
    several, how = says("helpfulness:1.6,verbosity:-2"), {"http_format": "nim", "http_model": "m"}
    with pytest.raises(RewardModelError, match="0 = helpfulness, 1 = verbosity and no reward"):
        run(several, "/v1", **how)
    rewards, *_ = run(several, "/v1", model_options={"head": 1}, **how)
    assert rewards.tolist() == [-2.0] * 2


def test_a_judge_that_answers_as_a_reward_model_is_told_of_its_protocol(caplog):
    def serve(*_):
        return Answer({"choices": [{"message": {"content": "reward:-3.28"}}]})

    rewards, *_ = run(serve, "/v1", http_format="openai", http_model="m")
    assert np.isnan(rewards).all()
    assert "--http-format nim reads it" in caplog.text


def test_rerankers_and_vllm_are_asked_for_logits_and_to_keep_the_end():
    def serve(server, body):
        return Answer({"results": [{"index": i, "score": 1.0 - i} for i in range(2)]})

    _, bodies, _ = run(serve, "/rerank", http_format="rerank")
    sent = {key: bodies[0][key] for key in ("raw_scores", "use_activation", "truncation_direction")}
    assert sent == {"raw_scores": True, "use_activation": False, "truncation_direction": "Left"}

    def pooled(server, body):
        return Answer({"data": [{"index": 0, "data": [2.0]}]})

    options = {"max_length": 64}
    _, bodies, _ = run(pooled, "/pooling", PAIR[:1], http_format="vllm", model_options=options)
    assert (bodies[0]["truncate_prompt_tokens"], bodies[0]["truncation_side"]) == (64, "left")


@pytest.mark.parametrize(
    "form", [lambda v: {"rewards": [[x] for x in v]}, lambda v: {"scores": v}, lambda v: v]
)
def test_a_plain_server_may_nest_its_rewards_or_call_them_scores(form):
    answer = form([1.5, -2.0])
    assert run(lambda *_: Answer(answer))[0].tolist() == [1.5, -2.0]


def probabilities(server, body):
    values = [1 / (1 + math.exp(-(i - 5.5))) for i in range(len(body["text_2"]))]
    return Answer({"data": [{"index": i, "score": v} for i, v in enumerate(values)]})


def test_probabilities_in_place_of_logits_are_refused_unless_the_activation_is_said():
    with pytest.raises(RewardModelError, match=r"lie between 0 and 1 .*--activation sigmoid"):
        run(probabilities, "/score", MANY, http_format="vllm")
    rewards, *_ = run(probabilities, "/score", MANY, http_format="vllm", activation="sigmoid")
    np.testing.assert_allclose(rewards, [i - 5.5 for i in range(12)], atol=1e-9)
    rewards, _, model = run(probabilities, "/score", MANY, http_format="vllm", activation="none")
    assert model.signal == "score"
    assert 0 < rewards.min() < rewards.max() < 1


def test_equal_rewards_of_all_texts_are_refused_and_of_few_are_told(caplog):
    def serve(server, body):
        return Answer({"data": [{"index": i, "score": 1.0} for i in range(len(body["text_2"]))]})

    with pytest.raises(RewardModelError, match="all 12 rewards are 1: a softmax over one label"):
        run(serve, "/score", MANY, http_format="vllm")
    run(serve, "/score", MANY[:3], http_format="vllm")
    assert "all 3 rewards are 1" in caplog.text


def test_logits_pass_and_a_declared_sigmoid_that_cannot_be_is_refused():
    def serve(server, body):
        scores = [float(i) - 3 for i in range(len(body["text_2"]))]
        return Answer({"data": [{"index": i, "score": s} for i, s in enumerate(scores)]})

    assert run(serve, "/score", MANY, http_format="vllm")[0].tolist() == [i - 3 for i in range(12)]
    with pytest.raises(RewardModelError, match="-3 is no probability"):
        run(serve, "/score", MANY, http_format="vllm", activation="sigmoid")


def test_a_plain_server_with_rewards_between_0_and_1_is_told_and_read(caplog):
    values = [i / 12 for i in range(12)]
    rewards, *_ = run(lambda *_: Answer({"rewards": values}), texts=MANY)
    assert rewards.tolist() == values
    assert "all 12 rewards lie between 0 and 1" in caplog.text


def test_a_text_that_is_too_long_is_cut_if_asked_for_and_else_set_aside(caplog):
    def serve(server, body):
        if len(body["messages"][-1]["content"]) > 5 and "truncate_prompt_tokens" not in body:
            return Answer("This model's maximum context length is 8 tokens.", status=400)
        return Answer({"data": [{"index": 0, "data": [2.5]}]})

    rewards, _, model = run(serve, "/pooling", http_format="vllm")
    assert rewards[0] == 2.5
    assert failed(rewards).tolist() == [False, True]  # not stored: a later run may cut it
    assert model.describe()["texts_too_long"] == 1
    assert "too long for the server" in caplog.text
    rewards, bodies, _ = run(
        serve, "/pooling", http_format="vllm", model_options={"max_length": 64}
    )
    assert rewards.tolist() == [2.5, 2.5]
    assert bodies[0]["truncate_prompt_tokens"] == 64


@pytest.mark.parametrize(
    ("protocol", "options", "said"),
    [
        ("tei", {"max_length": 64}, "--max-length has no effect"),
        ("json", {"format": "{prompt}{output}"}, "--format has no effect"),
        ("rerank", {"head": 1}, "--head has no effect"),
        ("vllm", {"format": "{output}"}, "leave out --format"),
    ],
)
def test_an_option_without_effect_is_refused_by_name(protocol, options, said):
    with pytest.raises(UsageError, match=said):
        load_reward_model(
            "http://localhost:1/score", server=ServerOptions(http_format=protocol), **options
        )


def test_an_unknown_activation_is_named():
    with pytest.raises(UsageError, match="--activation tanh"):
        load_reward_model("http://localhost:1", server=ServerOptions(activation="tanh"))
