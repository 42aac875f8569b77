"""What scoring does with texts that fail, memory that ends and interrupts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from scoring_stub import Listener, StubModel, expected, make_request, reward_of

from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.scoring import Request, ScoreStore, score


def test_out_of_memory_halves_the_batch_and_goes_on():
    # 60 texts of equal length 20, batches of 8 (160 padded), room for 50: 8 fails, 4 fails, 2 fits
    request = Request("s", [str(i) for i in range(60)], ["p" * 10] * 60, _tens(60))
    model = StubModel(memory=50, max_batch=8, token_budget=512)
    scores = score(model, [request])
    assert [len(batch) for batch in model.batches] == [2] * 30
    assert (scores.reward("s") == expected(request)).all()


def _tens(n: int) -> list[str]:
    return [f"{i:010d}" for i in range(n)]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("MPS backend out of memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_every_devices_words_for_out_of_memory_are_understood(error):
    request = Request("s", [str(i) for i in range(8)], ["p" * 10] * 8, _tens(8))
    model = StubModel()
    forward = model.forward

    def choking(batch: Sequence[Encoded], *, pad_left: bool = False) -> np.ndarray:
        if len(batch) > 4:
            raise RewardModelError("wrapped") from error
        return forward(batch, pad_left=pad_left)

    model.forward = choking  # type: ignore[method-assign]
    assert (score(model, [request]).reward("s") == expected(request)).all()
    assert [len(batch) for batch in model.batches] == [4, 4]


def test_one_text_too_large_for_memory_is_named():
    request = Request("s", ["small", "huge"], ["p", "p"], ["x", "y" * 500])
    with pytest.raises(RewardModelError, match=r"out of memory .*'huge'.* 501 tokens"):
        score(StubModel(memory=100), [request])


def test_a_text_that_fails_is_named_and_the_others_are_kept(tmp_path):
    request = make_request(64, data="feedback")
    bad = request.prompts[13]

    def reward(text: Text) -> float:
        if text.prompt == bad:
            raise ValueError("division\nby taste" + "!" * 1000)
        return reward_of(text, "stub")

    listener = Listener()
    with ScoreStore(tmp_path / "s.sqlite") as store:
        model = StubModel(reward=reward)
        with pytest.raises(RewardModelError) as caught:
            score(model, [request], store=store, progress=listener)
        line = str(caught.value)
        assert "'row13'" in line
        assert "chosen of feedback" in line
        assert "ValueError: division by taste" in line
        assert "\n" not in line
        assert len(line) < 500
        assert listener.closed == 1
        kept = model.scored
        mended = StubModel()
        scores = score(mended, [request], store=store)
    assert kept
    assert not {repr(t) for t in kept} & {repr(t) for t in mended.scored}
    assert len(kept) + len(mended.scored) == 64
    assert (scores.reward("chosen", data="feedback") == expected(request)).all()


def test_a_text_that_cannot_be_tokenised_is_named():
    class Choosy(StubModel):
        def encode(self, texts: Sequence[Text]) -> list[Encoded]:
            if any(text.prompt == "prompt 7" for text in texts):
                raise TypeError("odd text")
            return super().encode(texts)

    with pytest.raises(RewardModelError, match=r"'row7'.*TypeError: odd text"):
        score(Choosy(), [make_request(20, audit="length")])


def test_a_wrong_number_of_rewards_is_an_error():
    class Short(StubModel):
        def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> np.ndarray:
            return np.zeros(len(batch) + 1)

    with pytest.raises(RewardModelError, match=r"shape \(2,\) came back for 1 texts"):
        score(Short(), [make_request(4)])


def test_an_interrupt_keeps_what_was_scored(tmp_path):
    model = StubModel()
    listener = Listener()

    def interrupt(texts: int, tokens: int) -> None:
        if len(model.scored) >= 24:
            raise KeyboardInterrupt

    listener.advance = interrupt  # type: ignore[method-assign]
    with ScoreStore(tmp_path / "s.sqlite") as store, pytest.raises(KeyboardInterrupt):
        score(model, [make_request(60)], store=store, progress=listener)
    assert listener.closed == 1
    with ScoreStore(tmp_path / "s.sqlite") as store:
        assert score(StubModel(), [make_request(60)], store=store).cost.texts_scored == 36
