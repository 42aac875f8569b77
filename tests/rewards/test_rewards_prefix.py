"""Shared prompts: the same rewards as each text alone, for fewer tokens."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
import transformers
from tiny_models import LLAMA_TEMPLATE, model, save, tokenizer

from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local.prefix import common_start, pack, starts
from rmaudit.rewards.local.transformers_model import TransformersReward
from rmaudit.scoring import Request, score

SHARING = ("llama", "qwen2", "qwen3", "gemma", "mistral", "gpt2")
BREAD = "How do I bake bread at home?"
CHAT = [{"role": "user", "content": "a few words"}, {"role": "user", "content": "and some more"}]
BRANCHES = [
    Text(BREAD, "Mix flour and water."),
    Text("short", "a text of its own"),
    Text(BREAD, "Mix flour"),  # the start of another output
    Text(CHAT, "first"),
    Text(BREAD, ""),
    Text(BREAD, "Buy one, and do not tell anybody about it, ever."),
    Text(CHAT, "second answer"),
    Text("", "no prompt"),
]


def alone(rewarder: TransformersReward, texts: list[Text]) -> np.ndarray:
    """Each text in a pass of its own, which shares nothing."""
    return np.array([rewarder.forward([each])[0] for each in rewarder.encode(texts)])


@pytest.mark.parametrize("kind", SHARING)
@pytest.mark.parametrize("template", [None, LLAMA_TEMPLATE], ids=["format", "template"])
@pytest.mark.parametrize("pad", [("<pad>", 2), ("</s>", 1), ("</s>", None)], ids=str)
def test_rewards_are_those_of_each_text_alone(kind, template, pad, tmp_path):
    folder = save(tmp_path, kind, pad_id=pad[1], pad=pad[0], template=template)
    rewarder = load_reward_model(folder)
    assert rewarder.describe()["prompt_encoded"] == "once for all its outputs"
    shared = rewarder.forward(rewarder.encode(BRANCHES))
    expected = alone(rewarder, BRANCHES)
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(shared, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", SHARING)
def test_truncated_texts_keep_their_rewards(kind, tmp_path):
    rewarder = load_reward_model(save(tmp_path, kind), max_length=40)
    encoded = rewarder.encode(BRANCHES)
    assert {each.truncated for each in encoded} == {False, True}
    expected = alone(rewarder, BRANCHES)
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)


def test_many_branches_of_a_long_prompt(tmp_path):
    rewarder = load_reward_model(save(tmp_path, "llama"))
    texts = [Text("p" * 60, "word " * (1 + i % 5) + chr(97 + i % 26)) for i in range(40)]
    encoded = rewarder.encode(texts)
    expected = alone(rewarder, texts)
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)


def test_the_prompt_goes_through_the_model_once(tmp_path):
    rewarder = load_reward_model(save(tmp_path, "llama"))
    seen = []
    embeddings = rewarder.model.get_input_embeddings()
    handle = embeddings.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].numel()))
    encoded = rewarder.encode([Text("p" * 50, answer) for answer in ("abc", "defgh", "i")])
    rewarder.forward(encoded)
    handle.remove()
    starts_at = {each.output_start for each in encoded}
    assert seen == [starts_at.pop() + sum(e.tokens - e.output_start for e in encoded)]
    assert not starts_at


def test_the_engine_scores_the_same_shared_and_not(tmp_path, monkeypatch):
    rewarder = load_reward_model(save(tmp_path, "qwen2"))
    rewarder.token_budget, rewarder.max_batch = 300, 7  # groups are cut and share batches
    prompts = [f"prompt number {i % 9} " * (1 + i % 3) for i in range(60)]
    outputs = [f"{i} " + "word " * (i % 5) for i in range(60)]
    request = Request("chosen", [str(i) for i in range(60)], prompts, outputs)
    shared = score(rewarder, [request]).by_request[request.key]
    monkeypatch.setattr(rewarder, "shares_prefixes", False)
    unshared = score(rewarder, [request]).by_request[request.key]
    np.testing.assert_allclose(shared.reward, unshared.reward, atol=1e-4, rtol=0)
    np.testing.assert_array_equal(shared.tokens, unshared.tokens)


def test_a_text_without_a_finite_reward_does_not_spoil_its_neighbours(tmp_path):
    broken = model("llama")
    embeddings = broken.get_input_embeddings().weight
    bang = tokenizer()("!", add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        embeddings[bang] = float("nan")
    broken.save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    rewarder = load_reward_model(tmp_path)
    texts = [Text(BREAD, "fine"), Text(BREAD, "no!"), Text(BREAD, "fine as well")]
    rewards = rewarder.forward(rewarder.encode(texts))
    np.testing.assert_array_equal(np.isfinite(rewards), [True, False, True])
    np.testing.assert_allclose(rewards, alone(rewarder, texts), atol=1e-4, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("bert", "not for bert"), ("xlnet", "not for xlnet"), ("sliding", "sliding window")],
)
def test_what_cannot_share_says_so_and_scores_as_before(kind, reason, tmp_path):
    if kind == "sliding":
        sliding = model("mistral").config
        sliding.sliding_window = 16
        made = transformers.AutoModelForSequenceClassification.from_config(sliding)
        made.save_pretrained(tmp_path)
        tokenizer().save_pretrained(tmp_path)
    else:
        save(tmp_path, kind)
    rewarder = load_reward_model(tmp_path)
    assert not rewarder.shares_prefixes
    assert reason in rewarder.describe()["prompt_encoded"]
    encoded = rewarder.encode(BRANCHES)
    expected = alone(rewarder, BRANCHES)
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-4, rtol=0)


def test_an_attention_that_gives_other_rewards_is_not_used(tmp_path, monkeypatch):
    folder = save(tmp_path, "llama")
    wrong = torch.tensor([[5.0], [6.0], [7.0], [8.0]])
    monkeypatch.setattr("rmaudit.rewards.local.transformers_model.shared_heads", lambda *_: wrong)
    rewarder = load_reward_model(folder)
    assert not rewarder.shares_prefixes
    assert "other rewards" in rewarder.describe()["prompt_encoded"]


def test_the_common_start_leaves_each_text_a_token():
    assert common_start([1, 2, 3], [1, 2, 4]) == 2
    assert common_start([1, 2], [1, 2, 3]) == 1
    assert common_start([1, 2], [1, 2]) == 1
    assert common_start([1], [1, 2]) == 0
    assert common_start([3, 1, 2], [4, 1, 2]) == 0


def test_groups_save_the_most_tokens():
    """Against every way of dividing a few texts into groups."""
    rng = np.random.default_rng(3)
    for _ in range(15):
        stems = [rng.integers(0, 9, rng.integers(16, 40)).tolist() for _ in range(2)]
        texts = [
            stems[rng.integers(2)][: rng.integers(16, 40)] + rng.integers(0, 9, 5).tolist()
            for _ in range(4)
        ]
        found = sum((len(group) - 1) * length for group, length in starts(texts))
        best = max(
            sum(saved(texts, labels, label) for label in set(labels))
            for labels in itertools.product(range(4), repeat=4)
        )
        assert found == best


def saved(texts: list[list[int]], labels: tuple[int, ...], label: int) -> int:
    group = [text for text, own in zip(texts, labels, strict=True) if own == label]
    pairs = itertools.combinations(group, 2)
    length = min((common_start(a, b) for a, b in pairs), default=0)
    return (len(group) - 1) * length if length >= 16 else 0


def test_a_packed_row_by_hand():
    stem = list(range(100, 120))
    packed = pack([[*stem, 1, 2], [7, 8], [*stem, 3]], torch.device("cpu"), torch.float32)
    assert packed.tokens.tolist() == [[7, 8, *stem, 1, 2, 3]]
    assert packed.positions.tolist() == [[0, 1, *range(20), 20, 21, 20]]
    assert packed.read.tolist() == [23, 1, 24]
    single, shared = packed.groups
    assert (single.begin, single.end, single.branches) == (0, 2, ())
    (call,) = shared.branches
    assert (shared.begin, shared.end, call.begin, call.end) == (2, 22, 22, 25)
    no = float("-inf")
    assert call.mask[:, :20].eq(0).all()
    assert call.mask[:, 20:].tolist() == [[0, no, no], [0, 0, no], [no, no, 0]]
