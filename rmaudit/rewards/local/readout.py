"""From the values of a model's heads to its one reward: one head, a weighted sum, or log-odds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Signal

# What the label of a response that is good, or bad, is called; other names are not interpreted.
_GOOD = re.compile(
    r"good|positive|pos|correct|right|yes|true|chosen|preferred|accepted?|helpful|safe|harmless|"
    r"better|win(ner)?|pass(ed)?|\+",
    re.IGNORECASE,
)
_BAD = re.compile(
    r"bad|negative|neg|incorrect|wrong|no|false|rejected|dispreferred|refused?|unsafe|harmful|"
    r"worse|los(e|er|s)|fail(ed)?|-|(un|not[ _-]?)(helpful|safe|correct|preferred|chosen|good)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Readout:
    """How the values of the heads make one reward.

    Attributes
    ----------
    weights
        By head; heads without a weight do not count.
    shown
        In words: "head 0 of 1".
    signal
        What the reward claims.
    notice
        What the user should know of it, if anything.
    """

    weights: tuple[tuple[int, float], ...]
    shown: str
    signal: Signal = "logit"
    notice: str | None = None

    def of(self, values: Any) -> Any:
        """Rewards, (n,), of the values of all heads, (n, n_heads): an array or a tensor."""
        if len(self.weights) == 1 and self.weights[0][1] == 1:
            return values[:, self.weights[0][0]]
        return sum(weight * values[:, head] for head, weight in self.weights)


def readout(
    config: Any, heads: int, name: str, *, head: int | None = None, weights: Sequence[str] = ()
) -> Readout:
    """How a model's heads are read.

    Parameters
    ----------
    config
        The model's: its labels, and what kind of problem it was trained for.
    heads
        How many there are.
    name
        As messages call the model.
    head, weights
        What the user asks for: one head, or a weight of each: numbers, or ``label=number``.

    Notes
    -----
    Two labels behind a softmax have one degree of freedom, the log-odds: neither logit alone says
    how probable its label is. A model has such labels if its configuration says
    ``single_label_classification`` or calls one of them good and the other bad.

    Raises
    ------
    UsageError
        If there is no such head, or it is open which one is the reward.
    """
    labels = _labels(config, heads)
    listed = ", ".join(f"{i} = {label}" for i, label in enumerate(labels))
    if weights:
        if head is not None:
            raise UsageError("--head and --head-weights: a reward is made in one way; say one")
        return _weighted(weights, labels, name, listed)
    if head is not None and not 0 <= head < heads:
        raise UsageError(f"{name}: there is no head {head}; the model has {heads} ({listed})")
    if heads == 2:
        good = _softmax(config, labels, head)
        if good is not None:
            return _log_odds(labels, good)
    said = None
    if head is None:
        head = 0 if heads == 1 else _called_reward(labels)
        if head is not None and heads > 1:
            said = f"its head {head} is the reward, since it is called so (its heads: {listed})"
    if head is None:
        raise UsageError(
            f"{name}: the model has {heads} heads ({listed}); say which one is the reward with "
            "--head N (head=N), or how much each counts with --head-weights"
        )
    return Readout(((head, 1.0),), f"head {head} of {heads}", notice=said)


def _labels(config: Any, heads: int) -> list[str]:
    id2label = getattr(config, "id2label", None) or {}
    return [str(id2label.get(i, i)) for i in range(heads)]


def _called_reward(labels: Sequence[str]) -> int | None:
    called = [i for i, label in enumerate(labels) if label.split(" (")[0] == "reward"]
    return called[0] if len(called) == 1 else None


def _softmax(config: Any, labels: Sequence[str], head: int | None) -> int | None:
    """The good one of two labels that exclude each other; None if they do not, or it is open."""
    named = next(
        (i for i in (0, 1) if _GOOD.fullmatch(labels[i]) and _BAD.fullmatch(labels[1 - i])), None
    )
    exclusive = getattr(config, "problem_type", None) == "single_label_classification"
    if getattr(config, "problem_type", None) in ("regression", "multi_label_classification"):
        return None
    if head is not None:
        return head if exclusive or named is not None else None
    if named is None and exclusive and labels == ["LABEL_0", "LABEL_1"]:
        return 1  # as trainers number them: 0 is false, 1 is true
    return named


def _log_odds(labels: Sequence[str], good: int) -> Readout:
    shown = f"log-odds of label {good} ({labels[good]}) against {labels[1 - good]}"
    said = (
        f"its two labels share a softmax, so the reward is the {shown}: logit {good} minus logit "
        f"{1 - good}; --head {1 - good} takes the other label"
    )
    return Readout(((good, 1.0), (1 - good, -1.0)), shown, notice=said)


def _weighted(given: Sequence[str], labels: Sequence[str], name: str, listed: str) -> Readout:
    parts = [part.rpartition("=") for part in given]
    try:
        numbers = [float(number) for *_, number in parts]
        assert all(map(isfinite, numbers))  # nosec B101: said below
    except (ValueError, AssertionError):
        raise UsageError(
            f"--head-weights {','.join(given)}: say a number per head, or LABEL=NUMBER"
        ) from None
    named = [label for label, *_ in parts]
    if any(named):
        unknown = next((each for each in named if labels.count(each) != 1), None)
        if unknown is not None or len(set(named)) < len(named):
            raise UsageError(
                f"{name}: --head-weights: {unknown or 'a label twice'}: the heads are {listed}"
            )
        places = [labels.index(each) for each in named]
    else:
        if len(numbers) != len(labels):
            raise UsageError(
                f"{name}: --head-weights has {len(numbers)} weights and the model {len(labels)} "
                f"heads ({listed})"
            )
        places = list(range(len(labels)))
    kept = tuple((p, w) for p, w in zip(places, numbers, strict=True) if w)
    if not kept:
        raise UsageError("--head-weights: all are 0, so every reward would be")
    shown = " + ".join(f"{weight:g} {labels[place]}" for place, weight in kept)
    return Readout(kept, f"weighted sum of heads: {shown}", "score")
