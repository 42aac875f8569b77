"""What a run's curve shows, in sentences for the console and the page."""

from __future__ import annotations

import math

from rmaudit.overoptimization.rl_curve import RlCurve
from rmaudit.overoptimization.rl_findings import Mover
from rmaudit.overoptimization.study import Study


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
            ends = f"[{loss.low:.2f}, {loss.high:.2f}]"
            turn += f", and {loss.value:.2f}{unit} {ends} lower at the end"
    lines = [f"{one.run}: {turn}."]
    if one.movers:
        lines.append(f"{one.run}: components of the proxy: {'; '.join(map(_moved, one.movers))}.")
    return lines


def _moved(mover: Mover) -> str:
    change = mover.change
    sentence = f"{mover.name} {change.value:+.3g} [{change.low:+.3g}, {change.high:+.3g}]"
    if math.isnan(mover.first_step):
        return f"{sentence}, not shown to move"
    return f"{sentence}, from step {mover.first_step:.0f} on"
