"""A scored text as the store holds it: fixed-width records with a checksum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rmaudit.scoring.keys import Keys

ROW = np.dtype(
    [
        ("reward", "<f8"),  # NaN and infinities to the bit, which an SQL REAL would lose
        ("tokens", "<u4"),
        ("output_tokens", "<u4"),
        ("truncated", "?"),
        ("output_truncated", "?"),
        ("double_bos", "?"),
    ]
)
"""What is known of a scored text: the fields of `rmaudit.scoring.requests.Column`."""

FIELDS = ROW.names or ()
Rows = NDArray[np.void]

_PACKED = np.dtype([*((name, ROW[name]) for name in FIELDS), ("check", "<u4")])
PACKED_BYTES = _PACKED.itemsize


def pack(keys: Keys, rows: Rows) -> bytes:
    """The records of rows, `PACKED_BYTES` each."""
    packed = np.zeros(len(rows), dtype=_PACKED)
    for name in FIELDS:
        packed[name] = rows[name]
    packed["check"] = _check(keys, packed)
    return packed.tobytes()


def unpack(keys: Keys, records: bytes) -> tuple[Rows, NDArray[np.bool_]]:
    """Rows of records, (n,), and which of them are sound: a damaged one is no reward."""
    packed = np.frombuffer(records, dtype=_PACKED)
    rows = np.zeros(len(packed), dtype=ROW)
    for name in FIELDS:
        rows[name] = packed[name]
    return rows, packed["check"] == _check(keys, packed)


def _check(keys: Keys, packed: Rows) -> NDArray[np.uint32]:
    """A checksum over key and content, (n,), so that a row answers for its own text only."""
    flags = packed["truncated"] + 2 * packed["output_truncated"] + 4 * packed["double_bos"]
    words = (
        keys[:, 0],
        keys[:, 1],
        np.ascontiguousarray(packed["reward"]).view(np.uint64),
        packed["tokens"].astype(np.uint64) << np.uint64(32) | packed["output_tokens"],
        flags.astype(np.uint64),
    )
    total = np.zeros(len(keys), dtype=np.uint64)
    for word in words:  # multiply and shift, as in splitmix64; overflow wraps
        total = (total ^ word) * np.uint64(0xBF58476D1CE4E5B9)
        total ^= total >> np.uint64(29)
    return (total >> np.uint64(32)).astype(np.uint32)
