"""Several devices: one process each, started by `accelerate launch`.

Every process holds the whole model and takes its share of each batch; gradients are put together
before every optimiser step, so that all processes keep the same weights. Only the first one writes.
Without a launcher there is one process, and nothing here does anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import torch
from torch import Tensor

from rmaudit.errors import UsageError
from rmaudit.typing import Integers


class Parallel:
    """The processes of a run.

    Attributes
    ----------
    rank, size
        Which process this is, of how many.
    """

    def __init__(self) -> None:
        self.size = int(os.environ.get("WORLD_SIZE", "1"))
        self.rank = 0
        self._accelerator: Any = None
        if self.size > 1:
            self._accelerator = _accelerator()
            self.rank = int(self._accelerator.process_index)

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, name: str, count: int) -> int:
        """The part of this process in a number of sequences.

        Raises
        ------
        UsageError
            If they cannot be shared equally.
        """
        if count % self.size:
            raise UsageError(f"{name} ({count}) must be a multiple of the {self.size} processes")
        return count // self.size

    def part(self, rows: Integers) -> Integers:
        """Rows of a batch that fall to this process, (n,): as many as to others, or one less.

        There may be none. What is averaged over the rows must be divided by the batch's number a
        process: a mean of the processes' means would weigh the rows of a smaller part more.
        """
        return rows[self.rank :: self.size]

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the values of all processes, whose numbers may differ; their own graph.

        Averaged over the processes, the results are the mean over all values.
        """
        count = torch.tensor(float(values.numel()), device=values.device)
        return values.sum() / self.combine(count, "mean").clamp(min=1e-9)

    def wait(self) -> None:
        """Until all processes are here."""
        if self._accelerator is not None:
            self._accelerator.wait_for_everyone()

    def combine(self, values: Tensor, how: Literal["mean", "sum"]) -> Tensor:
        """The mean or sum of a tensor over the processes."""
        if self._accelerator is None:
            return values
        combined: Tensor = self._accelerator.reduce(values, reduction=how)
        return combined

    def total(self, value: float) -> float:
        """The sum of a number over the processes."""
        if self._accelerator is None:
            return value
        return float(self.combine(torch.tensor(value, device=self._accelerator.device), "sum"))

    def combine_gradients(self, parameters: Sequence[Tensor], how: Literal["mean", "sum"]) -> None:
        """The same gradients for every process; one without a gradient adds 0."""
        if self._accelerator is None:
            return
        trained = [p for p in parameters if p.requires_grad]
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in trained]
        flat = self.combine(torch.cat([gradient.flatten() for gradient in own]), how)
        parts = flat.split([p.numel() for p in trained])  # type: ignore[no-untyped-call]
        for parameter, part in zip(trained, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()

    def combine_record(self, record: Mapping[str, float]) -> dict[str, float]:
        """A log record over all samples: means of means of equally many, counts added up.

        Every process has as many samples, of any number of tokens: what is a token's is weighed by
        the length.
        """
        if self._accelerator is None:
            return dict(record)
        device, own = self._accelerator.device, dict(record)
        if "entropy" in own:
            own["entropy"] *= own["length"]
        if "kl_k1_se" in own:
            own["kl_k1_se"] **= 2
        values = torch.tensor(list(own.values()), dtype=torch.float64, device=device)
        combined = dict(zip(own, self.combine(values, "mean").tolist(), strict=True))
        if "entropy" in combined:
            combined["entropy"] /= combined["length"]
        if "samples" in combined:
            combined["samples"] = round(combined["samples"] * self.size)
        if "kl_k1_se" in combined:
            combined["kl_k1_se"] = (combined["kl_k1_se"] / self.size) ** 0.5
        return combined


def local_device(name: str) -> str:
    """The device of this process: with "auto" and a launcher, the accelerator of its number."""
    if name != "auto" or "LOCAL_RANK" not in os.environ or not torch.cuda.is_available():
        return name
    return f"cuda:{os.environ['LOCAL_RANK']}"


@cache
def _accelerator() -> Any:
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise UsageError("several processes need accelerate; pip install accelerate") from error
    return Accelerator(cpu=not torch.cuda.is_available())
