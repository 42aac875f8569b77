"""What the first look at a probe costs in power, and what it saves.

    python benchmarks/first_look.py [--draws 40000]

Changes of the reward under a probe of invariance are normal, with SD 1 and a mean of 0 to 0.5, of
which 0.1 is tolerated either way. Found at two levels: by all pairs at once, and with the first
look, by the numbers of pairs of `rmaudit.audits.common.allocation`.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.special import stdtr

from rmaudit.audits.common.allocation import FIRST_LOOK, LEANING, PROBE_PAIRS

TOLERATED = 0.1
LEVELS = (0.05, 0.005)


def p_values(changes: np.ndarray) -> np.ndarray:
    """Two-sided, of each draw, that its mean is beyond what is tolerated, (n_draws,)."""
    n = changes.shape[1]
    error = changes.std(axis=1, ddof=1) / np.sqrt(n)
    beyond = np.abs(changes.mean(axis=1)) - TOLERATED
    return np.minimum(1, 2 * stdtr(n - 1, -beyond / error))


def main() -> None:
    """Print a row an effect."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=40_000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    heads = [f"{level:g}, {how}" for level in LEVELS for how in ("at once", "with the look")]
    print(f"| effect, SD | {' | '.join(heads)} | pairs asked, mean |\n| --- |{' --- |' * 5}")
    for effect in (0.0, TOLERATED, 0.2, 0.3, 0.4, 0.5):
        changes = rng.normal(effect, 1.0, (draws, PROBE_PAIRS))
        whole, goes_on = p_values(changes), p_values(changes[:, :FIRST_LOOK]) <= LEANING
        cells = [
            f"{found.mean():.3f}"
            for level in LEVELS
            for found in (whole <= level, goes_on & (whole <= level))
        ]
        asked = np.where(goes_on, PROBE_PAIRS, FIRST_LOOK).mean()
        print(f"| {effect:g} | {' | '.join(cells)} | {asked:.0f} |")


if __name__ == "__main__":
    main()
