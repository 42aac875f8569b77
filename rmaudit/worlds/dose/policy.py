"""The dose world as a setting for policies: a small GPT-2 that can be enumerated.

A policy writes one dose after the other and sees those it has written, so it can express the
interaction: a policy that draws each slot for itself cannot.
"""

from __future__ import annotations

import numpy as np

from rmaudit.typing import Integers
from rmaudit.worlds.dose import text
from rmaudit.worlds.dose.world import N_DOSES, N_SLOTS, DoseWorld
from rmaudit.worlds.setting import TokenSetting

N_CONTEXTS = 16


class DoseSetting(TokenSetting):
    """Contexts of the dose world as prompts of three tokens: topic, tone, urgency.

    Attributes
    ----------
    contexts : ndarray, (n_contexts,)
        Indices into the world's contexts, drawn without replacement by `seed`.
    """

    def __init__(self, world: DoseWorld, *, n_contexts: int = N_CONTEXTS, seed: int = 0) -> None:
        self.world = world
        rng = np.random.default_rng(seed)
        self.contexts: Integers = np.sort(rng.choice(world.n_contexts, n_contexts, replace=False))
        sizes = [len(text.TOPICS), len(text.TONES), len(text.URGENCIES)]
        starts = np.cumsum([0, *sizes[:-1]])
        codes = world.contexts[["topic", "tone", "urgency"]].to_numpy()[self.contexts]
        prompts = [list(map(int, row)) for row in codes + starts]
        super().__init__(prompts, (N_DOSES,) * N_SLOTS, world.gold[self.contexts], sum(sizes))

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Integers, Integers]:
        """`n` contexts (positions in `contexts`) and a reply of the initial policy for each."""
        positions = rng.integers(len(self.contexts), size=n)
        outputs = rng.choice(self.world.log_policy.size, n, p=np.exp(self.world.log_policy))
        return positions, np.asarray(outputs, dtype=np.int64)
