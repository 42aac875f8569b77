"""A reward model whose rewards are known: a hash of the text; it counts what it is asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import prompt_text
from rmaudit.rewards.base import Encoded, RewardModel, Text
from rmaudit.scoring import Request


def reward_of(text: Text, salt: str = "") -> float:
    """In [-1, 1), a function of the text alone."""
    said = f"{salt}|{prompt_text(text.prompt)}|{text.output}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(said).digest()[:6], "big") / 2**47 - 1


class StubModel(RewardModel):
    kind = "stub"

    def __init__(
        self,
        name: str = "stub",
        *,
        reward: Callable[[Text], float] | None = None,
        memory: int | None = None,  # padded tokens that still fit
        max_batch: int = 8,
        token_budget: int = 512,
    ) -> None:
        self.name = name
        self.fingerprint = f"stub-{name}"
        self.max_batch = max_batch
        self.token_budget = token_budget
        self.memory = memory
        self.reward = reward or (lambda text: reward_of(text, name))
        self.encoded: list[Text] = []
        self.batches: list[list[Text]] = []  # those that were rewarded
        self.pad_left: list[bool] = []

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        self.encoded += texts
        return [
            Encoded(
                payload=text,
                tokens=len(prompt_text(text.prompt)) + len(text.output),
                output_tokens=len(text.output),
                truncated="long" in text.output,
                output_truncated="cut" in text.output,
                double_bos="bos" in text.output,
            )
            for text in texts
        ]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        padded = len(batch) * max(e.tokens for e in batch)
        if self.memory is not None and padded > self.memory:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        rewards = np.array([self.reward(e.payload) for e in batch])
        self.batches.append([e.payload for e in batch])
        self.pad_left.append(pad_left)
        return rewards

    @property
    def scored(self) -> list[Text]:
        return [text for batch in self.batches for text in batch]


def make_request(n: int = 40, side: str = "chosen", **fields: object) -> Request:
    """`n` texts of different lengths, the same ones for the same `side`."""
    return Request(
        side,
        [f"row{i}" for i in range(n)],
        [f"prompt {i}" for i in range(n)],
        [f"{side} answer {i} " + "word " * (i % 7) for i in range(n)],
        **fields,  # type: ignore[arg-type]
    )


def expected(request: Request, salt: str = "stub") -> NDArray[np.float64]:
    """The rewards that `StubModel(salt)` gives a request."""
    pairs = zip(request.prompts, request.outputs, strict=True)
    return np.array([reward_of(Text(p, o), salt) for p, o in pairs])


class Listener:
    def __init__(self) -> None:
        self.planned: list[tuple[int, int, int, str]] = []
        self.texts = self.tokens = self.closed = 0

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        self.planned.append((texts, to_score, tokens, unit))

    def advance(self, texts: int, tokens: int) -> None:
        self.texts += texts
        self.tokens += tokens

    def close(self) -> None:
        self.closed += 1
