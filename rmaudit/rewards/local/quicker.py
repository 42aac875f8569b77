"""What would score a long job faster on this processor: a short trial on its own texts.

float32 is the default, and what is published. bfloat16, by torch or by OpenVINO, is faster where
the processor has instructions for it, and moves rewards a little: how much of either depends on the
processor and the model, so both are measured.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch

from rmaudit.rewards.base import Encoded
from rmaudit.rewards.local.devices import bfloat16_flags
from rmaudit.typing import Float

if TYPE_CHECKING:
    from rmaudit.rewards.local.transformers_model import TransformersReward

LONG = 300.0  # seconds of scoring from which on a trial of some seconds is worth its time
FASTER = 1.8  # times as fast, from which on it is told: "twice", but for the noise of a trial
LARGEST = 1 << 30  # bytes of weights, of which a trial holds a second copy
ROUNDING = 0.1  # how far bfloat16 may move a reward, relative to one plus its size
Way = Callable[[], Float]


def quicker(model: TransformersReward, batch: Sequence[Encoded], tokens: int) -> str | None:
    """What to say of a faster way; None where there is none, or the job is short.

    Parameters
    ----------
    model
        As it scores; nothing about it is changed.
    batch
        Some of the job's texts.
    tokens
        Of the whole job.
    """
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    if model.device.type != "cpu" or model.dtype != torch.float32 or weights > LARGEST:
        return None
    flags = bfloat16_flags()
    if not flags:
        return None
    own, expected = _timed(lambda: model.forward(batch))
    here = sum(each.tokens for each in batch)
    if own / max(here, 1) * tokens < LONG:
        return None
    found = []
    for options, make in {"--dtype bfloat16": _torch, **_openvino_ways()}.items():
        try:
            seconds, rewards = _timed(make(model, batch))
        except Exception:  # nosec B112: a way that this model cannot take is none
            continue
        moved = np.abs(rewards - expected)
        if (moved <= ROUNDING * (1 + np.abs(expected))).all():
            found.append((own / seconds, options, float(moved.max(initial=0.0))))
    best = max(found, default=None)
    if best is None or best[0] < FASTER:
        return None
    times, options, moved_most = best
    return (
        f"this processor ({', '.join(sorted(flags))}) would score with {options} about "
        f"{times:.1f} times as fast: a trial on {len(batch)} of the texts moved rewards by at most "
        f"{moved_most:.2g}, where they spread by {float(np.std(expected)):.2g} (SD)"
    )


def _timed(way: Way) -> tuple[float, Float]:
    """Seconds and rewards of the second of two runs: the first one prepares."""
    way()
    start = time.perf_counter()
    rewards = way()
    return max(time.perf_counter() - start, 1e-9), rewards


def _torch(model: TransformersReward, batch: Sequence[Encoded]) -> Way:
    twin = copy.copy(model)
    twin.model = copy.deepcopy(model.model).to(torch.bfloat16)
    twin.dtype = torch.bfloat16
    return lambda: twin.forward(batch)


def _openvino_ways() -> dict[str, Callable[[TransformersReward, Sequence[Encoded]], Way]]:
    if find_spec("openvino") is None:
        return {}
    return {"--backend openvino --dtype bfloat16": _openvino}


def _openvino(model: TransformersReward, batch: Sequence[Encoded]) -> Way:
    from rmaudit.rewards.local.openvino_model import converted

    run = converted(model, torch.bfloat16, batch)
    return lambda: run(batch)
