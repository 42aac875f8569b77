"""From what a user calls a reward model to the model: `load_reward_model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.functions.function import RewardFunction, given_function
from rmaudit.rewards.kinds import Loading, load_kind
from rmaudit.rewards.served.model import ServerOptions
from rmaudit.settings import ModelSettings


def load_reward_model(
    spec: str | Path | RewardFunction,
    settings: ModelSettings | None = None,
    *,
    server: ServerOptions | None = None,
    named_by: str | None = None,
    **options: Any,
) -> RewardModel:
    r"""Load a reward model.

    Parameters
    ----------
    spec
        A directory with a transformers sequence-classification model, a PEFT adapter or
        ``ensemble.json``; a hub id, ``org/name`` or ``org/name@revision``;
        ``python:module:callable``; ``http://...`` or ``https://...``;
        ``prm:PATH?aggregate=min`` (a process reward model: `rmaudit.rewards.local.process.Steps`);
        ``dropout:PATH?members=5`` (draws of one model: `rmaudit.rewards.local.dropout`);
        ``recorded`` (rewards already in the data), or ``recorded:NAME`` (those of one model in a
        column ``scores``); ``mix:FILE`` (a TOML file of rewards and weights). From Python also a
        function in a signature of `rmaudit.rewards.functions.signatures`; nothing tells whether
        it has changed since, so later runs take its rewards from the store only if it has an
        attribute ``fingerprint``.
    settings
        How it is loaded and run.
    server
        How a reward server is spoken to, in place of what the settings say of it.
    named_by
        The file that named `spec`, if one did: then ``python:`` needs ``trust_code``.
    options
        Fields of `rmaudit.settings.ModelSettings` in place of `settings`: ``device="cuda"``,
        ``dtype="bfloat16"``, ``head=1``, ``trust_remote_code=True``, ...

    Raises
    ------
    UsageError
        If `spec` is of no known kind, an option does not fit the model, or only a file names code.
    SchemaError
        If an option is unknown or outside its range.
    RewardModelError
        If the model cannot be loaded, or has no trained reward head.
    """
    chosen = settings or ModelSettings.checked(options, "load_reward_model")
    if isinstance(spec, str | Path):
        loading = Loading(chosen, chosen.permissions(named_by), server)
        model = load_kind(str(spec), loading)
    else:
        model = given_function(spec, chosen.reference_column)
    if chosen.kind is not None:
        model.signal, model.signal_is_declared = chosen.kind, True
    return model
