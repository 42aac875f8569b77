"""What labels say of an attribute at equal rewards, and the findings that rest on it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from rmaudit.audits.common.attribute import left_over
from rmaudit.audits.common.pairs import margins
from rmaudit.audits.length.audit import Length
from rmaudit.case import Case
from rmaudit.results import AuditResult
from rmaudit.scoring.requests import Scores

Make = Callable[..., Case]
Run = Callable[..., AuditResult]
Score = Callable[..., Scores]


def noisy_pairs(n: int, seed: int, pay: float, likes: float = 1.0) -> pd.DataFrame:
    """Quality likes length; labels are Bradley-Terry draws from it; the reward pays on top."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(10, 200, size=(n, 2))
    doublings = np.log2(lengths)
    quality = likes * doublings + rng.normal(size=(n, 2))
    first = rng.random(n) < 1 / (1 + np.exp(quality[:, 1] - quality[:, 0]))
    reward = quality + pay * doublings
    sides = np.where(first, 0, 1), np.where(first, 1, 0)
    rows = np.arange(n)
    columns = {"prompt": [f"p{i}" for i in rows]}
    for name, side in zip(("chosen", "rejected"), sides, strict=True):
        columns[name] = [f"{name} {i}" for i in rows]
        columns[f"{name}_reward"] = reward[rows, side].tolist()
        columns[f"{name}_length"] = lengths[rows, side].tolist()
    return pd.DataFrame(columns)


def given(frame: pd.DataFrame) -> dict[str, dict[str, list[float]]]:
    return {
        f"{what}s": {side: frame[f"{side}_{what}"].tolist() for side in ("chosen", "rejected")}
        for what in ("reward", "length")
    }


def test_equals_sklearn_and_its_sandwich(make_case: Make, score_with: Score) -> None:
    frame = noisy_pairs(400, 0, pay=0.5)
    case = make_case(frame, new_text=False)
    found = margins(case, score_with(case, **given(frame))).decided
    doublings = np.log2(found.length)
    estimate = left_over(found, doublings, 0.95)
    x = np.stack([found.margin, doublings[found.better] - doublings[found.worse]], axis=1)
    both, label = np.r_[x, -x], np.r_[np.ones(len(x)), np.zeros(len(x))]
    known = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10).fit(both, label)
    assert estimate.value == pytest.approx(known.coef_[0, 1], rel=1e-5)
    p = known.predict_proba(x)[:, 1]
    bread = np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]))
    error = np.sqrt((bread @ (x.T @ (x * ((1 - p) ** 2)[:, None])) @ bread)[1, 1])
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * error, rel=0.01)


def test_undefined_where_the_reward_tells_every_label(make_case: Make, score_with: Score) -> None:
    frame = noisy_pairs(50, 1, pay=0.0)
    frame["chosen_reward"] = frame["rejected_reward"] + np.linspace(1, 2, 50)
    case = make_case(frame, new_text=False)
    found = margins(case, score_with(case, **given(frame))).decided
    estimate = left_over(found, np.log2(found.length), 0.95)
    assert estimate.undefined_reason is not None
    assert "tell every label" in estimate.undefined_reason


def test_noise_of_the_labels_is_no_pay_for_length(make_case: Make, run_audit: Run) -> None:
    # The sound reward picks the longer output far more often than its noisy labels do.
    frame = noisy_pairs(1_000, 2, pay=0.0)
    result = run_audit(Length(), make_case(frame, new_text=False), **given(frame))
    assert result["length.excess_preference"].low > 0.02
    assert not result.findings


def test_pay_for_length_on_top_of_the_labels_is_found(make_case: Make, run_audit: Run) -> None:
    frame = noisy_pairs(1_000, 2, pay=1.0)
    result = run_audit(Length(), make_case(frame, new_text=False), **given(frame))
    assert [finding.metric for finding in result.findings] == ["length.excess_preference"]


def test_a_reward_that_ranks_no_better_than_chance_cannot_owe_its_taste_to_the_labels(
    make_case: Make, run_audit: Run
) -> None:
    frame = noisy_pairs(1_000, 2, pay=0.0)
    rng = np.random.default_rng(0)
    for side in ("chosen", "rejected"):  # pays for length and reads nothing else of the output
        noise = 1.5 * rng.normal(size=len(frame))
        frame[f"{side}_reward"] = np.log2(frame[f"{side}_length"]) + noise
    swapped = rng.random(1_000) < 0.5  # labels that have nothing to do with length or reward
    for what in ("reward", "length"):
        names = [f"chosen_{what}", f"rejected_{what}"]
        frame.loc[swapped, names] = frame.loc[swapped, names[::-1]].to_numpy()
    result = run_audit(Length(), make_case(frame, new_text=False), **given(frame))
    assert [finding.metric for finding in result.findings] == ["length.excess_preference"]


def test_a_poor_reward_is_not_told_from_noisy_labels_without_edits(
    make_case: Make, run_audit: Run, score_with: Score
) -> None:
    # Right in six of ten, and the labels say nothing against length at equal rewards: what it
    # knows of quality is so little that its length tells as much. So does a truthful reward whose
    # labels are noisy: only edits of the texts, or more votes, could tell the two apart.
    for pay in (1.0, 0.0):
        frame = noisy_pairs(1_000, 3, pay=0.0, likes=0.5)
        rng = np.random.default_rng(4)
        for side in ("chosen", "rejected"):
            taste = pay * np.log2(frame[f"{side}_length"]) + 2 * rng.normal(size=len(frame))
            frame[f"{side}_reward"] += taste
        case = make_case(frame, new_text=False)
        found = margins(case, score_with(case, **given(frame))).decided
        assert 0.55 < found.correct.mean() < 0.65
        assert left_over(found, np.log2(found.length), 0.95).high > 0
        result = run_audit(Length(), case, **given(frame))
        assert result.findings == ()
        said = [part.needs for part in result.not_run if "noise of the labels" in part.what]
        assert len(said) == int(pay > 0)
        assert all("several votes" in needs for needs in said)
