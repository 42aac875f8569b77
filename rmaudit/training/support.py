"""Which outputs lie outside the reward model's support, while a policy is trained.

The support test of the audits, on outputs: an output is outside if it lies farther from the
outputs of the feedback than 95 % of held-out feedback does. A policy that answers like the
feedback has 5 % outside; a share that grows is a policy that leaves the data behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from rmaudit.data.types import Dataset, prompt_key
from rmaudit.errors import DataError
from rmaudit.rewards.base import Text
from rmaudit.scoring.requests import data_requests
from rmaudit.support.fitted import FittedSupport
from rmaudit.text.embedding import TFIDF, Encoder
from rmaudit.typing import Float

MOST_FEEDBACK = 2000  # outputs of the feedback that are compared with: bounds the time of a step


def outside_support(
    feedback: Dataset, *, embedder: str | Encoder = TFIDF, seed: int = 0
) -> Callable[[Sequence[Text]], Float]:
    """A test for `ModelReward`: texts -> 1 where an output is outside the support, else 0, (n,).

    Parameters
    ----------
    feedback
        What the reward model was trained on; about 2,000 outputs of whole prompts are drawn.
    embedder
        See `Space`.
    seed
        Of the draw and of the split into neighbours and calibration.

    Raises
    ------
    DataError
        If the feedback has fewer than 50 distinct prompts: 5 % of them cannot be told.
    """
    outputs, prompts = _outputs(feedback)
    kept = _whole_prompts(prompts, np.random.default_rng(seed))
    support = FittedSupport(
        [outputs[i] for i in kept],
        [prompts[i] for i in kept],
        embedder=embedder,
        seed=seed,
    )
    if reason := support.calibration.undefined_reason:
        raise DataError(f"{feedback.source.path}: {reason}")
    return lambda texts: support.outside([text.output for text in texts])


def _outputs(feedback: Dataset) -> tuple[list[str], list[str]]:
    """Outputs and what tells their prompts apart; an output that a prompt repeats comes once."""
    rows = {
        (prompt_key(prompt), output)
        for request in data_requests(feedback, "feedback")
        for prompt, output in zip(request.prompts, request.outputs, strict=True)
    }
    ordered = sorted(rows)
    return [output for _, output in ordered], [prompt for prompt, _ in ordered]


def _whole_prompts(prompts: Sequence[str], rng: np.random.Generator) -> list[int]:
    """Places of the rows of prompts drawn at random, `MOST_FEEDBACK` or a prompt's rows more."""
    if len(prompts) <= MOST_FEEDBACK:
        return list(range(len(prompts)))
    codes = np.unique(np.array(prompts, dtype=object).astype(str), return_inverse=True)[1]
    sizes = np.bincount(codes)
    order = rng.permutation(len(sizes))
    enough = int(np.searchsorted(np.cumsum(sizes[order]), MOST_FEEDBACK)) + 1
    drawn: list[int] = np.flatnonzero(np.isin(codes, order[:enough])).tolist()
    return drawn
