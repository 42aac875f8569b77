"""Rewards read from the data, side by side with its texts."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rmaudit.data.types import Dataset, Source
from rmaudit.errors import DataError, RewardModelError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.scoring import score
from rmaudit.scoring.requests import data_requests

RECORDED = load_reward_model("recorded")


def dataset(kind: str, **columns) -> Dataset:
    frame = pd.DataFrame(columns)
    n = len(frame)
    frame["id"] = [f"r{i}" for i in range(n)]
    frame["prompt"] = [f"p{i}" for i in range(n)]
    frame["row"] = range(1, n + 1)
    return Dataset(kind, frame, Source("data.jsonl", "0", n, n, 0))


def test_pairs_have_a_column_a_side_with_nan_kept():
    data = dataset(
        "preference",
        chosen=["a", "bb"],
        rejected=["c", "d"],
        chosen_reward=[1.5, np.nan],
        rejected_reward=[0.0, np.inf],
    )
    assert RECORDED.recorded(data, "chosen").tolist()[0] == 1.5
    assert np.isnan(RECORDED.recorded(data, "chosen")[1])
    assert RECORDED.recorded(data, "rejected").tolist() == [0.0, np.inf]


def test_rankings_give_the_jth_reward_of_rows_that_have_one_as_requests_do():
    data = dataset(
        "ranking",
        outputs=[["a", "b", "c"], ["d"], ["e", "f"]],
        ranking=[[1, 2, 3], [1], [2, 1]],
        rewards=[[0.1, 0.2, 0.3], [0.4], [0.5, 0.6]],
    )
    requests = data_requests(data, "eval")
    scores = score(RECORDED, requests, datasets={"eval": data})
    assert [scores.reward(r.side).tolist() for r in requests] == [
        [0.1, 0.4, 0.5],
        [0.2, 0.6],
        [0.3],
    ]
    assert scores.length_unit == "characters"


@pytest.mark.parametrize("values", [[1.0, 2.0], [[1.0], [2.0]]])
def test_ratings_have_one_reward_a_row(values):
    data = dataset("rating", output=["a", "b"], rating=[1.0, 2.0], rewards=values)
    assert RECORDED.recorded(data, "output").tolist() == [1.0, 2.0]


def test_samples_are_read_from_their_proxy_rewards():
    data = dataset("samples", outputs=[["a", "b"]], proxy_rewards=[[3.0, None]])
    assert RECORDED.recorded(data, "output_0").tolist() == [3.0]
    assert np.isnan(RECORDED.recorded(data, "output_1")[0])


def test_a_missing_column_is_named():
    data = dataset("preference", chosen=["a"], rejected=["b"], chosen_reward=[1.0])
    with pytest.raises(DataError, match=r"data\.jsonl: no column 'rejected_reward'"):
        RECORDED.recorded(data, "rejected")
    with pytest.raises(DataError, match="no column 'rewards'"):
        RECORDED.recorded(dataset("rating", output=["a"], rating=[1.0]), "output")


def test_a_row_with_too_few_rewards_is_named():
    data = dataset("ranking", outputs=[["a"], ["b", "c"]], rewards=[[1.0], [2.0]])
    with pytest.raises(DataError, match=r"row 2, column 'rewards': .* each of the 2 outputs"):
        RECORDED.recorded(data, "output_0")


def test_new_text_cannot_be_scored():
    assert not RECORDED.scores_new_text
    with pytest.raises(RewardModelError, match="cannot score new text"):
        RECORDED.encode([Text("a", "b")])


def test_a_component_that_is_no_number_is_named():
    data = dataset(
        "preference",
        chosen=["a", "b"],
        rejected=["c", "d"],
        chosen_components=[{"style": 1.0}, {"style": [[]]}],
    )
    with pytest.raises(DataError, match="component 'style': it must hold numbers"):
        RECORDED.recorded_components(data, "chosen")
