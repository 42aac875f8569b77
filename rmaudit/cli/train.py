"""`rmaudit train reward`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import Limit
from rmaudit.console import Console


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Train reward models.", no_args_is_help=True, rich_markup_mode=None)
    command.add(group, "reward", reward)
    # A group of one command would otherwise be that command.
    group.callback()(lambda: None)
    app.add_typer(group, name="train")


def reward(
    console: Console,
    base: Annotated[str, typer.Option(help="Backbone: a transformers directory or hub id.")],
    data: Annotated[str, typer.Option(help="Preference data.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, or for the ensemble.")],
    seeds: Annotated[int, typer.Option(min=1, help="Members; more than one: an ensemble.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of the first member.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 2,
    learning_rate: Annotated[float, typer.Option(help="At its highest.")] = 1e-4,
    batch_pairs: Annotated[int, typer.Option(min=1, help="Pairs an optimiser step.")] = 16,
    max_length: Annotated[int, typer.Option(min=8, help="Tokens a text, at most.")] = 512,
    held_out_share: Annotated[float, typer.Option(help="Of the prompts, to stop early.")] = 0.1,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="Of the forward pass.")
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    limit: Limit = None,
) -> None:
    """Train a Bradley-Terry reward model; the same command resumes an interrupted run."""
    from rmaudit.api import load
    from rmaudit.training.reward import train_reward_model
    from rmaudit.training.settings import RewardTrainingConfig

    config = RewardTrainingConfig(
        epochs=epochs,
        learning_rate=learning_rate,
        batch_pairs=batch_pairs,
        max_length=max_length,
        held_out_share=held_out_share,
        members=seeds,
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
