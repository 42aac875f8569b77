"""Which pairs go together: batches of similar length, in shuffled order, cut to a token budget."""

from __future__ import annotations

import numpy as np

from rmaudit.rewards.batching import length_batches
from rmaudit.typing import Integers


def epoch_batches(lengths: Integers, batch_pairs: int, rng: np.random.Generator) -> list[Integers]:
    """Every pair once, in batches of pairs of similar length; the batches are in random order.

    Lengths are compared in steps of 16 tokens, and pairs within a step are shuffled, so that
    batches differ from epoch to epoch while padding stays small.

    Parameters
    ----------
    lengths
        Tokens of the longer text of each pair, (n_pairs,).

    Returns
    -------
    Positions of pairs; each batch holds `batch_pairs`, one of them perhaps fewer.
    """
    order = np.lexsort((rng.random(len(lengths)), lengths // 16))
    batches = [order[i : i + batch_pairs] for i in range(0, len(order), batch_pairs)]
    return [batches[i] for i in rng.permutation(len(batches))]


def micro_batches(
    batch: Integers, lengths: Integers, token_budget: int, texts: int = 2
) -> list[Integers]:
    """A batch cut so that the padded texts of a cut hold at most `token_budget` tokens together.

    Each example has `texts` of them, two for a pair. One may exceed the budget on its own.
    Gradients of the cuts add up to the batch's.
    """
    return [batch[cut] for cut in length_batches(texts * lengths[batch], token_budget)]
