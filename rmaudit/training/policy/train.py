"""Training a policy on data: prompts, demonstrations or preferences as texts, by any method."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rmaudit.data.types import Dataset, Prompt, prompt_key
from rmaudit.errors import DataError, RewardModelError, UsageError
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.local.checkpoint import silent
from rmaudit.training.parallel import Parallel
from rmaudit.training.policy.a2c import train_a2c
from rmaudit.training.policy.dpo import train_dpo
from rmaudit.training.policy.log import sampled
from rmaudit.training.policy.ppo import train_ppo
from rmaudit.training.policy.reward import ModelReward
from rmaudit.training.policy.rloo import train_rloo
from rmaudit.training.policy.run import Measure
from rmaudit.training.policy.settings import (
    CONFIGS,
    DpoConfig,
    Method,
    PolicyConfig,
    SftConfig,
)
from rmaudit.training.policy.sft import train_sft
from rmaudit.training.policy.text import TextPolicy
from rmaudit.training.support import outside_support

MEASURED_PROMPTS = 128  # one sample each, at most
LARGE = 200_000_000  # parameters of a policy above which a run is told of other trainers
_REINFORCED: dict[str, Any] = {"ppo": train_ppo, "rloo": train_rloo, "a2c": train_a2c}
_log = logging.getLogger("rmaudit")


@dataclass(frozen=True, slots=True)
class PolicyTrainingResult:
    """Where a run's model and log are, and the log's last record."""

    path: Path
    log: Path
    last: dict[str, float] = field(default_factory=dict)


def train_policy(
    text_policy: TextPolicy,
    data: Dataset,
    out: str | Path,
    method: Method,
    config: PolicyConfig,
    *,
    reward: RewardModel | None = None,
    gold: RewardModel | None = None,
    feedback: Dataset | None = None,
) -> PolicyTrainingResult:
    """Train a policy in place; the same call resumes a killed run.

    Parameters
    ----------
    text_policy
        What is trained, see `load_text_policy`.
    data
        ppo, rloo, a2c: any data, its distinct prompts are used. sft: outputs (the chosen one of a
        preference) are the demonstrations. dpo: preference data.
    out
        Folder for the model with its tokenizer, the log and the checkpoint.
    method, config
        How; the config belongs to the method (`CONFIGS`).
    reward, gold
        What is optimised (sft, dpo: logged every `config.measure_every` steps, of samples of up
        to 128 prompts), and a second reward that is logged and never optimised.
    feedback
        What the reward model was trained on: the share of samples outside it is logged.

    Raises
    ------
    UsageError
        If a method that optimises a reward is given none, or the config is of another method.
    RewardModelError
        If the policy's weights are quantised: they could be neither trained nor saved.
    DataError
        If the data lacks what the method needs.
    """
    out = Path(out)
    if not isinstance(config, CONFIGS[method]):
        raise UsageError(f"{method} takes a {CONFIGS[method].__name__}")
    policy = text_policy.policy
    if getattr(policy.model.config, "quantization_config", None) is not None:
        raise RewardModelError(
            f"{policy.model.name_or_path}: its config.json has a quantization_config, and "
            "quantised weights cannot be trained; give plain weights without that entry"
        )
    if Parallel().is_first:
        say_if_large(text_policy)
    if isinstance(config, SftConfig):
        log = _sft(text_policy, data, config, out, reward, gold)
    elif isinstance(config, DpoConfig):
        log = _dpo(text_policy, data, config, out, reward, gold)
    else:
        prompts = distinct_prompts(data)
        optimised = _reward(text_policy, prompts, reward, gold, method)
        if feedback is not None:
            optimised.outside = outside_support(feedback, seed=config.seed)
        encoded = [text_policy.encode_prompt(prompt) for prompt in prompts]
        log = _REINFORCED[method](policy, optimised, encoded, config, out)
    parallel = Parallel()
    if parallel.is_first:
        with silent():
            text_policy.tokenizer.save_pretrained(out)
    parallel.wait()
    last = log.read_text(encoding="utf-8").splitlines()[-1]
    return PolicyTrainingResult(out, log, json.loads(last))


def say_if_large(text_policy: TextPolicy) -> None:
    """Log one line where a policy has more than `LARGE` parameters: training it goes on."""
    size = sum(p.numel() for p in text_policy.policy.model.parameters())
    if size > LARGE:
        _log.warning(
            "%s: %.0f million parameters; training goes on, but policies above %.0f million belong "
            "to TRL, OpenRLHF or verl, whose logs rmaudit overopt reads",
            text_policy.policy.model.name_or_path or "policy",
            size / 1e6,
            LARGE / 1e6,
        )


def distinct_prompts(data: Dataset) -> list[Prompt]:
    """Prompts in order of appearance, each once.

    Raises
    ------
    DataError
        If there is none.
    """
    prompts = {prompt_key(prompt): prompt for prompt in data.frame["prompt"] if prompt}
    if not prompts:
        raise DataError(f"{data.source.path}: no row has a prompt to answer")
    return list(prompts.values())


def _reward(
    text_policy: TextPolicy,
    prompts: Sequence[Prompt],
    reward: RewardModel | None,
    gold: RewardModel | None,
    method: str,
) -> ModelReward:
    if reward is None:
        raise UsageError(f"{method} needs a reward model to optimise: --reward")
    return ModelReward(reward, prompts, text_policy.decode, gold=gold)


def _demonstrations(data: Dataset) -> tuple[list[Prompt], list[str]]:
    """Prompts and the outputs to imitate: chosen ones, good ones, the best of a ranking."""
    pairs = data.pairs()
    if pairs is not None:
        return data.frame["prompt"].tolist(), list(pairs.chosen)
    sides = data.outputs()
    if not sides:
        raise DataError(f"{data.source.path}: no outputs to imitate")
    shown = [
        each
        for side in sides
        for each in zip(side.rows, side.prompts, side.texts, side.level, strict=True)
    ]
    if data.type == "unpaired":
        shown = [each for each in shown if each[3]]
    shown.sort(key=lambda each: each[0])  # row by row, as they stand there
    return [prompt for _, prompt, _, _ in shown], [text for _, _, text, _ in shown]


def _measure(
    text_policy: TextPolicy,
    prompts: Sequence[Prompt],
    reward: RewardModel | None,
    gold: RewardModel | None,
    config: PolicyConfig,
) -> Measure | None:
    """Rewards and KL of samples, now and then, for a method that draws none itself."""
    if reward is None:
        return None
    asked = list(prompts)[:MEASURED_PROMPTS]
    encoded = [text_policy.encode_prompt(prompt) for prompt in asked]
    model = ModelReward(reward, asked, text_policy.decode, gold=gold)
    return sampled(model, encoded, text_policy.policy.frozen(), config.seed)


def _sft(
    text_policy: TextPolicy,
    data: Dataset,
    config: SftConfig,
    out: Path,
    reward: RewardModel | None,
    gold: RewardModel | None,
) -> Path:
    prompts, outputs = _demonstrations(data)
    encoded = [text_policy.encode_prompt(prompt) for prompt in prompts]
    shown = [text_policy.encode_output(output) for output in outputs]
    measure = _measure(text_policy, prompts, reward, gold, config)
    return train_sft(text_policy.policy, encoded, shown, config, out, measure=measure)


def _dpo(
    text_policy: TextPolicy,
    data: Dataset,
    config: DpoConfig,
    out: Path,
    reward: RewardModel | None,
    gold: RewardModel | None,
) -> Path:
    if data.type != "preference":
        raise DataError(f"{data.source.path}: dpo needs preference data, this is {data.type} data")
    measure = _measure(text_policy, distinct_prompts(data), reward, gold, config)
    frame = data.frame[~data.tied]
    prompts = [text_policy.encode_prompt(prompt) for prompt in frame["prompt"]]
    chosen, rejected = (
        [text_policy.encode_output(output) for output in frame[side]]
        for side in ("chosen", "rejected")
    )
    return train_dpo(text_policy.policy, prompts, chosen, rejected, config, out, measure=measure)


def config_of(method: str, **settings: Any) -> PolicyConfig:
    """The settings of a method; None stands for its default.

    Raises
    ------
    UsageError
        If the method has no such setting.
    """
    kind = CONFIGS[method]
    given = {name: value for name, value in settings.items() if value is not None}
    unknown = [name for name in given if name not in kind.model_fields]
    if unknown:
        raise UsageError(f"{method} has no setting {', '.join(unknown)}")
    return kind(**given)
