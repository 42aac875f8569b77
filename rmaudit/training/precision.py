"""The number format of the forward pass."""

from __future__ import annotations

from pathlib import Path

import torch

from rmaudit.training.reward.settings import Precision

_CPU_FLAGS = ("avx512_bf16", "amx_bf16")  # without them bfloat16 is emulated and slower


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to run under bfloat16 autocast: on `auto`, where the processor computes in it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and cpu_has_bfloat16()


def cpu_has_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has bfloat16 instructions; False where it cannot be told."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return any(flag in flags for flag in _CPU_FLAGS)
