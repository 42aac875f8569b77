"""Hub data sets, saved folders, published scores and real files become the same tables."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data_files import ROWS, save_folder

from rmaudit.data import load, score_names, with_scores
from rmaudit.errors import DataError


def test_folders_that_hold_no_data_set_say_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no saved datasets folder"):
        load(tmp_path)
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match="holds the splits train, test; give one"):
        load(tmp_path)
    (tmp_path / "dataset_dict.json").write_text("{")
    with pytest.raises(DataError, match="is not JSON"):
        load(tmp_path)


def test_a_saved_folder_that_lacks_a_file_says_which(tmp_path: Path) -> None:
    folder = save_folder(tmp_path / "saved", pa.Table.from_pylist(ROWS), parts=1)
    next(folder.glob("*.arrow")).unlink()
    with pytest.raises(DataError, match=r"arrow: no such file"):
        load(folder)


def test_a_hub_id_goes_through_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    class Split:
        def with_format(self, name: str) -> Split:
            assert name == "arrow"
            return self

        def iter(self, batch_size: int) -> Any:
            yield pa.Table.from_pylist(ROWS)

    def load_dataset(name: str, *, split: str) -> Split:
        if name != "org/data":
            raise FileNotFoundError("Dataset 'org/none' doesn't exist on the Hub")
        assert split == "test"
        return Split()

    module = types.ModuleType("datasets")
    module.load_dataset = load_dataset  # type: ignore[attr-defined]
    module.are_progress_bars_disabled = lambda: True  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", module)
    data = load("org/data:test")
    assert data.frame["id"].tolist() == ["a", "b", "c"]
    assert data.source.path == "org/data:test"
    # The rows decide, not what a machine's cache says of them.
    assert data.source.sha256 == load(pa.Table.from_pylist(ROWS).to_pylist()).source.sha256
    with pytest.raises(DataError, match="cannot be loaded from the hub"):
        load("org/none:test")


def test_a_hub_id_without_split_or_datasets_says_what_to_do(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DataError, match="say the split: org/data:train"):
        load("org/data")
    with pytest.raises(DataError, match="pip install datasets huggingface_hub"):
        load("org/data:test")


def test_scores_of_one_model_become_its_rewards() -> None:
    ranking = load([{"prompt": "p", "ranking": [1, 2], "scores": {"m": [3, None], "n": [1, 2]}},
                    {"prompt": "q", "ranking": [1, 2], "scores": {"n": [5, 6]}}])  # fmt: skip
    assert score_names(ranking) == ["m", "n"]
    assert with_scores(ranking, "n").frame["rewards"].tolist() == [[1, 2], [5, 6]]
    np.testing.assert_array_equal(
        np.array(with_scores(ranking, "m").frame["rewards"].tolist()), [[3, np.nan], [np.nan] * 2]
    )
    assert "rewards" not in ranking.frame
    pair = load([{"prompt": "p", "scores": {"m": {"chosen": 1.5, "rejected": 2}}}])
    scored = with_scores(pair, "m").frame
    assert scored[["chosen_reward", "rejected_reward"]].to_numpy().tolist() == [[1.5, 2.0]]
    with pytest.raises(DataError, match="has no scores of 'x'; known: m, n"):
        with_scores(ranking, "x")


def test_scores_of_a_table_are_those_of_its_rows(tmp_path: Path) -> None:
    rows = [
        {
            "prompt": f"p{k}",
            "chosen": "a",
            "rejected": "b",
            "scores": None
            if k == 1
            else {
                "m": None if k == 2 else {"chosen": k / 3, "rejected": None if k == 3 else -1.5},
                "whole": {"chosen": 1, "rejected": 2},
            },
        }
        for k in range(5)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    table, listed = load(tmp_path / "rows.parquet"), load(rows)
    assert isinstance(table.frame["scores"].dtype, pd.ArrowDtype)
    assert score_names(table) == score_names(listed) == ["m", "whole"]
    for name in ("m", "whole"):
        for side in ("chosen_reward", "rejected_reward"):
            np.testing.assert_array_equal(
                with_scores(table, name).frame[side], with_scores(listed, name).frame[side]
            )
    with pytest.raises(DataError, match="has no scores of 'x'; known: m, whole"):
        with_scores(table, "x")


def test_scores_that_do_not_fit_are_said() -> None:
    data = load([{"prompt": "p", "outputs": ["a"], "ranking": [1], "scores": {"m": [1, 2]}}])
    with pytest.raises(DataError, match=r"wrong length \(row 1: 2 for 1 outputs"):
        with_scores(data, "m")


EXPECTED = {
    "alpaca_eval/best_of_n": ("ranking", 300),
    "alpaca_eval/judge_scores": ("samples", 620),
    "alpaca_eval/pairs_gpt4_labeled": ("preference", 9000),
    "autoj/pairs_58_scenarios": ("preference", 908),
    "country_bias/starling_rm_scores": ("deployment", 318),
    "dices/dices_350": ("rating", 183),
    "dices/dices_990": ("rating", 489),
    "evalbiasbench/pairs": ("preference", 80),
    "hh_rlhf/test": ("preference", 599),
    "hh_rlhf/train": ("preference", 3058),
    "hhh_alignment/pairs": ("preference", 221),
    "ifbench_rm/pairs": ("preference", 220),
    "llmbar/pairs": ("preference", 705),
    "newsroom/ratings_3annotators": ("rating", 224),
    "pandalm/pairs_3annotators": ("preference", 621),
    "popquorn/offensiveness": ("rating", 722),
    "qa_feedback/ranked_4way": ("ranking", 329),
    "rewardmath/math_prm_pair_scores": ("preference", 312),
    "rewardmath/rm_scores_10way": ("ranking", 327),
    "rm_bench/pairs": ("preference", 2394),
    "rm_bench_perturbed/prompt_perturbations": ("preference", 1133),
    "rm_bench_perturbed/response_variants": ("preference", 570),
    "rm_word_scores/words_10rms_54prompts": ("deployment", 265),
    "rmb/best_of_n": ("ranking", 500),
    "rmb/pairs_harmlessness": ("preference", 2411),
    "rmb/pairs_helpfulness": ("preference", 4103),
    "webgpt/pairs": ("preference", 614),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_real_files_load_whole(name: str, shared_data: Path) -> None:
    data = load(shared_data / f"{name}.jsonl.gz")
    assert (data.type, data.source.rows_read, len(data)) == (*EXPECTED[name], EXPECTED[name][1])


def test_a_table_of_raters_is_no_preference_data(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"no data type fits its columns \(262\); its col"):
        load(shared_data / "popquorn" / "annotators.jsonl.gz")


@pytest.mark.parametrize("name", ["../other.arrow", "/etc/passwd", "", "..", 3, None, "a\x00"])
def test_a_saved_folder_names_its_own_files_only(name: Any, tmp_path: Path) -> None:
    save_folder(tmp_path / "saved", pa.Table.from_pylist(ROWS), parts=1)
    state = {"_data_files": [{"filename": name}]}
    (tmp_path / "saved" / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="names what is not in its folder"):
        load(tmp_path / "saved")


@pytest.mark.parametrize("state", [[], {"_data_files": 3}, {"_data_files": [1]}, {}])
def test_a_saved_folder_of_another_shape_says_so(state: Any, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(json.dumps(state))
    with pytest.raises(DataError, match="names no data files"):
        load(tmp_path)


@pytest.mark.parametrize("offset", [-5, 1 << 30])
def test_arrow_text_that_points_outside_its_memory_is_damage(offset: int, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    folder = save_folder(tmp_path / "saved", table, parts=1)
    file = next(folder.glob("*.arrow"))
    sound = np.cumsum([0, *(len(row["rejected"]) for row in ROWS)], dtype="<i4")
    broken = sound.copy()
    broken[1] = offset
    content = file.read_bytes()
    assert content.count(sound.tobytes()) == 1
    file.write_bytes(content.replace(sound.tobytes(), broken.tobytes()))
    with pytest.raises(DataError, match="cannot be read as arrow"):
        load(folder)


def test_column_names_that_are_no_unicode_are_damage(tmp_path: Path) -> None:
    table = pa.Table.from_pylist([{**row, "zebra": 1} for row in ROWS])
    folder = save_folder(tmp_path / "saved", table, parts=1)
    file = next(folder.glob("*.arrow"))
    file.write_bytes(file.read_bytes().replace(b"zebra", b"\xa4ebra"))
    with pytest.raises(DataError, match="cannot be read as arrow"):
        load(folder)
