"""Which outputs lie outside the reward model's support, while a policy is trained.

The conformal test of the coverage audit, on outputs: an output is outside if it lies farther from
the outputs of the feedback than 95 % of held-out feedback does. A policy that has not moved away
from the feedback has 5 % outside; a share that grows is a policy that leaves the data behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rmaudit.data.types import Dataset
from rmaudit.errors import DataError
from rmaudit.rewards.base import Text
from rmaudit.support.conformal import neighbour_distance, p_values, split_reference
from rmaudit.text.embedding import TFIDF, Encoder, embed
from rmaudit.typing import Float

LEVEL = 0.05
MOST_FEEDBACK = 2000  # outputs of the feedback that are compared with: bounds the time of a step


def outside_support(
    feedback: Dataset, *, embedder: str | Encoder = TFIDF, seed: int = 0
) -> Callable[[Sequence[Text]], Float]:
    """A test for `ModelReward`: texts -> 1 where an output is outside the support, else 0, (n,).

    Parameters
    ----------
    feedback
        What the reward model was trained on; at most 2,000 distinct outputs are drawn from it.
    embedder
        See `rmaudit.text.embedding.embed`. The space is fitted on the feedback alone, so that it is
        the same at every step.
    seed
        Of the draw and of the split into neighbours and calibration.

    Raises
    ------
    DataError
        If the feedback has fewer than 30 distinct outputs: 5 % of them cannot be told.
    """
    known = sorted(set(_outputs(feedback)))
    if len(known) < 30:
        raise DataError(
            f"{feedback.source.path}: {len(known)} distinct outputs; the support of a reward model "
            "needs at least 30"
        )
    rng = np.random.default_rng(seed)
    kept = rng.choice(len(known), min(len(known), MOST_FEEDBACK), replace=False)
    reference = [known[i] for i in np.sort(kept)]
    near, held_out = split_reference(reference, rng)

    def test(texts: Sequence[Text]) -> Float:
        outputs = [text.output for text in texts]
        own, placed = embed(reference, outsiders=outputs, embedder=embedder, seed=seed)
        calibration = neighbour_distance(own[held_out], own[near])
        values = p_values(neighbour_distance(placed, own[near]), calibration)
        return np.asarray(values <= LEVEL, dtype=np.float64)

    return test


def _outputs(feedback: Dataset) -> list[str]:
    frame = feedback.frame
    if feedback.type == "preference":
        return [*frame["chosen"], *frame["rejected"]]
    if "outputs" in frame:
        return [output for outputs in frame["outputs"] for output in outputs]
    return list(frame["output"]) if "output" in frame else []
