"""One pass: each text scored once, columns aligned, failures named, memory respected."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scoring_stub import Listener, StubModel, expected, make_request

from rmaudit.data.types import Dataset, Source
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, Rewarded, RewardModel, Text
from rmaudit.scoring import NullStore, Request, ScoreStore, batches, score


def test_columns_are_aligned_with_their_requests():
    chosen = make_request(40, "chosen")
    other = make_request(17, "shortened", audit="length")
    scores = score(StubModel(), [chosen, other])
    assert (scores.reward("chosen") == expected(chosen)).all()
    assert (scores.reward("shortened", audit="length") == expected(other)).all()
    column = scores.column("chosen")
    assert column.tokens.tolist() == [
        len(p) + len(o) for p, o in zip(chosen.prompts, chosen.outputs, strict=True)
    ]
    assert column.output_tokens.tolist() == [len(o) for o in chosen.outputs]
    with pytest.raises(KeyError):
        scores.reward("rejected")


def test_flags_of_the_encoding_reach_the_columns():
    outputs = ["ok", "long", "cut", "bos", "long bos"]
    request = Request("s", list("abcde"), ["p"] * 5, outputs)
    column = score(StubModel(), [request]).column("s")
    assert column.truncated.tolist() == [False, True, False, False, True]
    assert column.output_truncated.tolist() == [False, False, True, False, False]
    assert column.double_bos.tolist() == [False, False, False, True, True]


def test_each_text_is_scored_once_across_requests():
    # "chosen" twice under two names, 40 texts; "rejected", 40 more; 3 rows repeat one text
    same = make_request(40, "chosen")
    renamed = Request("copy", same.ids, same.prompts, same.outputs, audit="length")
    repeated = Request("again", ["x", "y", "z"], ["prompt 0"] * 3, [same.outputs[0]] * 3)
    model = StubModel()
    scores = score(model, [same, renamed, make_request(40, "rejected"), repeated])
    assert len(model.scored) == len(set(map(repr, model.scored))) == 80
    assert scores.cost.texts == scores.cost.texts_scored == 80
    assert scores.cost.tokens == sum(len(t.prompt) + len(t.output) for t in model.scored)
    assert (scores.reward("copy", audit="length") == scores.reward("chosen")).all()
    assert (scores.reward("again") == scores.reward("chosen")[0]).all()


def test_the_same_words_as_text_and_as_messages_are_two_texts():
    prompts = ["hi", [{"role": "user", "content": "hi"}]]
    model = StubModel()
    score(model, [Request("s", ["a", "b"], prompts, ["yo", "yo"])])
    assert len(model.scored) == 2


def test_equal_requests_may_be_asked_for_twice_but_not_different_ones_of_one_name():
    model = StubModel()
    score(model, [make_request(5), make_request(5)])
    assert len(model.scored) == 5
    with pytest.raises(UsageError, match="'chosen'"):
        score(model, [make_request(5), make_request(6)])


def test_no_requests_and_empty_requests_cost_nothing():
    listener = Listener()
    scores = score(StubModel(), [], progress=listener)
    assert scores.cost.texts == 0
    assert listener.planned == [(0, 0, 0, "tokens")]
    assert len(score(StubModel(), [make_request(0)]).reward("chosen")) == 0


def test_batches_respect_budget_and_size_and_hold_texts_of_like_length():
    model = StubModel(max_batch=8, token_budget=300)
    score(model, [make_request(200)])
    lengths = [[len(t.prompt) + len(t.output) for t in batch] for batch in model.batches]
    assert all(len(batch) <= 8 for batch in lengths)
    assert all(len(batch) * max(batch) <= 300 for batch in lengths)
    assert all(max(after) <= min(before) for before, after in pairwise(lengths))
    model = StubModel(token_budget=10)  # no text fits: one at a time all the same
    score(model, [make_request(5)])
    assert [len(batch) for batch in model.batches] == [1] * 5


class SharingStub(StubModel):
    """Counts a batch as a model does that encodes each prompt once."""

    shares_prefixes = True

    def encode(self, texts):
        return [replace(e, output_start=e.tokens - e.output_tokens) for e in super().encode(texts)]

    def forward(self, batch, *, pad_left=False):
        prompts = {e.payload.prompt for e in batch}
        self.cost = sum(map(len, prompts)) + sum(e.output_tokens for e in batch)
        if self.memory is not None and self.cost > self.memory:
            raise MemoryError
        return super().forward(batch, pad_left=pad_left)


def scattered(n_prompts: int, n_outputs: int) -> Request:
    """Outputs of a few long prompts, in an order that keeps no prompt together."""
    rows = [(p, o) for o in range(n_outputs) for p in range(n_prompts)]
    return Request(
        "chosen",
        [f"{p}-{o}" for p, o in rows],
        [f"prompt {p} " * (2 + p) for p, _ in rows],
        [f"output {o} " + "word " * (o % 4) for _, o in rows],
    )


def test_a_model_that_shares_prompts_gets_all_outputs_of_one_together():
    model, request = SharingStub(max_batch=64, token_budget=400), scattered(6, 8)
    scores = score(model, [request])
    np.testing.assert_array_equal(scores.by_request[request.key].reward, expected(request))
    batches = [[text.prompt for text in batch] for batch in model.batches]
    assert len(model.scored) == len(request.ids)
    assert sum(len(set(batch)) for batch in batches) <= 6 + len(batches) - 1  # cut at most there
    order = [prompt for batch in batches for prompt in batch]
    assert sum(a != b for a, b in pairwise(order)) == 5
    full = [sum(map(len, set(b))) for b in batches]
    assert all(  # a prompt is counted once
        prompts + sum(len(text.output) for text in batch) <= 400
        for prompts, batch in zip(full, model.batches, strict=True)
    )
    assert max(len(batch) for batch in model.batches) > 400 // 60


def test_texts_in_other_modes_share_no_prompt():
    model = SharingStub(max_batch=64, token_budget=400)
    request = replace(scattered(3, 4), mode="left")
    score(model, [request])
    lengths = [len(t.prompt) + len(t.output) for t in model.scored]
    assert lengths == sorted(lengths, reverse=True)


def test_out_of_memory_halves_a_shared_batch_too():
    model, request = SharingStub(max_batch=64, token_budget=900, memory=300), scattered(5, 9)
    scores = score(model, [request])
    np.testing.assert_array_equal(scores.by_request[request.key].reward, expected(request))


def test_texts_are_tokenised_a_window_at_a_time(monkeypatch):
    monkeypatch.setattr(batches, "_WINDOW_TEXTS", 16)
    request = make_request(100)
    model = StubModel()
    held: list[int] = []
    encode = model.encode

    def watched(texts: Sequence[Text]) -> list[Encoded]:
        held.append(len(texts))
        return encode(texts)

    model.encode = watched  # type: ignore[method-assign]
    scores = score(model, [request])
    assert held[1:] == [16] * 6 + [4]  # the first was the sample that the estimate is made from
    assert (scores.reward("chosen") == expected(request)).all()


def test_modes_are_scored_apart_alone_in_ones_and_left_padded_left():
    requests = [make_request(20, mode=mode) for mode in ("plain", "alone", "left")]
    model = StubModel()
    scores = score(model, requests)
    sizes = {"plain": [], "alone": [], "left": []}
    assert scores.cost.texts_scored == len(model.scored) == 60
    for batch, left in zip(model.batches, model.pad_left, strict=True):
        mode = "left" if left else "alone" if len(batch) == 1 else "plain"
        sizes[mode].append(len(batch))
    assert sum(sizes["left"]) == sum(sizes["alone"]) == sum(sizes["plain"]) == 20
    assert (scores.reward("chosen", mode="left") == expected(requests[0])).all()


def test_a_second_pass_scores_and_tokenises_nothing(tmp_path):
    requests = [make_request(30), make_request(30, "rejected", mode="left")]
    with ScoreStore(tmp_path / "s.sqlite") as store:
        first = score(StubModel(), requests, store=store)
    model, listener = StubModel(), Listener()
    with ScoreStore(tmp_path / "s.sqlite") as store:
        second = score(model, requests, store=store, progress=listener)
    assert model.encoded == []
    assert model.batches == []
    assert second.cost.texts == 60
    assert second.cost.texts_scored == second.cost.tokens == 0
    assert listener.planned == [(60, 0, 0, "tokens")]
    for key, column in first.by_request.items():
        again = second.by_request[key]
        for field in ("reward", "tokens", "output_tokens", "truncated"):
            assert (getattr(column, field) == getattr(again, field)).all()


def test_only_what_the_store_lacks_is_scored(tmp_path):
    with ScoreStore(tmp_path / "s.sqlite") as store:
        score(StubModel(), [make_request(30)], store=store)
        model, listener = StubModel(), Listener()
        scores = score(model, [make_request(50)], store=store, progress=listener)
    new = {f"prompt {i}" for i in range(30, 50)}
    assert {text.prompt for text in model.scored} == new
    assert scores.cost.texts == 50
    assert scores.cost.texts_scored == 20
    assert (scores.reward("chosen") == expected(make_request(50))).all()
    ((texts, to_score, tokens, _),) = listener.planned
    assert (texts, to_score) == (50, 20)
    assert tokens == listener.tokens == scores.cost.tokens  # exact where the sample is all
    assert listener.texts == 20
    assert listener.closed == 1


def test_another_fingerprint_is_another_model(tmp_path):
    with ScoreStore(tmp_path / "s.sqlite") as store:
        score(StubModel("one"), [make_request(10)], store=store)
        model = StubModel("two")
        scores = score(model, [make_request(10)], store=store)
    assert len(model.scored) == 10
    assert (scores.reward("chosen") == expected(make_request(10), "two")).all()


def test_the_cost_is_estimated_from_a_sample_where_texts_are_many(monkeypatch):
    monkeypatch.setattr(batches, "_SAMPLE", 50)
    listener = Listener()
    scores = score(StubModel(), [make_request(2000)], progress=listener)
    ((_, _, tokens, _),) = listener.planned
    assert tokens == pytest.approx(scores.cost.tokens, rel=0.03)


def test_non_finite_rewards_come_back_as_they_are_also_from_the_store(tmp_path):
    odd = {"prompt 1": math.nan, "prompt 2": math.inf, "prompt 3": -math.inf}

    def reward(text: Text) -> float:
        return odd.get(str(text.prompt), 0.5)

    for _ in range(2):
        with ScoreStore(tmp_path / "s.sqlite") as store:
            scores = score(StubModel(reward=reward), [make_request(5)], store=store)
        np.testing.assert_array_equal(
            scores.reward("chosen"), [0.5, math.nan, math.inf, -math.inf, 0.5]
        )
    assert scores.cost.texts_scored == 0


class StubEnsemble(RewardModel):
    kind = "ensemble"

    def __init__(self, *members: RewardModel) -> None:
        self.name, self.fingerprint, self._members = "three", "stub-three", members

    @property
    def members(self) -> tuple[RewardModel, ...]:
        return self._members

    def combine(self, parts: Sequence[Rewarded]) -> Rewarded:
        return Rewarded(np.min([part.total for part in parts], axis=0))

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        raise AssertionError("members are scored, not the ensemble")

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> np.ndarray:
        raise AssertionError("members are scored, not the ensemble")


def test_an_ensemble_scores_its_members_and_aggregates_them(tmp_path):
    request = make_request(25)
    by_hand = np.stack([expected(request, name) for name in "abc"])
    with ScoreStore(tmp_path / "s.sqlite") as store:
        score(StubModel("b"), [request], store=store)  # known from an audit of its own
        members = [StubModel(name) for name in "abc"]
        scores = score(StubEnsemble(*members), [request], store=store)
    assert (scores.reward("chosen") == by_hand.min(axis=0)).all()
    assert (scores.member_rewards("chosen") == by_hand).all()
    assert list(scores.member_names) == ["a", "b", "c"]
    assert [len(m.scored) for m in members] == [25, 0, 25]
    assert (scores.cost.texts, scores.cost.texts_scored) == (75, 50)


def test_further_members_join_the_model_and_score_plain_requests_only():
    plain, left = make_request(10), make_request(10, mode="left")
    model, extra = StubModel("a"), StubModel("b")
    scores = score(model, [plain, left], ensemble=[extra])
    assert (scores.reward("chosen") == expected(plain, "a")).all()
    assert (scores.member_rewards("chosen")[1] == expected(plain, "b")).all()
    assert len(model.scored) == 20
    assert len(extra.scored) == 10
    assert list(scores.members[1]) == [plain.key]


def test_one_model_given_twice_is_scored_once():
    model, twin = StubModel("a"), StubModel("a")
    scores = score(model, [make_request(10)], ensemble=[twin])
    assert len(model.scored) + len(twin.scored) == 10
    assert len(scores.members) == 2


class StubRecorded(RewardModel):
    name, kind, fingerprint = "recorded", "recorded", "recorded"
    scores_new_text, length_unit = False, "characters"

    def recorded(self, data: Dataset, side: str) -> np.ndarray:
        return data.frame[f"{side}_reward"].to_numpy(dtype=np.float64)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        raise AssertionError("nothing is encoded")

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> np.ndarray:
        raise AssertionError("nothing is scored")


def test_recorded_rewards_come_from_the_data():
    request = make_request(3)
    frame = pd.DataFrame({"id": request.ids, "chosen_reward": [1.0, math.nan, -math.inf]})
    data = Dataset("preference", frame, Source("f", "", 3, 3, 0))
    scores = score(StubRecorded(), [request], datasets={"eval": data}, store=NullStore())
    np.testing.assert_array_equal(scores.reward("chosen"), [1.0, math.nan, -math.inf])
    lengths = [len(output) for output in request.outputs]
    assert scores.column("chosen").tokens.tolist() == lengths
    assert scores.column("chosen").output_tokens.tolist() == lengths
    assert not scores.column("chosen").truncated.any()
    assert scores.length_unit == "characters"
    assert (scores.cost.texts, scores.cost.texts_scored) == (3, 0)
    for new in (make_request(3, audit="length"), make_request(3, mode="left")):
        with pytest.raises(RewardModelError, match="recorded rewards only"):
            score(StubRecorded(), [new], datasets={"eval": data})
