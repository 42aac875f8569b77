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
    from rmaudit.doctor import examine
    from rmaudit.rewards import load_reward_model

    model = given["model"]
    settings = AuditConfig.resolve({**given, "model": model or "recorded", "eval": "none"}, None)
    load = None
    if model is not None:

        def load() -> Any:
            return load_reward_model(settings.model, settings)

    checks = examine(load, settings.store)
    rows = [[check.status, check.what, check.said] for check in checks]
    console.table("Set-up", ["", "what", "found"], rows)
    return EXIT_FAILED if any(check.status == "fail" for check in checks) else EXIT_OK
