"""What a run's curve shows, in sentences for the console and the page."""

from __future__ import annotations

import math

from rmaudit.overoptimization.rl_curve import RlCurve
from rmaudit.overoptimization.rl_findings import Mover
from rmaudit.overoptimization.study import Study
from rmaudit.results import Estimate

SMALL, LARGE = 0.095, 1000.0  # between them two decimals say enough


def run_sentences(one: Study) -> list[str]:
    """Where the gold reward of a run turns, and what its proxy's gain is made of."""
    curve, found = one.curve, one.found
    if not isinstance(curve, RlCurve) or found.onset_step is None:
        return []
    onset = found.onset_step
    percent = round(100 * onset.confidence)
    if math.isinf(onset.high):
        end = curve.gold_windows.last[-1]
        turn = (
            f"no fall of the gold reward is shown by step {end:.0f}; if it has "
            f"turned, after step {onset.low:.0f} ({percent}% confidence)"
        )
    else:
        turn = (
            f"the gold reward is highest near step {onset.value:.0f}, between steps "
            f"{onset.low:.0f} and {onset.high:.0f} ({percent}% confidence)"
        )
        loss = found.loss_after_peak
        if loss.defined and loss.low > 0:
            unit = " SD" if curve.standard else ""
            value, _, ends = with_ends(loss).partition(" ")
            turn += f", and {value}{unit} {ends} lower at the end"
    lines = [f"{one.run}: {turn}."]
    if one.movers:
        lines.append(f"{one.run}: components of the proxy: {'; '.join(map(_moved, one.movers))}.")
    return lines


def with_ends(estimate: Estimate) -> str:
    """A number with its interval, all to as many places."""
    numbers = estimate.value, estimate.low, estimate.high
    largest = max(abs(number) for number in numbers if math.isfinite(number))
    value, low, high = (plain(number, largest) for number in numbers)
    return f"{value} [{low}, {high}]"


def plain(value: float, largest: float | None = None) -> str:
    """Two decimals; three digits where a reward's own unit is much smaller or larger than an SD."""
    size = abs(value) if largest is None else largest
    return f"{value:.2f}" if size == 0 or SMALL <= size < LARGE else f"{value:.3g}"


def _moved(mover: Mover) -> str:
    change = mover.change
    sentence = f"{mover.name} {change.value:+.3g} [{change.low:+.3g}, {change.high:+.3g}]"
    if math.isnan(mover.first_step):
        return f"{sentence}, not shown to move"
    return f"{sentence}, from step {mover.first_step:.0f} on"
