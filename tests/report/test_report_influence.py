"""What each prompt contributes: the same whatever the order of the rows, and kept beside."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_samples import sample_report

import rmaudit
from rmaudit.errors import SchemaError
from rmaudit.report.document import Report
from rmaudit.report.influence import influence_frame
from rmaudit.results import Estimate, Metric

# Audits that look at every row; the others draw rows or prompts at random.
EVERY_ROW = ("data", "preference", "calibration", "length", "style", "annotators")


def reward(pairs: list[tuple[str, str]]) -> list[float]:
    return [0.1 * len(o) + zlib.crc32(f"{p}{o}".encode()) / 2**32 for p, o in pairs]


def rows(n: int = 120) -> list[dict[str, object]]:
    rng = np.random.default_rng(3)
    made = []
    for i in range(n):
        lengths = rng.integers(1, 12, size=2)
        made.append(
            {
                "prompt": f"question {i % (n // 2)}",
                "chosen": "good " + "a " * int(lengths[0]),
                "rejected": "bad " + "- b\n" * int(lengths[1]),
                "subset": "ab"[i % 2],
                "annotator_votes": ["chosen", "chosen", ("chosen", "rejected")[i % 3 == 0]],
                "annotators": ["u", "v", "w"],
            }
        )
    return made


def audit(table: list[dict[str, object]]) -> Report:
    return rmaudit.audit(
        reward, eval=table, feedback=rows(20), only=EVERY_ROW, cache=False, resamples=100
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    report = rmaudit.audit(reward, eval=rows(20), only=["length"], cache=False, resamples=100)
    return report.save(tmp_path_factory.mktemp("saved"))


@pytest.fixture
def lengths(saved: Path, tmp_path: Path) -> Path:
    """A saved audit of a test's own."""
    return Path(shutil.copytree(saved, tmp_path / "lengths"))


def by_prompt(report: Report) -> pd.DataFrame:
    assert report.influence is not None
    frame = report.influence.astype({"metric": str, "slice": str, "prompt": str})
    wide = frame.set_index(["metric", "slice", "prompt"])["value"]
    assert not wide.index.duplicated().any()
    return wide.sort_index()


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = rows()
    first, second = audit(table), audit(table[::-1])
    # Numbers that need the order of ties or folds are none of these.
    a, b = by_prompt(first), by_prompt(second)
    joined = pd.concat([a, b], axis=1, keys=["a", "b"]).fillna(0.0)
    joined = joined[~joined.index.get_level_values(0).isin({"calibration.ece_after_temperature"})]
    assert len(joined) > 20 * 60
    np.testing.assert_allclose(joined["a"], joined["b"], atol=1e-9)


def test_squares_add_up_to_the_squared_error() -> None:
    from scipy.stats import t

    report = audit(rows())
    for id_ in ("length.reward_per_doubling", "preference.margin_mean"):
        estimate = report[id_]
        influence = by_prompt(report)[id_, "{}"]
        error = np.sqrt((influence**2).sum())
        half = (estimate.high - estimate.low) / 2
        assert half / error == pytest.approx(t.ppf(0.975, estimate.n_clusters - 1), rel=0.02)


def test_numbers_of_other_data_have_none() -> None:
    slices = by_prompt(audit(rows())).index.get_level_values(1)
    assert not any("feedback" in name for name in slices)


def test_codes_beyond_the_prompts_are_fixed_items() -> None:
    influence = np.array([0.5, 0.0, -0.5, 0.25])
    estimate = Estimate(0.1, 0.0, 0.2, 0.95, "m", 4, 4, influence=influence)
    frame = influence_frame([Metric("a.b", estimate, {"probe": "p"})], ["first", "second"])
    assert frame["prompt"].tolist() == ["first", "item 0", "item 1"]
    assert frame["value"].tolist() == [0.5, -0.5, 0.25]
    assert frame["slice"].unique().tolist() == ['{"probe": "p"}']
    assert influence_frame([], ["first"]).empty


def test_a_loaded_report_has_what_lies_beside_it(tmp_path: Path) -> None:
    report = rmaudit.audit(reward, eval=rows(20), only=["length"], cache=False, resamples=100)
    again = Report.load(report.save(tmp_path))
    pd.testing.assert_frame_equal(again.scores, report.scores)
    pd.testing.assert_series_equal(by_prompt(again), by_prompt(report))
    assert again.set_aside == report.set_aside
    moved = Report.load(again.save(tmp_path / "moved"))
    pd.testing.assert_series_equal(by_prompt(moved), by_prompt(report))
    (tmp_path / "influence.parquet").write_bytes(b"PAR1 but no table")
    with pytest.raises(SchemaError, match=r"influence\.parquet: cannot be read"):
        _ = Report.load(tmp_path).influence
    (tmp_path / "influence.parquet").unlink()
    assert Report.load(tmp_path).influence is None


def test_a_report_saved_over_another_leaves_nothing_of_it(tmp_path: Path) -> None:
    sample_report().save(tmp_path)
    (tmp_path / "figures" / "mine.svg").write_text("not the report's")
    report = rmaudit.audit(reward, eval=rows(20), only=["length"], cache=False, resamples=100)
    report.save(tmp_path)
    fresh = report.save(tmp_path.with_name("fresh"))
    names = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    alone = {str(p.relative_to(fresh)) for p in fresh.rglob("*") if p.is_file()}
    assert names == alone | {"figures/mine.svg"}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda frame: frame.drop(columns="slice"), "lacks one of"),
        (lambda frame: frame.assign(prompt=1.5), "column prompt holds what is no text"),
        (lambda frame: frame.assign(metric=[["a"]] * len(frame)), "column metric"),
        (lambda frame: frame.assign(slice=pd.Categorical([1] * len(frame))), "column slice"),
        (lambda frame: frame.assign(value="x"), "column value holds what is no number"),
        (lambda frame: frame.assign(value=np.nan), "column value holds what is no number"),
    ],
)
def test_influences_of_another_shape_are_refused(harm: Any, said: str, lengths: Path) -> None:
    report = Report.load(lengths)
    harm(report.influence).to_parquet(lengths / "influence.parquet")
    with pytest.raises(SchemaError, match=said) as error:
        _ = Report.load(lengths).influence
    assert "\n" not in str(error.value)
