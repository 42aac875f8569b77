"""From what a user calls a reward model to the model: `load_reward_model`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.checkpoint_files import fetch, read_json
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.python_model import RewardFunction, given_function, load_python
from rmaudit.rewards.recorded import Recorded
from rmaudit.rewards.rendering import DEFAULT_FORMAT
from rmaudit.rewards.served import ServerOptions, load_served

if TYPE_CHECKING:
    from rmaudit.rewards.checkpoint import Permissions

ACCEPTED = (
    "a directory with a transformers sequence-classification model, a PEFT adapter or "
    "ensemble.json; a hub id (org/name or org/name@revision); python:module:callable; the URL of a "
    "reward server (http://, https://); recorded, or recorded:NAME for one model of a column scores"
)
_HUB_ID = re.compile(r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?")


def load_reward_model(
    spec: str | Path | RewardFunction,
    *,
    device: str = "auto",
    dtype: Literal["auto", "float32", "bfloat16"] = "auto",
    head: int | None = None,
    format: str | None = None,
    max_length: int | None = None,
    trust_remote_code: bool = False,
    allow_pickle: bool = False,
    server: ServerOptions | None = None,
) -> RewardModel:
    r"""Load a reward model.

    Parameters
    ----------
    spec
        A directory with a transformers sequence-classification model, a PEFT adapter or
        ``ensemble.json``; a hub id, ``org/name`` or ``org/name@revision``;
        ``python:module:callable``; ``http://...`` or ``https://...``; ``recorded``
        (rewards already in the data), or ``recorded:NAME`` (those of one model in a column
        ``scores``). From Python also a function that takes a list of (prompt, output) and returns
        as many numbers; nothing tells whether it has changed since, so later runs take its rewards
        from the store only if it has an attribute ``fingerprint``.
    device
        "auto" (an accelerator where there is one), "cpu", "cuda", "cuda:N" or "mps".
    dtype
        "float32", which "auto" stands for, or "bfloat16".
    head
        Which head is the reward, from 0; needed where a model has several.
    format
        How a text is made where the tokenizer has no chat template (None:
        ``"{prompt}\n\n{output}"``); message lists become ``"User: ...\n\nAssistant: ..."``. A
        vLLM server is sent messages, for its own chat template, unless a format is given.
    max_length
        Tokens a text, at most. Longer texts lose their oldest prompt tokens.
    trust_remote_code, allow_pickle
        Allow a model's own code to run, and pickled weights (which can run code) to be loaded.
    server
        How a reward server is spoken to: protocol, key, rubric, time limit, concurrency.

    Raises
    ------
    UsageError
        If `spec` is of no known kind, or an option does not fit the model.
    RewardModelError
        If the model cannot be loaded, or has no trained reward head.
    """
    options = {
        "device": device,
        "dtype": dtype,
        "head": head,
        "format": DEFAULT_FORMAT if format is None else format,
        "max_length": max_length,
    }
    if not isinstance(spec, str | Path):
        return given_function(spec)
    spec = str(spec)
    if spec == "recorded" or spec.startswith("recorded:"):
        return Recorded(spec.partition(":")[2] or None)
    if spec.startswith("python:"):
        return load_python(spec)
    if spec.lower().startswith(("http://", "https://")):
        return load_served(spec, server or ServerOptions(), format=format, head=head)
    from rmaudit.rewards.checkpoint import Permissions

    permissions = Permissions(trust_remote_code, allow_pickle)
    folder = Path(spec).expanduser()
    if spec and folder.is_dir():
        return _load_folder(folder, folder.resolve().name, permissions, options)
    hub = _HUB_ID.fullmatch(spec)
    if not hub:
        raise UsageError(f"no reward model {spec!r} (no such directory); give {ACCEPTED}")
    folder = fetch(
        hub["name"],
        hub["revision"],
        trust_remote_code=trust_remote_code,
        allow_pickle=allow_pickle,
    )
    return _load_folder(folder, spec, permissions, options)


def _load_folder(
    folder: Path, name: str, permissions: Permissions, options: dict[str, Any]
) -> RewardModel:
    if (folder / "ensemble.json").is_file():
        return _load_ensemble(folder, name, permissions, options)
    from rmaudit.rewards.transformers_model import load_transformers

    return load_transformers(folder, name, permissions, **options)


def _load_ensemble(
    folder: Path, name: str, permissions: Permissions, options: dict[str, Any]
) -> RewardModel:
    where = folder / "ensemble.json"
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
    members: list[RewardModel] = []
    for member in names:
        if member.startswith("python:"):
            members.append(load_python(member))
        elif (folder / member).is_dir() and (folder / member).resolve() != folder.resolve():
            label = f"{name}/{member}"
            members.append(_load_folder(folder / member, label, permissions, options))
        else:
            raise RewardModelError(f"{where}: member {member!r} is no directory beside it")
    return Ensemble(members, **settings, name=name)
