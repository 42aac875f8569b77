"""The dose world: gold by hand, exact best of n by brute force, and the rise and fall it is for."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from rmaudit.errors import UsageError
from rmaudit.overoptimization import dose_curves
from rmaudit.overoptimization.curves import Pool, best_of_n_curve
from rmaudit.overoptimization.dose_curves import exact_curve, from_dose, proxy_tables, within_sd
from rmaudit.worlds.dose import DoseWorld
from rmaudit.worlds.dose.policy import DoseSetting
from rmaudit.worlds.dose.proxies import Proxies, train_proxies
from rmaudit.worlds.dose.world import N_OUTPUTS, PENALTY, UTILITY
from rmaudit.worlds.exact import best_of_n


@pytest.fixture(scope="module")
def world() -> DoseWorld:
    return DoseWorld()


@pytest.fixture(scope="module")
def proxies(world: DoseWorld) -> Proxies:
    pairs = world.draw_pairs(800, np.random.default_rng(0), noise=0.25)
    return train_proxies(world, pairs, members=2, seed=0)


def test_gold_is_what_the_doses_are_worth_less_too_much(world: DoseWorld) -> None:
    doses = (3, 2, 1, 0, 2, 1, 0)  # nine in all, three more than are tolerated
    output = int(np.ravel_multi_index(doses, (4,) * 7))
    assert tuple(world.doses[output]) == doses
    for context in (0, 31):
        worth = sum(w * UTILITY[d] for w, d in zip(world.weights[context], doses, strict=True))
        assert world.gold[context, output] == pytest.approx(worth - 3 * PENALTY)
    assert world.output_text(0) == "Noted."
    assert len({world.output_text(o) for o in range(0, N_OUTPUTS, 97)}) == len(
        range(0, N_OUTPUTS, 97)
    )


def test_best_of_n_by_every_sequence_of_draws() -> None:
    chance = np.array([0.5, 0.2, 0.2, 0.1])
    reward = np.array([1.0, 3.0, 3.0, 2.0])  # two outputs tie at the top
    for n in (1, 2, 3):
        won = np.zeros(4)
        for draws in itertools.product(range(4), repeat=n):
            best = max(reward[list(draws)])
            winners = [d for d in draws if reward[d] == best]
            for d in winners:  # ties are broken at random
                won[d] += np.prod(chance[list(draws)]) / len(winners)
        assert np.exp(best_of_n(np.log(chance), reward, n)) == pytest.approx(won)
    # Any n: all of the mass goes to the best two, in proportion to the policy.
    assert np.exp(best_of_n(np.log(chance), reward, 2.0**40)) == pytest.approx([0, 0.5, 0.5, 0])
    with pytest.raises(UsageError, match="at least 1"):
        best_of_n(np.log(chance), reward, 0)


def test_labels_are_noisy_as_asked(world: DoseWorld) -> None:
    rng = np.random.default_rng(1)
    pairs = world.draw_pairs(20_000, rng, noise=0.25)
    # 20,000 draws: a standard error of 0.003.
    assert pairs.flipped.mean() == pytest.approx(0.25, abs=0.012)
    margin = world.gold[pairs.context, pairs.chosen] - world.gold[pairs.context, pairs.rejected]
    sound = margin[~pairs.flipped]
    expected = 1 / (1 + np.exp(-np.abs(sound)))
    assert (sound > 0).sum() / (sound != 0).sum() == pytest.approx(
        expected[sound != 0].mean(), abs=0.02
    )
    with pytest.raises(UsageError, match=r"from 0 to 0\.5"):
        world.draw_pairs(10, rng, noise=0.7)


def test_gold_rises_and_then_falls_under_best_of_n(world: DoseWorld, proxies: Proxies) -> None:
    curve = exact_curve(world, proxies.tables[0], "bon", 4.0 ** np.arange(0, 10))
    gold = (curve.gold - curve.gold_start[:, None]).mean(axis=0) / within_sd(world, world.gold)
    peak = int(gold.argmax())
    assert 0 < peak < len(gold) - 1
    assert gold[peak] > 0.4
    assert gold[peak] - gold[-1] > 0.3
    assert (np.diff(curve.proxy.mean(axis=0)) > 0).all()  # the proxy only rises
    # KL is exact, so at most the bound log n - (n - 1) / n, which holds with equality without ties.
    n = curve.strength
    assert (curve.kl_at <= np.log(n) - (n - 1) / n + 1e-9).all()


def test_the_gold_reward_itself_only_gains(world: DoseWorld) -> None:
    curve = exact_curve(world, world.gold, "tilted", np.array([4.0, 1.0, 0.25]))
    assert (np.diff(curve.gold.mean(axis=0)) > 0).all()
    assert np.array_equal(curve.gold, curve.proxy)


def test_the_estimator_of_pools_covers_the_exact_curve(world: DoseWorld, proxies: Proxies) -> None:
    table, ns = proxies.tables[0], np.array([2, 8, 32])
    exact = exact_curve(world, table, "bon", ns.astype(float))
    truth = (exact.gold - exact.gold_start[:, None]).mean(axis=0)
    inside = np.zeros(len(ns))
    draws = 60
    for seed in range(draws):
        outputs = world.draw_outputs(64, np.random.default_rng(seed))
        rows = np.arange(world.n_contexts)[:, None]
        pool = Pool.of(table[rows, outputs], world.gold[rows, outputs], np.arange(len(rows)))
        curve = best_of_n_curve(pool, [int(n) for n in ns])
        # The contexts are all there are, so only the draws vary: the interval is too wide for
        # that, never too narrow.
        for j, gain in enumerate(curve.gains("gold")):
            unit = curve.sd("gold")
            inside[j] += gain.low * unit <= truth[j] <= gain.high * unit
    assert (inside / draws >= 0.9).all()


def test_members_differ_and_the_averaged_one_is_a_member_of_none(
    world: DoseWorld, proxies: Proxies
) -> None:
    assert not np.allclose(proxies.tables[0], proxies.tables[1])
    assert -1 <= proxies.error_correlation(world.gold) < 1
    assert 1 <= proxies.effective_number(world.gold) <= 2
    tables = proxy_tables(world, proxies)
    assert list(tables) == ["one model", "mean", "wco", "uwo", "warm"]
    for table in tables.values():
        assert table.shape == world.gold.shape
    assert np.array_equal(tables["wco"], np.minimum(*_members(world, proxies)))


def _members(world: DoseWorld, proxies: Proxies) -> list[np.ndarray]:
    chance = np.exp(world.log_policy)
    return [
        (table - (table @ chance)[:, None]) / within_sd(world, table) for table in proxies.tables
    ]


def test_a_policy_can_be_enumerated(world: DoseWorld) -> None:
    setting = DoseSetting(world, n_contexts=2)
    log_probs = setting.log_probs(setting.fresh_policy(0))
    assert log_probs.shape == (2, N_OUTPUTS)
    assert np.exp(log_probs).sum(axis=1) == pytest.approx([1, 1])
    tokens = setting.output_tokens(np.array([0, 77, N_OUTPUTS - 1]))
    assert setting.output_indices(tokens).tolist() == [0, 77, N_OUTPUTS - 1]


def test_one_call_draws_every_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dose_curves, "OCTAVES", 4)
    monkeypatch.setattr(dose_curves, "BETAS", np.array([4.0, 2.0, 1.0, 0.5]))
    monkeypatch.setattr(dose_curves, "RL_BATCH", 32)
    result = from_dose(
        tmp_path, pairs=100, members=2, rl=("rloo",), rl_steps=12, rl_contexts=1, resamples=100
    )
    names = [(one.run, one.curve.method) for one in result.studies]
    assert names[:2] == [("one model", "bon"), ("one model", "tilted")]
    assert ("one model, RLOO", "rl") in names
    assert any("designed with an interaction" in note for note in result.notes)
    with pytest.raises(UsageError, match="did you mean ppo"):
        from_dose(tmp_path, rl=("pp",))
