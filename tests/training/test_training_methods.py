"""SFT, PPO, RLOO, A2C, DPO, best of n: their parts by hand, and that they learn."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from policies import EOS, PROMPTS, count_reward, llama_policy

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.training.policy.a2c import train_a2c
from rmaudit.training.policy.best_of_n import Pool, sample_pool
from rmaudit.training.policy.dpo import implicit_reward, train_dpo
from rmaudit.training.policy.log import sampled
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.ppo import (
    adapted_beta,
    clipped_policy_loss,
    clipped_value_loss,
    gae,
    token_rewards,
    train_ppo,
    whiten,
)
from rmaudit.training.policy.reward import Rewards
from rmaudit.training.policy.rloo import leave_one_out, train_rloo
from rmaudit.training.policy.run import choose_prompts, scores
from rmaudit.training.policy.settings import (
    A2cConfig,
    DpoConfig,
    PolicyConfig,
    PpoConfig,
    RlooConfig,
    SftConfig,
)
from rmaudit.training.policy.sft import negative_log_likelihood, train_sft
from rmaudit.worlds.clinic.policy import ClinicReward, ClinicSetting
from rmaudit.worlds.clinic.world import ClinicWorld

QUICK: dict[str, Any] = {"steps": 12, "batch": 48, "learning_rate": 2e-2}
METHODS: dict[str, tuple[Callable[..., Path], PolicyConfig]] = {
    "ppo": (train_ppo, PpoConfig(**QUICK, minibatch=24, epochs=2)),
    "rloo": (train_rloo, RlooConfig(**QUICK)),
    "a2c": (train_a2c, A2cConfig(**QUICK)),
}


def records(log: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def same(a: CausalPolicy, b: CausalPolicy) -> bool:
    other = b.model.state_dict()
    return all(torch.equal(value, other[name]) for name, value in a.model.state_dict().items())


# -- parts -------------------------------------------------------------------------------------


def test_token_rewards_by_hand() -> None:
    mask = torch.tensor([[True, True, True], [True, False, False]])
    ratio = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 0.0]])
    found = token_rewards(torch.tensor([10.0, 20.0]), ratio, 0.1, mask)
    expected = torch.tensor([[-0.05, 0.1, 9.8], [19.7, 0.0, 0.0]])
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.6, 1.0])
def test_gae_is_the_sum_of_discounted_errors(gae_lambda: float) -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = [5, 1, 3]
    mask = torch.arange(5) < torch.tensor(lengths)[:, None]
    token_reward = torch.randn(3, 5, generator=generator) * mask
    values = torch.randn(3, 5, generator=generator) * mask
    advantages, returns = gae(token_reward, values, mask, gae_lambda)
    for row, length in enumerate(lengths):
        r, v = token_reward[row].tolist(), [*values[row, :length].tolist(), 0.0]
        errors = [r[t] + v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            slow = sum(gae_lambda ** (u - t) * errors[u] for u in range(t, length))
            assert float(advantages[row, t]) == pytest.approx(slow, abs=1e-5)
            assert float(returns[row, t]) == pytest.approx(slow + v[t], abs=1e-5)
            if gae_lambda == 1:  # Monte Carlo: what is still to come
                assert float(returns[row, t]) == pytest.approx(sum(r[t:length]), abs=1e-5)
        assert not advantages[row, length:].any()


def test_whitening_counts_real_tokens_alone() -> None:
    mask = torch.tensor([[True, True], [True, False]])
    found = whiten(torch.tensor([[1.0, 2.0], [6.0, 99.0]]), mask)
    sd = math.sqrt((4 + 1 + 9) / 3)
    torch.testing.assert_close(found, torch.tensor([[-2 / sd, -1 / sd], [3 / sd, 0.0]]))


def test_clipped_losses_by_hand() -> None:
    ratio = torch.tensor([1.5, 1.5, 0.5, 0.5])
    advantage = torch.tensor([2.0, -2.0, 2.0, -2.0])
    # a gain is not taken beyond the clip, a loss is counted in full
    expected = torch.tensor([-2.4, 3.0, -1.0, 1.6])
    torch.testing.assert_close(clipped_policy_loss(ratio, advantage, 0.2), expected)
    values, old, returns = (
        torch.tensor([1.0, 1.0]),
        torch.tensor([0.0, 0.0]),
        torch.tensor([1.0, 3.0]),
    )
    # the first has arrived, but its clipped twin has not; the second is nearer than its twin
    found = clipped_value_loss(values, old, returns, 0.2)
    torch.testing.assert_close(found, torch.tensor([0.5 * 0.8**2, 0.5 * 2.8**2]))


def test_leave_one_out_by_hand() -> None:
    found = leave_one_out(torch.tensor([1.0, 2.0, 6.0, 5.0, 5.0, 5.0]), 3)
    # 1 - (2 + 6)/2, 2 - (1 + 6)/2, 6 - (1 + 2)/2
    torch.testing.assert_close(found, torch.tensor([-3.0, -1.5, 4.5, 0.0, 0.0, 0.0]))


def test_prompts_come_equally_often() -> None:
    counts = np.bincount(choose_prompts(7, 20, np.random.default_rng(0)), minlength=7)
    assert counts.sum() == 20
    assert set(counts) <= {2, 3}


def test_an_output_that_was_cut_pays_for_it() -> None:
    policy = llama_policy(0)
    rollout = policy.pack([[3], [3]], [[5, EOS], [5, 5]])
    rewards = Rewards(np.array([1.0, 1.0]))
    assert scores(rewards, rollout, policy, 0.75).tolist() == [1.0, 0.25]


# -- learning ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_learns_on_any_causal_model_resumes_and_is_deterministic(
    method: str, tmp_path: Path
) -> None:
    train, config = METHODS[method]
    config = config.but(checkpoint_every=4)
    policy = llama_policy(0)
    log = train(policy, count_reward, PROMPTS, config, tmp_path / "whole")
    found = records(log)
    assert [r["step"] for r in found] == list(range(config.steps + 1))
    assert found[0]["kl_k1"] == pytest.approx(0, abs=1e-5)
    assert found[-1]["proxy"] > found[0]["proxy"] + 1
    assert found[-1]["kl_k1"] > 0.5
    for key in ("kl_k3", "gold", "length", "entropy", "beta", "samples"):
        assert all(math.isfinite(r[key]) for r in found)

    def killed_at(step: int) -> Callable[..., Rewards]:
        calls = iter(range(step))

        def reward(prompts: Any, outputs: Any) -> Rewards:
            if next(calls, None) is None:
                raise KeyboardInterrupt
            return count_reward(prompts, outputs)

        return reward

    again = llama_policy(0)
    with pytest.raises(KeyboardInterrupt):
        train(again, killed_at(6), PROMPTS, config, tmp_path / "killed")
    again = llama_policy(0)  # a new process begins with the first weights
    resumed = train(again, count_reward, PROMPTS, config, tmp_path / "killed")
    assert same(policy, again)
    assert resumed.read_text() == log.read_text()
    # a run that has ended is read back, another is refused
    third = llama_policy(0)
    assert train(third, killed_at(0), PROMPTS, config, tmp_path / "whole") == log
    assert same(policy, third)
    with pytest.raises(UsageError, match="another weights"):
        train(llama_policy(1), count_reward, PROMPTS, config, tmp_path / "whole")
    with pytest.raises(UsageError, match="another settings"):
        train(llama_policy(0), count_reward, PROMPTS, config.but(seed=1), tmp_path / "whole")


def test_adaptive_beta_by_hand(tmp_path: Path) -> None:
    config = PpoConfig(beta=0.5, target_kl=2.0, beta_rate=0.1)
    assert adapted_beta(0.5, 2.2, config) == pytest.approx(0.5 * 1.01)  # 10 % above
    assert adapted_beta(0.5, 1.8, config) == pytest.approx(0.5 * 0.99)
    assert adapted_beta(0.5, 50.0, config) == pytest.approx(0.5 * 1.02)  # clipped at 20 %
    assert adapted_beta(0.5, 0.0, config) == pytest.approx(0.5 * 0.98)
    assert adapted_beta(0.5, 50.0, PpoConfig()) == 0.5
    config = config.but(steps=3, batch=12)
    found = [
        r["beta"]
        for r in records(train_ppo(llama_policy(0), count_reward, PROMPTS, config, tmp_path))
    ]
    assert found[:2] == pytest.approx([0.5, 0.5 * 0.98])  # no KL at first: the penalty falls


def test_a_reward_that_is_not_finite_is_one_clear_line(tmp_path: Path) -> None:
    def broken(prompts: Any, outputs: Any) -> Rewards:
        return Rewards(np.full(len(outputs), math.nan))

    with pytest.raises(RewardModelError, match="is nan; run"):
        train_ppo(llama_policy(0), broken, PROMPTS, PpoConfig(**QUICK), tmp_path)


def test_sft_learns_what_it_is_shown(tmp_path: Path) -> None:
    policy = llama_policy(0)
    prompts, outputs = [[3], [4]] * 20, [[7, 8, EOS], [9, EOS]] * 20
    before = negative_log_likelihood(policy, prompts, outputs)
    config = SftConfig(steps=60, batch=16, learning_rate=1e-2)
    log = train_sft(policy, prompts, outputs, config, tmp_path)
    found = records(log)
    assert found[0]["loss"] == pytest.approx(before, rel=0.3)
    after = negative_log_likelihood(policy, prompts, outputs, batch=7)
    assert after < 0.1 < before
    log_probs = policy.log_probs(policy.pack(prompts[:2], outputs[:2]))
    # 5 tokens of two demonstrations: the mean is over tokens
    assert after == pytest.approx(-float(log_probs.detach().sum()) / 5, rel=1e-4)
    # the second rollout is what was shown
    rollout, _ = policy.sample([[3]] * 20, torch.Generator().manual_seed(0))
    assert rollout.outputs.count([7, 8, EOS]) > 15


def test_dpo_fits_preferences_and_its_reward_is_the_log_ratio(tmp_path: Path) -> None:
    policy = llama_policy(0)
    reference = policy.frozen()
    rng = np.random.default_rng(0)
    prompts = [PROMPTS[i] for i in rng.integers(3, size=60)]
    good = [[*rng.integers(2, 8, size=2).tolist(), 9, EOS] for _ in prompts]
    bad = [[*rng.integers(2, 8, size=2).tolist(), 10, EOS] for _ in prompts]
    config = DpoConfig(steps=40, batch=20, learning_rate=1e-2, beta=0.5, measure_every=20)
    measure = sampled(count_reward, PROMPTS, reference, 0, each=30)
    log = train_dpo(policy, prompts, good, bad, config, tmp_path, measure=measure)
    found = records(log)
    assert found[0]["loss"] == pytest.approx(math.log(2), abs=1e-6)  # no log-ratio yet
    assert found[0]["accuracy"] == pytest.approx(0.5, abs=0.5)
    assert found[-2]["accuracy"] == 1.0
    assert found[-1]["kl_k1"] > 0.3
    assert found[-1]["proxy"] > found[0]["proxy"]
    reward = implicit_reward(policy, reference, prompts, good, 0.5)
    other = implicit_reward(policy, reference, prompts, bad, 0.5)
    rollout = policy.pack(prompts, good)
    ratio = (policy.log_probs(rollout) - reference.log_probs(rollout)).sum(dim=1)
    torch.testing.assert_close(reward.float(), 0.5 * ratio.detach())
    assert (reward > other).all()


def test_dpo_smoothing_bounds_the_margin(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="label_smoothing"):
        DpoConfig(label_smoothing=0.5)
    margins = []
    for smoothing in (0.0, 0.3):
        config = DpoConfig(
            steps=40, batch=4, learning_rate=1e-2, beta=1.0, label_smoothing=smoothing
        )
        pairs = ([[3]] * 4, [[9, EOS]] * 4, [[10, EOS]] * 4)
        log = train_dpo(llama_policy(0), *pairs, config, tmp_path / str(smoothing))
        margins.append(records(log)[-2]["margin"])
    assert margins[0] > 2
    assert margins[1] == pytest.approx(math.log(0.7 / 0.3), abs=0.1)


@pytest.mark.parametrize("batch", [5, 20])  # a prompt in two pieces; two prompts in one
def test_best_of_n_keeps_the_best(batch: int) -> None:
    pool = sample_pool(
        llama_policy(0), count_reward, PROMPTS, 8, torch.Generator().manual_seed(0), batch=batch
    )
    assert pool.proxy.shape == (3, 8)
    outputs, proxy, gold = pool.best()
    for row in range(3):
        counts = [output.count(9) for output in pool.outputs[row]]
        assert pool.proxy[row].tolist() == counts
        assert proxy[row] == max(counts)
        assert outputs[row] == pool.outputs[row][counts.index(max(counts))]
    assert gold is not None
    assert pool.kl == pytest.approx(math.log(8) - 7 / 8)
    assert Pool([[[1]]], np.array([[1.0]]), None).kl == 0
    with pytest.raises(UsageError, match="n must be positive"):
        sample_pool(llama_policy(0), count_reward, PROMPTS, 0, torch.Generator())


def test_bad_settings_are_one_clear_line() -> None:
    for wrong in ({"steps": 0}, {"batch": -1}, {"beta": -0.1}, {"learning_rate": math.nan}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            PolicyConfig(**wrong)
    with pytest.raises(UsageError, match="divide the batch"):
        RlooConfig(batch=10, samples=4)


# -- against the exact optimum -----------------------------------------------------------------


def test_ppo_comes_near_the_exact_optimum_and_knows_its_kl(tmp_path: Path) -> None:
    """The small version of benchmarks/policy.py."""
    setting = ClinicSetting(ClinicWorld(0), n_contexts=4)
    policy = setting.fresh_policy(0, layers=1)
    pre = policy.frozen()
    reward = ClinicReward(setting, setting.additive_proxy())
    reference = setting.log_probs(policy)
    config = PpoConfig(
        steps=25, batch=192, minibatch=96, epochs=2, beta=1.0, learning_rate=1e-2, measure_every=100
    )
    log = train_ppo(
        policy,
        reward,
        setting.prompts,
        config,
        tmp_path,
        measure=setting.measure(reference, reward.table),
    )
    start, end = (records(log)[i] for i in (0, -1))
    found = setting.exact(setting.log_probs(policy), reference, reward.table)
    assert end["kl_exact"] == found.kl > 0.5
    _, best = setting.tilted_at(reference, reward.table, found.kl)
    assert start["kl_exact"] == pytest.approx(0, abs=1e-6)
    share = (found.proxy - start["proxy_exact"]) / (best.proxy - start["proxy_exact"])
    assert 0.9 <= share <= 1 + 1e-9
    said = sampled(reward, setting.prompts, pre, 0, each=1000)(policy)
    assert said["kl_k1"] == pytest.approx(found.kl, rel=0.05)
    assert abs(said["kl_k1"] - found.kl) < 5 * said["kl_k1_se"]
    assert said["proxy"] == pytest.approx(found.proxy, rel=0.05)
