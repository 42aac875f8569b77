"""Many tests at once."""

from __future__ import annotations

from collections.abc import Sequence


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values, in the order given (Holm 1979).

    Whatever the dependence among the tests, the chance that any true hypothesis has an adjusted
    p-value below `alpha` is at most `alpha`.
    """
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = running
    return adjusted


def finding_level(confidence: float) -> float:
    """The p-value that a finding needs at least, whatever its severity: half of 1 - confidence.

    2.5 % at a confidence of 95 %. Holm's method over a report lowers the severity of what does not
    survive it; without a level for what is left, each two-sided claim would be wrong in 5 %.
    """
    return (1 - confidence) / 2
