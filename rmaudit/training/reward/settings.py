"""What a training run is asked to do, how it goes, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from rmaudit.settings import TRAINING, CallSettings, names_in, option

if TYPE_CHECKING:
    import pandas as pd

Precision = Literal["auto", "float32", "bfloat16"]


class RewardTrainingConfig(CallSettings):
    """Settings of reward training; the defaults suit a small pretrained encoder.

    Raises
    ------
    UsageError
        If a value is outside its range.
    """

    epochs: int = option(2, "Passes over the data.", TRAINING, limits={"ge": 1})
    learning_rate: float = option(
        5e-5,
        "Peak learning rate: linear warm-up, then linear decay to 0.",
        TRAINING,
        limits={"gt": 0},
    )
    warmup_share: float = Field(default=0.1, ge=0, lt=1)  # of all steps
    batch_pairs: int = option(
        8,
        "Pairs (or rankings, ratings, labels) per optimiser step.",
        TRAINING,
        limits={"ge": 1},
    )
    token_budget: int = option(
        8192,
        "Padded tokens per forward pass; gradients of a batch add up over as many as it takes.",
        TRAINING,
        limits={"ge": 1},
    )
    checkpointing: bool = option(
        False,
        "Compute activations again in the backward pass: slower, in less memory.",
        TRAINING,
        flag="gradient-checkpointing",
    )
    max_length: int = option(
        512, "Tokens per text, at most; the oldest prompt tokens go.", TRAINING, limits={"ge": 8}
    )
    weight_decay: float = Field(default=0.01, ge=0)  # of matrices; biases and norms have none
    clip_norm: float = Field(default=1.0, gt=0)  # of the gradient over all weights
    held_out_share: float = option(
        0.1,
        "Share of the prompts held out to stop early; 0: train on all prompts, with no early stop.",
        TRAINING,
        limits={"ge": 0, "lt": 1},
    )
    evaluations_per_epoch: int = Field(default=2, ge=1)
    patience: int = Field(default=3, ge=1)  # evaluations without a better loss until it stops
    checkpoint_every: int = Field(default=100, ge=1)  # steps; also at every evaluation
    members: int = option(  # member k has seed + k
        1, "Members; more than one: an ensemble.", TRAINING, flag="seeds", limits={"ge": 1}
    )
    bootstrap: bool = option(
        False, "Members after the first learn from prompts drawn with replacement.", TRAINING
    )
    averaged: bool = option(
        False,
        "Members start with the same head, and a model with their mean weights is written (WARM).",
        TRAINING,
        flag="warm",
    )
    uncertainty_weight: float = Field(default=0.5, ge=0)  # of the ensemble's UWO aggregate
    center: float = option(
        0.0,
        "Weight of the squared sum of a pair's rewards, which holds them around 0; TRL uses 0.01.",
        TRAINING,
        limits={"ge": 0},
    )
    label_smoothing: float = option(
        0.0, "Share of labels taken as wrong.", TRAINING, limits={"ge": 0, "lt": 0.5}
    )
    soft_labels: bool = option(
        False, "Learn the shares of annotator_votes, not the majority's label.", TRAINING
    )
    margin_column: str | None = option(
        None,
        "Column that holds by how much the chosen response is known to be better.",
        TRAINING,
        metavar="NAME",
    )
    rating_columns: tuple[str, ...] = option(  # the first head is the reward
        ("rating",),
        "Columns a,b,c: a head for each, of which the first is the reward.",
        TRAINING,
        metavar="NAMES",
        unset="rating",
        limits={"min_length": 1},
    )
    critique_weight: float = option(
        1.0,
        "Weight of the loss of what critiques name, beside the reward's.",
        TRAINING,
        limits={"ge": 0},
    )
    lora_rank: int = option(
        0,
        "Rank of adapters on all linear layers; 0: train all weights.",
        TRAINING,
        limits={"ge": 0},
    )
    seed: int = option(0, "Seed of the first member.", TRAINING, limits={"ge": 0})
    precision: Precision = option("auto", "Number format of the forward pass.", TRAINING)
    threads: int = Field(default=0, ge=0)  # of the CPU; 0 is torch's choice
    device: str = option("auto", "auto, cpu, cuda or mps.", TRAINING, metavar="NAME")

    @field_validator("rating_columns", mode="before")
    @classmethod
    def _split_rating_columns(cls, value: object) -> object:
        return tuple(names_in(value)) if isinstance(value, str | list | tuple) else value


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

    `held_out_loss` is in nats per pair (squared units per rating), lower is better;
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
        import pandas as pd

        return pd.DataFrame([asdict(member) for member in self.members])
