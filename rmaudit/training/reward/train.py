"""Reward models from feedback, on any Hugging Face backbone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmaudit.data.types import Dataset
from rmaudit.errors import UsageError
from rmaudit.training.checkpoint import close_run, identity, open_in_turn, write_json
from rmaudit.training.parallel import Parallel
from rmaudit.training.recompute import enable
from rmaudit.training.reward import backbone
from rmaudit.training.reward.examples import Examples, check_settings, encode_examples
from rmaudit.training.reward.loop import RewardTraining
from rmaudit.training.reward.pairs import bootstrapped, split, usable
from rmaudit.training.reward.settings import (
    MemberResult,
    OnProgress,
    RewardTrainingConfig,
    RewardTrainingResult,
    TrainingProgress,
)

WEIGHTS = "model.safetensors"
AVERAGED = "averaged"  # folder of the model with the members' mean weights


@dataclass(frozen=True)
class _Base:
    """A backbone, and the data as it reads them."""

    name: str
    tokenizer: Any
    examples: Examples
    run: dict[str, Any]  # what a member on it is known by


def train_reward_model(
    base: str | Path | Sequence[str | Path],
    data: Dataset,
    out: str | Path,
    *,
    config: RewardTrainingConfig | None = None,
    on_progress: OnProgress | None = None,
) -> RewardTrainingResult:
    """Train one reward model, or an ensemble of several seeds or bases.

    Maximum likelihood of the feedback with AdamW: preferences under Bradley-Terry (Eq. 11 of arXiv
    2404.08555), rankings under Plackett-Luce, ratings by squared error (Eq. 7), good and bad
    outputs by the logistic loss, critiques as attributes beside them
    (`rmaudit.training.reward.objectives`). Linear warm-up and decay, gradient clipping, and early
    stopping on the loss of held-out prompts, that of preferences taken at its best scale (a
    reward has no unit). Dropout is off. The same call resumes a killed run, and returns at once if
    it has ended; on a CPU with the same number of threads the weights are the same bit for bit
    either way.

    Parameters
    ----------
    base
        A transformers directory or hub id; a directory without weights gives a fresh model. Of
        several the members take turns, and there is one of each at least.
    data
        Feedback: preference, ranking, rating or unpaired data; its type picks the loss. Labelled
        ties are left out and counted. A column `missing`, lists of what the worst output of a row
        lacks, trains a head for each name beside the reward, which stays head 0.
    out
        Folder for the result: a model that `AutoModelForSequenceClassification` and
        `AutoTokenizer` load, beside `training.json` and `training-log.jsonl` (step, loss,
        learning_rate, pairs_per_second; at evaluations held_out_loss, held_out_loss_rescaled,
        held_out_accuracy). With
        several members: `member_0`, `member_1`, ... and `ensemble.json`; with averaged weights
        `averaged`, which is no member.
    on_progress
        Called after every step.

    Raises
    ------
    DataError
        If the data holds no feedback that can be used, or too few prompts.
    RewardModelError
        If the base cannot be loaded, or the loss stops being finite.
    UsageError
        If `out` holds a run on another base, other data or with other settings, or if a setting
        means nothing for this type of data.
    """
    config = config or RewardTrainingConfig()
    out = Path(out)
    names = [str(base)] if isinstance(base, (str, Path)) else [str(one) for one in base]
    config = _with_members(config, names)
    feedback = usable(data)
    check_settings(feedback, config)
    bases = [_prepared(name, feedback, config) for name in names]
    positions = split(feedback, config.held_out_share, np.random.default_rng(config.seed))
    members, parallel = [], Parallel()
    for member in range(config.members):
        on = bases[member % len(bases)]
        folder = out / f"member_{member}" if config.members > 1 else out
        stored = open_in_turn(parallel, folder, {**on.run, "member": member})
        if stored is None:
            drawn = _of_member(feedback, positions, config, member)
            training = _start(on, drawn, config, member, folder)
            with _threads(config.threads):
                training.run(partial(_report, on_progress, config, member))
            result = _finish(training, on.tokenizer, folder)
            if parallel.is_first:
                close_run(folder, {**on.run, "member": member}, asdict(result))
            parallel.wait()
        else:
            result = MemberResult(**stored)
        members.append(result)
    if config.members > 1 and parallel.is_first:
        _write_ensemble(out, config)
        if config.averaged:
            _write_averaged(bases[0], config, out)
    return RewardTrainingResult(
        path=out,
        members=tuple(members),
        rows_read=len(data) + len(data.set_aside),
        rows_set_aside=len(data.set_aside),
        ties_dropped=len(data) - len(feedback),
        pairs=len(bases[0].examples),
        pairs_held_out=len(positions[1]),
        outputs_truncated=max(on.examples.outputs_truncated for on in bases),
    )


def _with_members(config: RewardTrainingConfig, bases: Sequence[str]) -> RewardTrainingConfig:
    """The settings, with a member for each of several bases where no number is given.

    Raises
    ------
    UsageError
        If there is no base, a base without a member, or weights of different bases to average.
    """
    if len(bases) < 2:
        if not bases:
            raise UsageError("a reward model needs a base")
        return config
    if config.averaged:
        raise UsageError("weights of different bases have no mean; train on one base to average")
    members = config.members if config.members > 1 else len(bases)
    if members < len(bases):
        raise UsageError(f"{len(bases)} bases, but {members} members: give --seeds {len(bases)}")
    return config.but(members=members)


def _prepared(base: str, feedback: Dataset, config: RewardTrainingConfig) -> _Base:
    encoder = backbone.load_encoder(base, config.max_length)
    examples = encode_examples(feedback, encoder.encode, config)
    targets = examples.target.tobytes() + examples.missing.tobytes()
    run = identity(base, feedback, config.model_dump(), targets)
    return _Base(base, encoder.tokenizer, examples, run)


def _of_member(
    feedback: Dataset,
    positions: tuple[np.ndarray, np.ndarray],
    config: RewardTrainingConfig,
    member: int,
) -> tuple[np.ndarray, np.ndarray]:
    """What a member trains on, drawn anew with a bootstrap, and what is held out for all."""
    if not config.bootstrap or member == 0:
        return positions
    rng = np.random.default_rng([config.seed, member])
    return bootstrapped(feedback, positions[0], rng), positions[1]


def _write_ensemble(out: Path, config: RewardTrainingConfig) -> None:
    content = {
        "members": [f"member_{member}" for member in range(config.members)],
        "aggregate": "mean",
        "uncertainty_weight": config.uncertainty_weight,
    }
    write_json(out / "ensemble.json", content)


def _write_averaged(on: _Base, config: RewardTrainingConfig, out: Path) -> None:
    """One model with the members' mean weights, in ``out/averaged`` (WARM, arXiv 2401.12187)."""
    from safetensors.torch import load_file

    model = backbone.load_backbone(on.name, on.tokenizer, config.seed, heads=on.examples.heads)
    folders = [out / f"member_{member}" for member in range(config.members)]
    weights = [load_file(folder / WEIGHTS) for folder in folders]
    mean = {name: torch.stack([w[name].float() for w in weights]).mean(0) for name in weights[0]}
    model.load_state_dict(mean, strict=False)  # tied weights are there once
    backbone.save_backbone(model, on.tokenizer, out / AVERAGED)


def _start(
    on: _Base,
    positions: tuple[np.ndarray, np.ndarray],
    config: RewardTrainingConfig,
    member: int,
    out: Path,
) -> RewardTraining:
    """A member at its first step, or where its checkpoint in `out` left it."""
    seed = config.seed + member
    train, held_out = (on.examples.take(p) for p in positions)
    # Weights can be averaged where the members' heads start alike (arXiv 2401.12187, Section 3).
    first = config.seed if config.averaged else seed
    model = backbone.load_backbone(
        on.name, on.tokenizer, first, heads=on.examples.heads, lora_rank=config.lora_rank
    )
    if config.checkpointing:
        enable(model, on.name)
    return RewardTraining(model, model.config.pad_token_id, train, held_out, config, seed, out)


def _finish(training: RewardTraining, tokenizer: object, out: Path) -> MemberResult:
    if training.parallel.is_first:
        backbone.save_backbone(training.model, tokenizer, out)
    return MemberResult(
        path=str(out),
        seed=training.seed,
        steps=training.step,
        kept_step=training.kept["step"],
        held_out_loss=training.kept["held_out"]["held_out_loss"],
        held_out_accuracy=training.kept["held_out"]["held_out_accuracy"],
        pairs_per_second=training.pairs_per_second,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _report(
    on_progress: OnProgress | None,
    config: RewardTrainingConfig,
    member: int,
    training: RewardTraining,
) -> None:
    if on_progress is not None:
        on_progress(
            TrainingProgress(
                member=member,
                members=config.members,
                step=training.step,
                steps=training.steps,
                loss=training.loss,
                held_out_loss=training.kept["held_out"]["held_out_loss"],
                held_out_accuracy=training.kept["held_out"]["held_out_accuracy"],
                pairs_per_second=training.pairs_per_second,
            )
        )
