"""The calibration audit: planted scale errors, what is left out, and what is said about it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from rmaudit.audits.calibration.audit import NO_PAIRS, Calibration
from rmaudit.audits.calibration.pairs import vote_shares
from rmaudit.audits.calibration.views import forest
from rmaudit.case import Case
from rmaudit.data.types import Dataset, Source
from rmaudit.results import AuditResult, Estimate
from rmaudit.scoring.requests import Column, Scores
from rmaudit.stats.calibration import brier_score, overconfidence, temperature
from rmaudit.stats.law import p_at_least, p_at_most, p_within


def dataset(frame: pd.DataFrame, kind: str = "preference") -> Dataset:
    n = len(frame)
    frame = frame.assign(id=[str(i) for i in range(n)], row=np.arange(1, n + 1))
    return Dataset(kind, frame, Source("memory", "", n, n, 0))  # type: ignore[arg-type]


def pairs_frame(n: int, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "prompt": [f"question {i}" for i in range(n)],
            "chosen": [f"good answer {i}" for i in range(n)],
            "rejected": [f"bad answer {i}" for i in range(n)],
            "tie": False,
        }
    )
    return frame.assign(**columns)


def column(reward: np.ndarray) -> Column:
    zeros, no = np.zeros(reward.size, dtype=np.int64), np.zeros(reward.size, dtype=bool)
    return Column(reward, zeros, zeros, no, no, no)


def audit(frame: pd.DataFrame, margins: np.ndarray, **options: Any) -> AuditResult:
    case = Case(model=None, eval=dataset(frame), **{"resamples": 200, **options})  # type: ignore[arg-type]
    rewards = {
        ("eval", "", "chosen", "plain"): column(margins + 3.0),
        ("eval", "", "rejected", "plain"): column(np.full(margins.size, 3.0)),
    }
    return Calibration().measure(case, Scores((), rewards))  # type: ignore[arg-type]


def simulate(n: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    strength = np.abs(rng.normal(1.0, 1.5, n))
    return scale * np.where(rng.random(n) < expit(strength), strength, -strength)


def test_reports_every_public_id() -> None:
    names = ["ece", "ece_debiased", "smooth_ece", "mce", "nll", "overconfidence", "temperature"]
    names += ["brier", "brier_reliability", "brier_resolution", "ece_after_temperature"]
    assert set(Calibration.metrics) == {f"calibration.{name}" for name in names}
    result = audit(pairs_frame(30), simulate(30, 1.0, np.random.default_rng(8)))
    assert [metric.id for metric in result.metrics] == list(Calibration.metrics)


def test_needs_labels() -> None:
    prompts = dataset(pd.DataFrame({"prompt": ["q"]}), "deployment")
    reason = Calibration().missing(Case(model=None, eval=prompts))  # type: ignore[arg-type]
    assert reason is not None
    assert "needs pairs, rankings, ratings or labels" in reason


def test_a_ranking_is_measured_on_its_pairs() -> None:
    # Each prompt ranks three outputs, two of them tied: two pairs with a preference a prompt.
    rng = np.random.default_rng(1)
    rewards = rng.normal(0, 1, (40, 3)) + np.array([0.5, 0, 0])
    frame = pd.DataFrame(
        {
            "prompt": [f"question {i}" for i in range(40)],
            "outputs": [["good", "bad", "worse"]] * 40,
            "ranking": [[1, 2, 2]] * 40,
        }
    )
    case = Case(model=None, eval=dataset(frame, "ranking"), resamples=200)  # type: ignore[arg-type]
    columns = {("eval", "", f"output_{j}", "plain"): column(rewards[:, j]) for j in range(3)}
    found = Calibration().measure(case, Scores((), columns))  # type: ignore[arg-type]
    margins = np.r_[rewards[:, 0] - rewards[:, 1], rewards[:, 0] - rewards[:, 2]]
    expected = np.log1p(np.exp(-margins)).mean()
    assert found["calibration.nll"].value == pytest.approx(expected, abs=1e-9)
    assert found["calibration.nll"].n == 80


@pytest.mark.parametrize(("scale", "word"), [(3.0, "Overconfident"), (0.3, "Underconfident")])
def test_planted_scale_error_is_found(scale: float, word: str) -> None:
    margins = simulate(800, scale, np.random.default_rng(0))
    result = audit(pairs_frame(800), margins)
    temperature = result["calibration.temperature"]
    assert temperature.low < scale < temperature.high
    (finding,) = result.findings
    assert finding.title.startswith(word)
    assert finding.metric == "calibration.overconfidence"
    assert finding.severity in ("medium", "high")
    assert len(finding.examples) == 5
    assert finding.examples[0]["prompt"].startswith("question")
    if scale > 1:  # the first example is the most confident mistake
        assert finding.examples[0]["reward_chosen"] - 3 == pytest.approx(margins.min())


def test_a_calibrated_model_has_no_finding_and_a_fixed_seed() -> None:
    margins = simulate(2000, 1.0, np.random.default_rng(1))
    result = audit(pairs_frame(2000), margins)
    assert result.findings == ()
    assert result["calibration.overconfidence"].low < 0 < result["calibration.overconfidence"].high
    assert result["calibration.ece_debiased"].low < 0.01
    assert result.metrics == audit(pairs_frame(2000), margins).metrics


def tiny_or_huge(n: int, scale: float, rng: np.random.Generator) -> np.ndarray:
    # Claims near one half or near one change little with the scale: their mean hardly shows it.
    strength = np.where(rng.random(n) < 0.4, 0.2, 5.0) * np.abs(rng.normal(0, 1, n))
    return scale * np.where(rng.random(n) < expit(strength), strength, -strength)


def raised(margins: np.ndarray) -> list[tuple[str, str]]:
    found = audit(pairs_frame(margins.size), margins, resamples=50).findings
    return [(finding.metric, finding.title.partition(":")[0]) for finding in found]


def test_a_factor_that_the_mean_claim_hardly_shows_is_found_and_a_sound_scale_left_in_peace() -> (
    None
):
    seeds = 25
    found = {
        scale: [raised(tiny_or_huge(500, scale, np.random.default_rng(k))) for k in range(seeds)]
        for scale in (1.0, 2.0, 0.5)
    }
    # Wrong in at most 5 % of seeds: 5 of 25 in one run in 140, were the seeds not fixed.
    assert sum(bool(each) for each in found[1.0]) < 5
    for scale, word in ((2.0, "Overconfident"), (0.5, "Underconfident")):
        metrics = [each[0][0] for each in found[scale] if each and each[0][1] == word]
        assert len(metrics) >= 0.9 * seeds
        assert set(metrics) == {"calibration.temperature", "calibration.overconfidence"}


def test_a_factor_says_how_large_it_is_and_what_mends_it() -> None:
    # Half the margins are 0.1 and right in 52 of 100, half are 8 and right in 98 of 100: the claim
    # is 0.76, and 0.75 is kept. One factor, of which 8 has nearly all the say: log 49 = 3.9.
    right = np.r_[np.arange(500) % 100 < 52, np.arange(500) % 100 < 98]
    margins = np.repeat([0.1, 8.0], 500) * (2 * right - 1)
    result = audit(pairs_frame(1000), margins)
    (finding,) = result.findings
    assert result["calibration.overconfidence"].low < 0
    assert finding.metric == "calibration.temperature"
    assert result["calibration.temperature"].value == pytest.approx(8 / np.log(49), abs=0.01)
    assert finding.title == (
        "Overconfident: margins are too large for the labels by a factor of 2.05"
    )
    # Half of 2.5 %: the other claims have the rest.
    assert "98.8% interval (other claims are tested too)" in finding.detail
    assert "Dividing margins by 2.05" in finding.detail
    assert finding.examples[0]["reward_chosen"] - 3 == -8


def test_what_is_claimed_shares_the_chance_of_one_mistake() -> None:
    """The temperature has half of 2.5 %, mean and error in both directions a quarter each."""
    told = set()
    for correct in range(26, 52, 2):  # of 50 pairs with a margin of 3, 95 % sure
        right = np.r_[np.arange(50) < correct, np.arange(50) < 30]
        margins = np.repeat([3.0, 0.4], 50) * (2 * right - 1)
        codes = np.arange(100)
        mean, scale = overconfidence(margins, codes), temperature(margins, codes)
        p = {
            "calibration.overconfidence": 4 * p_within(mean, 0.01),
            "calibration.temperature": 4 * min(p_at_most(scale, 1.1), p_at_least(scale, 1 / 1.1)),
        }
        found = audit(pairs_frame(100), margins, resamples=50).findings
        spoken = [id_ for id_ in p if p[id_] <= 0.025][:1]  # the mean first: it is better known
        assert [f.metric for f in found if f.metric in p] == spoken
        assert [f.p for f in found if f.metric in p] == [pytest.approx(p[id_]) for id_ in spoken]
        told |= set(spoken) or {""}
    assert told == {"", *p}


def test_near_chance_the_mean_claim_speaks() -> None:
    # 52 of 100 right at a claim of 0.88: the best temperature is 25, or infinite.
    margins = 2.0 * (2 * (np.arange(200) % 100 < 52) - 1)
    result = audit(pairs_frame(200), margins)
    (finding,) = result.findings
    assert finding.metric == "calibration.overconfidence"
    assert "nan" not in finding.detail


def test_errors_that_cancel_are_found() -> None:
    rng = np.random.default_rng(2)
    # 60 % sure and always right, 90 % sure and right in 60 %: over-confidence is zero on average
    p = np.repeat([0.6, 0.9], 1000)
    right = np.r_[np.ones(1000), rng.random(1000) < 0.5]
    margins = np.log(p / (1 - p)) * (2 * right - 1)
    result = audit(pairs_frame(2000), margins)
    (finding,) = result.findings
    assert finding.metric == "calibration.ece_debiased"
    assert finding.severity == "high"


def test_a_broken_subset_is_named() -> None:
    rng = np.random.default_rng(3)
    margins = simulate(3000, 1.0, rng)
    names = np.where(np.arange(3000) % 6 == 0, "code", "chat")
    margins[names == "code"] *= 8
    result = audit(pairs_frame(3000, subset=names), margins)
    assert any("on code" in finding.title for finding in result.findings)
    assert result.get("calibration.temperature", subset="code").low > 4
    chat = result.get("calibration.temperature", subset="chat")
    assert chat.low < 1 < chat.high
    assert result.tables["subsets"]["pairs"].tolist() == [2500, 500]
    assert [figure.name for figure in result.figures] == [
        "reliability",
        "overconfidence_by_subset",
        "temperature",
    ]


def test_ties_and_non_finite_rewards_are_left_out_and_counted() -> None:
    margins = simulate(200, 1.0, np.random.default_rng(4))
    margins[:3] = [np.nan, np.inf, -np.inf]
    tie = np.arange(200) >= 190
    result = audit(pairs_frame(200, tie=tie), margins)
    expected = brier_score(margins[3:190], np.arange(187))
    assert result["calibration.brier"].value == pytest.approx(expected.value, abs=1e-12)
    assert result["calibration.brier"].ci == pytest.approx(expected.ci, abs=1e-12)
    assert result["calibration.ece"].n == 187
    assert result.tables["pairs"]["pairs"].tolist() == [187, 0, 10, 3]


def test_nothing_left_is_undefined_with_the_reason() -> None:
    result = audit(pairs_frame(4), np.full(4, np.nan))
    assert result.findings == ()
    for id_ in Calibration.metrics:
        assert result[id_].undefined_reason == NO_PAIRS


def test_rows_of_one_group_are_one_cluster() -> None:
    margins = np.repeat(simulate(100, 1.0, np.random.default_rng(5)), 3)
    grouped = audit(pairs_frame(300, group=np.repeat(np.arange(100), 3).astype(str)), margins)
    single = audit(pairs_frame(100), margins[::3])
    assert grouped["calibration.brier"].n_clusters == 100
    assert grouped["calibration.brier"].ci == pytest.approx(single["calibration.brier"].ci)


def test_vote_shares_by_hand() -> None:
    votes = [["chosen", "chosen", "rejected"], ["tie", "rejected"], [], None, ["tie"]]
    shares, counts = vote_shares(pd.DataFrame({"annotator_votes": votes}))
    assert shares == pytest.approx([2 / 3, 0, 0, 0, 0])
    assert counts.tolist() == [3, 1, 0, 0, 0]


def test_votes_are_the_target_where_there_are_any() -> None:
    margins = np.tile([1.0, 1.0, -0.5, 2.0], 10)
    votes = [["chosen", "chosen", "rejected"], None, ["rejected", "chosen"], ["chosen"]] * 10
    result = audit(pairs_frame(40, annotator_votes=votes), margins)
    target = np.array([2 / 3, 1, 1 / 2, 1])
    expected = np.mean((expit(margins[:4]) - target) ** 2)
    assert result["calibration.brier"].value == pytest.approx(expected, abs=1e-12)
    assert "calibration against shares of votes" not in [n.what for n in result.not_run]


def test_what_was_not_run_is_said() -> None:
    result = audit(pairs_frame(20), simulate(20, 1.0, np.random.default_rng(6)))
    assert {note.what for note in result.not_run} == {
        "calibration against shares of votes",
        "calibration per subset",
    }


def test_figures_and_tables_hold_plain_finite_numbers() -> None:
    margins = simulate(60, 1.0, np.random.default_rng(7))
    names = ["a"] * 58 + ["b", None]  # a subset of one pair, and a pair of none
    result = audit(pairs_frame(60, subset=names), margins)
    for figure in result.figures:
        assert json.loads(json.dumps(figure.data, allow_nan=False)) == figure.data
        assert figure.alt
    assert result.tables["brier"]["value"].iloc[-1] == result["calibration.brier"].value
    assert sum(b["count"] for b in result.figures[0].data["bins"]) == 60
    assert not result.get("calibration.ece", subset="b").defined


def test_the_words_of_one_subset_are_not_those_of_many() -> None:
    def told(*lows: float) -> str:
        found = {
            f"s{i}": {"calibration.overconfidence": Estimate(0.3, low, 0.4, 0.95, "m", 9, 9)}
            for i, low in enumerate(lows)
        }
        return forest(found)[0].alt.removeprefix("Mean confidence minus share correct ")

    assert told(-0.1) == "on s0; the interval does not lie above zero."
    assert told(0.1) == "on s0; the interval lies above zero."
    assert told(-0.1, -0.2) == "in 2 subsets; in none of them the interval lies above zero."
    assert told(-0.1, 0.2) == "in 2 subsets; in 1 of them the interval lies above zero."
