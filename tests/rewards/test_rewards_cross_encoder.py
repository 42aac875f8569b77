"""Rewards of cross-encoders are the scores that sentence-transformers' CrossEncoder gives."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_rewards_trl import PAIRS, cross_encoder

from rmaudit.errors import RewardModelError
from rmaudit.rewards import Text, load_reward_model

sentence_transformers = pytest.importorskip("sentence_transformers")


@pytest.mark.filterwarnings("ignore")  # of the libraries, of one another
@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
@pytest.mark.parametrize("saved", [False, True])
def test_rewards_are_the_cross_encoders_scores(kind, saved, tmp_path):
    folder = cross_encoder(tmp_path / "a", kind)
    made = sentence_transformers.CrossEncoder(
        str(folder), device="cpu", activation_fn=torch.nn.Identity()
    )
    if saved:  # then its own entry says that texts are pairs
        folder = tmp_path / "b"
        made.save_pretrained(str(folder))
    pairs = [(prompt, response) for prompt, *responses in PAIRS for response in responses]
    expected = made.predict(pairs, batch_size=4, show_progress_bar=False)
    rewarder = load_reward_model(folder, pair=not saved and kind != "bert")
    encoded = rewarder.encode([Text(*pair) for pair in pairs])
    np.testing.assert_allclose(rewarder.forward(encoded), expected, atol=1e-5, rtol=0)
    assert np.ptp(expected) > 0.02


@pytest.mark.parametrize(
    ("file", "changes", "said"),
    [
        ("modules.json", [{"type": "st.Transformer"}, {"type": "st.Dense"}], "modules .*st.Dense"),
        (
            "config_sentence_transformers.json",
            {"model_type": "CrossEncoder", "default_prompt_name": "query"},
            "the prompt 'query'",
        ),
    ],
)
def test_a_cross_encoder_that_does_more_than_its_model_is_refused(file, changes, said, tmp_path):
    folder = cross_encoder(tmp_path, "roberta")
    settings = folder / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"model_type": "CrossEncoder", "default_prompt_name": None}))
    assert load_reward_model(folder).describe()["text"].startswith("pair of segments")
    (folder / file).write_text(json.dumps(changes))
    with pytest.raises(RewardModelError, match=said):
        load_reward_model(folder)
