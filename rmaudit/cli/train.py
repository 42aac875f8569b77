"""`rmaudit train reward`, `rmaudit train policy` and `rmaudit train iterate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import Limit
from rmaudit.console import Console
from rmaudit.errors import UsageError

DeviceName = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Train reward models and policies.", no_args_is_help=True, rich_markup_mode=None
    )
    command.add(group, "reward", reward)
    command.add(group, "policy", policy)
    command.add(group, "iterate", iterate)
    app.add_typer(group, name="train")


def reward(
    console: Console,
    base: Annotated[str, typer.Option(help="Backbone: a transformers directory or hub id.")],
    data: Annotated[
        str, typer.Option(help="Preferences, rankings, ratings or labels: the type picks the loss.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model, or for the ensemble.")],
    seeds: Annotated[int, typer.Option(min=1, help="Members; more than one: an ensemble.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first member.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 5e-5,
    batch_pairs: Annotated[int, typer.Option(min=1, help="Pairs an optimiser step.")] = 8,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens per text, at most.")] = 512,
    held_out_share: Annotated[float, typer.Option(help="Of the prompts, to stop early.")] = 0.1,
    label_smoothing: Annotated[float, typer.Option(help="Share of labels taken as wrong.")] = 0.0,
    soft_labels: Annotated[
        bool, typer.Option("--soft-labels", help="Learn shares of annotator_votes.")
    ] = False,
    margin_column: Annotated[
        str | None, typer.Option(help="By how much the chosen output is better.")
    ] = None,
    rating_columns: Annotated[str, typer.Option(help="a,b: a head for each.")] = "rating",
    critique_weight: Annotated[float, typer.Option(help="Of what critiques name.")] = 1.0,
    lora_rank: Annotated[int, typer.Option(min=0, help="Train adapters; 0: all weights.")] = 0,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the forward pass.")
    ] = "auto",
    device: DeviceName = "auto",
    limit: Limit = None,
) -> None:
    """Train a reward model on feedback; the same command resumes an interrupted run."""
    from rmaudit.api import load
    from rmaudit.training.reward.settings import RewardTrainingConfig
    from rmaudit.training.reward.train import train_reward_model

    config = RewardTrainingConfig(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_pairs=batch_pairs,
        max_length=max_length,
        held_out_share=held_out_share,
        members=seeds,
        label_smoothing=label_smoothing,
        soft_labels=soft_labels,
        margin_column=margin_column,
        rating_columns=tuple(rating_columns.split(",")),
        critique_weight=critique_weight,
        lora_rank=lora_rank,
        seed=seed,
        precision=precision,
        device=device,
    )
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
    reward: Annotated[str | None, typer.Option(help="Reward model that is optimised.")] = None,
    gold: Annotated[str | None, typer.Option(help="Reward model that is only logged.")] = None,
    feedback: Annotated[
        str | None, typer.Option(help="What --reward was trained on: logs who leaves it.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Rounds of sampling, learning.")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Sequences a step.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of the first step.")] = None,
    beta: Annotated[float | None, typer.Option(help="KL penalty, reward per nat.")] = None,
    target_kl: Annotated[float | None, typer.Option(help="ppo: beta adapts to it.")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="bon: samples a prompt.")] = 16,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest output.")] = 64,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 448,
    temperature: Annotated[float, typer.Option(help="Of sampling.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    device: DeviceName = "auto",
    limit: Limit = None,
) -> None:
    """Optimise a policy, logging KL, rewards, length and entropy; the same command resumes."""
    from rmaudit.api import load, load_reward_model
    from rmaudit.training.policy.samples import sample_policy
    from rmaudit.training.policy.text import load_text_policy
    from rmaudit.training.policy.train import config_of, train_policy

    if not temperature > 0:
        raise UsageError(f"temperature must be positive, not {temperature}")
    table = load(data, limit=limit)
    proxy, truth = (
        None if name is None else load_reward_model(name, device=device) for name in (reward, gold)
    )
    start = load_text_policy(
        model,
        max_new_tokens=max_new_tokens,
        max_prompt_tokens=max_prompt_tokens,
        temperature=temperature,
        device=device,
        seed=seed,
    )
    if method == "bon":
        if proxy is None:
            raise UsageError("bon needs a reward model to choose by: --reward")
        path = sample_policy(start, table, out, n, seed, reward=proxy, gold=truth)
        console.say(f"{n} samples a prompt: {path}; rmaudit overopt --samples {path}")
        return
    config = config_of(
        method,
        steps=steps,
        batch=batch,
        learning_rate=1e-5 if learning_rate is None else learning_rate,
        beta=beta,
        target_kl=target_kl,
        seed=seed,
    )
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
    rounds: Annotated[int, typer.Option(min=1, help="Sample, label, retrain, continue.")] = 3,
    pairs: Annotated[int, typer.Option(min=1, help="Labels a round.")] = 500,
    reward_epochs: Annotated[int, typer.Option(min=1, help="Over the labels.")] = 2,
    reward_learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 5e-5,
    seeds: Annotated[int, typer.Option(min=1, help="Members of each reward model.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="PPO steps a round.")] = 100,
    batch: Annotated[int, typer.Option(min=1, help="Sequences a step.")] = 64,
    learning_rate: Annotated[float, typer.Option(help="Of PPO's first step.")] = 1e-5,
    beta: Annotated[float, typer.Option(help="KL penalty, reward per nat.")] = 0.1,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest output.")] = 64,
    max_prompt_tokens: Annotated[int, typer.Option(min=1, help="Longest prompt.")] = 448,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
    device: DeviceName = "auto",
    limit: Limit = None,
) -> None:
    """Iterated RLHF: sample, label, retrain the reward, continue; the same command resumes."""
    import json

    from rmaudit.api import load, load_reward_model
    from rmaudit.training.policy.iterated import (
        IterationConfig,
        Prompts,
        bradley_terry_labels,
        iterate_rlhf,
    )
    from rmaudit.training.policy.ppo import PpoConfig
    from rmaudit.training.policy.text import load_text_policy
    from rmaudit.training.policy.train import distinct_prompts, say_if_large
    from rmaudit.training.reward.settings import RewardTrainingConfig

    lengths = {"max_new_tokens": max_new_tokens, "max_prompt_tokens": max_prompt_tokens}
    start = load_text_policy(model, **lengths, device=device, seed=seed)
    say_if_large(start)
    texts = distinct_prompts(load(data, limit=limit))
    truth = load_reward_model(gold, device=device)
    config = IterationConfig(
        rounds=rounds,
        pairs=pairs,
        reward=RewardTrainingConfig(
            epochs=reward_epochs,
            learning_rate=reward_learning_rate,
            members=seeds,
            seed=seed,
            device=device,
        ),
        policy=PpoConfig(
            steps=steps, batch=batch, learning_rate=learning_rate, beta=beta, seed=seed
        ),
        seed=seed,
    )
    prompts = Prompts([start.encode_prompt(text) for text in texts], texts, start.decode)
    label = bradley_terry_labels(truth)
    log = iterate_rlhf(start.policy, prompts, label, base, config, out, gold=truth)
    records = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    columns = ["round", "pairs", "reward_accuracy", "stale_accuracy", "kl_k1", "proxy", "gold"]
    rows = [[f"{record.get(name, float('nan')):.4g}" for name in columns] for record in records]
    console.table("Rounds", columns, rows)
    console.say(str(log))
