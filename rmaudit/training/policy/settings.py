"""Settings of policy training: of every run, of each method, of sampling, of iterated RLHF."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from rmaudit.errors import UsageError
from rmaudit.settings import POLICY, TRAINING, CallSettings, option
from rmaudit.training.reward.settings import RewardTrainingConfig


class SamplingConfig(CallSettings):
    """How a causal language model is loaded as a policy and samples.

    Raises
    ------
    UsageError
        If a value is outside its range.
    """

    max_new_tokens: int = option(64, "Longest response, tokens.", POLICY, limits={"ge": 1})
    max_prompt_tokens: int = option(448, "Longest prompt, tokens.", POLICY, limits={"ge": 1})
    temperature: float = option(1.0, "Temperature of sampling.", POLICY, limits={"gt": 0})
    device: str = option("auto", "auto, cpu, cuda or mps.", POLICY, metavar="NAME")
    lora_rank: int = option(
        0,
        "Rank of adapters on all linear layers; 0: train all weights. They are merged at the end.",
        POLICY,
        limits={"ge": 0},
    )
    checkpointing: bool = option(
        False,
        "Compute activations again in the backward pass: slower, in less memory.",
        POLICY,
        flag="gradient-checkpointing",
    )
    seed: int = option(0, "Seed of all randomness.", POLICY, limits={"ge": 0})


class PolicyConfig(CallSettings):
    """Settings of every policy run.

    Raises
    ------
    UsageError
        If a value is outside its range.
    """

    steps: int = option(200, "Rounds of sampling and learning.", TRAINING, limits={"ge": 1})
    batch: int = option(256, "Sequences per step.", TRAINING, limits={"ge": 1})
    learning_rate: float = option(
        1e-5, "Learning rate of the first step; falls linearly to 0.", TRAINING, limits={"gt": 0}
    )
    clip_norm: float = Field(default=1.0, gt=0)  # of the gradient over all weights
    beta: float = option(0.1, "KL penalty, reward per nat.", TRAINING, limits={"ge": 0})
    seed: int = option(0, "Seed of all randomness.", TRAINING, limits={"ge": 0})
    micro_batch: int | None = option(
        None,
        "Sequences per pass with gradients, which add up over a batch.",
        TRAINING,
        unset="all at once",
        limits={"ge": 1},
    )
    checkpoint_every: int = Field(default=50, ge=1)  # steps; also after ten minutes
    measure_every: int = Field(default=20, ge=1)  # steps; also at the first and the last


class SftConfig(PolicyConfig):
    """Settings of supervised fine-tuning; `beta` plays no part."""


class PpoConfig(PolicyConfig):
    """Settings of PPO."""

    epochs: int = Field(default=4, ge=1)  # over the samples of a step
    minibatch: int = Field(default=64, ge=1)  # sequences
    clip: float = 0.2  # of the probability ratio
    value_clip: float = 0.2  # of the value's change, in SDs of the step's rewards
    value_weight: float = 0.1  # of the value loss
    gae_lambda: float = 0.95  # 1: Monte Carlo, no bias; 0: one step, least variance
    unfinished_penalty: float = 0.0  # units of reward
    target_kl: float | None = option(
        None, "ppo: beta adapts to this KL, nats per sequence.", TRAINING, unset="beta is fixed"
    )
    beta_rate: float = 0.1  # how fast beta adapts, share a step and unit of relative error


class A2cConfig(PolicyConfig):
    """Settings of A2C."""

    value_weight: float = 0.1  # of the value loss
    entropy_weight: float = 0.0  # of the entropy bonus, a token; 0: the optimum is the tilted one
    gae_lambda: float = 0.95
    unfinished_penalty: float = 0.0  # units of reward


class RlooConfig(PolicyConfig):
    """Settings of RLOO."""

    samples: int = Field(default=4, ge=2)  # of each prompt in a step; they divide the batch
    unfinished_penalty: float = 0.0  # units of reward, for an output cut before its end token

    @model_validator(mode="after")
    def _whole_prompts(self) -> Self:
        if self.batch % self.samples:
            raise UsageError(f"samples must divide the batch of {self.batch}: {self.samples}")
        return self


class DpoConfig(PolicyConfig):
    """Settings of DPO. `beta` scales the implicit reward; `batch` counts pairs."""

    # Probability that a label is wrong ("conservative DPO").
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)


Method = Literal["sft", "ppo", "rloo", "a2c", "dpo"]
CONFIGS: dict[str, type[PolicyConfig]] = {
    "sft": SftConfig,
    "ppo": PpoConfig,
    "rloo": RlooConfig,
    "a2c": A2cConfig,
    "dpo": DpoConfig,
}


class RoundConfig(PpoConfig):
    """Settings of the PPO run of a round of iterated RLHF."""

    steps: int = option(100, "PPO steps per round.", TRAINING, limits={"ge": 1})
    batch: int = option(64, "Sequences per step.", TRAINING, limits={"ge": 1})


class IterationConfig(CallSettings):
    """Settings of iterated RLHF."""

    rounds: int = option(
        3, "Rounds: sample, label, retrain the reward, continue.", TRAINING, limits={"ge": 1}
    )
    pairs: int = option(500, "Labels per round.", TRAINING, limits={"ge": 1})
    reward: RewardTrainingConfig = RewardTrainingConfig()
    policy: PpoConfig = RoundConfig()
    seed: int = Field(default=0, ge=0)
