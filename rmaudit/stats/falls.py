r"""Whether a series of step means has fallen below its best so far, at whatever step one looks.

Recent windows are compared with every earlier block, and the errors know of AR(1) dependence (see
`rmaudit.stats.series`). Looks, blocks and windows share the risk: the k-th look may spend
:math:`k^{-s} / \zeta(s)` of it, so the chance of any false alarm over a run of any length is
bounded, to the accuracy of the noise's estimate. This is a confidence sequence by stitching (Howard
et al. 2021, arXiv 1810.08240) with a long-run variance in place of the known one (Waudby-Smith et
al. 2024, arXiv 2103.06476).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, zeta

from rmaudit.stats.series import noise_of
from rmaudit.typing import Float

BLOCK = 8  # steps of the shortest window
LOOK = 4  # steps between looks
LENGTHS = (1, 2, 4)  # of windows, in blocks
SPENDING = 1.3  # the exponent s
CAUTION = 1.1  # standard errors added to the estimated dependence
LEAST = 5 * BLOCK  # steps before a window: of fewer their dependence is known too badly


@dataclass(frozen=True)
class Fall:
    """The plainest fall so far."""

    p: float  # adjusted for all looks, blocks and windows up to now
    best: float  # mean over the block that was higher
    now: float  # mean over the recent window
    best_steps: tuple[int, int]  # places of the block in the series, from and up to before
    now_steps: tuple[int, int]


NOTHING = Fall(1.0, math.nan, math.nan, (0, 0), (0, 0))


class FallTest:
    """Takes step means one by one; `fall` holds the plainest fall so far.

    Parameters
    ----------
    from_start
        Whether only the first blocks are compared with, as where any drift counts.
    tolerance
        A fall by no more than this is none.
    """

    def __init__(self, *, from_start: bool = False, tolerance: float = 0.0) -> None:
        self.from_start, self.tolerance = from_start, tolerance
        self.fall = NOTHING
        self._values: list[float] = []
        self._looks = 0

    def update(self, value: float) -> Fall:
        """Take the mean of a step."""
        self._values.append(value)
        if len(self._values) >= LEAST + BLOCK and len(self._values) % LOOK == 0:
            self._look(np.array(self._values))
        return self.fall

    def _look(self, values: Float) -> None:
        self._looks += 1
        spent = self._looks**-SPENDING / zeta(SPENDING)
        totals = np.concatenate([[0.0], np.cumsum(values)])
        for recent in LENGTHS:
            start = values.size - recent * BLOCK
            # A sudden fall is no noise: the noise is that of the steps before the recent window.
            noise = noise_of(values[:start], cautious=CAUTION) if start >= LEAST else None
            if noise is None or not noise.variance > 0:
                continue
            blocks = _blocks(start, self.from_start)
            sizes = blocks[:, 1] - blocks[:, 0]
            means = (totals[blocks[:, 1]] - totals[blocks[:, 0]]) / sizes
            now = float(totals[-1] - totals[start]) / (values.size - start)
            own = {n * BLOCK: _variance_of_mean(n * BLOCK, noise.phi) for n in LENGTHS}
            square = np.array([own[int(n)] for n in sizes]) + own[recent * BLOCK]
            reached = (means - now - self.tolerance) / np.sqrt(noise.variance * square)
            top = int(np.argmax(reached))
            count = len(blocks) * len(LENGTHS)
            p = float(stdtr(noise.freedom, -reached[top])) * count / spent
            if p < self.fall.p:
                best = int(blocks[top, 0]), int(blocks[top, 1])
                self.fall = Fall(p, float(means[top]), now, best, (start, values.size))


def _blocks(n: int, from_start: bool) -> NDArray[np.int64]:
    """Blocks of the steps before a window that are compared with it, (k, 2): from and up to."""
    found = []
    for length in LENGTHS:
        size = length * BLOCK
        found += [(k * size, (k + 1) * size) for k in range(min(n // size, 1 if from_start else n))]
    return np.array(found, dtype=np.int64)


def _variance_of_mean(n: int, phi: float) -> float:
    """Of n successive values of AR(1) noise of variance 1."""
    lags = np.arange(1, n)
    return float((n + 2 * np.sum((n - lags) * phi**lags)) / n**2)
