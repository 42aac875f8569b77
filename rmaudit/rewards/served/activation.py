"""Rewards that are no logits: noticed where a server ignores that they were asked for."""

from __future__ import annotations

import logging
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rmaudit.errors import RewardModelError, UsageError

Activation = Literal["none", "sigmoid", "softmax"]
"""What a server puts its logits through: nothing that can be undone; a sigmoid; a softmax."""

_ENOUGH = 8  # rewards; fewer may well be between 0 and 1, or equal, by chance
_log = logging.getLogger("rmaudit")


def checked_activation(name: str | None) -> Activation | None:
    """The activation of a name.

    Raises
    ------
    UsageError
        If there is no such activation.
    """
    known: tuple[Activation, ...] = get_args(Activation)
    if name is None:
        return None
    for each in known:
        if each == name:
            return each
    raise UsageError(f"--activation {name}: it must be one of {', '.join(known)}")


class ActivationCheck:
    """Undoes the activation that was declared; without one, refuses rewards that look activated.

    Parameters
    ----------
    shown
        What to call the server.
    declared
        "sigmoid", or "softmax" over two labels: the reward is the log-odds, log p - log(1 - p).
        "none": rewards are taken as they are. None: they should be logits.
    bounded
        The rewards are scores of a scale, so nothing is told from where they lie.
    strict
        The server was asked for logits. Where it was not, rewards between 0 and 1 may be what it
        has to give, and are told only.
    """

    def __init__(
        self, shown: str, declared: Activation | None, *, strict: bool, bounded: bool = False
    ) -> None:
        self._shown, self.declared, self._strict = shown, declared, strict
        self._low, self._high, self._seen = np.inf, -np.inf, 0
        self._told = bounded

    def logits(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rewards of one batch, its activation undone or its form checked.

        Raises
        ------
        RewardModelError
            If all rewards so far lie between 0 and 1, or are equal, and nobody said why; or if an
            activation was declared that cannot have given them.
        """
        if self.declared == "none":
            return values
        known = values[np.isfinite(values)]
        if self.declared is not None:
            outside = known[(known < 0) | (known > 1)]
            if outside.size:
                raise RewardModelError(
                    f"{self._shown}: --activation {self.declared}, but {outside[0]:.4g} is no "
                    "probability; leave it out"
                )
            with np.errstate(divide="ignore"):
                return np.log(values) - np.log1p(-values)
        if known.size:
            self._low = min(self._low, float(known.min()))
            self._high = max(self._high, float(known.max()))
            self._seen += known.size
            self._complain()
        return values

    def _complain(self) -> None:
        equal, bounded = self._low == self._high, self._low >= 0 and self._high <= 1
        if self._seen < 2 or not (equal or bounded):
            return
        if equal:
            one = self._low == 1
            why = "a softmax over one label gives 1" if one else "the server gives the same"
            what = f"all {self._seen} rewards are {self._low:.6g}: {why} to every text"
        else:
            what = (
                f"all {self._seen} rewards lie between 0 and 1 ({self._low:.3g} to "
                f"{self._high:.3g}), as behind a sigmoid: they are no logits"
            )
        ask = (
            "--activation sigmoid (or softmax) takes their log-odds, --activation none takes them "
            "as they are"
        )
        if self._strict and self._seen >= _ENOUGH:
            raise RewardModelError(
                f"{self._shown}: {what}; the server was asked for logits and ignores it (vLLM "
                f"before 0.11 does): update it, or say {ask}"
            )
        if not self._told:
            self._told = True
            _log.warning("%s: %s; %s", self._shown, what, ask)
