"""The clinic: a healthcare-scheduling assistant as an oracular world.

Contexts and outputs are finite, the true reward R* and the first policy pi_pre are known, so every
quantity of arXiv 2404.08555 (Sections 5 and 6) can be computed by enumeration. Feedback is drawn
narrowly (mostly polite scheduling) and deployment is broad: a reward model trained on the feedback
learns "sound careful" and routes a dangerous symptom into normal booking.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rmaudit.errors import UsageError
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.render import contexts_frame, render
from rmaudit.worlds.clinic.text import FAMILIES, SITUATIONS
from rmaudit.worlds.exact import (
    LiteralCoverage,
    Policy,
    RewardTable,
    expectation,
    kl_divergence,
    tilt,
)

_SHAPE = tuple(len(slot.values) for slot in values.SLOTS)
_SAME = 1e-9  # R* margins smaller than this are ties left by rounding


class ClinicWorld:
    """The clinic, the same for every seed but for its annotators' tastes.

    Attributes
    ----------
    contexts : DataFrame
        2,520 rows: id, family, kind, tone, phrasing, situation, urgent, prompt.
    output_slots : tuple of Slot
        12 slots and their values; 6,144 outputs, the same for every context.
    features : DataFrame
        (n_outputs, n_slots): the value index of each slot of each output.
    styles : ndarray of str, (n_outputs,)
        Answer style of each output.
    feedback_distribution, deployment_distribution : ndarray, (n_contexts,)
        Probability of each context; sums to 1.
    tastes : ndarray, (n_annotators, n_outputs)
        What each annotator adds to R*, in log-odds.
    """

    def __init__(self, seed: int = 0) -> None:
        self.contexts = contexts_frame()
        self.output_slots = values.SLOTS
        self.n_contexts = len(self.contexts)
        self.n_outputs = int(np.prod(_SHAPE))
        digits = np.stack(np.unravel_index(np.arange(self.n_outputs), _SHAPE), axis=1)
        self._digits: list[list[int]] = digits.tolist()  # lists: read one text at a time
        self.features = pd.DataFrame(digits, columns=[slot.name for slot in values.SLOTS])
        self.styles = self._styles()
        self._kinds = _codes(self.contexts["kind"], values.KINDS)  # (n_contexts,)
        self._families = _codes(self.contexts["family"], FAMILIES)  # (n_contexts,)
        situations = zip(self.contexts["family"], self.contexts["situation"], strict=True)
        self._subjects = [SITUATIONS[family][n].subject for family, n in situations]
        # Situations and phrasings alternate between the two wordings of every sentence.
        self._wordings = (self.contexts["situation"] + self.contexts["phrasing"]).to_numpy() % 2
        self._rewards = self._reward_by_kind()  # (n_kinds, n_outputs)
        self._choices = [_choice(slot) for slot in values.SLOTS]  # (n_families, n_values) each
        self._log_policies = self._log_policy_by_family()  # (n_families, n_outputs)
        self.feedback_distribution = self._feedback_weights()
        self.deployment_distribution = np.full(self.n_contexts, 1 / self.n_contexts)
        self.annotators = tuple(f"annotator_{i + 1:02d}" for i in range(values.ANNOTATORS))
        self.tastes = self._tastes(np.random.default_rng(seed))

    # -- texts -----------------------------------------------------------------------------------

    def output_text(self, context: int, output: int) -> str:
        """The reply `output` to context `context`; distinct for distinct outputs."""
        digits = self._digits[output]
        chosen = {
            slot.name: slot.values[digit]
            for slot, digit in zip(self.output_slots, digits, strict=True)
        }
        family = FAMILIES[self._families[context]]
        return render(family, self._subjects[context], int(self._wordings[context]), chosen)

    # -- what is known ---------------------------------------------------------------------------

    def true_reward(self, contexts: ArrayLike, outputs: ArrayLike) -> Float:
        """R*(c, o) of context and output indices (broadcast together), in log-odds."""
        kinds = self._kinds[np.asarray(contexts)]
        return np.asarray(self._rewards[kinds, np.asarray(outputs)])

    def true_reward_table(self, context: int) -> Float:
        """R* of every output of a context, (n_outputs,)."""
        table: Float = self._rewards[self._kinds[context]]
        return table

    def log_policy(self, context: int) -> Float:
        """Log pi_pre of every output of a context, (n_outputs,); exp sums to 1."""
        table: Float = self._log_policies[self._families[context]]
        return table

    def expected_reward(
        self,
        policy: Policy | None = None,
        *,
        reward: RewardTable | None = None,
        distribution: Float | None = None,
    ) -> float:
        """J = sum over contexts of p(c) sum over outputs of pi(o|c) r(c, o), exactly.

        Parameters
        ----------
        policy
            Context index -> log-probabilities; pi_pre by default.
        reward
            Context index -> rewards; R* by default.
        distribution
            Weights of the contexts, (n_contexts,), summing to 1; deployment by default. Contexts
            of weight 0 are not asked for.
        """
        policy, reward = policy or self.log_policy, reward or self.true_reward_table
        return sum(p * expectation(policy(c), reward(c)) for c, p in self._support(distribution))

    def kl(
        self,
        policy: Policy,
        reference: Policy | None = None,
        *,
        distribution: Float | None = None,
    ) -> float:
        """KL(policy || reference) averaged over contexts, in nats, exactly; pi_pre by default."""
        reference = reference or self.log_policy
        return sum(
            p * kl_divergence(policy(c), reference(c)) for c, p in self._support(distribution)
        )

    def tilted(self, reward: RewardTable, beta: float) -> Policy:
        """pi_beta(o|c) = pi_pre(o|c) exp(r(c, o)/beta) / Z(c): what optimising `reward` gives.

        With `world.true_reward_table` it is pi*_beta, so that Delta J of Section 6.2 is
        ``J(tilted(R*, beta)) - J(tilted(R_phi, beta))``, each by `expected_reward`.
        """
        return lambda context: tilt(self.log_policy(context), reward(context), beta)

    def literal_coverage(self, feedback: pd.DataFrame) -> LiteralCoverage:
        """Literal kappa and rho of feedback drawn from this world, by enumeration.

        Parameters
        ----------
        feedback
            What `draw_feedback` returned (columns context, chosen_output, rejected_output).
        """
        labelled = feedback.melt("context", ["chosen_output", "rejected_output"], value_name="o")
        pairs = labelled[["context", "o"]].drop_duplicates()  # (c, o) in O_HF
        seen = pairs["context"].unique()
        deployed = self.deployment_distribution
        kappa = np.count_nonzero(deployed[seen]) / np.count_nonzero(deployed)
        kappa_mass = float(deployed[seen].sum())
        if not kappa_mass:
            return LiteralCoverage(kappa, np.nan, kappa_mass, np.nan)
        contexts, outputs = pairs["context"].to_numpy(), pairs["o"].to_numpy()
        policy = np.exp(self._log_policies[self._families[contexts], outputs])
        return LiteralCoverage(
            kappa=kappa,
            rho=len(pairs) / (len(seen) * self.n_outputs),
            kappa_mass=kappa_mass,
            rho_mass=float((deployed[contexts] * policy).sum()) / kappa_mass,
        )

    # -- draws -----------------------------------------------------------------------------------

    def draw_feedback(
        self, n_pairs: int, rng: np.random.Generator, *, annotators: int = 3
    ) -> pd.DataFrame:
        """Preference data as people would give it, from `feedback_distribution`.

        Both outputs come from pi_pre and differ. `annotators` people, drawn from the twelve, vote
        by Bradley-Terry on R* plus their taste; the majority is the label (an even split is
        decided by a coin).

        Returns
        -------
        Columns id, prompt, chosen, rejected, family, subset, style (of the chosen output), tone,
        annotator_votes, annotators, context, chosen_output, rejected_output (indices).

        Raises
        ------
        UsageError
            If `annotators` is not between 1 and the number there are.
        """
        contexts = rng.choice(self.n_contexts, n_pairs, p=self.feedback_distribution)
        return self.label(contexts, rng, annotators=annotators)

    def label(
        self, contexts: Integers, rng: np.random.Generator, *, annotators: int = 3
    ) -> pd.DataFrame:
        """Preference data on given contexts (indices), one pair each; see `draw_feedback`."""
        if not 1 <= annotators <= len(self.annotators):
            raise UsageError(f"annotators must be from 1 to {len(self.annotators)}: {annotators}")
        n_pairs = len(contexts)
        first, second = self._draw_pairs(contexts, rng)
        people = rng.random((n_pairs, len(self.annotators))).argsort(axis=1)[:, :annotators]
        margin = (self.true_reward(contexts, first) - self.true_reward(contexts, second))[:, None]
        taste = self.tastes[people, first[:, None]] - self.tastes[people, second[:, None]]
        prefers_first = rng.random(people.shape) < 1 / (1 + np.exp(-(margin + taste)))
        lead = prefers_first.sum(axis=1) - annotators / 2 + 0.25 * rng.choice([-1, 1], n_pairs)
        first_wins = lead > 0  # (n_pairs,)
        frame = self._preferences("feedback", contexts, first, second, first_wins)
        agrees = prefers_first == first_wins[:, None]
        frame["annotator_votes"] = np.where(agrees, "chosen", "rejected").tolist()
        frame["annotators"] = [[self.annotators[i] for i in row] for row in people]
        return frame

    def draw_evaluation(self, n_pairs: int, rng: np.random.Generator) -> pd.DataFrame:
        """Preference data of deployment contexts, labelled by R* itself; no two outputs are equal.

        Returns
        -------
        The columns of `draw_feedback` without the votes, and `true_margin` (> 0, log-odds).
        """
        contexts = rng.choice(self.n_contexts, n_pairs, p=self.deployment_distribution)
        first, second = self._draw_pairs(contexts, rng, unequal_reward=True)
        margin = self.true_reward(contexts, first) - self.true_reward(contexts, second)
        frame = self._preferences("evaluation", contexts, first, second, margin > 0)
        frame["true_margin"] = np.abs(margin)
        return frame

    def draw_deployment(self, n: int, rng: np.random.Generator) -> pd.DataFrame:
        """What the assistant will meet: contexts, and one reply of pi_pre to each.

        Returns
        -------
        Columns id, prompt, outputs (list of one), family, subset, style, tone, context.
        """
        contexts = rng.choice(self.n_contexts, n, p=self.deployment_distribution)
        outputs = self._draw_outputs(contexts, rng)
        frame = self._rows("deployment", contexts)
        pairs = zip(contexts, outputs, strict=True)
        frame["outputs"] = [[self.output_text(int(c), int(o))] for c, o in pairs]
        frame["style"] = self.styles[outputs]
        return frame

    def draw_samples(self, n_prompts: int, k: int, rng: np.random.Generator) -> pd.DataFrame:
        """`k` replies of pi_pre to each of `n_prompts` distinct deployment contexts, with R*.

        Returns
        -------
        Columns id, prompt, outputs, gold_rewards (lists of k), family, subset, tone, context,
        output_indices.

        Raises
        ------
        UsageError
            If there are fewer contexts than `n_prompts`.
        """
        if n_prompts > self.n_contexts:
            raise UsageError(f"the clinic has {self.n_contexts} contexts, not {n_prompts}")
        p = self.deployment_distribution
        contexts = rng.choice(self.n_contexts, n_prompts, replace=False, p=p)
        outputs = self._draw_outputs(np.repeat(contexts, k), rng).reshape(n_prompts, k)
        frame = self._rows("samples", contexts)
        frame["outputs"] = [
            [self.output_text(int(c), int(o)) for o in row]
            for c, row in zip(contexts, outputs, strict=True)
        ]
        frame["gold_rewards"] = self.true_reward(contexts[:, None], outputs).tolist()
        frame["output_indices"] = outputs.tolist()
        return frame

    # -- inside ----------------------------------------------------------------------------------

    def _support(self, distribution: Float | None) -> list[tuple[int, float]]:
        weights = self.deployment_distribution if distribution is None else distribution
        return [(int(c), float(weights[c])) for c in np.flatnonzero(weights)]

    def _value_table(self, weights: dict[tuple[str, str], float]) -> Float:
        """Sum over slots of the weight of the slot's value, (n_outputs,)."""
        total = np.zeros(self.n_outputs)
        for slot in self.output_slots:
            by_value = np.array([weights.get((slot.name, value), 0.0) for value in slot.values])
            total += by_value[self.features[slot.name].to_numpy()]
        return total

    def _reward_by_kind(self) -> Float:
        return np.stack(
            [
                self._value_table({key: row[kind] for key, row in values.TRUE_REWARD.items()})
                for kind in range(len(values.KINDS))
            ]
        )

    def _log_policy_by_family(self) -> Float:
        table = np.zeros((len(FAMILIES), self.n_outputs))
        for slot, choice in zip(self.output_slots, self._choices, strict=True):
            table += np.log(choice)[:, self.features[slot.name].to_numpy()]
        return table

    def _feedback_weights(self) -> Float:
        frame = self.contexts
        weights = frame["kind"].map(values.FEEDBACK_KINDS) / frame.groupby("kind")[
            "kind"
        ].transform("size")
        weights *= frame["tone"].map(values.FEEDBACK_TONES) * len(values.FEEDBACK_TONES)
        return weights.to_numpy(dtype=np.float64) / float(weights.sum())

    def _tastes(self, rng: np.random.Generator) -> Float:
        rows = []
        for _ in self.annotators:
            personal = {
                (slot.name, value): values.TASTE.get((slot.name, value), 0.0)
                + values.TASTE_SPREAD * rng.standard_normal()
                for slot in self.output_slots
                for value in slot.values[1:]
            }
            rows.append(self._value_table(personal))
        return np.stack(rows)

    def _styles(self) -> NDArray[np.str_]:
        shown = [self.features[slot].to_numpy() > 0 for slot, _ in values.STYLES]
        return np.select(shown, [name for _, name in values.STYLES], default="plain")

    def _draw_outputs(self, contexts: Integers, rng: np.random.Generator) -> Integers:
        """One output of pi_pre for each context, (n,)."""
        families = self._families[contexts]
        outputs: Integers = np.zeros(len(contexts), dtype=np.int64)
        for choice in self._choices:  # the digits of the output's index, slowest first
            cumulative = choice.cumsum(axis=1)[families, :-1]  # (n, n_values - 1)
            digits = (rng.random((len(contexts), 1)) >= cumulative).sum(axis=1)
            outputs = outputs * choice.shape[1] + digits
        return outputs

    def _draw_pairs(
        self, contexts: Integers, rng: np.random.Generator, *, unequal_reward: bool = False
    ) -> tuple[Integers, Integers]:
        """Two different outputs a context (of different R* if asked), by drawing again."""
        first, second = self._draw_outputs(contexts, rng), self._draw_outputs(contexts, rng)
        while True:
            again = first == second
            if unequal_reward:
                margin = self.true_reward(contexts, first) - self.true_reward(contexts, second)
                again |= np.abs(margin) < _SAME
            if not again.any():
                return first, second
            first[again] = self._draw_outputs(contexts[again], rng)
            second[again] = self._draw_outputs(contexts[again], rng)

    def _rows(self, name: str, contexts: Integers) -> pd.DataFrame:
        rows = self.contexts.iloc[contexts].reset_index(drop=True)
        return pd.DataFrame(
            {
                "id": [f"{name}-{i:05d}" for i in range(len(contexts))],
                "prompt": rows["prompt"],
                "family": rows["family"],
                "subset": rows["family"],
                "tone": rows["tone"],
                "context": contexts,
            }
        )

    def _preferences(
        self,
        name: str,
        contexts: Integers,
        first: Integers,
        second: Integers,
        first_wins: NDArray[np.bool_],
    ) -> pd.DataFrame:
        chosen = np.where(first_wins, first, second)
        frame = self._rows(name, contexts)
        for side, outputs in (("chosen", chosen), ("rejected", first + second - chosen)):
            pairs = zip(contexts, outputs, strict=True)
            frame[side] = [self.output_text(int(c), int(o)) for c, o in pairs]
            frame[f"{side}_output"] = outputs
        frame["style"] = self.styles[chosen]
        return frame


def _codes(names: pd.Series, order: tuple[str, ...]) -> Integers:
    return np.array([order.index(name) for name in names], dtype=np.int64)


def _choice(slot: values.Slot) -> Float:
    """Probability of each value of a slot in each family, (n_families, n_values)."""
    rows = []
    for family in FAMILIES:
        override = values.FAMILY_POLICY.get(family, {})
        rest = override.get(slot.name, values.ROUTINE_POLICY[slot.name])
        rows.append([1 - sum(rest), *rest])
    return np.array(rows)
