"""What a training run is asked to do, how it goes, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from rmaudit.errors import UsageError
from rmaudit.training.precision import Precision


@dataclass(frozen=True, slots=True)
class RewardTrainingConfig:
    """Settings of reward training; the defaults suit a small pretrained encoder.

    Raises
    ------
    UsageError
        If a value is outside its range.
    """

    epochs: int = 2
    learning_rate: float = 5e-5  # at its highest; linear warm-up, then linear decay to 0
    warmup_share: float = 0.1  # of all steps
    batch_pairs: int = 8  # examples an optimiser step: pairs, rankings, ratings or labels
    token_budget: int = 8192  # padded tokens a forward pass
    max_length: int = 512  # tokens; the oldest prompt tokens are dropped beyond it
    weight_decay: float = 0.01  # of matrices; biases and norms have none
    clip_norm: float = 1.0  # of the gradient over all weights
    held_out_share: float = 0.1  # of the prompts; 0 trains on all, without early stopping
    evaluations_per_epoch: int = 2
    patience: int = 3  # evaluations that rank held-out pairs no better, until training stops
    checkpoint_every: int = 100  # steps; also at every evaluation
    members: int = 1  # more than one: an ensemble; member k has seed + k
    uncertainty_weight: float = 0.5  # of the ensemble's UWO aggregate
    label_smoothing: float = 0.0  # share of labels taken to be wrong, 0 to 0.5
    soft_labels: bool = False  # shares of `annotator_votes` in place of the majority's label
    margin_column: str | None = None  # by how much the chosen output is known to be better
    rating_columns: tuple[str, ...] = ("rating",)  # one head each; the first is the reward
    critique_weight: float = 1.0  # of the loss of what critiques name, beside the scalar's
    lora_rank: int = 0  # of adapters on all linear layers, through peft; 0 trains all weights
    seed: int = 0
    precision: Precision = "auto"
    threads: int = 0  # of the CPU; 0 is torch's choice
    device: str = "auto"  # an accelerator where there is one, else the CPU

    def __post_init__(self) -> None:
        positive = (
            "epochs",
            "learning_rate",
            "batch_pairs",
            "token_budget",
            "max_length",
            "clip_norm",
            "evaluations_per_epoch",
            "patience",
            "checkpoint_every",
            "members",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")
        for name in ("warmup_share", "held_out_share"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 0 and below 1: {getattr(self, name)}")
        for name in (
            "weight_decay",
            "uncertainty_weight",
            "threads",
            "seed",
            "critique_weight",
            "lora_rank",
        ):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} must not be negative: {getattr(self, name)}")
        if not 0 <= self.label_smoothing < 0.5:
            raise UsageError(f"label_smoothing must be from 0 to 0.5: {self.label_smoothing}")
        if not self.rating_columns:
            raise UsageError("rating_columns must name at least one column")
        if self.precision not in get_args(Precision):
            raise UsageError(
                f"precision must be one of {', '.join(get_args(Precision))}: {self.precision}"
            )


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where training stands; held-out values are NaN before the first evaluation."""

    member: int  # from 0
    members: int
    step: int
    steps: int
    loss: float  # of the last step, a pair (or other example)
    held_out_loss: float
    held_out_accuracy: float
    pairs_per_second: float


OnProgress = Callable[[TrainingProgress], None]


@dataclass(frozen=True, slots=True)
class MemberResult:
    """One trained model. Held-out values (of the weights kept) are NaN where nothing was held out.

    `held_out_loss` is in nats a pair (squared units a rating), lower is better;
    `held_out_accuracy` counts equal rewards as one half, higher is better.
    """

    path: str
    seed: int
    steps: int  # taken; fewer than planned if training stopped early
    kept_step: int  # whose weights were kept
    held_out_loss: float
    held_out_accuracy: float
    pairs_per_second: float  # training alone, evaluations left out


@dataclass(frozen=True, slots=True)
class RewardTrainingResult:
    """What came of a training run. rows_read = rows_set_aside + ties_dropped + pairs."""

    path: Path  # a model, or a folder with `ensemble.json`
    members: tuple[MemberResult, ...]
    rows_read: int
    rows_set_aside: int
    ties_dropped: int
    pairs: int  # or other examples, used: trained on and held out
    pairs_held_out: int
    outputs_truncated: int  # outputs alone longer than `max_length`

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "path": str(self.path)}

    def to_frame(self) -> pd.DataFrame:
        """One row a member."""
        return pd.DataFrame([asdict(member) for member in self.members])
