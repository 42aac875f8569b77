"""Texts that come after the fit: as many outside as promised, and all of those in new words."""

from __future__ import annotations

import math

import numpy as np

from rmaudit.support.fitted import FittedSupport

COMMON = [f"common{i}" for i in range(40)]
RARE = [f"rare{i}" for i in range(2000)]  # most of these occur once or never


def outputs(n: int, rng: np.random.Generator) -> list[str]:
    """Texts with words of a long tail: in any sample some are new."""
    return [
        " ".join([*rng.choice(COMMON, rng.integers(2, 9)), *rng.choice(RARE, rng.integers(0, 4))])
        for _ in range(n)
    ]


def test_fresh_texts_of_the_reference_are_outside_as_often_as_promised() -> None:
    shares = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        support = FittedSupport(outputs(180, rng), [f"p{i // 2}" for i in range(180)], seed=seed)
        shares.append(support.outside(outputs(100, rng)).mean())
    promised = math.floor(0.05 * 31) / 31  # 30 of 90 prompts are held out
    error = np.std(shares, ddof=1) / math.sqrt(len(shares))
    assert abs(np.mean(shares) - promised) <= 4 * error
    assert error < 0.015


def test_new_words_are_outside() -> None:
    rng = np.random.default_rng(1)
    support = FittedSupport(outputs(300, rng), [f"p{i // 2}" for i in range(300)])
    invented = [" ".join(f"zz{k}" for k in rng.integers(10**9, size=6)) for _ in range(100)]
    assert support.outside(invented).mean() == 1
    # Also where held-out answers are single words that no other prompt has.
    words = [f"name{chr(97 + i % 26)}{i}" for i in range(300)]
    support = FittedSupport(words, [f"p{i}" for i in range(300)])
    assert support.outside(invented).mean() >= 0.5


def test_a_known_word_among_new_ones_is_nearer_than_none() -> None:
    rng = np.random.default_rng(2)
    support = FittedSupport(outputs(300, rng), [f"p{i}" for i in range(300)])
    far = support.distance(["common1 common2 common3", "common1 common2 zz1", "common1 zz1 zz2"])
    assert far[0] < far[1] < far[2] < support.distance(["zz1 zz2 zz3"])[0]


def test_few_prompts_are_undefined() -> None:
    rng = np.random.default_rng(3)
    support = FittedSupport(outputs(490, rng), [f"p{i % 49}" for i in range(490)])
    assert "49 distinct prompts" in str(support.calibration.undefined_reason)
    assert np.isnan(support.outside(["common1"])).all()


def test_later_texts_do_not_refit_the_space(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(4)
    support = FittedSupport(outputs(300, rng), [f"p{i}" for i in range(300)])
    fits = []
    monkeypatch.setattr(
        "sklearn.feature_extraction.text.TfidfVectorizer.fit_transform",
        lambda *given: fits.append(given),
    )
    first = support.distance(outputs(20, np.random.default_rng(9)))
    np.testing.assert_array_equal(first, support.distance(outputs(20, np.random.default_rng(9))))
    assert fits == []
