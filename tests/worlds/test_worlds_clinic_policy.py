"""The enumerable policy: probabilities, exact KL and rewards, the tilted optimum."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from rmaudit.errors import UsageError
from rmaudit.rewards.loading import load_reward_model
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.worlds.clinic.policy import ClinicReward, ClinicSetting
from rmaudit.worlds.clinic.world import ClinicWorld


@pytest.fixture(scope="module")
def setting() -> ClinicSetting:
    return ClinicSetting(ClinicWorld(0), n_contexts=3)


@pytest.fixture(scope="module")
def policy(setting: ClinicSetting) -> CausalPolicy:
    return setting.fresh_policy(0, layers=1, width=16)


@pytest.fixture(scope="module")
def table(setting: ClinicSetting, policy: CausalPolicy) -> np.ndarray:
    return setting.log_probs(policy)


def test_the_policy_has_these_outputs_and_no_others(
    setting: ClinicSetting, table: np.ndarray
) -> None:
    assert table.shape == (3, 6144)
    np.testing.assert_allclose(np.exp(table).sum(axis=1), 1, atol=1e-12)


def test_enumeration_is_the_forward_pass_over_each_output(
    setting: ClinicSetting, policy: CausalPolicy, table: np.ndarray
) -> None:
    some = np.random.default_rng(0).choice(6144, 200, replace=False)
    for position, prompt in enumerate(setting.prompts):
        rollout = policy.pack([prompt] * len(some), setting.output_tokens(some))
        with torch.inference_mode():
            whole = policy.log_probs(rollout).double().sum(dim=1).numpy()
        np.testing.assert_allclose(table[position, some], whole, atol=2e-6)


def test_tokens_and_indices_are_inverse_and_follow_the_grammar(setting: ClinicSetting) -> None:
    every = np.arange(6144)
    tokens = setting.output_tokens(every)
    np.testing.assert_array_equal(setting.output_indices(tokens), every)
    allowed = setting.allowed.numpy()
    assert all(allowed[slot, row[slot]] for row in tokens for slot in range(12))
    assert allowed.sum(axis=1).tolist() == [2, 2, 2, 2, 2, 3, 2, 2, 2, 2, 2, 2]
    assert len({tuple(prompt) for prompt in ClinicSetting(setting.world).prompts}) == 50


def test_exact_numbers_are_those_of_the_world(setting: ClinicSetting, table: np.ndarray) -> None:
    world = setting.world
    proxy = setting.additive_proxy()
    position_of = {int(c): i for i, c in enumerate(setting.contexts)}
    weights = np.zeros(world.n_contexts)
    weights[setting.contexts] = 1 / 3
    tilted = setting.tilted(table, proxy, 0.7)
    found = setting.exact(tilted, table, proxy)

    def row(rows: np.ndarray) -> object:
        return lambda context: rows[position_of[context]]

    kl = world.kl(row(tilted), row(table), distribution=weights)  # type: ignore[arg-type]
    gold = world.expected_reward(row(tilted), distribution=weights)  # type: ignore[arg-type]
    assert found.kl == pytest.approx(kl, abs=1e-12)
    assert found.gold == pytest.approx(gold, abs=1e-12)


def test_no_policy_of_equal_kl_beats_the_tilted_one(
    setting: ClinicSetting, table: np.ndarray
) -> None:
    proxy = setting.additive_proxy()
    start = setting.exact(table, table, proxy)
    assert start.kl == 0
    for target in (0.1, 1.0, 4.0):
        beta, best = setting.tilted_at(table, proxy, target)
        assert best.kl == pytest.approx(target, rel=1e-9)
        # Donsker-Varadhan: proxy - beta KL of any policy is at most beta log Z of the reference
        log_z = np.log((np.exp(table) * np.exp(proxy / beta)).sum(axis=1)).mean()
        assert best.proxy - beta * best.kl == pytest.approx(beta * log_z, rel=1e-9)
        # tilting by another reward and to the same KL gets less of this one
        _, other = setting.tilted_at(table, setting.gold, target)
        same = setting.tilted(
            table, setting.gold, setting.tilted_at(table, setting.gold, target)[0]
        )
        assert setting.exact(same, table, proxy).proxy < best.proxy
        assert other.kl == pytest.approx(target, rel=1e-9)
    with pytest.raises(UsageError, match="no tilt of this reward"):
        setting.tilted_at(table, proxy, 1e4)


def test_rewards_are_looked_up_and_aggregated(setting: ClinicSetting) -> None:
    rng = np.random.default_rng(0)
    members = rng.normal(size=(3, 3, 6144))
    reward = ClinicReward(setting, members, aggregate="uwo", uncertainty_weight=0.5)
    prompts, outputs = np.array([2, 0]), np.array([17, 4000])
    found = reward(prompts, setting.output_tokens(outputs))
    for i, (c, o) in enumerate(zip(prompts, outputs, strict=True)):
        own = members[:, c, o]
        mean = sum(own) / 3
        variance = sum((x - mean) ** 2 for x in own) / 3
        assert found.proxy[i] == pytest.approx(mean - 0.5 * variance)
        assert found.disagreement is not None
        assert found.disagreement[i] == pytest.approx(math.sqrt(variance))
        assert found.gold is not None
        assert found.gold[i] == setting.world.true_reward(setting.contexts[c], o)
    assert (
        ClinicReward(setting, members[0])(prompts, setting.output_tokens(outputs)).disagreement
        is None
    )


def test_draws_follow_the_worlds_own_policy(setting: ClinicSetting) -> None:
    positions, outputs = setting.draw(6000, np.random.default_rng(0))
    for position, context in enumerate(setting.contexts):
        here = outputs[positions == position]
        assert len(here) == pytest.approx(2000, abs=5 * math.sqrt(6000 * 2 / 9))
        expected = float(np.exp(setting.world.log_policy(int(context))) @ setting.gold[position])
        values = setting.gold[position, here]
        assert values.mean() == pytest.approx(expected, abs=5 * values.std() / math.sqrt(len(here)))


def test_scores_of_every_text_are_kept(setting: ClinicSetting, tmp_path: Path) -> None:
    one = ClinicSetting(setting.world, n_contexts=1)
    model = load_reward_model("python:rmaudit.worlds.clinic.careful_tone:member_0")
    cache = tmp_path / "scores.npz"
    scores = one.score_all(model, cache=cache)
    assert scores.shape == (1, 1, 6144)
    from rmaudit.worlds.clinic.careful_tone import member_0

    context = int(one.contexts[0])
    prompt = str(one.world.contexts["prompt"].iloc[context])
    for output in (0, 5000):
        assert (
            scores[0, 0, output] == member_0([(prompt, one.world.output_text(context, output))])[0]
        )
    np.testing.assert_array_equal(one.score_all(model, cache=cache), scores)


def test_too_many_contexts_are_refused(setting: ClinicSetting) -> None:
    with pytest.raises(UsageError, match="2520 contexts, not 3000"):
        ClinicSetting(setting.world, n_contexts=3000)
