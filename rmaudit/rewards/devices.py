"""What a reward model can run on here."""

from __future__ import annotations

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
