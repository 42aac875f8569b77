"""The table of scores: fixed columns, one row a text, written whole or not at all."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scoring_stub import StubModel, expected, make_request

from rmaudit.errors import StoreError
from rmaudit.rewards.base import Text
from rmaudit.scoring import score, scores_frame, write_scores

COLUMNS = ["id", "side", "reward", "tokens", "truncated", "model", "request"]


def test_one_row_a_text_in_the_fixed_columns():
    chosen, probe = make_request(3), make_request(2, "shortened", audit="length")
    frame = scores_frame(score(StubModel(), [chosen, probe]), "stub")
    assert list(frame.columns) == COLUMNS
    assert frame["id"].tolist() == ["row0", "row1", "row2", "row0", "row1"]
    assert frame["side"].tolist() == ["chosen"] * 3 + ["shortened"] * 2
    assert frame["request"].tolist() == [""] * 3 + ["length"] * 2
    assert frame["model"].unique().tolist() == ["stub"]
    assert frame["reward"].tolist() == [*expected(chosen), *expected(probe)]


def test_members_add_rows_of_their_own():
    scores = score(StubModel("a"), [make_request(2)], ensemble=[StubModel("b")])
    frame = scores_frame(scores, "a")
    assert frame["model"].tolist() == ["a", "a", "b", "b"]
    assert frame["reward"].tolist()[2:] == expected(make_request(2), "b").tolist()


def test_texts_in_another_mode_are_told_apart():
    requests = [make_request(1, audit="preflight", mode=mode) for mode in ("plain", "left")]
    frame = scores_frame(score(StubModel(), requests), "stub")
    assert frame["side"].tolist() == ["chosen", "chosen@left"]


def test_parquet_keeps_types_and_non_finite_rewards(tmp_path):
    odd = {"prompt 0": math.nan, "prompt 1": math.inf}

    def reward(text: Text) -> float:
        return odd.get(str(text.prompt), -0.25)

    path = tmp_path / "new" / "scores.parquet"
    write_scores(path, scores_frame(score(StubModel(reward=reward), [make_request(3)]), "m"))
    frame = pd.read_parquet(path)
    assert list(frame.columns) == COLUMNS
    np.testing.assert_array_equal(frame["reward"].to_numpy(), [math.nan, math.inf, -0.25])
    assert frame["reward"].dtype == np.float64
    assert frame["tokens"].dtype == np.int64
    assert frame["truncated"].dtype == np.bool_
    assert [p.name for p in path.parent.iterdir()] == ["scores.parquet"]


def test_no_requests_are_an_empty_table_of_the_same_columns():
    assert list(scores_frame(score(StubModel(), []), "m").columns) == COLUMNS


def test_an_unwritable_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    frame = scores_frame(score(StubModel(), [make_request(1)]), "m")
    with pytest.raises(StoreError, match=r"cannot write .*scores\.parquet") as caught:
        write_scores(tmp_path / "file" / "scores.parquet", frame)
    assert "\n" not in str(caught.value)
