"""From what a user calls a reward model to the model: `load_reward_model`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.functions.function import RewardFunction, given_function, load_python
from rmaudit.rewards.local.checkpoint_files import Permissions, fetch, read_json
from rmaudit.rewards.local.recipe import Asked
from rmaudit.rewards.recorded import Recorded
from rmaudit.rewards.served.client import is_url
from rmaudit.rewards.served.model import ServerOptions, load_served

ACCEPTED = (
    "a directory with a transformers sequence-classification model, a PEFT adapter or "
    "ensemble.json; a hub id (org/name or org/name@revision); python:module:callable; the URL of a "
    "reward server (http://, https://); prm:PATH (scores steps); dropout:PATH (an ensemble by "
    "Monte Carlo dropout of one model); recorded, or recorded:NAME for one model of a column scores"
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
    reference_model: str | Path | None = None,
    beta: float = 0.1,
    backend: Literal["torch", "openvino"] = "torch",
    token_budget: int | None = None,
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
    reference_model, beta
        With a reference model (a directory or hub id), `spec` is a policy trained by DPO, and its
        implicit reward is taken: see `rmaudit.rewards.local.implicit.ImplicitReward`.
    backend
        What runs a sequence-classification model: "openvino" (an extra) is faster on many
        processors; its rewards are checked against torch's before use. See
        `rmaudit.rewards.local.openvino_model.OpenVinoReward`.
    token_budget
        Padded tokens a batch of a sequence-classification model, at most (None: 4,096, on an
        accelerator 16,384). Which texts share a batch moves rewards in their last bits.

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
        "asked": Asked(format=format),
        "max_length": max_length,
    }
    permissions = Permissions(trust_remote_code, allow_pickle)
    if reference_model is not None:
        _torch_alone(backend)
        return _load_implicit(str(spec), str(reference_model), permissions, options, beta)
    if not isinstance(spec, str | Path):
        return given_function(spec)
    spec = str(spec)
    if spec == "recorded" or spec.startswith("recorded:"):
        return Recorded(spec.partition(":")[2] or None)
    if spec.startswith("python:"):
        return load_python(spec)
    if is_url(spec):
        return load_served(spec, server or ServerOptions(), format=format, head=head)
    if spec.startswith("prm:"):
        _torch_alone(backend)
        return _load_process(spec, permissions, options)
    if spec.startswith("dropout:"):
        _torch_alone(backend)
        return _load_dropout(spec, permissions, options)
    options |= {"backend": backend, "token_budget": token_budget}
    folder, name = _folder(spec, permissions)
    return _load_folder(folder, name, permissions, options)


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
