"""`rmaudit doctor`."""

from __future__ import annotations

from typing import Any

import typer

from rmaudit.cli import command
from rmaudit.cli.audit import MODEL_OPTIONS
from rmaudit.config import AuditConfig
from rmaudit.console import Console
from rmaudit.errors import EXIT_FAILED, EXIT_OK


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "doctor", doctor, settings=MODEL_OPTIONS)


def doctor(console: Console, given: dict[str, Any]) -> int:
    """Check versions, memory, device and store; with --model, that it loads and scores ten texts.

    Exit 0 if all is in place, 1 if something is not.
    """
    from rmaudit.doctor import examine_model, examine_setup
    from rmaudit.rewards import load_reward_model
    from rmaudit.rewards.kinds import refuse_without_effect

    model = given["model"]
    settings = AuditConfig.resolve({**given, "model": model or "recorded", "eval": "none"}, None)
    checks = examine_setup(settings.store)
    # With a model the screen is the model's: of the set-up only what is wrong stands above it.
    shown = checks if model is None else [check for check in checks if check.status != "ok"]
    if shown:
        rows = [[check.status, check.what, check.said] for check in shown]
        console.table("Set-up", ["", "what", "found"], rows)
    if model is not None:
        refuse_without_effect(settings, [settings.model])
        found = examine_model(lambda: load_reward_model(settings.model, settings))
        rows = [[check.status, check.what, check.said] for check in found]
        console.table("Reward model", ["", "what", "found"], rows)
        checks += found
    return EXIT_FAILED if any(check.status == "fail" for check in checks) else EXIT_OK
