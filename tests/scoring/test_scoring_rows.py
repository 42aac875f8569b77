"""Items with their row: what enters keys and requests, components, failures, pairs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from scoring_stub import StubModel, make_request

import rmaudit
from rmaudit.data import load
from rmaudit.data.types import Dataset
from rmaudit.errors import DataError, RewardModelError
from rmaudit.rewards.base import (
    FAILED,
    NOT_APPLICABLE,
    Encoded,
    Rewarded,
    RewardModel,
    Text,
    does_not_apply,
    failed,
)
from rmaudit.scoring import Request, ScoreStore, score
from rmaudit.scoring.requests import data_requests


class Reader(StubModel):
    """Rewards what `judge` makes of a text; reads the columns named."""

    def __init__(self, judge, reads: tuple[str, ...] = ("answer",), **kwargs) -> None:
        super().__init__("reader", reward=judge, **kwargs)
        self.reads = reads


def sums(**columns) -> Dataset:
    rows = {"prompt": ["1+1?", "2+2?"], "chosen": ["2", "4"], "rejected": ["3", "5"]}
    return load(pd.DataFrame({**rows, "answer": ["2", "4"], "noise": [1, 2], **columns}))


def contained(text: Text) -> float:
    return float(text.row["answer"] in text.output)


def test_each_response_comes_with_its_row_edited_or_not():
    data = sums()
    ids = data.frame["id"].tolist()
    edited = Request("louder", ids, data.frame["prompt"].tolist(), ["2!", "5!"], audit="style")
    scores = score(
        Reader(contained), [*data_requests(data, "eval"), edited], datasets={"eval": data}
    )
    assert scores.reward("chosen").tolist() == [1, 1]
    assert scores.reward("rejected").tolist() == [0, 0]
    assert scores.reward("louder", audit="style").tolist() == [1, 0]


def test_only_what_is_read_reaches_the_reward_and_the_key(tmp_path):
    model, texts = Reader(contained), []
    model.reward = lambda text: texts.append(text) or 1.0
    with ScoreStore(tmp_path / "s.sqlite") as store:
        for data, scored in (
            (sums(), 4),
            (sums(noise=[8, 9]), 0),  # not read: nothing is scored again
            (sums(answer=["2", "9"]), 2),  # read: the second row's two texts are others now
        ):
            requests = data_requests(data, "eval")
            cost = score(model, requests, datasets={"eval": data}, store=store).cost
            assert cost.texts_scored == scored
    assert {tuple(text.row) for text in texts} == {("answer",)}


def test_a_model_that_reads_nothing_keeps_its_keys(tmp_path):
    data, plain = sums(), StubModel()
    with ScoreStore(tmp_path / "s.sqlite") as store:
        score(plain, data_requests(data, "eval"), store=store)
        both = score(
            plain,
            data_requests(data, "eval"),
            ensemble=[Reader(contained)],
            datasets={"eval": data},
            store=store,
        )
    assert both.cost.texts_scored == 4  # the reader's alone
    assert both.member_names == ("stub", "reader")


def test_a_missing_column_is_one_line_that_names_it():
    data = sums()
    with pytest.raises(DataError, match="no column 'solution', which the reward reader reads"):
        score(
            Reader(contained, ("solution",)),
            data_requests(data, "eval"),
            datasets={"eval": data},
        )


def test_a_field_of_an_object_is_read_by_its_path():
    data = sums(extra=[{"truth": "2"}, {"truth": "5"}])
    model = Reader(lambda text: float(text.row["extra.truth"] in text.output), ("extra.truth",))
    scores = score(model, data_requests(data, "eval"), datasets={"eval": data})
    assert scores.reward("chosen").tolist() == [1, 0]
    assert scores.reward("rejected").tolist() == [0, 1]


def test_a_text_of_no_row_gets_that_of_its_prompt_or_is_refused():
    data = sums()
    search = Request("search", ["s", "s"], ["1+1?", "2+2?"], ["2", "2"], audit="hacking")
    scores = score(Reader(contained), [search], datasets={"eval": data})
    assert scores.reward("search", audit="hacking").tolist() == [1, 0]
    stray = Request("search", ["s"], ["3+3?"], ["6"], audit="hacking")
    with pytest.raises(
        RewardModelError, match="hacking asks for the reward of a text that belongs"
    ):
        score(Reader(contained), [stray], datasets={"eval": data})
    # Two rows of the prompt have other answers: which of them is meant is not guessed.
    twice = sums(prompt=["1+1?", "1+1?"])
    search = Request("search", ["s"], ["1+1?"], ["2"], audit="hacking")
    with pytest.raises(RewardModelError, match="several rows, which differ in answer, of"):
        score(Reader(contained), [search], datasets={"eval": twice})


class Parts(StubModel):
    """A total and one or two named parts; fails on texts that say so."""

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        texts = [each.payload.output for each in batch]
        length = np.array([float(len(text)) for text in texts])
        bonus = np.array([1.0 if "2" in text else np.nan for text in texts])
        failures = {i: "it broke" for i, text in enumerate(texts) if text == "broken"}
        total = np.where([text == "broken" for text in texts], FAILED, length)
        return Rewarded(total, {"length": length, "bonus": bonus}, failures)


def test_components_are_stored_and_come_back(tmp_path):
    request = Request("output", ["a", "b"], ["p", "p"], ["22", "333"])
    with ScoreStore(tmp_path / "s.sqlite") as store:
        for scored in (2, 0):
            scores = score(Parts(), [request], store=store)
            assert scores.cost.texts_scored == scored
            parts = scores.column("output").components
            assert parts["length"].tolist() == [2, 3]
            np.testing.assert_array_equal(parts["bonus"], [1, np.nan])


def test_scores_have_a_column_for_each_component():
    def graded(items):
        return [
            {"total": len(i.response), "format": 1.0, "tokens": 2.0}
            | ({"bonus": 0.5} if "2" in i.response else {})
            for i in items
        ]

    rows = [
        {"prompt": "p", "chosen": "22", "rejected": "333"},
        {"prompt": "q", "chosen": "4", "rejected": "2"},
    ]
    frame = rmaudit.score(graded, rows, cache=False)
    assert frame["reward"].tolist() == [2, 1, 3, 1]
    assert frame["format"].tolist() == [1] * 4
    assert frame["component.tokens"].tolist() == [2] * 4  # tokens has another meaning there
    np.testing.assert_array_equal(frame["bonus"], [0.5, np.nan, np.nan, 0.5])
    plain = rmaudit.score(lambda pairs: [1.0] * len(pairs), rows, cache=False)
    assert list(plain) == ["id", "side", "reward", "tokens", "truncated", "model", "request"]


def test_a_text_on_which_the_reward_fails_costs_the_others_nothing(tmp_path):
    request = Request("output", ["a", "b"], ["p", "p"], ["22", "broken"])
    with ScoreStore(tmp_path / "s.sqlite") as store:
        for scored in (2, 1):  # a failure may be of the moment: it is tried again
            scores = score(Parts(), [request], store=store)
            assert scores.cost.texts_scored == scored
            assert failed(scores.reward("output")).tolist() == [False, True]
            assert list(scores.failures) == ["id 'b' (output of eval): it broke"]


def test_does_not_apply_is_told_from_nan_in_the_store_too(tmp_path):
    values = {"x": NOT_APPLICABLE, "y": np.nan, "z": 0.0}
    request = Request("output", list("abc"), ["p"] * 3, list("xyz"))
    with ScoreStore(tmp_path / "s.sqlite") as store:
        for _ in range(2):
            model = StubModel(reward=lambda text: values[text.output])
            rewards = score(model, [request], store=store).reward("output")
            assert does_not_apply(rewards).tolist() == [True, False, False]
            assert np.isnan(rewards).tolist() == [True, True, False]


def test_a_reward_of_pairs_sees_the_other_response():
    def longer(text: Text) -> float:
        assert text.other is not None
        return float(len(text.output) > len(text.other))

    model = StubModel("pairs", reward=longer)
    model.signal = "preference"
    data = sums(rejected=["33", "5"])
    scores = score(model, data_requests(data, "eval"))
    assert scores.reward("chosen").tolist() == [0, 0]
    assert scores.reward("rejected").tolist() == [1, 0]
    with pytest.raises(RewardModelError, match="cannot score single responses"):
        score(model, [make_request(3)])


class Mixed(RewardModel):
    """The sum of two models, each known on its own."""

    kind, name, fingerprint = "mix", "mixed", "mixed"

    def __init__(self, *parts: RewardModel) -> None:
        self._parts = parts

    @property
    def parts(self) -> tuple[RewardModel, ...]:
        return self._parts

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        named = {model.name: part.total for model, part in zip(self._parts, parts, strict=True)}
        return Rewarded(sum(named.values()), named)

    def encode(self, texts):
        raise AssertionError("its parts are scored")

    def forward(self, batch, *, pad_left=False):
        raise AssertionError("its parts are scored")


def test_parts_that_read_different_columns_share_one_pass(tmp_path):
    data = sums()
    reader, stub = Reader(contained), StubModel(reward=lambda text: 10.0)
    with ScoreStore(tmp_path / "s.sqlite") as store:
        scores = score(
            Mixed(reader, stub), data_requests(data, "eval"), datasets={"eval": data}, store=store
        )
    assert scores.reward("chosen").tolist() == [11, 11]
    assert scores.reward("rejected").tolist() == [10, 10]
    assert scores.column("chosen").components["reader"].tolist() == [1, 1]
    assert len(scores.members) == 1  # parts of a mix are no ensemble
    assert scores.cost.texts_scored == 8
