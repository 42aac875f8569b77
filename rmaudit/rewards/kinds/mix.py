"""Several rewards with weights, as a file names them: ``mix:FILE``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import RewardModel, Signal
from rmaudit.rewards.kinds import Loading, RewardKind, heeded_by, load_kind, register_reward
from rmaudit.rewards.mix import Mix, Part, Scale
from rmaudit.toml import read_toml, schema_error


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    model: str
    weight: float = Field(default=1.0, allow_inf_nan=False, strict=True)
    kind: Signal | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1]
    scale: Scale = "none"
    reward: tuple[_Part, ...] = Field(min_length=1)


@register_reward
class MixKind(RewardKind):
    """A TOML file with one ``[[reward]]`` a part."""

    name = "mix"
    accepted = "mix:FILE (a TOML file of rewards and weights)"

    def heeds(self, spec: str, loading: Loading) -> frozenset[str]:
        """What any of its parts heeds."""
        file, path, inside = _read(spec, loading)
        parts = (heeded_by(_beside(part.model, path), inside) for part in file.reward)
        return frozenset[str]().union(*parts)

    def load(self, spec: str, loading: Loading) -> RewardModel:
        """See `RewardKind.load`; code that only the file names needs ``trust_code``."""
        file, path, inside = _read(spec, loading)
        parts = []
        for part in file.reward:
            model = load_kind(_beside(part.model, path), inside)
            if part.kind is not None:
                model.signal, model.signal_is_declared = part.kind, True
            parts.append(Part(part.name, model, part.weight))
        return Mix(parts, file.scale, name=path.stem)


def _read(spec: str, loading: Loading) -> tuple[_File, Path, Loading]:
    """The file, where it is, and how its parts are to be loaded."""
    path = Path(spec.partition(":")[2]).expanduser()
    given: dict[str, Any] = read_toml(path)
    try:
        file = _File.model_validate(given)
    except ValidationError as error:
        raise schema_error(error, str(path), _File.model_fields) from None
    names = [part.name for part in file.reward]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RewardModelError(f"{path}: two rewards are named {twice!r}; rename one")
    if "total" in names:
        raise RewardModelError(f"{path}: total is the name of the weighted sum; rename that reward")
    where = path.resolve()
    if where in loading.permissions.around:
        raise RewardModelError(f"{path}: a mix that holds itself")
    inside = loading.within(loading.permissions.within(path, where))
    settings = loading.settings.model_copy(update={"kind": None})
    return file, path, replace(inside, settings=settings)


def _beside(spec: str, file: Path) -> str:
    """A folder that the file names is relative to the file."""
    beside = file.parent / spec
    return str(beside) if spec and not Path(spec).is_absolute() and beside.is_dir() else spec
