"""From what a user calls a reward model to the model: `load_reward_model`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.functions.function import RewardFunction, given_function, load_python
from rmaudit.rewards.local.checkpoint_files import Permissions, fetch, read_json
from rmaudit.rewards.local.recipe import Asked
from rmaudit.rewards.recorded import Recorded
from rmaudit.rewards.served.client import is_url
from rmaudit.rewards.served.model import ServerOptions, load_served
from rmaudit.settings import ModelSettings

ACCEPTED = (
    "a directory with a transformers sequence-classification model, a PEFT adapter or "
    "ensemble.json; a hub id (org/name or org/name@revision); python:module:callable; the URL of a "
    "reward server (http://, https://); prm:PATH (scores steps); dropout:PATH (an ensemble by "
    "Monte Carlo dropout of one model); recorded, or recorded:NAME for one model of a column scores"
)
MOST_NESTED = 8  # ensembles in ensembles
_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?")


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
        column ``scores``). From Python also a function that takes a list of (prompt, output) and
        returns as many numbers; nothing tells whether it has changed since, so later runs take its
        rewards from the store only if it has an attribute ``fingerprint``.
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
    permissions = chosen.permissions(named_by)
    how = {name: getattr(chosen, name) for name in ("device", "dtype", "head", "max_length")}
    how["asked"] = Asked.of(chosen)
    if chosen.reference_model is not None:
        _torch_alone(chosen.backend)
        return _load_implicit(str(spec), chosen.reference_model, permissions, how, chosen.beta)
    if not isinstance(spec, str | Path):
        return given_function(spec)
    spec = str(spec)
    if spec == "recorded" or spec.startswith("recorded:"):
        return Recorded(spec.partition(":")[2] or None)
    if spec.startswith("python:"):
        permissions.require_code(spec)
        return load_python(spec)
    if is_url(spec):
        server = server or ServerOptions.of(chosen)
        return load_served(
            spec, server, format=chosen.format, head=chosen.head, max_length=chosen.max_length
        )
    if spec.startswith("prm:"):
        _torch_alone(chosen.backend)
        return _load_process(spec, permissions, how)
    if spec.startswith("dropout:"):
        _torch_alone(chosen.backend)
        return _load_dropout(spec, permissions, how | {"pool": chosen.pool})
    how |= {"backend": chosen.backend, "token_budget": chosen.token_budget, "pool": chosen.pool}
    folder, name = _folder(spec, permissions)
    return _load_folder(folder, name, permissions, how)


def _folder(spec: str, permissions: Permissions) -> tuple[Path, str]:
    """Where a model's files are, fetched from the hub if they have to be, and what to call it."""
    folder = Path(spec).expanduser()
    if spec and folder.is_dir():
        return folder, folder.resolve().name
    hub = _HUB_ID.fullmatch(spec)
    if not hub:
        raise UsageError(f"no reward model {spec!r} (no such directory); give {ACCEPTED}")
    return fetch(hub["name"], hub["revision"], permissions), spec


def _load_implicit(
    policy: str, reference: str, permissions: Permissions, options: dict[str, Any], beta: float
) -> RewardModel:
    from rmaudit.rewards.local.implicit import load_implicit

    folder, name = _folder(policy, permissions)
    other, other_name = _folder(reference, permissions)
    name = f"{name} over {other_name}"
    return load_implicit(folder, other, name, permissions, beta=beta, **options)


def _load_process(spec: str, permissions: Permissions, options: dict[str, Any]) -> RewardModel:
    from rmaudit.rewards.local.process import Steps, load_process

    path, _, query = spec.removeprefix("prm:").partition("?")
    steps = Steps.parse(query)
    folder, name = _folder(path, permissions)
    return load_process(folder, name, steps, permissions, **options)


def _load_dropout(spec: str, permissions: Permissions, options: dict[str, Any]) -> RewardModel:
    from rmaudit.rewards.local.dropout import dropout_ensemble

    path, _, query = spec.removeprefix("dropout:").partition("?")
    folder, name = _folder(path, permissions)
    return dropout_ensemble(_load_folder(folder, name, permissions, options), query)


def _load_folder(
    folder: Path, name: str, permissions: Permissions, options: dict[str, Any]
) -> RewardModel:
    if (folder / "ensemble.json").is_file():
        return _load_ensemble(folder, name, permissions, options)
    others = {key: value for key, value in options.items() if key != "backend"}
    if options.get("backend") == "openvino":
        from rmaudit.rewards.local.openvino_model import load_openvino

        return load_openvino(folder, name, permissions, **others)
    from rmaudit.rewards.local.transformers_model import load_transformers

    return load_transformers(folder, name, permissions, **others)


def _torch_alone(backend: str) -> None:
    if backend != "torch":
        raise UsageError(
            "--backend openvino runs sequence-classification models; steps, dropout and implicit "
            "rewards need torch: leave it out"
        )


def _load_ensemble(
    folder: Path, name: str, permissions: Permissions, options: dict[str, Any]
) -> RewardModel:
    where = folder / "ensemble.json"
    if folder.resolve() in permissions.around:
        cycle = " > ".join(str(each) for each in (*permissions.around, folder.resolve()))
        raise RewardModelError(f"{where}: an ensemble that holds itself: {cycle}")
    if len(permissions.around) >= MOST_NESTED:
        raise RewardModelError(f"{where}: more than {MOST_NESTED} ensembles in one another")
    settings = read_json(where)
    names = settings.pop("members", None)
    if not isinstance(names, list) or not all(isinstance(member, str) for member in names):
        raise RewardModelError(f'{where}: "members" must list directories, relative to it')
    unknown = settings.keys() - {"aggregate", "uncertainty_weight"}
    if unknown:
        raise RewardModelError(
            f"{where}: unknown {', '.join(sorted(unknown))}; known: members, aggregate, "
            "uncertainty_weight"
        )
    inside = permissions.within(where, folder.resolve())
    members: list[RewardModel] = []
    for member in names:
        if member.startswith("python:"):
            inside.require_code(member)
            members.append(load_python(member))
        elif (folder / member).is_dir():
            label = f"{name}/{member}"
            members.append(_load_folder(folder / member, label, inside, options))
        else:
            raise RewardModelError(f"{where}: member {member!r} is no directory beside it")
    return Ensemble(members, **settings, name=name)
