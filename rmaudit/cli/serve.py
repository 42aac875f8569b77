"""`rmaudit serve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import MODEL_OPTIONS
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import UsageError
from rmaudit.files import check_writable


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "serve", serve, settings=MODEL_OPTIONS)


def serve(
    console: Console,
    given: dict[str, Any],
    gold: Annotated[
        str | None, typer.Option(help="A reward model taken as gold, recorded beside the model.")
    ] = None,
    gold_every: Annotated[int, typer.Option(min=1, help="Score gold on every n-th step only.")] = 1,
    per_step: Annotated[
        int, typer.Option(min=1, help="Responses of one training step, over all its requests.")
    ] = 128,
    alpha: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Chance of a false alarm over the whole run.")
    ] = 0.05,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 5000,
    out: Annotated[Path, typer.Option(help="Folder of training-log.jsonl.")] = Path(
        "reports/serve"
    ),
) -> None:
    """Serve a reward model to OpenRLHF (--remote_rm_url) and verl, record it, raise alarms."""
    if given["model"] is None:
        raise UsageError("give --model, the reward that the trainer asks for")
    from rmaudit.integrations.monitor import RunMonitor
    from rmaudit.integrations.serving import RewardService, server
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.kinds import refuse_without_effect

    check_writable(out)
    settings = AuditConfig.resolve({**given, "eval": "none"}, None)
    refuse_without_effect(settings, [settings.model, gold])
    service = RewardService(
        load_reward_model(settings.model, settings),
        None if gold is None else load_reward_model(gold, settings.of_gold()),
        per_step=per_step,
        gold_every=gold_every,
        folder=out,
        monitor=RunMonitor(alpha=alpha),
        say=console.warn,
    )
    with server(service, host, port) as running:
        address = f"http://{host}:{running.server_address[1]}/get_reward"
        console.say(f"serving {service.model.name} at {address}; log: {out / 'training-log.jsonl'}")
        running.serve_forever()
