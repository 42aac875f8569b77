"""Models on demand: a model that the store describes is opened only when it has to be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.data.fields import field_names
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.described import DescribedModel, card, folder_key, unopened
from rmaudit.rewards.functions.function import RewardFunction
from rmaudit.scoring.store import Cards

if TYPE_CHECKING:
    from rmaudit.case import Case
    from rmaudit.settings import ModelSettings

Model = RewardModel | RewardFunction | str | Path
# What says where and how fast, not which rewards: another value finds the same description.
_ASIDE = {"concurrency", "timeout", "api_key_env"}


@dataclass(frozen=True)
class Opening:
    """How the models of an audit are opened.

    Parameters
    ----------
    store
        What knows models that were opened before.
    rewarded
        False: nobody asks for a reward, so that nothing is opened.
    """

    store: Cards
    rewarded: bool = True

    def model(self, given: Model, settings: ModelSettings, named_by: str | None) -> RewardModel:
        """A model: as it was given, described by the store, or opened."""
        if isinstance(given, RewardModel):
            return given
        if not self.rewarded and isinstance(given, str | Path) and str(given) != "recorded":
            return unopened(shown(given))

        def load() -> RewardModel:
            return load_reward_model(given, settings, named_by=named_by)

        folder = _folder(given)
        if folder is None:
            return load()
        key = folder_key(folder, _how(settings))
        return self._described(f"folder:{key}", load) if key else load()

    def _described(self, key: str, load: Callable[[], RewardModel]) -> RewardModel:
        known = self.store.card(key)
        if known is not None:
            return DescribedModel(known, load)
        model = load()
        self.store.keep_card(key, card(model, ()))
        return model


def keep_cards(case: Case, store: Cards) -> None:
    """Describe the models of an audit by their fingerprints, so that `verify` need open none."""
    tables = [field_names(data) for data in case.inputs.values()]
    for model in (case.model, *case.ensemble, *([] if case.gold is None else [case.gold])):
        if model.scores_new_text and model.fingerprint:
            store.keep_card(f"model:{model.fingerprint}", card(model, tables))


def shown(given: str | Path) -> str:
    """What a model that is not opened is called."""
    from rmaudit.rewards.served.client import is_url, shown_url

    return shown_url(str(given)) if is_url(given) else Path(given).name or str(given)


def _folder(given: Model) -> Path | None:
    folder = Path(given).expanduser() if isinstance(given, str | Path) and given else None
    return folder if folder is not None and folder.is_dir() else None


def _how(settings: ModelSettings) -> list[tuple[str, object]]:
    """The settings that decide about a model's rewards and description."""
    from rmaudit.settings import ModelSettings

    names = ModelSettings.model_fields.keys() - _ASIDE
    return [(name, str(getattr(settings, name))) for name in sorted(names)]
