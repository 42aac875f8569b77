"""The model as OpenVINO runs it: torch's rewards, or a refusal."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from test_rewards_trl import cross_encoder
from tiny_models import LLAMA_TEMPLATE, TEXTS, save

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local.openvino_model import OpenVinoReward
from rmaudit.scoring import Request, score

MANY = [*TEXTS, *(Text(f"prompt {i}", "word " * (1 + i % 9) + str(i)) for i in range(30))]


pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)


def rewards(model, texts):
    ids = [str(i) for i in range(len(texts))]
    request = Request("chosen", ids, [t.prompt for t in texts], [t.output for t in texts])
    return score(model, [request]).reward("chosen")


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_rewards_are_those_of_torch_for_batches_of_any_shape(kind, tmp_path):
    folder = save(tmp_path, kind, template=LLAMA_TEMPLATE if kind == "llama" else None)
    expected = rewards(load_reward_model(folder), MANY)
    model = load_reward_model(folder, backend="openvino")
    assert isinstance(model, OpenVinoReward)
    model.token_budget = 200  # many shapes, none of them the one that was converted
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(rewards(model, MANY), expected, rtol=0, atol=1e-5)


def test_an_encoder_of_two_segments_is_told_which_is_which(tmp_path):
    folder = cross_encoder(tmp_path, "bert")
    plain, model = load_reward_model(folder), load_reward_model(folder, backend="openvino")
    assert model.describe()["text"].startswith("pair of segments")
    given = rewards(model, MANY)
    np.testing.assert_allclose(given, rewards(plain, MANY), rtol=0, atol=1e-5)
    plain.token_types = lambda batch, longest, left=False: None
    assert np.abs(given - rewards(plain, MANY)).max() > 1e-3  # what they are told matters


def test_a_head_is_chosen_and_a_text_alone_has_the_reward_of_its_batch(tmp_path):
    folder = save(tmp_path, "bert", heads=3)
    model = load_reward_model(folder, backend="openvino", head=2)
    together = model.forward(model.encode(TEXTS))
    alone = [model.forward(model.encode([text]))[0] for text in TEXTS]
    expected = load_reward_model(folder, head=2)
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, expected.forward(expected.encode(TEXTS)), atol=1e-5)


def test_bfloat16_is_near_and_says_so(tmp_path):
    folder = save(tmp_path, "llama")
    try:
        model = load_reward_model(folder, backend="openvino", dtype="bfloat16")
    except UsageError as error:
        pytest.skip(str(error))
    expected = rewards(load_reward_model(folder), MANY)
    given = rewards(model, MANY)
    assert 0 < np.abs(given - expected).max() < 0.1
    facts = model.describe()
    assert (facts["dtype"], facts["backend"]) == ("bfloat16", "openvino")


def test_each_way_has_a_fingerprint_of_its_own(tmp_path):
    folder = save(tmp_path, "bert")
    ways = [{}, {"dtype": "bfloat16"}, {"backend": "openvino"}]
    prints = {load_reward_model(folder, **way).fingerprint for way in ways}
    again = load_reward_model(folder, backend="openvino").fingerprint
    assert len(prints) == 3
    assert again in prints


def test_other_rewards_than_those_of_torch_are_refused(tmp_path, monkeypatch):
    model = load_reward_model(save(tmp_path, "bert"), backend="openvino")
    convert = model._converted

    def wrong(batch):
        run = convert(batch)
        return lambda inputs: run(inputs) + 0.01

    monkeypatch.setattr(model, "_converted", wrong)
    with pytest.raises(RewardModelError, match=r"moves a reward .* by 0\.01, more than rounding"):
        rewards(model, MANY)
    with pytest.raises(RewardModelError, match="more than rounding"):  # not used afterwards either
        model.forward(model.encode(TEXTS[:1]))


def test_what_cannot_be_converted_is_refused(tmp_path, monkeypatch):
    model = load_reward_model(save(tmp_path, "bert"), backend="openvino")
    openvino = sys.modules["openvino"]

    def fail(*_, **__):
        raise RuntimeError("no such operation\nand more")

    monkeypatch.setattr(openvino, "convert_model", fail)
    with pytest.raises(RewardModelError, match=r"cannot convert the model: .*no such operation"):
        model.forward(model.encode(TEXTS))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"device": "cuda"}, "runs on the processor"),
        ({"reference_model": "other"}, "sequence-classification models"),
    ],
)
def test_what_openvino_cannot_do_is_said(options, said, tmp_path):
    with pytest.raises(UsageError, match=said):
        load_reward_model(save(tmp_path, "bert"), backend="openvino", **options)
    with pytest.raises(UsageError, match="sequence-classification models"):
        load_reward_model(f"dropout:{tmp_path}", backend="openvino")


def test_without_the_library_it_says_what_to_install(tmp_path, monkeypatch):
    folder = save(tmp_path, "bert")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"pip install openvino"):
        load_reward_model(folder, backend="openvino")


def test_nobody_is_told_that_it_ran(tmp_path):
    model = load_reward_model(save(tmp_path, "bert"), backend="openvino")
    model.forward(model.encode(TEXTS))
    assert sys.modules["openvino_telemetry"] is None
