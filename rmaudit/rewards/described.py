"""A reward model known by its description: opened only when it has to score or be looked into."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmaudit._version import __version__
from rmaudit.rewards.base import Encoded, Rewarded, RewardModel, Text

# What a pass, an audit and a report read of a model that need not be open.
FACTS = (
    *("name", "kind", "signal", "signal_is_declared", "fingerprint", "scores_new_text"),
    *("length_unit", "pads_left", "shares_prefixes", "max_batch", "token_budget"),
    *("judged_on", "refuses"),
)
Card = dict[str, Any]


def card(model: RewardModel, tables: Sequence[Sequence[str]]) -> Card:
    """What is kept of a model, as JSON: its facts, its parts', and the columns it reads.

    Parameters
    ----------
    model
        Any but those whose rewards the data carries.
    tables
        The columns of each data set of an audit, as `RewardModel.columns` gets them.
    """
    facts: Card = {name: getattr(model, name) for name in FACTS}
    facts |= {"reads": list(model.reads), "describe": model.describe()}
    facts["notices"] = list(getattr(model, "notices", ()))
    facts["columns"] = [[list(table), list(_columns(model, table))] for table in tables]
    facts["reads_alone"] = type(model).columns is RewardModel.columns  # no table need be seen
    if model.parts != (model,):
        facts["parts"] = [card(part, tables) for part in model.parts]
        facts["members"] = len(model.members)
    if reworded := model.rewordings():
        facts["rewordings"] = [card(each, tables) for each in reworded]
    return facts


def _columns(model: RewardModel, table: Sequence[str]) -> Sequence[str]:
    return model.columns(table) if model.parts == (model,) else ()


class DescribedModel(RewardModel):
    """A model of which a card says everything but rewards.

    Parameters
    ----------
    facts
        See `card`.
    load
        Opens the model; asked once, and only if something beyond the card is wanted.
    """

    def __init__(self, facts: Mapping[str, Any], load: Callable[[], RewardModel]) -> None:
        for name in FACTS:
            if name in facts:  # a card of an older version says less
                setattr(self, name, facts[name])
        self.reads = tuple(facts["reads"])
        self._facts, self._load = facts, load

    @cached_property
    def loaded(self) -> RewardModel:
        """The model itself."""
        return self._load()

    @cached_property
    def parts(self) -> tuple[RewardModel, ...]:
        """See `RewardModel.parts`: described as well."""
        cards = self._facts.get("parts")
        if cards is None:
            return (self,)
        return tuple(
            DescribedModel(each, lambda place=place: self.loaded.parts[place])  # type: ignore[misc]
            for place, each in enumerate(cards)
        )

    def rewordings(self) -> tuple[RewardModel, ...]:
        """See `RewardModel.rewordings`: described as well."""
        return tuple(
            DescribedModel(each, lambda place=place: self.loaded.rewordings()[place])  # type: ignore[misc]
            for place, each in enumerate(self._facts.get("rewordings", ()))
        )

    @property
    def members(self) -> tuple[RewardModel, ...]:
        """See `RewardModel.members`."""
        several = self._facts.get("members", 1)
        return self.parts if several > 1 or self.kind == "ensemble" else (self,)

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        """See `RewardModel.combine`; an ensemble's is known without opening its members."""
        described = self._facts["describe"]
        if self.kind == "ensemble":
            from rmaudit.rewards.ensemble import aggregate_rewards

            weight = float(described.get("uncertainty_weight", 0.0))
            totals = np.stack([part.total for part in parts])
            return Rewarded(aggregate_rewards(totals, described["aggregate"], weight))
        return parts[0] if len(parts) == 1 else self.loaded.combine(parts)

    def columns(self, available: Sequence[str]) -> tuple[str, ...]:
        """See `RewardModel.columns`."""
        if self._facts.get("reads_alone"):
            return super().columns(available)
        for table, names in self._facts["columns"]:
            if list(available) == table:
                return tuple(names)
        return self.loaded.columns(available)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """See `RewardModel.encode`; opens the model if there is anything to encode."""
        return self.loaded.encode(texts) if texts else []

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """See `RewardModel.forward`; opens the model."""
        return self.loaded.forward(batch, pad_left=pad_left)

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """See `RewardModel.score_batch`; opens the model."""
        return self.loaded.score_batch(batch, pad_left=pad_left)

    def quicker(self, batch: Sequence[Encoded], tokens: int) -> str | None:
        """See `RewardModel.quicker`; opens the model."""
        return self.loaded.quicker(batch, tokens)

    def describe(self) -> dict[str, Any]:
        """See `RewardModel.describe`."""
        return dict(self._facts["describe"])


def unopened(name: str) -> RewardModel:
    """A model that no audit asks for a reward: what it is called, and no more."""
    from rmaudit.errors import RewardModelError

    def refuse() -> RewardModel:
        raise RewardModelError(f"{name}: was not opened, since no audit asked for a reward")

    facts = {each: getattr(RewardModel, each, None) for each in FACTS}
    facts |= {"name": name, "kind": "not opened", "fingerprint": "", "reads": [], "columns": []}
    return DescribedModel({**facts, "describe": {}}, refuse)


def folder_key(folder: Path, settings: object) -> str | None:
    """What names a model's folder and how it is run, wherever it lies; None: it cannot be named.

    Every file's content counts. What lies elsewhere cannot be named: an adapter's base, a linked
    folder, a member of an ensemble that is code or another folder.
    """
    paths = sorted(folder.rglob("*"))
    files = [path for path in paths if path.is_file()]
    if not files or any(path.is_symlink() and path.is_dir() for path in paths):
        return None
    for path in files:
        if path.name == "adapter_config.json" or (
            path.name == "ensemble.json" and _reaches_out(path.read_bytes())
        ):
            return None
    from importlib.metadata import version
    from platform import node

    own = (__version__, version("transformers"), version("torch"), node())
    digest = hashlib.blake2b(repr((*own, settings)).encode("utf-8", "surrogatepass"))
    for path in files:
        digest.update(f"\n{path.relative_to(folder)}\n".encode("utf-8", "surrogatepass"))
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


def _reaches_out(ensemble: bytes) -> bool:
    return b"python:" in ensemble or b".." in ensemble or b"\\" in ensemble or b'"/' in ensemble
