"""What a reward model can run on here."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.errors import UsageError

if TYPE_CHECKING:
    import torch


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


def memory() -> tuple[int | None, int | None]:
    """Bytes of main memory free and in all; None where the system does not say."""
    try:
        page, pages = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_PHYS_PAGES")
        available = Path("/proc/meminfo").read_text(encoding="ascii").split("MemAvailable:")[1]
        return int(available.split()[0]) * 1024, page * pages
    except (AttributeError, OSError, ValueError, IndexError):
        return None, None


def free_memory(kind: str, index: int = 0) -> int | None:
    """Bytes free on a device of a kind ("cpu", "cuda"); None where it cannot be asked."""
    if kind == "cpu":
        return memory()[0]
    if kind != "cuda":
        return None
    import torch

    return torch.cuda.mem_get_info(index)[0]


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


def bfloat16_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str]:
    """The processor's instructions for bfloat16, as Linux names them; empty where it tells none.

    Without them bfloat16 is emulated, and slower than float32.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.startswith("flags"))
    return {"avx512_bf16", "amx_bf16"} & set(next(lines, "").partition(":")[2].split())


def torch_device(name: str) -> torch.device:
    """The device of a name; "auto" is an accelerator where there is one.

    Raises
    ------
    UsageError
        If this machine has no such device.
    """
    import torch

    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next((kind for kind, there in present.items() if there), "cpu"))
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"device {name!r}: say auto, cpu, cuda, cuda:N or mps") from error
    there = device.type == "cpu" or present.get(device.type, False)
    if not there or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"device {name!r} is not on this machine; say --device cpu")
    return device
