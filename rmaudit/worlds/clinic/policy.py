"""The clinic as a setting for policies: 50 contexts, 6,144 outputs each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rmaudit.errors import UsageError
from rmaudit.rewards.base import RewardModel, Text
from rmaudit.training.policy.reward import score
from rmaudit.typing import Float, Integers
from rmaudit.worlds.clinic import values
from rmaudit.worlds.clinic.world import ClinicWorld
from rmaudit.worlds.setting import Exact, TableReward, TokenSetting

__all__ = ["ClinicReward", "ClinicSetting", "Exact"]
ClinicReward = TableReward
N_CONTEXTS = 50
_SIZES = tuple(len(slot.values) for slot in values.SLOTS)  # values of each slot


class ClinicSetting(TokenSetting):
    """50 contexts of the clinic as prompts of tokens, and the policies that answer them.

    Attributes
    ----------
    contexts : ndarray, (n_contexts,)
        Indices into the world's contexts, drawn from deployment without replacement by `seed`.
    prompts : list of list of int
        Four tokens each: family, situation, phrasing, tone.
    gold : ndarray, (n_contexts, n_outputs)
        R* of every output.
    """

    def __init__(self, world: ClinicWorld, *, n_contexts: int = N_CONTEXTS, seed: int = 0) -> None:
        if not 1 <= n_contexts <= world.n_contexts:
            raise UsageError(f"the clinic has {world.n_contexts} contexts, not {n_contexts}")
        self.world = world
        rng = np.random.default_rng(seed)
        self.contexts: Integers = np.sort(
            rng.choice(world.n_contexts, n_contexts, replace=False, p=world.deployment_distribution)
        )
        words: dict[Any, int] = {}  # in order of appearance in the world, so the same for any draw
        frame = world.contexts
        named = zip(
            frame["family"], frame["situation"], frame["phrasing"], frame["tone"], strict=True
        )
        every = [
            [
                words.setdefault(word, len(words))
                for word in (family, (family, situation), (family, "phrasing", phrasing), tone)
            ]
            for family, situation, phrasing, tone in named
        ]
        prompts = [every[context] for context in self.contexts]
        gold = np.stack([world.true_reward_table(int(c)) for c in self.contexts])
        super().__init__(prompts, _SIZES, gold, len(words))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """`n` contexts (positions in `contexts`) and an output of the world's pi_pre for each."""
        positions = rng.integers(len(self.contexts), size=n)
        outputs = np.empty(n, dtype=np.int64)
        for position in np.unique(positions):
            here = positions == position
            probability = np.exp(self.world.log_policy(int(self.contexts[position])))
            outputs[here] = rng.choice(self.world.n_outputs, int(here.sum()), p=probability)
        return positions, outputs

    # -- proxy rewards ---------------------------------------------------------------------------

    def additive_proxy(self) -> Float:
        """What narrow feedback teaches, written down: (n_contexts, n_outputs), in log-odds.

        Every context is paid like a booking, and annotators' shared tastes on top. No weights, no
        chance: for tests and for what must be the same on every machine.
        """
        features = self.world.features
        booking = values.KINDS.index("booking")
        row = np.zeros(self.world.n_outputs)
        for slot in values.SLOTS:
            by_value = [
                values.TRUE_REWARD.get((slot.name, value), (0.0,) * len(values.KINDS))[booking]
                + values.TASTE.get((slot.name, value), 0.0)
                for value in slot.values
            ]
            row += np.array(by_value)[features[slot.name].to_numpy()]
        return np.tile(row, (len(self.contexts), 1))

    def score_all(self, model: RewardModel, *, cache: Path | None = None) -> Float:
        """A reward model's score of every text, (n_members, n_contexts, n_outputs).

        Parameters
        ----------
        model
            A reward model or an ensemble; each member is scored.
        cache
            A .npz file that keeps the scores, by the model's fingerprint; 307,200 texts take a
            small model minutes.
        """
        if cache is not None and cache.is_file():
            stored = np.load(cache)
            same = str(stored["fingerprint"]) == model.fingerprint
            if same and np.array_equal(stored["contexts"], self.contexts):
                return np.asarray(stored["scores"])
        scores = np.stack([self._score(member) for member in model.members])
        if cache is not None:
            np.savez(
                cache,
                scores=scores,
                contexts=self.contexts,
                fingerprint=np.array(model.fingerprint),
            )
        return scores

    def _score(self, model: RewardModel) -> Float:
        rows = []
        for context in self.contexts:
            prompt = str(self.world.contexts["prompt"].iloc[context])
            texts = [
                Text(prompt, self.world.output_text(int(context), output))
                for output in range(self.world.n_outputs)
            ]
            rows.append(score(model, texts))
        return np.stack(rows)
