r"""Whether a series of step means has fallen below its best so far, at whatever step one looks.

Recent windows are compared with every earlier block; what counts as noise is told by
`rmaudit.stats.dependence`. The risk of a false alarm over a run of any length is shared out: the
stretch from :math:`48 \cdot 2^k` steps to twice as many may spend :math:`0.25 \cdot 0.75^k` of
it, and within a stretch the smallest p-value is that of 1.2 tests a step. Looks, blocks and windows
are more in name, but overlap; by simulation of flat runs they are worth that many
(``benchmarks/monitor.py --flat``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rmaudit.stats.dependence import NoiseBelief, noise_belief
from rmaudit.typing import Float

BLOCK = 8  # steps of the shortest window
LOOK, COARSER = 4, 256  # steps between looks; so many more with every so many steps
WINDOWS = (8, 16, 32, 48)  # steps that count as now
BLOCKS = ((16, 8), (32, 16), (64, 32))  # steps of earlier blocks, and between their starts
LEAST = 5 * BLOCK  # steps before a window: of fewer their dependence is known too badly
FIRST = LEAST + BLOCK  # the first look
PER_STEP = 1.2  # tests that looks, blocks and windows are worth
SHARE, KEPT = 0.25, 0.75  # of the risk for the first stretch; of a stretch's share for the next


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
        self._noise: dict[int, NoiseBelief] = {}  # of the steps up to before a window

    def update(self, value: float) -> Fall:
        """Take the mean of a step."""
        self._values.append(value)
        n = len(self._values)
        if n >= FIRST and n % (LOOK * max(1, n // COARSER)) == 0:
            self._look(np.array(self._values))
        return self.fall

    def _look(self, values: Float) -> None:
        n = values.size
        stretch = int(math.log2(n / FIRST))
        tests = PER_STEP * n / (SHARE * KEPT**stretch)
        totals = np.concatenate([[0.0], np.cumsum(values)])
        for recent in WINDOWS:
            start = n - recent
            if start < LEAST:
                continue
            # A sudden fall is no noise: the noise is that of the steps before the recent window.
            if start not in self._noise:
                self._noise[start] = noise_belief(values[:start])
            now = float(totals[n] - totals[start]) / recent
            for size, stride in BLOCKS:
                if size > start:
                    continue
                first = np.arange(0, 1 if self.from_start else start - size + 1, stride)
                means = (totals[first + size] - totals[first]) / size
                top = int(np.argmax(means))
                higher = float(means[top])
                p = tests * self._noise[start].p_value(
                    higher - now - self.tolerance, (size, recent)
                )
                if p < self.fall.p:
                    block = int(first[top]), int(first[top]) + size
                    self.fall = Fall(p, higher, now, block, (start, n))
        self._noise = {k: v for k, v in self._noise.items() if k > n - 2 * max(WINDOWS)}
