"""A model that the store describes: its notices are said again, and its day is not another's."""

from __future__ import annotations

import logging
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "rewards"))
from tiny_models import LLAMA_TEMPLATE, save

from rmaudit.opening import Opening
from rmaudit.rewards.described import DescribedModel
from rmaudit.scoring import open_store
from rmaudit.settings import ModelSettings

DATED = "Today: {{ strftime_now('%d %b %Y') }}\n" + LLAMA_TEMPLATE


def opened(store, folder, **options):
    return Opening(store).model(folder, ModelSettings(**options), None)


def test_a_card_of_another_day_gives_no_reward_of_its_texts(tmp_path, monkeypatch, caplog):
    folder = save(tmp_path / "model", "llama", template=DATED)
    today = datetime.now().astimezone().date()
    yesterday = (today - timedelta(days=1)).isoformat()

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(days=1)

    with open_store(tmp_path / "store.sqlite") as store:
        with monkeypatch.context() as patched:
            patched.setattr("rmaudit.rewards.local.recipe.datetime.datetime", Yesterday)
            patched.setattr("rmaudit.opening.datetime", Yesterday)
            first = opened(store, folder)
            assert first.describe()["date"] == yesterday
            same_day = opened(store, folder)
        assert isinstance(same_day, DescribedModel)
        assert same_day.fingerprint == first.fingerprint
        with caplog.at_level(logging.WARNING, logger="rmaudit"):
            second = opened(store, folder)
        assert second.describe()["date"] == today.isoformat()
        assert second.fingerprint != first.fingerprint
        assert f"--date {yesterday} makes the same texts again" in caplog.text
        assert opened(store, folder, date=yesterday).fingerprint == first.fingerprint
        caplog.clear()
        assert isinstance(opened(store, folder), DescribedModel)
        assert "earlier run" not in caplog.text


@pytest.mark.parametrize("again", [False, True])
def test_what_to_know_of_a_model_is_said_in_every_command(again, tmp_path, caplog):
    folder = save(tmp_path / "model", "llama", pad_id=1, pad="</s>", template=LLAMA_TEMPLATE)
    with open_store(tmp_path / "store.sqlite") as store:
        if again:
            opened(store, folder)
            caplog.clear()
        with caplog.at_level(logging.WARNING, logger="rmaudit"):
            model = opened(store, folder)
    assert isinstance(model, DescribedModel) == again
    assert "--pool model or --pool last decides" in caplog.text
