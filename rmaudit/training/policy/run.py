"""What every policy run shares: its place on disk, its chance, its optimiser.

The state of a run is a function of its first weights and the step: prompts, samples and minibatches
are drawn from (seed, step), the learning rate follows from the step. So a killed run resumes from
its checkpoint to the same weights, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rmaudit.errors import RewardModelError
from rmaudit.rewards.local.checkpoint import silent
from rmaudit.training import checkpoint
from rmaudit.training.parallel import Parallel
from rmaudit.training.policy.model import CausalPolicy, Rollout, Tokens
from rmaudit.training.policy.reward import PolicyReward, Rewards
from rmaudit.training.policy.settings import PolicyConfig
from rmaudit.typing import Integers

Measure = Callable[[CausalPolicy], Mapping[str, float]]
"""What else to log of a policy, now and then: in a world, the exact KL and rewards."""

WEIGHTS = "model.safetensors"
LONGEST_LOSS = 600  # seconds of work that a kill may cost, where a step takes less


class PolicyRun:
    """A run in a folder: `training.json`, `training-log.jsonl`, a checkpoint, at the end the model.

    Parameters
    ----------
    method
        "ppo", "rloo", ...; with the settings, the data and the first weights it says which run
        this is.
    policy
        What is trained; on resuming it takes the weights of the checkpoint.
    config
        Settings.
    out
        The folder.
    data
        Token ids that the run depends on.
    modules
        What is trained beside the policy: a value head.

    Raises
    ------
    UsageError
        If `out` holds another run.
    """

    def __init__(
        self,
        method: str,
        policy: CausalPolicy,
        config: PolicyConfig,
        out: Path,
        data: Sequence[Tokens],
        modules: Mapping[str, nn.Module] | None = None,
    ) -> None:
        self.policy, self.config, self.out = policy, config, out
        self.parallel = Parallel()
        self.modules = nn.ModuleDict({"policy": policy.model, **(modules or {})}).to(policy.device)
        self.optimizer = torch.optim.AdamW(
            (p for p in self.modules.parameters() if p.requires_grad),
            lr=config.learning_rate,
            weight_decay=0.0,  # decay would pull a trained model towards zero, away from pi_pre
        )
        self.numbers: dict[str, float] = {}  # further state: an adaptive beta
        identity = {
            "method": method,
            "settings": config.model_dump(),
            "weights": weights_digest(self.parameters),
            "data": tokens_digest(data),
        }
        self.identity = identity
        self.finished = checkpoint.open_in_turn(self.parallel, out, identity) is not None
        self.step = 0
        self._restore()

    @property
    def parameters(self) -> list[Tensor]:
        """All that is trained."""
        return list(self.modules.parameters())

    @property
    def log_path(self) -> Path:
        """The JSONL log; `rmaudit.training.policy.log` says what its keys mean."""
        return self.out / checkpoint.LOG

    def steps(self) -> Iterator[int]:
        """Steps to take, and last `config.steps`, at which the policy is only described.

        A checkpoint is written between steps. Nothing is left to do for a run that has ended.
        """
        if self.finished:
            return
        keep = self.parallel.is_first
        self._log = checkpoint.TrainingLog(self.out, self.step - 1, keep=keep)
        self._saved = time.monotonic()
        while self.step < self.config.steps:
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.learning_rate * (1 - self.step / self.config.steps)
            yield self.step
            self.step += 1
            if self.parallel.is_first and self._is_due():
                checkpoint.save_checkpoint(self.out, self._state())
                self._saved = time.monotonic()
        yield self.step
        self._close()

    def _is_due(self) -> bool:
        """Whether to keep the state: every so many steps, and sooner where steps are long."""
        waited = time.monotonic() - self._saved
        return self.step % self.config.checkpoint_every == 0 or waited > LONGEST_LOSS

    def rng(self, step: int) -> np.random.Generator:
        """Chance for prompts and minibatches of a step."""
        return np.random.default_rng([self.config.seed, step, 0, self.parallel.rank])

    def generator(self, step: int) -> torch.Generator:
        """Chance for the samples of a step, on the policy's device."""
        rng = np.random.default_rng([self.config.seed, step, 1, self.parallel.rank])
        seed = int(rng.integers(2**62))
        return torch.Generator(self.policy.device).manual_seed(seed)

    def is_measured(self, step: int) -> bool:
        """Whether the step is one at which the exact quantities are computed."""
        return step % self.config.measure_every == 0 or step == self.config.steps

    def log(self, step: int, **record: float) -> dict[str, float]:
        """Append to the log; the record over all processes."""
        combined = self.parallel.combine_record(record)
        self._log.write(step=step, **combined)
        return combined

    def share(self, count: int) -> int:
        """The part of this process in a number of sequences."""
        return self.parallel.share("the batch", count)

    def update(self, losses: Tensor | Iterable[Tensor] | None) -> float:
        """One optimiser step down the mean of the processes' losses; the value of this one's.

        Parameters
        ----------
        losses
            The loss, or parts that add up to it: each part's graph is freed before the next is
            made. A process whose share of a batch is empty has None: its loss and gradients are 0.

        Raises
        ------
        RewardModelError
            If the loss is not finite.
        """
        self.optimizer.zero_grad(set_to_none=True)
        value = 0.0
        for loss in () if losses is None else (losses,) if isinstance(losses, Tensor) else losses:
            value += float(loss.detach())
            if not math.isfinite(value):
                raise RewardModelError(
                    f"{self.out}: the loss is {value} at step {self.step + 1}; lower the learning "
                    f"rate ({self.config.learning_rate})"
                )
            loss.backward()
        trained = [parameter for parameter in self.parameters if parameter.requires_grad]
        self.parallel.combine_gradients(trained, "mean")
        nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        self.optimizer.step()
        return value

    def cuts(self, count: int) -> list[slice]:
        """Places of `count` sequences, as many at once as `micro_batch` says."""
        size = self.config.micro_batch or max(count, 1)
        return [slice(start, start + size) for start in range(0, count, size)]

    def _state(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "numbers": self.numbers,
            "modules": self.modules.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def _restore(self) -> None:
        if self.finished:
            from safetensors.torch import load_model

            self.policy.model = merged(self.policy.model)
            load_model(self.policy.model, str(self.out / WEIGHTS))
            self.step = self.config.steps
            return
        state = checkpoint.load_checkpoint(self.out)
        if state is not None:
            self.step, self.numbers = state["step"], state["numbers"]
            self.modules.load_state_dict(state["modules"])
            self.optimizer.load_state_dict(state["optimizer"])

    def _close(self) -> None:
        self.finished = True
        if self.parallel.is_first:
            with silent():
                merged(self.policy.model).save_pretrained(self.out)
            checkpoint.close_run(self.out, self.identity, {"steps": self.config.steps})
        self.parallel.wait()


def merged(model: Any) -> Any:
    """A model whose adapters are part of its weights; one without adapters as it is."""
    if not hasattr(model, "merge_and_unload"):
        return model
    with silent():
        return copy.deepcopy(model).merge_and_unload()


def choose_prompts(n_prompts: int, n: int, rng: np.random.Generator) -> Integers:
    """Positions of `n` prompts, each as often as the others (to within one), in random order."""
    rounds = [rng.permutation(n_prompts) for _ in range(math.ceil(n / n_prompts))]
    return np.concatenate(rounds)[:n]


def rewards_of(reward: PolicyReward, prompts: Integers, rollout: Rollout) -> Rewards:
    """Rewards of a rollout.

    Raises
    ------
    RewardModelError
        If a proxy reward is not finite: a policy cannot learn from it.
    """
    rewards = reward(prompts, rollout.outputs)
    finite = np.isfinite(rewards.proxy)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise RewardModelError(
            f"the reward of an output to prompt {int(prompts[first])} is {rewards.proxy[first]}; "
            "run `rmaudit audit --only preflight` on the reward model"
        )
    return rewards


def scores(
    rewards: Rewards, rollout: Rollout, policy: CausalPolicy, unfinished_penalty: float
) -> Tensor:
    """Proxy rewards as training sees them, (n,): less the penalty where an output was cut."""
    score = torch.as_tensor(rewards.proxy, dtype=torch.float32, device=policy.device)
    if policy.eos_id is None:  # all outputs have the same length, none can be cut
        return score
    last = (rollout.mask.sum(dim=1) - 1)[:, None]
    ended = rollout.tokens[:, rollout.width :].gather(1, last)[:, 0] == policy.eos_id
    return score - unfinished_penalty * ~ended


def weights_digest(weights: Iterable[Tensor]) -> str:
    """What weights a run began with."""
    return _digest(weight.detach().cpu().numpy().tobytes() for weight in weights)


def tokens_digest(data: Sequence[Tokens]) -> str:
    """What token ids a run depends on."""
    return _digest(repr(list(row)).encode() for row in data)


def _digest(parts: Iterator[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
