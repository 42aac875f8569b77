"""The support test for texts that come later: fitted once, and the same for all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmaudit.support.conformal import Calibration, neighbour_distance, split_prompts
from rmaudit.text.embedding import TFIDF, Encoder, Space
from rmaudit.typing import Float

TIE = 1e-3  # what distance can tell apart: see `nearest`


class FittedSupport:
    """A reference with its space, its neighbours and its calibration rows.

    The space is fitted on the neighbours alone. Calibration rows are placed in it as any later text
    is, so that a later text like the reference is outside as often as promised. Words that the
    neighbours do not have are distance: see `Space.place`.

    Parameters
    ----------
    texts, prompts
        Of the reference, and what each row answers: see `split_prompts`.
    embedder
        See `Space`.
    seed
        Of the split and of the space.
    """

    def __init__(
        self,
        texts: Sequence[str],
        prompts: Sequence[str],
        *,
        embedder: str | Encoder = TFIDF,
        seed: int = 0,
    ) -> None:
        near, held_out = split_prompts(prompts, np.random.default_rng(seed), texts)
        neighbours = [texts[row] for row in near]
        self._space = Space(neighbours, embedder=embedder, seed=seed)
        self._near = self._space.place(neighbours)
        self.calibration = Calibration(
            self.distance([texts[row] for row in held_out]), len(set(prompts))
        )

    def distance(self, texts: Sequence[str]) -> Float:
        """Mean distance of texts to their nearest neighbours in the reference, (n,), 0 to 2.

        Texts of new words alone are all at a right angle to the reference: of those the one with
        more characters of new words is farther, by less than 0.001.
        """
        new = np.array([sum(map(len, self._space.new_words(text))) for text in texts], dtype=float)
        distance = neighbour_distance(self._space.place(texts), self._near)
        return np.asarray(distance + TIE * new / (1 + new), dtype=np.float64)

    def outside(self, texts: Sequence[str]) -> Float:
        """1 where a text is outside the support, else 0, (n,); NaN where the test is undefined."""
        return self.calibration.outside(self.distance(texts))
