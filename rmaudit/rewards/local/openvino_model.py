"""The same reward model run by OpenVINO: on many processors faster than by torch."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint, silent
from rmaudit.rewards.local.checkpoint_files import Permissions, fingerprint, first_line
from rmaudit.rewards.local.own_score import scores_itself
from rmaudit.rewards.local.placement import WHOLE, Placement
from rmaudit.rewards.local.pooling import Reading, pad, right_padded_heads
from rmaudit.rewards.local.transformers_model import Dtype, TransformersReward, torch_dtype

# How far a reward may be from torch's float32 one, relative to 1 + |reward|. Rounding grows with
# the format's unit: 2^-24 of float32 comes out at some 1e-6, so 2^-9 of bfloat16 at some 0.03.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.1}
_PRECISION = {torch.float32: "f32", torch.bfloat16: "bf16"}
_AGREES = "leave out --backend openvino (backend='torch')"

Inputs = tuple[Tensor, ...]
"""Tokens, mask and, where the model is told of two segments, types: (n, longest) each, padded on
the right."""
Run = Callable[[Inputs], NDArray[np.float32]]
"""Inputs -> all heads, (n, n_heads)."""


class OpenVinoReward(TransformersReward):
    """A sequence-classification model, encoder or decoder, converted on the first batch it scores.

    Parameters
    ----------
    checkpoint, name, options
        As `TransformersReward` takes them; the weights in float32. Of a device other than the
        processor nothing is known here.
    dtype
        "bfloat16" rounds inside OpenVINO, where the processor has instructions for it.

    Notes
    -----
    Before its first reward is handed on, that batch is scored by torch in float32 too. Where a
    reward differs by more than rounding (1e-4, in bfloat16 0.1, relative to one plus its size),
    the model is refused. Texts are padded; prompts are not shared, so a decoder with many outputs
    a prompt is faster by torch.

    Raises
    ------
    UsageError
        If openvino is not installed, or the device or the number format cannot be had.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        *,
        device: str = "auto",
        dtype: Dtype = "auto",
        **options: Any,
    ) -> None:
        self._run: Run | None = None
        self._refused: str | None = None
        self._rounded = torch_dtype(dtype)
        super().__init__(checkpoint, name, device=_processor(device), **options)
        _available(self._rounded)
        facts = (self.fingerprint, "openvino", str(self._rounded))
        self.fingerprint = fingerprint((), facts)
        self.pads_left = False
        self.shares_prefixes, self._unshared = False, "not by OpenVINO"

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); the first batch is compared with torch's rewards."""
        if self._refused is not None:
            raise RewardModelError(self._refused)
        if self._run is None:
            expected = super().forward(batch)  # by torch
            self._run = self._converted(batch)
            self._compare(expected, super().forward(batch))
        return super().forward(batch)

    def quicker(self, batch: Sequence[Encoded], tokens: int) -> str | None:
        """Nothing: this is the faster way."""
        return None

    def describe(self) -> dict[str, Any]:
        """Facts as of the torch model, and what runs it."""
        dtype = str(self._rounded).removeprefix("torch.")
        return super().describe() | {"dtype": dtype, "backend": "openvino"}

    def _rewards(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        if self._run is None or pad_left:
            return super()._rewards(batch, pad_left=pad_left)
        values = self._run(_inputs(self, batch)).astype(np.float64)
        rewards: NDArray[np.float64] = self.readout.of(values)
        return rewards

    def _converted(self, batch: Sequence[Encoded]) -> Run:
        try:
            return _compiled(self, _example(self, batch), self._rounded)
        except Exception as error:
            self._refused = (
                f"{self.name}: OpenVINO cannot convert the model: {first_line(error)}; {_AGREES}"
            )
            raise RewardModelError(self._refused) from error

    def _compare(self, expected: NDArray[np.float64], given: NDArray[np.float64]) -> None:
        known = np.isfinite(expected)
        apart = np.abs(given - expected)[known]
        allowed = _TOLERANCE[self._rounded] * (1 + np.abs(expected[known]))
        if not (apart <= allowed).all():
            self._refused = (
                f"{self.name}: OpenVINO moves a reward of the first {len(given)} texts by "
                f"{apart.max():.2g}, more than rounding explains; {_AGREES}"
            )
            raise RewardModelError(self._refused)


class _Heads(nn.Module):
    """What is converted: tokens padded on the right in, all heads out."""

    def __init__(self, model: nn.Module, reading: Reading) -> None:
        super().__init__()
        self.model, self.reading = model, reading

    def forward(self, tokens: Tensor, mask: Tensor, types: Tensor | None = None) -> Tensor:
        return right_padded_heads(self.model, tokens, mask, self.reading, types)


def _inputs(model: TransformersReward, batch: Sequence[Encoded]) -> Inputs:
    tokens, mask = pad([each.payload for each in batch], model.padding)
    types = model.token_types(batch, tokens.shape[1])
    return (tokens, mask) if types is None else (tokens, mask, types)


def _example(model: TransformersReward, batch: Sequence[Encoded]) -> Inputs:
    """What the model is traced with: of another shape than any batch, told of what batches are."""
    padding = model.padding
    tokens, mask = pad([[padding] * 9, [padding] * 5], padding)
    told = len(_inputs(model, batch[:1])) > 2
    return (tokens, mask, torch.zeros_like(tokens)) if told else (tokens, mask)


def converted(
    model: TransformersReward, dtype: torch.dtype, batch: Sequence[Encoded]
) -> Callable[[Sequence[Encoded]], NDArray[np.float64]]:
    """A loaded model's rewards by OpenVINO, for a trial: nothing about the model is changed.

    What `batch` tells the model (segments or none), further batches will.

    Raises
    ------
    UsageError
        If the number format cannot be had.
    """
    _available(dtype)
    run = _compiled(model, _example(model, batch), dtype)

    def rewards(batch: Sequence[Encoded]) -> NDArray[np.float64]:
        given: NDArray[np.float64] = model.readout.of(run(_inputs(model, batch)).astype(np.float64))
        return given

    return rewards


def load_openvino(
    folder: Path,
    name: str,
    permissions: Permissions,
    *,
    device: str = "auto",
    dtype: Dtype = "auto",
    placement: Placement = WHOLE,
    **options: Any,
) -> OpenVinoReward:
    """The reward model in a folder; options as `OpenVinoReward` takes them."""
    _processor(device)  # before a long load
    if placement != WHOLE:
        raise UsageError(
            "--backend openvino has its own attention and weights: leave out --attn, "
            "--quantization and --device-map"
        )
    if dtype == "float16":
        raise UsageError("--backend openvino runs in float32 or bfloat16: leave out float16")
    _available(torch_dtype(dtype))
    checkpoint = load_checkpoint(folder, torch.float32, permissions)
    if scores_itself(checkpoint.model):
        raise UsageError(f"{name}: its class scores texts itself; leave out --backend openvino")
    return OpenVinoReward(checkpoint, name, device=device, dtype=dtype, **options)


def _processor(device: str) -> str:
    if device not in ("auto", "cpu"):
        raise UsageError(f"--backend openvino runs on the processor, not on {device}")
    return "cpu"


def _available(dtype: torch.dtype) -> None:
    able = _openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if dtype == torch.bfloat16 and "BF16" not in able:
        raise UsageError("this processor has no bfloat16 for OpenVINO; leave out --dtype bfloat16")


def _openvino() -> Any:
    """The library, without its reports on who uses it, which it sends from the import on."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise UsageError("--backend openvino needs openvino; pip install openvino") from error


def _compiled(model: TransformersReward, example: Inputs, dtype: torch.dtype) -> Run:
    openvino = _openvino()
    heads = _Heads(model.model, model.reading)
    with warnings.catch_warnings(), silent(), torch.inference_mode():
        warnings.simplefilter("ignore")  # torch and transformers on tracing; the result is checked
        network = openvino.convert_model(heads.eval(), example_input=example)
    settings = {
        "INFERENCE_PRECISION_HINT": _PRECISION[dtype],
        "PERFORMANCE_HINT": "LATENCY",  # one batch at a time, by all threads
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,  # others may be at work on the machine
    }
    request = openvino.Core().compile_model(network, "CPU", settings).create_infer_request()

    def run(inputs: Inputs) -> NDArray[np.float32]:
        # A copy: the next batch overwrites it.
        return np.array(request.infer([each.cpu().numpy() for each in inputs])[0])

    return run
