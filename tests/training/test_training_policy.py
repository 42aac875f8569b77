"""The policy interface on a random Hugging Face model and on the clinic's policy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from policies import EOS, VOCABULARY, llama_policy

from rmaudit.training.policy.log import describe, kl_k1, kl_k3, sequence_log_ratio
from rmaudit.training.policy.model import CausalPolicy, Evaluation, Rollout
from rmaudit.training.policy.reward import Rewards

PROMPTS = [[3, 4, 5], [6], [7, 8], [3, 4, 5]]


def test_sampled_log_probs_are_those_of_a_forward_pass() -> None:
    policy = llama_policy(0)
    rollout, log_probs = policy.sample(PROMPTS, torch.Generator().manual_seed(1))
    evaluated = policy.evaluate(rollout).log_probs
    torch.testing.assert_close(log_probs, evaluated, atol=2e-6, rtol=0)
    assert (log_probs <= 0).all()


def test_padding_changes_no_probability() -> None:
    policy = llama_policy(0)
    rollout, _ = policy.sample(PROMPTS, torch.Generator().manual_seed(1))
    together = policy.log_probs(rollout).sum(dim=1)
    for row, (prompt, output) in enumerate(zip(PROMPTS, rollout.outputs, strict=True)):
        # the definition: one token after the other, nothing padded
        total = 0.0
        for t, token in enumerate(output):
            ids = torch.tensor([prompt + output[:t]])
            with torch.inference_mode():
                logits = policy.model(input_ids=ids).logits[0, -1].double()
            total += float(torch.log_softmax(logits, dim=0)[token])
        assert float(together[row].detach()) == pytest.approx(total, abs=1e-5)


def test_memory_decides_how_not_what(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = llama_policy(0)
    rollout, _ = policy.sample(PROMPTS, torch.Generator().manual_seed(1))
    whole = policy.evaluate(rollout)
    # as many columns of logits as the outputs need, and the one before them
    asked: list[int] = []
    forward = policy.model.forward

    def counted(*, logits_to_keep: int, **inputs: object) -> object:
        asked.append(logits_to_keep)
        return forward(logits_to_keep=logits_to_keep, **inputs)

    monkeypatch.setattr(policy.model, "forward", counted)
    monkeypatch.setattr("rmaudit.training.policy.model.MOST_NUMBERS", 1)
    with torch.no_grad():
        parts = policy.evaluate(rollout)  # a sequence at a time
    assert asked == [rollout.mask.shape[1] + 1] * len(PROMPTS)
    policy._keeps = False  # a model that cannot leave logits out
    monkeypatch.setattr(policy.model, "forward", lambda **inputs: forward(**inputs))
    every = policy.evaluate(rollout)
    for other in (parts, every):
        torch.testing.assert_close(other.log_probs, whole.log_probs, atol=2e-6, rtol=0)
        torch.testing.assert_close(other.entropy, whole.entropy, atol=2e-6, rtol=0)
        torch.testing.assert_close(other.hidden, whole.hidden, atol=2e-6, rtol=0)


def test_an_output_ends_with_its_end_token_or_at_the_limit() -> None:
    policy = llama_policy(0, max_new_tokens=30)
    rollout, _ = policy.sample([[3]] * 200, torch.Generator().manual_seed(0))
    for output in rollout.outputs:
        assert EOS not in output[:-1]
        assert output[-1] == EOS or len(output) == 30
    assert {len(output) for output in rollout.outputs} >= {1, 2, 3}
    again, _ = policy.sample([[3]] * 200, torch.Generator().manual_seed(0))
    assert again.outputs == rollout.outputs
    packed = policy.pack([[3]] * 200, rollout.outputs)
    assert torch.equal(packed.mask, rollout.mask)


def test_samples_follow_the_distribution() -> None:
    policy = llama_policy(0, max_new_tokens=1)
    rollout, _ = policy.sample([[3, 4]] * 4000, torch.Generator().manual_seed(0))
    counts = np.bincount([output[0] for output in rollout.outputs], minlength=VOCABULARY)
    with torch.inference_mode():
        logits = policy.model(input_ids=torch.tensor([[3, 4]])).logits[0, -1]
    expected = 4000 * torch.softmax(logits.double(), dim=0).numpy()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < VOCABULARY - 1 + 5 * math.sqrt(2 * (VOCABULARY - 1))


def test_copies_of_a_prompt_are_drawn_as_single_ones_are() -> None:
    policy = llama_policy(0)
    rollout, log_probs = policy.sample(PROMPTS[:3], torch.Generator().manual_seed(1), copies=4)
    repeated = [prompt for prompt in PROMPTS[:3] for _ in range(4)]
    single, _ = policy.sample(repeated, torch.Generator().manual_seed(1))
    assert rollout.outputs == single.outputs
    assert len({tuple(output) for output in rollout.outputs[:4]}) > 1
    torch.testing.assert_close(log_probs, policy.evaluate(rollout).log_probs, atol=2e-6, rtol=0)
    torch.testing.assert_close(rollout.tokens, single.tokens)


def test_the_grammar_renormalises() -> None:
    free = llama_policy(0, max_new_tokens=2)
    allowed = torch.zeros((2, VOCABULARY), dtype=torch.bool)
    allowed[0, [3, 4]] = True
    allowed[1, [5]] = True
    bound = CausalPolicy(free.model, pad_id=0, eos_id=None, max_new_tokens=2, allowed=allowed)
    rollout, log_probs = bound.sample([[6]] * 50, torch.Generator().manual_seed(0))
    assert {tuple(output) for output in rollout.outputs} == {(3, 5), (4, 5)}
    with torch.inference_mode():
        p = torch.softmax(free.model(input_ids=torch.tensor([[6]])).logits[0, -1], dim=0)
    first = bound.evaluate(rollout)
    expected = torch.where(rollout.tokens[:, 1] == 3, p[3], p[4]) / (p[3] + p[4])
    torch.testing.assert_close(first.log_probs[:, 0].exp(), expected)
    torch.testing.assert_close(first.log_probs[:, 1], torch.zeros(50))  # no choice
    torch.testing.assert_close(log_probs, first.log_probs, atol=2e-6, rtol=0)
    q = float(p[3] / (p[3] + p[4]))
    assert float(first.entropy[0, 0].detach()) == pytest.approx(
        -q * math.log(q) - (1 - q) * math.log(1 - q), abs=1e-5
    )
    first.log_probs.sum().backward()
    assert all(torch.isfinite(w.grad).all() for w in free.model.parameters() if w.grad is not None)


def test_a_frozen_copy_does_not_follow() -> None:
    policy = llama_policy(0)
    twin = policy.frozen()
    rollout, _ = policy.sample(PROMPTS, torch.Generator().manual_seed(1))
    before = twin.log_probs(rollout)
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight += 0.1
    torch.testing.assert_close(twin.log_probs(rollout), before)
    assert not torch.allclose(policy.log_probs(rollout), before)


def test_kl_estimates_by_hand() -> None:
    # two sequences; the first has one token: ratios log 2 and 0 + log(1/2)
    policy = torch.tensor([[math.log(0.5), 0.0], [math.log(0.5), math.log(0.25)]])
    reference = torch.tensor([[math.log(0.25), 0.0], [math.log(0.5), math.log(0.5)]])
    ratio = sequence_log_ratio(policy, reference)
    np.testing.assert_allclose(ratio, [math.log(2), -math.log(2)], atol=1e-6)
    np.testing.assert_allclose(kl_k1(ratio), [math.log(2), -math.log(2)], atol=1e-6)
    # k3: 1/2 - 1 + log 2 and 2 - 1 - log 2
    expected = [math.log(2) - 0.5, 1 - math.log(2)]
    np.testing.assert_allclose(kl_k3(ratio), expected, atol=1e-6)


def test_a_record_by_hand() -> None:
    attention = torch.tensor([[True, True, False], [True, True, True]])
    rollout = Rollout(torch.zeros((2, 3), dtype=torch.long), attention, 1)
    log_probs = torch.tensor([[-1.0, 0.0], [-1.0, -2.0]])
    evaluation = Evaluation(log_probs, torch.tensor([[0.3, 0.0], [0.6, 0.9]]), torch.zeros(2, 2, 4))
    rewards = Rewards(np.array([1.0, 3.0]), outside=np.array([0.0, 1.0]))
    found = describe(rollout, evaluation, torch.tensor([[-2.0, 0.0], [-2.0, -4.0]]), rewards)
    assert found["kl_k1"] == 2.0  # (1 + 3) / 2
    assert found["kl_k1_se"] == pytest.approx(math.sqrt(2) / math.sqrt(2))
    assert found["length"] == 1.5
    assert found["entropy"] == pytest.approx(0.6)  # of 3 tokens
    assert (found["proxy"], found["outside_support"], found["samples"]) == (2.0, 0.5, 2)
    assert "gold" not in found
    assert "disagreement" not in found
