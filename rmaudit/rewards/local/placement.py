"""Where a model's weights go, how they are held, and whether they fit."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import torch

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.local.checkpoint_files import read_json, weight_shapes
from rmaudit.rewards.local.devices import free_memory
from rmaudit.settings import ModelSettings

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
_DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """How weights are held and attended; None: whole, on one device, transformers' default.

    Parameters
    ----------
    attn
        Name of an attention of transformers: "eager", "sdpa", "flash_attention_2".
    quantization
        "8bit" or "4bit", by bitsandbytes.
    device_map
        "auto": layers are spread over the devices there are, by accelerate.
    """

    attn: str | None = None
    quantization: Literal["8bit", "4bit"] | None = None
    device_map: str | None = None

    @classmethod
    def of(cls, settings: ModelSettings) -> Placement:
        """What settings say of it."""
        return cls(settings.attn, settings.quantization, settings.device_map)

    @property
    def places(self) -> bool:
        """Whether loading puts the weights onto their devices itself."""
        return self.quantization is not None or self.device_map is not None

    def load_options(self, dtype: torch.dtype, device: torch.device) -> dict[str, Any]:
        """Arguments of ``from_pretrained``.

        Raises
        ------
        UsageError
            If what is asked for is not installed, or not for this device.
        """
        options: dict[str, Any] = {}
        if self.attn is not None:
            options["attn_implementation"] = self.attn
        if self.device_map is not None:
            if importlib.util.find_spec("accelerate") is None:
                raise UsageError("--device-map needs accelerate; pip install accelerate")
            options["device_map"] = self.device_map
        if self.quantization is not None:
            options["quantization_config"] = self._quantized(dtype, device)
            options.setdefault("device_map", {"": str(device)})
        return options

    def _quantized(self, dtype: torch.dtype, device: torch.device) -> Any:
        if importlib.util.find_spec("bitsandbytes") is None:
            raise UsageError(
                f"--quantization {self.quantization} needs bitsandbytes, which is not installed: "
                "pip install bitsandbytes (it needs a CUDA device), or say --dtype bfloat16"
            )
        if device.type != "cuda":
            raise UsageError(f"--quantization {self.quantization} needs --device cuda")
        from transformers import BitsAndBytesConfig

        if self.quantization == "8bit":
            return BitsAndBytesConfig(load_in_8bit=True)  # type: ignore[no-untyped-call]
        return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_compute_dtype=dtype
        )


WHOLE = Placement()


def torch_dtype(
    name: str, device: torch.device | None = None, folder: Path | None = None
) -> torch.dtype:
    """The number format of a name.

    "auto" is float32 on the processor, which is exact, and on an accelerator the format that the
    checkpoint was saved in, where its configuration says one.

    Raises
    ------
    UsageError
        If there is no such format.
    """
    if name == "auto":
        if device is None or device.type == "cpu" or folder is None:
            return torch.float32
        return _DTYPES.get(_saved_in(folder), torch.float32)
    if name not in _DTYPES:
        raise UsageError(f"dtype {name!r}: it must be one of auto, {', '.join(_DTYPES)}")
    return _DTYPES[name]


def _saved_in(folder: Path) -> str:
    path = folder / "config.json"
    config: Mapping[str, Any] = read_json(path) if path.is_file() else {}
    text = config.get("text_config")
    for each in (config, text if isinstance(text, Mapping) else {}):
        for key in ("dtype", "torch_dtype"):
            if each.get(key):
                return str(each[key])
    return "float32"


def refuse_too_large(folder: Path, dtype: torch.dtype, device: torch.device) -> None:
    """Compare a model's weights with the memory that is free, before any of them is read.

    Raises
    ------
    RewardModelError
        Saying both sizes, and what to do.
    """
    free = free_memory(device.type, device.index or 0)
    numbers = sum(prod(shape) for shape in weight_shapes(folder).values())
    need = numbers * dtype.itemsize
    if free is None or need <= free:
        return
    smaller = "" if dtype.itemsize == 2 else "--dtype bfloat16, "
    raise RewardModelError(
        f"{folder}: its weights take {need / 2**30:.1f} GiB in {str(dtype).removeprefix('torch.')} "
        f"and {free / 2**30:.1f} GiB are free on {device}; say {smaller}--quantization, "
        "--device-map auto, or another --device"
    )
