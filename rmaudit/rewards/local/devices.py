"""What a reward model can run on here."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One device as `--device` names it; memory in bytes, None where it cannot be asked."""

    name: str  # "cpu", "cuda:0", "mps"
    what: str
    free: int | None
    total: int | None


def devices() -> list[Device]:
    """The accelerators of this machine, the one that "auto" takes first; empty without one."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(Device(f"cuda:{index}", torch.cuda.get_device_name(index), free, total))
    if torch.backends.mps.is_available():
        found.append(Device("mps", "Apple GPU", None, None))
    return found


def accelerators() -> list[str]:
    """The names of the accelerators that this process can use; empty where it has no torch loaded.

    Asks for no memory on them, as `devices` does, and loads nothing.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return []
    try:
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    except RuntimeError:  # a driver that does not fit: nothing here was computed on it
        return []
    return names or (["Apple GPU"] if torch.backends.mps.is_available() else [])
