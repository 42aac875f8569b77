"""The training loop of one reward model."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.errors import RewardModelError
from rmaudit.rewards.batching import length_batches
from rmaudit.rewards.local.devices import bfloat16_flags
from rmaudit.rewards.local.pooling import pad
from rmaudit.rewards.local.transformers_model import torch_device
from rmaudit.training.checkpoint import TrainingLog, load_checkpoint, save_checkpoint
from rmaudit.training.parallel import Parallel, local_device
from rmaudit.training.recompute import recomputing
from rmaudit.training.reward import backbone
from rmaudit.training.reward.examples import Examples
from rmaudit.training.reward.heldout import HeldOut
from rmaudit.training.reward.losses import centering
from rmaudit.training.reward.objectives import (
    DIFFERENCES,
    critique_losses,
    evaluate,
    example_losses,
)
from rmaudit.training.reward.settings import Precision, RewardTrainingConfig
from rmaudit.typing import Integers

Report = Callable[["RewardTraining"], None]


class RewardTraining:
    """One model on its way: weights, optimiser, the best weights so far.

    The state is a function of the step alone: the order of an epoch is drawn from (seed, epoch),
    the learning rate from the step, and nothing else is random. So a run that was killed and
    resumed from its checkpoint ends, on a CPU, with the same weights bit for bit.
    """

    def __init__(
        self,
        model: Any,
        pad_id: int,
        train: Examples,
        held_out: Examples,
        config: RewardTrainingConfig,
        seed: int,
        out: Path,
    ) -> None:
        self.parallel = Parallel()
        self.device = torch_device(local_device(config.device))
        self.model = model.to(self.device)
        self.pad_id = pad_id
        self.train, self.held_out = train, held_out
        self.config, self.seed, self.out = config, seed, out
        self.epoch_steps = math.ceil(len(train) / config.batch_pairs)
        self.steps = config.epochs * self.epoch_steps
        if train.kind in DIFFERENCES and not config.center:
            backbone.hold_level(model, len(train.heads))
        self.optimizer = _optimizer(model, config)
        self.bfloat16 = uses_bfloat16(config.precision, self.device)
        self.step = 0
        self.seconds = 0.0
        self.loss = math.nan
        self.kept: dict[str, Any] = {"step": 0, "held_out": asdict(HeldOut())}
        self.since_kept = 0  # evaluations that did not rank better
        self._order: tuple[int, list[NDArray[np.int64]]] = (-1, [])

    @property
    def finished(self) -> bool:
        """Whether the last step is taken or patience has run out."""
        return self.step >= self.steps or self.since_kept >= self.config.patience

    @property
    def pairs_per_second(self) -> float:
        """Pairs trained on a second, evaluations left out; NaN before the first step."""
        pairs = min(self.step * self.config.batch_pairs, self.config.epochs * len(self.train))
        return pairs / self.seconds if self.seconds else math.nan

    def run(self, report: Report) -> None:
        """Train to the end from the last checkpoint; the model then holds the weights kept."""
        state = load_checkpoint(self.out)
        if state is not None:
            self._restore(state)
        log = TrainingLog(self.out, self.step, keep=self.parallel.is_first)
        while not self.finished:
            self._train_step()
            log.write(
                step=self.step,
                loss=self.loss,
                learning_rate=self.optimizer.param_groups[0]["lr"],
                pairs_per_second=self.pairs_per_second,
            )
            evaluates = len(self.held_out) > 0 and self._is_evaluation_step()
            if evaluates:
                held_out = evaluate(self.held_out, *self.rewards(self.held_out))
                log.write(step=self.step, **asdict(held_out))
                self._keep_if_better(held_out)
            saves = evaluates or self.step % self.config.checkpoint_every == 0
            if saves and self.parallel.is_first:
                save_checkpoint(self.out, self._state())
            report(self)
        if len(self.held_out):
            self.model.load_state_dict(self.kept["weights"])
        else:
            self.kept["step"] = self.step

    def rewards(self, examples: Examples) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Rewards of the texts of examples, (n, k), and which of them exist."""
        shape = (len(examples), examples.most_texts)
        rewards, exist = np.zeros(shape), np.zeros(shape, dtype=bool)
        with torch.inference_mode():
            for cut in self._cuts(np.arange(len(examples)), examples):
                heads, there = self._heads(examples, cut)
                rewards[cut, : heads.shape[1]] = heads[..., 0].double().cpu().numpy()
                exist[cut, : heads.shape[1]] = there.cpu().numpy()
        return rewards, exist

    def _cuts(self, batch: NDArray[np.int64], examples: Examples) -> list[NDArray[np.int64]]:
        budget = self.config.token_budget
        return micro_batches(batch, examples.lengths, budget, examples.most_texts)

    def _train_step(self) -> None:
        started = time.perf_counter()
        batch = self._batch()
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * self._schedule()
        self.optimizer.zero_grad(set_to_none=True)
        total = 0.0
        mine = batch[self.parallel.rank :: self.parallel.size]
        for cut in self._cuts(mine, self.train):
            with recomputing(self.model):
                loss = self._losses(cut).sum() / len(batch)
            loss.backward()  # type: ignore[no-untyped-call]
            total += float(loss.detach())
        parameters = list(self.model.parameters())
        self.parallel.combine_gradients(parameters, "sum")
        total = self.parallel.total(total)
        if not math.isfinite(total):
            raise RewardModelError(
                f"{self.out}: the loss is {total} at step {self.step + 1}; lower the learning rate "
                f"({self.config.learning_rate}) or train in float32"
            )
        torch.nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self.optimizer.step()
        self.step += 1
        self.loss = total
        self.seconds += time.perf_counter() - started

    def _losses(self, cut: NDArray[np.int64]) -> Tensor:
        """Loss of each example of a cut, (n,)."""
        heads, there = self._heads(self.train, cut)
        target = torch.as_tensor(self.train.target[cut], dtype=heads.dtype, device=self.device)
        losses = example_losses(self.train.kind, heads, there, target)
        if self.config.center and self.train.kind in DIFFERENCES:
            losses = losses + self.config.center * centering(heads[..., 0], there)
        if self.train.attributes:
            missing = torch.as_tensor(self.train.missing[cut], dtype=heads.dtype)
            named = critique_losses(heads, there, missing.to(self.device))
            losses = losses + self.config.critique_weight * named
        return losses

    def _heads(self, examples: Examples, cut: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Values of the heads, (n, k, n_heads), and which texts exist, (n, k)."""
        rows = [examples.texts[i] for i in cut]
        tokens, mask = pad([ids for row in rows for ids in row], self.pad_id)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            values = backbone.head_values(self.model, tokens.to(self.device), mask.to(self.device))
        sizes = torch.tensor([len(row) for row in rows], device=self.device)
        there = torch.arange(int(sizes.max()), device=self.device) < sizes[:, None]  # (n, k)
        heads = values.new_zeros((*there.shape, values.shape[1]))
        heads[there] = values
        return heads, there

    def _batch(self) -> NDArray[np.int64]:
        epoch, position = divmod(self.step, self.epoch_steps)
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, epoch])
            order = epoch_batches(self.train.lengths, self.config.batch_pairs, rng)
            self._order = (epoch, order)
        return self._order[1][position]

    def _schedule(self) -> float:
        """Share of the full learning rate: up linearly over the warm-up, then down to 0."""
        warmup = self.config.warmup_share * self.steps
        rising = (self.step + 1) / warmup if warmup >= 1 else 1.0
        falling = (self.steps - self.step) / max(self.steps - warmup, 1.0)
        return min(rising, falling, 1.0)

    def _is_evaluation_step(self) -> bool:
        every = max(1, self.epoch_steps // self.config.evaluations_per_epoch)
        return self.step % every == 0 or self.step == self.steps

    def _keep_if_better(self, found: HeldOut) -> None:
        if "weights" in self.kept and not found.better_than(HeldOut(**self.kept["held_out"])):
            self.since_kept += 1
            return
        weights = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.kept = {"step": self.step, "held_out": asdict(found), "weights": weights}
        self.since_kept = 0

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "loss": self.loss,
            "since_kept": self.since_kept,
            "kept": self.kept,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.step, self.seconds = state["step"], state["seconds"]
        self.loss, self.since_kept = state["loss"], state["since_kept"]
        self.kept = state["kept"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def _optimizer(model: Any, config: RewardTrainingConfig) -> torch.optim.AdamW:
    """AdamW; only matrices decay."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
    )


def uses_bfloat16(precision: Precision, device: torch.device) -> bool:
    """Whether to run under bfloat16 autocast: on `auto`, where the processor computes in it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return device.type == "cpu" and bool(bfloat16_flags())


def epoch_batches(lengths: Integers, batch_pairs: int, rng: np.random.Generator) -> list[Integers]:
    """Every pair once, in batches of pairs of similar length; the batches are in random order.

    Lengths are compared in steps of 16 tokens, and pairs within a step are shuffled, so that
    batches differ from epoch to epoch while padding stays small.

    Parameters
    ----------
    lengths
        Tokens of the longer text of each pair, (n_pairs,).

    Returns
    -------
    Positions of pairs; each batch holds `batch_pairs`, one of them perhaps fewer.
    """
    order = np.lexsort((rng.random(len(lengths)), lengths // 16))
    batches = [order[i : i + batch_pairs] for i in range(0, len(order), batch_pairs)]
    return [batches[i] for i in rng.permutation(len(batches))]


def micro_batches(
    batch: Integers, lengths: Integers, token_budget: int, texts: int = 2
) -> list[Integers]:
    """A batch cut so that the padded texts of a cut hold at most `token_budget` tokens together.

    Each example has `texts` of them, two for a pair. One may exceed the budget on its own.
    Gradients of the cuts add up to the batch's.
    """
    return [batch[cut] for cut in length_batches(texts * lengths[batch], token_budget)]
