"""What names a text in the store: a 16-byte hash of its prompt, output and mode."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.types import Message
from rmaudit.scoring.requests import Request

Keys = NDArray[np.uint64]
"""(n, 2): the two halves of each 16-byte hash, big-endian, so that rows sort as the bytes do."""


def text_keys(requests: Iterable[Request]) -> Keys:
    """Keys of every text of the requests, in order, (n, 2).

    Equal exactly when prompt, output and mode are equal (up to collisions of a 128-bit hash). No
    tokenizer is involved, so an audit whose texts are all stored tokenises nothing.
    """
    digests: list[bytes] = []
    for request in requests:
        mode = request.mode
        for prompt, output in zip(request.prompts, request.outputs, strict=True):
            context = (
                f"text {len(prompt)}:{prompt}" if isinstance(prompt, str) else messages_key(prompt)
            )
            # Lone surrogates are texts too.
            text = f"{mode} {context}{output}".encode("utf-8", "surrogatepass")
            digests.append(blake2b(text, digest_size=16).digest())
    return keys_from_bytes(b"".join(digests))


def messages_key(messages: Sequence[Message]) -> str:
    """Lengths before the parts keep ("ab", "c") and ("a", "bc") apart; JSON would take longer."""
    turns = [f"{len(m['role'])}:{m['role']}{len(m['content'])}:{m['content']}" for m in messages]
    return f"messages {len(turns)}:{''.join(turns)}"


def keys_from_bytes(data: bytes) -> Keys:
    """Keys from their bytes, 16 each."""
    return np.frombuffer(data, dtype=">u8").reshape(-1, 2).astype(np.uint64)


def keys_to_bytes(keys: Keys) -> bytes:
    """The bytes of keys, 16 each."""
    return keys.astype(">u8").tobytes()


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct keys in ascending order, and where they came from."""

    keys: Keys  # (n_distinct, 2)
    first: NDArray[np.int64]  # (n_distinct,) position of the first text with this key
    inverse: NDArray[np.int64]  # (n,) which distinct key each text has


def distinct(keys: Keys) -> Distinct:
    """Each key once. Ascending order also makes the store's look-ups walk its tree once."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))  # stable: the first text of a key leads its run
    ordered = keys[order]
    starts = np.ones(len(keys), dtype=np.bool_)
    starts[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    inverse = np.empty(len(keys), dtype=np.int64)
    inverse[order] = np.cumsum(starts) - 1
    return Distinct(ordered[starts], order[starts], inverse)
