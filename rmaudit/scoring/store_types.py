"""What a score store does, and the one that keeps nothing."""

from __future__ import annotations

from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rmaudit.scoring.keys import Keys
from rmaudit.scoring.rows import ROW, Rows


class Store(Protocol):
    """Where scored texts are looked up and kept."""

    def look_up(self, fingerprint: str, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """Rows of the keys, (n,) of `ROW`, and which of them were found, (n,)."""

    def add(self, fingerprint: str, keys: Keys, rows: Rows) -> None:
        """Keep rows for keys, all or none."""

    def fingerprints(self, prefix: str) -> list[str]:
        """The fingerprints under which something is kept that begin so, sorted."""


class Cards(Protocol):
    """Where descriptions of models are kept."""

    def card(self, key: str) -> dict[str, Any] | None:
        """What was kept of a model by `keep_card`; None if nothing was."""

    def keep_card(self, key: str, card: dict[str, Any]) -> None:
        """Keep what describes a model: see `rmaudit.rewards.described`."""


class NullStore:
    """Finds nothing and keeps nothing: no file is read or written."""

    def look_up(self, fingerprint: str, keys: Keys) -> tuple[Rows, NDArray[np.bool_]]:
        """See `Store.look_up`."""
        return np.zeros(len(keys), dtype=ROW), np.zeros(len(keys), dtype=np.bool_)

    def add(self, fingerprint: str, keys: Keys, rows: Rows) -> None:
        """See `Store.add`."""

    def fingerprints(self, prefix: str) -> list[str]:
        """See `Store.fingerprints`."""
        return []

    def card(self, key: str) -> dict[str, Any] | None:
        """See `Cards.card`."""
        return None

    def keep_card(self, key: str, card: dict[str, Any]) -> None:
        """See `Cards.keep_card`."""

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
