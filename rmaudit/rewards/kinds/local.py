"""Models on this machine or the hub: checkpoints, ensembles of them, steps, dropout, DPO."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.files import NoFileError, check_folder
from rmaudit.permissions import Permissions
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.ensemble import Ensemble
from rmaudit.rewards.kinds import (
    TEXT_OPTIONS,
    Loading,
    RewardKind,
    heeded_by,
    load_kind,
    register_reward,
)
from rmaudit.rewards.local.checkpoint_files import fetch, read_json
from rmaudit.rewards.local.recipe import Asked
from rmaudit.settings import ModelSettings

MOST_NESTED = 8  # ensembles in ensembles
_HUB_ID = re.compile(
    r"(?P<name>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>[\w./-]+))?(:(?P<folder>\w[\w./-]*))?"
)


@register_reward
class ImplicitKind(RewardKind):
    """A policy trained by DPO, where a reference model is given."""

    name = "implicit"
    accepted = "with --reference-model, a policy trained by DPO"
    options = ("format", "template", "bos", "date", "max_length")
    order: ClassVar[int] = 0

    def takes(self, spec: str, loading: Loading) -> bool:
        """Whether there is a reference model."""
        return loading.settings.reference_model is not None

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        from rmaudit.rewards.local.implicit import load_implicit

        settings, permissions = loading.settings, loading.permissions
        _torch_alone(settings.backend)
        self._refuse_others(settings, "an implicit reward, which sums over tokens")
        folder, name = _folder(spec, permissions)
        other, other_name = _folder(str(settings.reference_model), permissions)
        name = f"{name} over {other_name}"
        how = _how(settings)
        del how["head"]
        return load_implicit(folder, other, name, permissions, beta=settings.beta, **how)


@register_reward
class ProcessKind(RewardKind):
    """A process reward model, which scores steps."""

    name = "prm"
    accepted = "prm:PATH (scores steps)"
    options = ("format", "template", "bos", "date", "head", "max_length")

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        from rmaudit.rewards.local.process import Steps, load_process

        _torch_alone(loading.settings.backend)
        self._refuse_others(loading.settings, "steps, which are scored at their tags")
        path, _, query = spec.removeprefix("prm:").partition("?")
        steps = Steps.parse(query)
        folder, name = _folder(path, loading.permissions)
        return load_process(folder, name, steps, loading.permissions, **_how(loading.settings))


@register_reward
class PairKind(RewardKind):
    """A model that compares two responses, and has no scalar."""

    name = "pair"
    accepted = "pair:PATH?format=... (compares two responses)"
    options = ("head", "max_length", "date")

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        from rmaudit.rewards.local.pairs import Comparison, load_pairs

        settings, what = loading.settings, "a pair model: its query says how texts are made"
        _torch_alone(settings.backend)
        self._refuse_others(settings, what)
        path, _, query = spec.removeprefix("pair:").partition("?")
        comparison = Comparison.parse(query)
        folder, name = _folder(path, loading.permissions)
        how = _how(settings)
        del how["asked"]
        how["date"] = settings.date
        return load_pairs(folder, name, comparison, loading.permissions, **how)


@register_reward
class DropoutKind(RewardKind):
    """Draws of one model by Monte Carlo dropout."""

    name = "dropout"
    accepted = "dropout:PATH (an ensemble by Monte Carlo dropout of one model)"

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        from rmaudit.rewards.local.dropout import dropout_ensemble

        _torch_alone(loading.settings.backend)
        path, _, query = spec.removeprefix("dropout:").partition("?")
        folder, name = _folder(path, loading.permissions)
        return dropout_ensemble(_load_folder(folder, name, loading), query)


@register_reward
class CheckpointKind(RewardKind):
    """A folder or hub id: a sequence classifier, an adapter, or an ensemble."""

    name = "checkpoint"
    accepted = (
        "a directory with a transformers sequence-classification model, a PEFT adapter or "
        "ensemble.json; a hub id (org/name, org/name@revision, org/name:folder)"
    )
    order: ClassVar[int] = 99

    def takes(self, spec: str, loading: Loading) -> bool:
        """Whether there is such a folder, or it may be a hub id."""
        return bool(spec) and (
            Path(spec).expanduser().is_dir() or _HUB_ID.fullmatch(spec) is not None
        )

    def heeds(self, spec: str, loading: Loading) -> frozenset[str]:
        """What any member of an ensemble heeds; a hub id is not fetched to find out."""
        return _heeded(Path(spec).expanduser(), loading)

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`."""
        folder, name = _folder(spec, loading.permissions)
        return _load_folder(folder, name, loading)


def _how(settings: ModelSettings) -> dict[str, Any]:
    """The options that every local model has."""
    from rmaudit.rewards.local.placement import Placement

    how = {name: getattr(settings, name) for name in ("device", "dtype", "head", "max_length")}
    return how | {"asked": Asked.of(settings), "placement": Placement.of(settings)}


def _folder(spec: str, permissions: Permissions) -> tuple[Path, str]:
    """Where a model's files are, fetched from the hub if they have to be, and what to call it."""
    folder = Path(spec).expanduser()
    if spec and folder.is_dir():
        try:
            check_folder(folder)
        except NoFileError as error:
            raise RewardModelError(f"{error.filename}: {error.strerror}; remove it") from None
        return folder, folder.resolve().name
    hub = _HUB_ID.fullmatch(spec)
    if not hub:
        raise UsageError(
            f"no reward model {spec!r} (no such directory); give {CheckpointKind.accepted}"
        )
    return fetch(hub["name"], hub["revision"], permissions, hub["folder"]), spec


def _load_folder(folder: Path, name: str, loading: Loading) -> RewardModel:
    if (folder / "ensemble.json").is_file():
        return _load_ensemble(folder, name, loading)
    settings = loading.settings
    how = _how(settings)
    how |= {name: getattr(settings, name) for name in ("token_budget", "pool", "head_weights")}
    if settings.backend == "openvino":
        from rmaudit.rewards.local.openvino_model import load_openvino

        return load_openvino(folder, name, loading.permissions, **how)
    from rmaudit.rewards.local.transformers_model import load_transformers

    return load_transformers(folder, name, loading.permissions, **how)


def _torch_alone(backend: str) -> None:
    if backend != "torch":
        raise UsageError(
            "--backend openvino runs sequence-classification models; steps, pairs, dropout and "
            "implicit rewards need torch: leave it out"
        )


def _heeded(folder: Path, loading: Loading) -> frozenset[str]:
    if not (folder / "ensemble.json").is_file():
        return frozenset(TEXT_OPTIONS)
    settings, inside = _read_ensemble(folder, loading)
    return frozenset[str]().union(
        *(
            heeded_by(name, inside)
            if name.startswith("python:")
            else _heeded(folder / name, inside)
            for name in settings["members"]
        )
    )


def _load_ensemble(folder: Path, name: str, loading: Loading) -> RewardModel:
    settings, inside = _read_ensemble(folder, loading)
    names = settings.pop("members")
    members: list[RewardModel] = []
    places = [n if n.startswith("python:") else str((folder / n).resolve()) for n in names]
    twice = next(
        (n for n, place in zip(names, places, strict=True) if places.count(place) > 1), None
    )
    if twice is not None:
        raise RewardModelError(f"{folder / 'ensemble.json'}: {twice!r} is a member twice")
    for member in names:
        if member.startswith("python:"):
            members.append(load_kind(member, inside))
        elif (folder / member).is_dir():
            label = f"{name}/{member}"
            members.append(_load_folder(folder / member, label, inside))
        else:
            where = folder / "ensemble.json"
            raise RewardModelError(f"{where}: member {member!r} is no directory beside it")
    return Ensemble(members, **settings, name=name)


def _read_ensemble(folder: Path, loading: Loading) -> tuple[dict[str, Any], Loading]:
    """What ``ensemble.json`` says, and how its members are to be loaded."""
    where, permissions = folder / "ensemble.json", loading.permissions
    if folder.resolve() in permissions.around:
        cycle = " > ".join(str(each) for each in (*permissions.around, folder.resolve()))
        raise RewardModelError(f"{where}: an ensemble that holds itself: {cycle}")
    if len(permissions.around) >= MOST_NESTED:
        raise RewardModelError(f"{where}: more than {MOST_NESTED} ensembles in one another")
    settings = read_json(where)
    names = settings.get("members")
    if not isinstance(names, list) or not all(isinstance(member, str) for member in names):
        raise RewardModelError(f'{where}: "members" must list directories, relative to it')
    unknown = settings.keys() - {"members", "aggregate", "uncertainty_weight"}
    if unknown:
        raise RewardModelError(
            f"{where}: unknown {', '.join(sorted(unknown))}; known: members, aggregate, "
            "uncertainty_weight"
        )
    return settings, loading.within(permissions.within(where, folder.resolve()))
