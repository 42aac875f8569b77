"""Which word, put in another's place, would raise the reward: gradients of the one-hot tokens.

The search for a universal suffix asks for this where the weights are at hand: HotFlip (Ebrahimi et
al. 2018, arXiv 1712.06751) for one word, GCG (Zou et al. 2023, arXiv 2307.15043) for several.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.rewards.batching import length_batches
from rmaudit.rewards.local.pooling import pad
from rmaudit.rewards.local.transformers_model import TransformersReward

_PROBE = "a"  # any word that is one token: what candidates are appended to


class WordGradients:
    """First-order gains of the words at the end of an output.

    Candidates are the vocabulary's whole words: those that, written after a space, are one token
    again. So what the search finds is a string that is read as it was searched.

    Parameters
    ----------
    model
        A transformers reward model, or an ensemble of them: then its first member's gradients
        propose, and the ensemble's rewards, which the search asks for, decide.

    Raises
    ------
    UsageError
        If the model is of another kind: see `lacking`.
    """

    def __init__(self, model: RewardModel) -> None:
        member = model.members[0].loaded
        if (reason := lacking(model)) or not isinstance(member, TransformersReward):
            raise UsageError(f"{model.name}: gradients need {reason}")
        self._member = member
        words, ids = _whole_words(member.tokenizer)
        self.words: tuple[str, ...] = words
        self._ids = torch.tensor(ids, dtype=torch.long, device=member.device)
        self._id_of = dict(zip(words, ids, strict=True))

    def gains(self, texts: Sequence[Text], suffix: Sequence[str]) -> NDArray[np.float64]:
        r"""How much each word in each place of the suffix would raise the mean reward.

        Parameters
        ----------
        texts
            Texts whose outputs end in the words of `suffix`, a space before each.
        suffix
            Words of `words`.

        Returns
        -------
        NDArray
            (len(suffix), n_words), in units of reward; higher is better. It is
            :math:`(e_v - e_{old}) \cdot \partial R / \partial e`, the linear part of the change, so
            only the order of the words means something. NaN if no text's tokens end as they should
            (an output that the model's maximum length cuts).
        """
        wanted = [self._id_of[word] for word in suffix]
        encoded = self._member.encode(texts)
        kept = [(e, place) for e in encoded if (place := _last(e.payload, wanted)) is not None]
        if not kept:
            return np.full((len(suffix), len(self.words)), np.nan)
        total = torch.zeros(len(suffix), self._weight.shape[1], device=self._member.device)
        for part in self._batches(kept):
            total += self._gradient(part, len(suffix))
        embeddings = self._weight.detach().float()
        gains = total @ embeddings[self._ids].T  # (places, words)
        old = (total * embeddings[torch.tensor(wanted, device=total.device)]).sum(1, keepdim=True)
        values: NDArray[np.float64] = ((gains - old) / len(kept)).cpu().double().numpy()
        return values

    @property
    def _weight(self) -> Tensor:
        weight: Tensor = self._member.model.get_input_embeddings().weight
        return weight

    def _batches(self, kept: list[tuple[Encoded, int]]) -> list[list[tuple[Encoded, int]]]:
        """Texts of like length, within half the model's budget: a backward pass keeps more."""
        tokens = [encoded.tokens for encoded, _ in kept]
        budget, most = self._member.token_budget // 2, self._member.max_batch
        return [[kept[i] for i in batch] for batch in length_batches(tokens, budget, most)]

    def _gradient(self, part: Sequence[tuple[Encoded, int]], length: int) -> Tensor:
        """Gradients of the rewards at the suffix's embeddings, summed over texts, (length, width).

        The parameters' own gradients are neither computed nor touched.
        """
        member = self._member
        tokens, mask = pad([e.payload for e, _ in part], 0)
        with torch.enable_grad(), _watched(member.model.get_input_embeddings()) as embedded:
            values = member.head_values(tokens.to(member.device), mask.to(member.device))
            (gradient,) = torch.autograd.grad(member.readout.of(values).sum(), embedded[0])
        places = torch.tensor([[p + i for i in range(length)] for _, p in part])
        rows = torch.arange(len(part))[:, None]
        found: Tensor = gradient[rows, places].float().sum(dim=0)
        return found


def lacking(model: RewardModel) -> str | None:
    """What gradients cannot be had without, in words; None if they can."""
    member = model.members[0].loaded
    if not isinstance(member, TransformersReward):
        return "the weights of a transformers model (a directory or hub id as --model)"
    if member.model.config.is_encoder_decoder:
        return "a model that reads the text once, not an encoder with a decoder"
    return None


@contextmanager
def _watched(embedding: nn.Module) -> Any:
    """Collect what the embedding layer puts out, as leaves that gradients reach."""
    seen: list[Tensor] = []

    def watch(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1]

    handle = embedding.register_forward_hook(watch)
    try:
        yield seen
    finally:
        handle.remove()


def _whole_words(tokenizer: Any) -> tuple[tuple[str, ...], list[int]]:
    """Words that are one token after a space, and their tokens, in order of the tokens."""
    special = set(tokenizer.all_special_ids)
    ids = [id_ for id_ in range(len(tokenizer)) if id_ not in special]
    texts = [tokenizer.decode([id_]).strip() for id_ in ids]
    candidates = [
        (word, id_)
        for word, id_ in zip(texts, ids, strict=True)
        if word and word.isprintable() and " " not in word
    ]
    alone = tokenizer(_PROBE, add_special_tokens=False)["input_ids"]
    read = tokenizer([f"{_PROBE} {word}" for word, _ in candidates], add_special_tokens=False)
    kept: dict[str, int] = {}
    for (word, id_), tokens in zip(candidates, read["input_ids"], strict=True):
        if tokens == [*alone, id_]:
            kept.setdefault(word, id_)
    return tuple(kept), list(kept.values())


def _last(tokens: list[int], wanted: list[int]) -> int | None:
    """Where a run of tokens last begins; templates may put more behind it."""
    for start in range(len(tokens) - len(wanted), -1, -1):
        if tokens[start : start + len(wanted)] == wanted:
            return start
    return None
