"""The unit of reward: the spread of rewards among outputs of one prompt."""

from __future__ import annotations

import math

import numpy as np

from rmaudit.stats.intervals import count_codes
from rmaudit.typing import Array


def within_prompt_sd(rewards: Array, prompts: Array, texts: Array | None = None) -> float:
    """Pooled within-prompt SD of the reward, ``sqrt(sum (r - mean_prompt)**2 / (n - n_prompts))``.

    Rewards have no unit of their own; every standardised effect is divided by this one.

    Parameters
    ----------
    rewards
        (n,), one per text; chosen and rejected together. Non-finite ones are left out.
    prompts
        Prompt codes, (n,).
    texts
        Codes that are equal where the texts of a prompt are, (n,). A text counts once, however
        many pairs it is in: else duplicated data would shrink the unit. By default, texts of one
        prompt with the same reward are taken for the same text.

    Returns
    -------
    float
        In units of reward; 0 for a constant reward; NaN where no prompt has two texts.
    """
    values = np.asarray(rewards, dtype=np.float64)
    finite = np.isfinite(values)
    values, codes = values[finite], np.asarray(prompts, dtype=np.int64)[finite]
    identity = values if texts is None else np.asarray(texts)[finite]
    if values.size == count_codes(codes):
        return math.nan
    order = np.lexsort((identity, codes))
    values, codes, identity = values[order], codes[order], identity[order]
    first = np.r_[True, (codes[1:] != codes[:-1]) | (identity[1:] != identity[:-1])]
    values, codes = values[first], codes[first]
    counts = np.bincount(codes)
    freedom = values.size - np.count_nonzero(counts)
    if freedom == 0:  # each prompt has one reward: constant, or no prompt has two texts
        return 0.0 if texts is None else math.nan
    means = np.bincount(codes, values) / np.maximum(counts, 1)
    return math.sqrt(float(np.sum((values - means[codes]) ** 2)) / freedom)
