"""Models on demand: a model that the store describes is opened only when it has to be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.data.fields import field_names
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.described import Card, DescribedModel, card, folder_key, unopened
from rmaudit.rewards.functions.function import RewardFunction
from rmaudit.scoring.store_types import Cards

if TYPE_CHECKING:
    from rmaudit.case import Case
    from rmaudit.settings import ModelSettings

_log = logging.getLogger("rmaudit")
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
        today = settings.date is None
        return self._described(f"folder:{key}", load, today=today) if key else load()

    def _described(self, key: str, load: Callable[[], RewardModel], *, today: bool) -> RewardModel:
        """The model, from its card where there is one.

        A card of a model whose texts say the day is one of that day: on another it would hand out
        rewards of other texts, so the model is opened again, unless the day is asked for.
        """
        known = self.store.card(key)
        passed = _past_day(known) if known is not None and today else None
        if known is not None and passed is None:
            for name, notice in _notices(known):
                _log.warning("%s: %s", name, notice)
            return DescribedModel(known, load)
        model = load()
        if passed is not None:
            _log.warning(
                "%s: the rewards of an earlier run are of texts that say %s; --date %s makes the "
                "same texts again, and takes their rewards from the store",
                model.name,
                passed,
                passed,
            )
        self.store.keep_card(key, card(model, ()))
        return model


def _notices(known: Card) -> Iterator[tuple[str, str]]:
    """What a model's user should know, which it says itself when it is opened."""
    for notice in known.get("notices", ()):
        yield known["name"], notice
    for part in known.get("parts", ()):
        yield from _notices(part)


def _past_day(known: Card) -> str | None:
    """The day that a model's texts said, if they say one and it is not today's."""
    day = known["describe"].get("date")
    if day is not None and day != datetime.now().astimezone().date().isoformat():
        return str(day)
    return next((d for d in map(_past_day, known.get("parts", ())) if d is not None), None)


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
