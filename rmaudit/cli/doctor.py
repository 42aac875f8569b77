"""`rmaudit doctor`."""

from __future__ import annotations

from typing import Any

import typer

from rmaudit.cli import audit as options
from rmaudit.cli import command
from rmaudit.console import Console
from rmaudit.errors import EXIT_FAILED, EXIT_OK


def register(app: typer.Typer) -> None:
    """Add the command."""
    command.add(app, "doctor", doctor)


def doctor(
    console: Console,
    model: options.Model = None,
    device: options.Device = None,
    dtype: options.Dtype = None,
    backend: options.Backend = None,
    head: options.Head = None,
    format: options.TextFormat = None,
    max_length: options.MaxLength = None,
    token_budget: options.TokenBudget = None,
    trust_remote_code: options.Trust = False,
    allow_pickle: options.Pickle = False,
    reference_model: options.Reference = None,
    beta: options.Beta = None,
    http_format: options.HttpFormat = None,
    http_model: options.HttpModel = None,
    api_key_env: options.ApiKeyEnv = None,
    rubric: options.Rubric = None,
    timeout: options.Timeout = None,
    concurrency: options.Concurrency = None,
    store: options.Store = None,
) -> int:
    """Check versions, memory, device and store; with --model, that it loads and scores ten texts.

    Exit 0 if all is in place, 1 if something is not.
    """
    given: dict[str, Any] = {k: v for k, v in locals().items() if k != "console"}
    from rmaudit.config import AuditConfig
    from rmaudit.doctor import examine
    from rmaudit.rewards import load_reward_model

    settings = AuditConfig.resolve({**given, "model": model or "recorded", "eval": "none"}, None)
    load = None
    if model is not None:

        def load() -> Any:
            return load_reward_model(settings.model, **settings.model_options())

    checks = examine(load, store)
    rows = [[check.status, check.what, check.said] for check in checks]
    console.table("Set-up", ["", "what", "found"], rows)
    return EXIT_FAILED if any(check.status == "fail" for check in checks) else EXIT_OK
