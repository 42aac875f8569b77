"""What a policy is trained against: rewards of its outputs, and what is known about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rmaudit.data.types import Prompt
from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Rewarded, RewardModel, Text, one_number
from rmaudit.rewards.batching import length_batches
from rmaudit.typing import Float, Integers

Decode = Callable[[int, Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class Rewards:
    """Of n outputs, each (n,); None where it is not known."""

    proxy: Float  # what is optimised
    gold: Float | None = None  # what is meant
    disagreement: Float | None = None  # SD of the proxy among the members of an ensemble (ddof 0)
    outside: Float | None = None  # 1 where an output is outside the reward model's support, else 0


class PolicyReward(Protocol):
    """Whatever rewards outputs of a policy."""

    def __call__(self, prompts: Integers, outputs: Sequence[Sequence[int]]) -> Rewards:
        """Rewards of outputs (token ids, the end token included) to prompts (positions)."""


class ModelReward:
    """A reward model as the proxy: outputs become text and are scored.

    Parameters
    ----------
    model
        The proxy; of an ensemble, the members give the disagreement.
    prompts
        The texts of the prompts, in the order of the policy's prompts.
    decode
        Prompt (position) and token ids of an output -> its text, special tokens left out.
    gold
        A second reward model, logged and never optimised.
    outside
        Texts -> 1 where a text lies outside the proxy's support, (n,).
    """

    def __init__(
        self,
        model: RewardModel,
        prompts: Sequence[Prompt],
        decode: Decode,
        *,
        gold: RewardModel | None = None,
        outside: Callable[[Sequence[Text]], Float] | None = None,
    ) -> None:
        self.model, self.prompts, self.decode = one_number(model, "a policy"), prompts, decode
        self.gold = None if gold is None else one_number(gold, "a gold score")
        self.outside = outside

    def __call__(self, prompts: Integers, outputs: Sequence[Sequence[int]]) -> Rewards:
        """See `PolicyReward`."""
        texts = [
            Text(self.prompts[prompt], self.decode(int(prompt), output))
            for prompt, output in zip(prompts, outputs, strict=True)
        ]
        disagreement = None
        if len(self.model.members) > 1:
            members = np.stack([score(member, texts) for member in self.model.members])
            disagreement = members.std(axis=0)
        return Rewards(
            proxy=score(self.model, texts),
            gold=None if self.gold is None else score(self.gold, texts),
            disagreement=disagreement,
            outside=None if self.outside is None else self.outside(texts),
        )


def score(model: RewardModel, texts: Sequence[Text]) -> Float:
    """Rewards of texts, (n,), in batches of similar length within the model's token budget."""
    return rewarded(model, texts).total


def rewarded(model: RewardModel, texts: Sequence[Text]) -> Rewarded:
    """Rewards of texts with their components, (n,) each: as `score`.

    Raises
    ------
    RewardModelError
        If the reward itself fails on a text.
    """
    encoded = model.encode(texts)
    total = np.empty(len(texts))
    components: dict[str, Float] = {}
    tokens = [text.tokens for text in encoded]
    for batch in length_batches(tokens, model.token_budget, model.max_batch):
        found = model.score_batch([encoded[i] for i in batch])
        for reason in found.failures.values():
            raise RewardModelError(f"{model.name} {reason}")
        total[batch] = found.total
        for name, values in found.components.items():
            components.setdefault(name, np.full(len(texts), np.nan))[batch] = values
    return Rewarded(total, components)
