"""`rmaudit train reward`, `rmaudit train policy` and `rmaudit train iterate`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import Limit
from rmaudit.cli.command import offered
from rmaudit.console import Console
from rmaudit.errors import UsageError
from rmaudit.files import check_writable
from rmaudit.training.policy.settings import (
    CONFIGS,
    IterationConfig,
    RoundConfig,
    SamplingConfig,
)
from rmaudit.training.reward.settings import RewardTrainingConfig

REWARD_SETTINGS = offered(RewardTrainingConfig)
POLICY_SETTINGS = {
    name: setting for config in CONFIGS.values() for name, setting in offered(config).items()
} | dict(offered(SamplingConfig))
ITERATE_SETTINGS = {
    **offered(IterationConfig),
    **offered(RewardTrainingConfig, ("epochs", "learning_rate"), prefix="reward_"),
    **offered(RewardTrainingConfig, ("members",)),
    **offered(RoundConfig, ("steps", "batch", "learning_rate", "beta")),
    **offered(SamplingConfig, ("max_new_tokens", "max_prompt_tokens", "device", "seed")),
}


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Train reward models and policies.", no_args_is_help=True, rich_markup_mode=None
    )
    command.add(group, "reward", reward, settings=REWARD_SETTINGS)
    command.add(group, "policy", policy, settings=POLICY_SETTINGS)
    command.add(group, "iterate", iterate, settings=ITERATE_SETTINGS)
    app.add_typer(group, name="train")


def reward(
    console: Console,
    base: Annotated[
        list[str],
        typer.Option(
            help="Backbone: a transformers directory or hub id; repeated: of an ensemble."
        ),
    ],
    data: Annotated[
        str, typer.Option(help="Preferences, rankings, ratings or labels: the type picks the loss.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model, or for the ensemble.")],
    given: dict[str, Any],
    limit: Limit = None,
) -> None:
    """Train a reward model on feedback; the same command resumes an interrupted run."""
    from rmaudit.api import load
    from rmaudit.training.reward.train import train_reward_model

    check_writable(out)
    config = RewardTrainingConfig(**RewardTrainingConfig.said(given))
    with console.training() as on_progress:
        done = train_reward_model(
            base, load(data, limit=limit), out, config=config, on_progress=on_progress
        )
    console.table(
        "Trained",
        ["model", "seed", "steps", "held-out loss", "held-out accuracy", "pairs/s"],
        [
            [
                member.path,
                str(member.seed),
                f"{member.kept_step} of {member.steps}",
                f"{member.held_out_loss:.4f}",
                f"{member.held_out_accuracy:.3f}",
                f"{member.pairs_per_second:.1f}",
            ]
            for member in done.members
        ],
    )
    console.say(
        f"{done.pairs} pairs used, {done.rows_set_aside} rows set aside, "
        f"{done.ties_dropped} ties left out: {done.path}"
    )


def policy(
    console: Console,
    method: Annotated[
        Literal["sft", "ppo", "rloo", "a2c", "dpo", "bon"], typer.Option(help="How to optimise.")
    ],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Causal LM: a transformers directory or hub id.")
    ],
    data: Annotated[str, typer.Option(help="Prompts; demonstrations (sft); preferences (dpo).")],
    out: Annotated[Path, typer.Option(help="Folder for the policy, or the samples (bon).")],
    given: dict[str, Any],
    reward: Annotated[str | None, typer.Option(help="Reward model that is optimised.")] = None,
    gold: Annotated[str | None, typer.Option(help="Reward model that is only logged.")] = None,
    feedback: Annotated[
        str | None,
        typer.Option(
            help="What --reward was trained on: logs how many responses leave its support."
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="bon: samples per prompt.")] = 16,
    limit: Limit = None,
) -> None:
    """Optimise a policy, logging KL, rewards, length and entropy; the same command resumes."""
    from rmaudit.api import load, load_reward_model
    from rmaudit.training.policy.samples import sample_policy
    from rmaudit.training.policy.text import load_text_policy
    from rmaudit.training.policy.train import config_of, train_policy

    check_writable(out)
    sampling = SamplingConfig(**SamplingConfig.said(given))
    table = load(data, limit=limit)
    proxy, truth = (
        None if name is None else load_reward_model(name, device=sampling.device)
        for name in (reward, gold)
    )
    start = load_text_policy(model, sampling)
    if method == "bon":
        if proxy is None:
            raise UsageError("bon needs a reward model to choose by: --reward")
        path = sample_policy(start, table, out, n, sampling.seed, reward=proxy, gold=truth)
        console.say(f"{n} samples per prompt: {path}; rmaudit overopt --samples {path}")
        return
    learning = [name for name in POLICY_SETTINGS if name not in sampling.options()]
    config = config_of(method, **{name: given[name] for name in learning}, seed=sampling.seed)
    known = None if feedback is None else load(feedback)
    done = train_policy(start, table, out, method, config, reward=proxy, gold=truth, feedback=known)
    numbers = [[key, f"{value:.4g}"] for key, value in done.last.items()]
    console.table("Last step", ["", "value"], numbers)
    drawn = f"; rmaudit overopt --log {done.log}" if "gold" in done.last else ""
    console.say(f"{done.path}{drawn}")


def iterate(
    console: Console,
    model: Annotated[str, typer.Option("--model", "-m", help="Causal LM: the first policy.")],
    data: Annotated[str, typer.Option(help="Prompts.")],
    base: Annotated[str, typer.Option(help="Backbone of the reward models.")],
    gold: Annotated[str, typer.Option(help="Reward model that labels, and is logged.")],
    out: Annotated[Path, typer.Option(help="Folder of the rounds.")],
    given: dict[str, Any],
    limit: Limit = None,
) -> None:
    """Iterated RLHF: sample, label, retrain the reward, continue; the same command resumes."""
    from rmaudit.api import load, load_reward_model
    from rmaudit.training.policy.iterated import Prompts, bradley_terry_labels, iterate_rlhf
    from rmaudit.training.policy.text import load_text_policy
    from rmaudit.training.policy.train import distinct_prompts, say_if_large

    check_writable(out)
    sampling = SamplingConfig(**SamplingConfig.said(given))
    config = iteration_config(given, sampling)
    start = load_text_policy(model, sampling)
    say_if_large(start)
    texts = distinct_prompts(load(data, limit=limit))
    truth = load_reward_model(gold, device=sampling.device)
    prompts = Prompts([start.encode_prompt(text) for text in texts], texts, start.decode)
    label = bradley_terry_labels(truth)
    log = iterate_rlhf(start.policy, prompts, label, base, config, out, gold=truth)
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    columns = ["round", "pairs", "reward_accuracy", "stale_accuracy", "kl_k1", "proxy", "gold"]
    rows = [[f"{record.get(name, float('nan')):.4g}" for name in columns] for record in records]
    console.table("Rounds", columns, rows)
    console.say(str(log))


def iteration_config(given: dict[str, Any], sampling: SamplingConfig) -> IterationConfig:
    """The settings of all rounds from what the command line gave."""
    shared = {"seed": sampling.seed, "device": sampling.device}
    reward = {**RewardTrainingConfig.said(given, prefix="reward_"), **shared}
    if given["members"] is not None:
        reward["members"] = given["members"]
    return IterationConfig(
        **IterationConfig.said(given),
        reward=RewardTrainingConfig(**reward),
        policy=RoundConfig(**{**RoundConfig.said(given), "seed": sampling.seed}),
        seed=sampling.seed,
    )
