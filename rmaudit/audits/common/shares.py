"""How shares and inputs read in findings."""

from __future__ import annotations

from rmaudit.results import Estimate

_INPUTS = {"eval": "evaluation"}


def percent(rate: Estimate) -> str:
    """A share with its interval, in percent: "71.4% [62.0, 79.3]"."""
    if not rate.defined:
        return "undefined"
    return f"{rate.value:.1%} [{100 * rate.low:.1f}, {100 * rate.high:.1f}]"


def data_words(source: str) -> str:
    """An input as it is called in a sentence: "evaluation data", "feedback data"."""
    return f"{_INPUTS.get(source, source)} data"
