"""The tilted curve from samples against the enumerated policies of the clinic world."""

from __future__ import annotations

import numpy as np
import pytest

from rmaudit.overoptimization.curves import Pool, best_of_n_curve, tilted_curve
from rmaudit.stats.intervals import cluster_mean
from rmaudit.worlds.clinic.world import ClinicWorld
from rmaudit.worlds.exact import expectation, kl_divergence

SEED, PROMPTS, SAMPLES = 3, 80, 256
BETAS = (4.0, 2.0, 1.0, 0.7)


@pytest.fixture(scope="module")
def world() -> ClinicWorld:
    return ClinicWorld(0)


@pytest.fixture(scope="module")
def drawn(world: ClinicWorld) -> tuple[np.ndarray, np.ndarray]:
    table = world.draw_samples(PROMPTS, SAMPLES, np.random.default_rng(SEED))
    return table["context"].to_numpy(), np.array(table["output_indices"].tolist())


def proxy_table(world: ClinicWorld, context: int) -> np.ndarray:
    """Right about half of it; pays, wrongly, for outputs late in the list."""
    return 0.5 * world.true_reward_table(context) + np.linspace(0, 2, world.n_outputs)


def pool(world: ClinicWorld, contexts: np.ndarray, outputs: np.ndarray) -> Pool:
    gold = world.true_reward(contexts[:, None], outputs)
    proxy = np.stack(
        [proxy_table(world, int(c))[o] for c, o in zip(contexts, outputs, strict=True)]
    )
    return Pool.of(proxy, gold, np.arange(len(contexts)))


def test_tilted_kl_and_rewards_are_the_enumerated_ones(world: ClinicWorld, drawn: tuple) -> None:
    contexts, outputs = drawn
    curve = tilted_curve(pool(world, contexts, outputs), BETAS)
    assert curve.usable.all()
    for k, beta in enumerate(BETAS):
        policy = world.tilted(lambda c: proxy_table(world, c), beta)
        truth = np.array(
            [
                (
                    kl_divergence(policy(c), world.log_policy(c)),
                    expectation(policy(c), proxy_table(world, c)),
                    expectation(policy(c), world.true_reward_table(c)),
                )
                for c in contexts.tolist()
            ]
        )
        found = (curve.kl[:, k], curve.proxy[:, k], curve.gold[:, k])
        # Paired by context: what is left is the error of 256 samples.
        for values, exact in zip(found, truth.T, strict=True):
            error = cluster_mean(values - exact, curve.clusters, confidence=0.999)
            assert error.low <= 0 <= error.high


def test_best_of_n_is_the_enumerated_one(world: ClinicWorld, drawn: tuple) -> None:
    """Best of n by enumeration: P(proxy <= x)^n over every output; KL at most the bound."""
    contexts, outputs = drawn
    curve = best_of_n_curve(pool(world, contexts, outputs), [1, 4, 16])
    for k, n in enumerate((1, 4, 16)):
        exact = np.empty((PROMPTS, 2))
        for i, c in enumerate(contexts.tolist()):
            proxy, log_p = proxy_table(world, c), world.log_policy(c)
            order = np.argsort(proxy, kind="stable")
            chosen = np.empty(world.n_outputs)
            below = np.exp(log_p)[order].cumsum()
            chosen[order] = np.diff(np.r_[0.0, np.minimum(below, 1) ** n])
            exact[i, 0] = chosen @ world.true_reward_table(c)
            on = chosen > 0
            exact[i, 1] = chosen[on] @ (np.log(chosen[on]) - log_p[on])
        error = cluster_mean(curve.gold[:, k] - exact[:, 0], curve.clusters, confidence=0.999)
        assert error.low <= 0 <= error.high
        assert exact[:, 1].mean() <= curve.kl[0, k] + 1e-9
