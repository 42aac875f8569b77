"""Reward inflation of few pairs: a sound reward is left in peace, an inflated one is found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import expit

from rmaudit.audits.common.pairs import Margins, Outputs
from rmaudit.audits.generalization.inflation import overpaid
from rmaudit.results import Estimate
from rmaudit.stats.law import p_at_most
from rmaudit.typing import Float

FIRM, SOFT = 6.0, 0.4  # SDs of the true margins in log-odds: two prompts in five are hard


@dataclass(frozen=True)
class World:
    """Pairs whose labels are Bradley-Terry draws; the reward overpays outputs outside."""

    prompts: int = 200
    share: float = 0.05  # of pairs with one output outside
    paid: float = 0.0  # log-odds
    copies: int = 1  # pairs of a prompt, all with one label

    def draw(self, rng: np.random.Generator) -> tuple[Margins, Float]:
        """Margins, and whether each output is outside."""
        n = self.prompts
        true = rng.normal(size=n) * np.where(rng.random(n) < 0.4, SOFT, FIRM)
        side = np.where(rng.random(n) < self.share, rng.choice([-1.0, 1.0], n), 0.0)
        first = rng.random(n) < expit(true)
        prompt = np.repeat(np.arange(n), self.copies)
        k = len(prompt)
        # Outputs 0..k-1 are the firsts, k..2k-1 the seconds of the pairs.
        outside = np.r_[side[prompt] > 0, side[prompt] < 0].astype(np.float64)
        reward = np.r_[true[prompt], np.zeros(k)] + self.paid * outside
        won = first[prompt]
        places = np.arange(k)
        of = np.r_[prompt, prompt]
        outputs = Outputs(of, of, of, np.arange(2 * k), np.full(2 * k, "words", dtype=object))
        every = np.arange(2 * k)
        margins = Margins(
            outputs,
            reward,
            np.ones(2 * k, dtype=np.int64),
            np.where(won, places, places + k),
            np.where(won, places + k, places),
            np.zeros(k, dtype=bool),
            every,
            outputs.unit(reward, every),
            0,
        )
        return margins, outside


def drawn(world: World, sets: int, seed: int) -> list[tuple[Estimate, float]]:
    """Estimates, and the true inflation in the SDs of the same data."""
    rng = np.random.default_rng(seed)
    measured = []
    for _ in range(sets):
        margins, outside = world.draw(rng)
        estimate = overpaid(margins, outside, 0.95)
        if estimate.defined:
            measured.append((estimate, world.paid / margins.unit.sd))
    assert len(measured) > 0.7 * sets
    return measured


def test_sound_rewards_are_called_inflated_as_rarely_as_promised() -> None:
    """Of 200 pairs about ten tell, most with a foregone label: a sandwich is false in 4 to 5%."""
    sets = drawn(World(), 400, 1)
    false = sum(estimate.low > 0 for estimate, _ in sets)
    # 2.5% promised; a binomial of 400 exceeds 20 in 0.1%.
    assert false <= 20
    # High ones rest on p-values after Holm: 0.5% promised, over 7 in 0.1%; a sandwich has 10.
    assert sum(p_at_most(estimate, 0.0) < 0.005 for estimate, _ in sets) <= 7
    # Two-sided: no interval is so wide that it never ends above a truth below zero.
    held = sum(estimate.low <= true <= estimate.high for estimate, true in sets)
    assert 0.92 * len(sets) <= held < len(sets)


def test_an_inflated_reward_is_found() -> None:
    """Outputs outside are paid 4 log-odds too much, about one SD."""
    sets = drawn(World(paid=4.0), 100, 2)
    assert np.mean([estimate.low > 0 for estimate, _ in sets]) > 0.75  # 0.89 of 391
    assert np.mean([estimate.low <= true <= estimate.high for estimate, true in sets]) > 0.9
    more = drawn(World(share=0.1, paid=4.0), 60, 3)
    assert np.mean([p_at_most(estimate, 0.0) < 0.0025 for estimate, _ in more]) > 0.85  # 0.965


def test_pairs_of_one_prompt_do_not_count_as_many() -> None:
    """Each label three times over: the interval is that of prompts, not of pairs."""
    rng = np.random.default_rng(4)
    widths, false = [], 0
    for _ in range(80):
        margins, outside = World(share=0.2, copies=3).draw(rng)
        estimate = overpaid(margins, outside, 0.95)
        widths.append(estimate.high - estimate.low)
        false += estimate.low > 0
    once = [e.high - e.low for e, _ in drawn(World(share=0.2), 80, 5)]
    # As wide as with one pair of each prompt, and not narrower by the root of three.
    assert 0.85 < np.median(widths) / np.median(once) < 1.5
    assert false <= 8  # 2.5% promised; over 8 of 80 in 0.01%


def test_units_of_the_reward_do_not_matter() -> None:
    rng = np.random.default_rng(6)
    margins, outside = World(share=0.2, paid=2.0).draw(rng)
    one = overpaid(margins, outside, 0.95)
    reward = 1e-3 * margins.reward
    unit = margins.outputs.unit(reward, margins.distinct)
    small = replace(margins, reward=reward, unit=unit)
    other = overpaid(small, outside, 0.95)
    assert (other.value, other.low, other.high) == pytest.approx(
        (one.value, one.low, one.high), rel=1e-4
    )
