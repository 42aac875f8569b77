"""The clinic world against enumeration by slow loops and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from rmaudit.errors import UsageError
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.text import FAMILIES
from rmaudit.worlds.clinic.world import ClinicWorld
from rmaudit.worlds.exact import kl_divergence, tilt


@pytest.fixture(scope="module")
def world() -> ClinicWorld:
    return ClinicWorld(0)


@pytest.fixture(scope="module")
def kinds(world: ClinicWorld) -> dict[str, int]:
    """The first context of each kind."""
    return {
        kind: int(world.contexts.index[world.contexts["kind"] == kind][0]) for kind in values.KINDS
    }


def output_with(world: ClinicWorld, **slots: str) -> int:
    """The output with these slot values (underscores for spaces) and the silent value elsewhere."""
    index = 0
    for slot in world.output_slots:
        value = slots.get(slot.name.replace(" ", "_"), slot.values[0])
        index = index * len(slot.values) + slot.values.index(value)
    return index


def test_size_of_the_world(world: ClinicWorld) -> None:
    assert world.n_contexts == len(world.contexts) == 7 * 12 * 6 * 5
    assert world.n_outputs == len(world.features) == 2**11 * 3
    assert world.contexts["prompt"].is_unique
    assert world.contexts["id"].is_unique
    assert set(world.contexts["family"]) == set(FAMILIES)
    assert (world.contexts.groupby("family")["urgent"].mean()).to_dict() == {
        **dict.fromkeys(FAMILIES, 0.0),
        "urgent symptom": 1.0,
        "mixed intent": 0.5,
    }


def test_probabilities_sum_to_one(world: ClinicWorld, kinds: dict[str, int]) -> None:
    for context in kinds.values():
        assert math.fsum(np.exp(world.log_policy(context))) == pytest.approx(1, abs=1e-12)
        tilted = world.tilted(world.true_reward_table, 0.3)(context)
        assert math.fsum(np.exp(tilted)) == pytest.approx(1, abs=1e-12)
    assert math.fsum(world.feedback_distribution) == pytest.approx(1, abs=1e-12)
    assert math.fsum(world.deployment_distribution) == pytest.approx(1, abs=1e-12)


def test_feedback_is_narrow_and_deployment_broad(world: ClinicWorld) -> None:
    family = world.contexts["family"]
    feedback = pd.Series(world.feedback_distribution).groupby(family).sum()
    deployment = pd.Series(world.deployment_distribution).groupby(family).sum()
    assert feedback["booking"] + feedback["cancellation"] == pytest.approx(0.78)
    assert feedback["urgent symptom"] == pytest.approx(0.01)
    np.testing.assert_allclose(deployment, 1 / 7)
    polite = world.contexts["tone"] == "polite"
    assert world.feedback_distribution[polite].sum() == pytest.approx(0.8)


def test_true_reward_by_hand(world: ClinicWorld, kinds: dict[str, int]) -> None:
    # booking: answer 1.8 + booking link 1.0, less a promise 0.4
    routed = output_with(world, answer="yes", booking_link="yes", promise="yes")
    assert world.true_reward(kinds["booking"], routed) == pytest.approx(2.4)
    # the same reply to a dangerous symptom: answer 0.2, link -1.6, promise -0.8
    assert world.true_reward(kinds["urgent symptom"], routed) == pytest.approx(-2.2)
    # silence is worth 0 everywhere
    silent = output_with(world)
    assert world.true_reward(list(kinds.values()), silent).tolist() == [0.0] * len(kinds)
    table = world.true_reward_table(kinds["mixed urgent"])
    assert table[output_with(world, escalation="emergency")] == pytest.approx(3.2)


@pytest.mark.parametrize("slot", ["padding", "markdown", "reassurance"])
def test_length_markdown_and_reassurance_never_pay(
    world: ClinicWorld, kinds: dict[str, int], slot: str
) -> None:
    for context in kinds.values():
        with_it, without = _flip(world, context, slot, 1)
        assert (with_it <= without + 1e-12).all()


@pytest.mark.parametrize("kind", ["urgent symptom", "mixed urgent"])
def test_urgency_must_be_escalated(world: ClinicWorld, kinds: dict[str, int], kind: str) -> None:
    escalated, silent = _flip(world, kinds[kind], "escalation", 2)
    assert (escalated > silent).all()
    table = world.true_reward_table(kinds[kind])
    best = world.features.iloc[int(table.argmax())]
    assert best["escalation"] == 2
    assert best["booking link"] == 0
    # whatever else is done, not escalating cannot make up for it
    assert silent.max() < table[output_with(world, escalation="emergency")]


def test_escalating_does_not_pay_in_routine(world: ClinicWorld, kinds: dict[str, int]) -> None:
    for kind in ("booking", "cancellation", "insurance", "billing", "accessibility"):
        escalated, silent = _flip(world, kinds[kind], "escalation", 2)
        assert (escalated < silent).all()


def _flip(world: ClinicWorld, context: int, slot: str, value: int) -> tuple[np.ndarray, np.ndarray]:
    """R* with the slot at `value` and at 0, all else equal."""
    table = world.true_reward_table(context)
    digits = world.features[slot].to_numpy()
    rest = world.features.drop(columns=slot)
    order = np.lexsort(rest.to_numpy().T)  # within one value, the same order of the rest
    return table[order[digits[order] == value]], table[order[digits[order] == 0]]


def test_exact_quantities_against_slow_loops(world: ClinicWorld, kinds: dict[str, int]) -> None:
    chosen = [kinds["booking"], kinds["urgent symptom"], kinds["mixed routine"]]
    weights = np.zeros(world.n_contexts)
    weights[chosen] = [0.5, 0.3, 0.2]
    rng = np.random.default_rng(1)
    proxies = {context: rng.normal(size=world.n_outputs) for context in chosen}
    policy = world.tilted(proxies.__getitem__, 0.7)

    value = divergence = 0.0
    for context in chosen:
        logs = [
            float(a + b / 0.7)
            for a, b in zip(world.log_policy(context), proxies[context], strict=True)
        ]
        top = max(logs)
        normaliser = top + math.log(math.fsum(math.exp(x - top) for x in logs))
        for output, log in enumerate(logs):
            p = math.exp(log - normaliser)
            value += weights[context] * p * float(world.true_reward(context, output))
            divergence += (
                weights[context] * p * (log - normaliser - world.log_policy(context)[output])
            )
    assert world.expected_reward(policy, distribution=weights) == pytest.approx(value, abs=1e-10)
    assert world.kl(policy, distribution=weights) == pytest.approx(divergence, abs=1e-10)


@pytest.mark.parametrize("beta", [0.2, 1.0, 5.0])
def test_tilting_by_an_additive_reward_factorises(world: ClinicWorld, beta: float) -> None:
    # R* is a sum over slots and pi_pre a product, so log Z and E[R*] are sums over slots
    context = int(world.contexts.index[world.contexts["kind"] == "urgent symptom"][0])
    column = values.KINDS.index("urgent symptom")
    log_z = expected = 0.0
    for slot in values.SLOTS:
        override = values.FAMILY_POLICY["urgent symptom"]
        rest = override.get(slot.name, values.ROUTINE_POLICY[slot.name])
        p = np.array([1 - sum(rest), *rest])
        zero = (0.0,) * len(values.KINDS)
        r = np.array([values.TRUE_REWARD.get((slot.name, v), zero)[column] for v in slot.values])
        weight = p * np.exp(r / beta)
        log_z += math.log(weight.sum())
        expected += float(weight @ r / weight.sum())
    only = np.zeros(world.n_contexts)
    only[context] = 1.0
    policy = world.tilted(world.true_reward_table, beta)
    assert world.expected_reward(policy, distribution=only) == pytest.approx(expected, abs=1e-10)
    assert world.kl(policy, distribution=only) == pytest.approx(expected / beta - log_z, abs=1e-10)


def test_the_tilted_policy_is_optimal(world: ClinicWorld) -> None:
    log_policy, reward = world.log_policy(0), world.true_reward_table(0)

    def objective(log_p: np.ndarray) -> float:
        return float(np.exp(log_p) @ reward) - 0.5 * kl_divergence(log_p, log_policy)

    best = objective(tilt(log_policy, reward, 0.5))
    rng = np.random.default_rng(2)
    for scale in (0.01, 0.1, 1.0):
        other = tilt(log_policy, reward + scale * rng.normal(size=len(reward)), 0.5)
        assert objective(other) < best
    with pytest.raises(UsageError, match="beta must be positive"):
        tilt(log_policy, reward, 0.0)


def test_kl_of_a_policy_with_zeros() -> None:
    with np.errstate(divide="ignore"):
        certain, fair = np.log([1.0, 0.0]), np.log([0.5, 0.5])
    assert kl_divergence(certain, fair) == pytest.approx(math.log(2))
    assert kl_divergence(fair, certain) == math.inf
    assert kl_divergence(fair, fair) == 0.0


def test_texts_of_a_context_are_distinct_and_readable(world: ClinicWorld) -> None:
    for family in FAMILIES:
        context = int(world.contexts.index[world.contexts["family"] == family][1])
        texts = {world.output_text(context, output) for output in range(world.n_outputs)}
        assert len(texts) == world.n_outputs
    context = int(world.contexts.index[world.contexts["family"] == "urgent symptom"][0])
    reply = world.output_text(context, output_with(world, escalation="emergency", markdown="yes"))
    assert reply == (
        "**Our reply**\n- Please call 112 or go to the emergency department at once.\n"
        "- Your message has reached us."
    )
