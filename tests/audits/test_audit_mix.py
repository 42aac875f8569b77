"""Shares of the advantage, starved components and first movers, by hand and by definition."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from scipy.special import stdtrit

import rmaudit as rma
from rmaudit.audits.mix.measure import (
    REST,
    Groups,
    advantage_shares,
    best_of_n,
    collapsed_share,
    constant_shares,
    first_movers,
    fitted_weights,
    gold_correlations,
)
from rmaudit.audits.mix.words import tilt, word_slopes
from rmaudit.rewards.functions.function import given_function
from rmaudit.rewards.mix import Mix, Part


def groups(components, weights, scale="none", total=None):
    arrays = {name: np.array(values, dtype=float) for name, values in components.items()}
    summed = sum(weights[name] * values for name, values in arrays.items())
    given = summed if total is None else np.array(total, dtype=float)
    return Groups(given, arrays, weights, np.arange(len(given)), scale)


# Two prompts, four samples: correct varies on the first alone, format on both.
TWO = {
    "correct": [[1, 0, 0, 1], [0, 0, 0, 0]],
    "format": [[1, 1, 0, 0], [1, 0, 0, 0]],
}
ONE_EACH = {"correct": 1.0, "format": 1.0}


def test_shares_by_hand_before_scaling():
    # Deviations: correct (+-1/2), 0; format (+-1/2), (3/4, -1/4 x 3). Their products with the
    # advantage: 1 and 0; 1 and 3/4, for in the first prompt the two are uncorrelated.
    shares = advantage_shares(groups(TWO, ONE_EACH))
    assert shares["correct"].value == pytest.approx(1 / 2.75)
    assert shares["format"].value == pytest.approx(1.75 / 2.75)


@pytest.mark.parametrize("scale", ["none", "group", "component"])
def test_shares_follow_the_definition_and_add_to_one(scale):
    rng = np.random.default_rng(3)
    components = {"a": rng.integers(0, 2, (40, 6)), "b": rng.normal(size=(40, 6)) * 3}
    weights = {"a": 2.0, "b": -0.5}
    made = groups(components, weights, scale)
    top, bottom = {"a": 0.0, "b": 0.0}, 0.0
    for g in range(40):  # the trainer's loop, written out
        parts = {n: weights[n] * (v[g] - v[g].mean()) for n, v in made.components.items()}
        if scale == "component":
            sds = {n: v[g].std(ddof=1) for n, v in made.components.items()}
            parts = {n: p / sds[n] if sds[n] > 0 else 0 * p for n, p in parts.items()}
        if scale == "group":
            parts = {n: p / made.total[g].std(ddof=1) for n, p in parts.items()}
        advantage = sum(parts.values())
        bottom += (advantage**2).sum()
        for name, part in parts.items():
            top[name] += (advantage * part).sum()
    shares = advantage_shares(made)
    for name, value in top.items():
        assert shares[name].value == pytest.approx(value / bottom)
    assert sum(share.value for share in shares.values()) == pytest.approx(1)


def test_a_total_with_more_in_it_has_a_rest():
    rng = np.random.default_rng(5)
    components = {"a": rng.normal(size=(30, 5))}
    total = 2 * components["a"] + rng.normal(size=(30, 5))
    made = groups(components, {"a": 2.0}, total=total)
    shares = advantage_shares(made)
    assert set(shares) == {"a", REST}
    assert sum(share.value for share in shares.values()) == pytest.approx(1)


def test_the_rounding_of_recorded_totals_is_no_rest():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(2, 30, 8)).round(4)
    exact = 0.314 * one + 0.271 * other
    weights = {"one": 0.314, "other": 0.271}
    for total, named in ((exact.round(6), {"one", "other"}), (exact.round(1), {*weights, REST})):
        parts = {"one": one, "other": other}
        shares = advantage_shares(groups(parts, weights, total=total))
        assert set(shares) == named
        assert sum(share.value for share in shares.values()) == pytest.approx(1, abs=1e-12)


def test_weights_of_a_weighted_sum_are_found():
    rng = np.random.default_rng(6)
    components = {"a": rng.normal(size=(20, 4)), "b": rng.integers(0, 2, (20, 4)).astype(float)}
    total = components["a"] + 0.25 * components["b"] + rng.normal(size=(20, 1))
    assert fitted_weights(total, components) == pytest.approx({"a": 1, "b": 0.25})


def test_constant_shares_are_counted():
    shares = constant_shares(groups(TWO, ONE_EACH))
    assert shares["correct"].value == 0.5
    assert shares["format"].value == 0


def test_constancy_of_a_coin_is_as_the_formula_says():
    # E[p^G + (1 - p)^G] of a 0/1 component at group size G; 4,000 groups, within 4 errors.
    rng = np.random.default_rng(8)
    made = groups({"a": rng.random((4000, 4)) < 0.3}, {"a": 1.0})
    expected = 0.3**4 + 0.7**4
    error = math.sqrt(expected * (1 - expected) / 4000)
    assert abs(constant_shares(made)["a"].value - expected) < 4 * error


def test_slopes_are_root_two_times_a_correlation():
    rng = np.random.default_rng(9)
    a, b = rng.normal(size=(2, 200, 8))
    slopes = first_movers(groups({"a": a, "b": b}, {"a": 3.0, "b": 1.0}))
    da, db = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    total = 3 * da + db
    for name, d in (("a", da), ("b", db)):
        expected = np.sqrt(2) * (total * d).sum() / np.sqrt((total**2).sum() * (d**2).sum())
        assert slopes[name].value == pytest.approx(expected)
        assert slopes[name].low < expected < slopes[name].high
    still = first_movers(groups({"a": a, "b": 0 * b}, {"a": 3.0, "b": 1.0}))
    assert not still["b"].defined


def test_the_slope_is_the_rise_of_a_tilted_policy():
    # Samples reweighted by exp(beta A): mean of each component against sqrt(KL), small beta.
    rng = np.random.default_rng(10)
    a, b = rng.normal(size=(2, 400, 64))
    made = groups({"a": a, "b": b}, {"a": 1.0, "b": 0.5})
    total = a + 0.5 * b
    weights = np.exp(0.02 * (total - total.mean(axis=1, keepdims=True)))
    weights /= weights.sum(axis=1, keepdims=True)
    kl = (weights * np.log(weights * 64)).sum(axis=1).mean()
    for name, values in (("a", a), ("b", b)):
        rise = ((weights - 1 / 64) * values).sum(axis=1).mean() / values.std()
        assert rise / math.sqrt(kl) == pytest.approx(first_movers(made)[name].value, rel=0.03)


def test_collapse_is_seen_where_sums_hide_components():
    # The first two prompts have the same sums of other components; the third differs.
    components = {
        "a": [[0, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 0]],
        "b": [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
    }
    made = groups(components, {"a": 1.0, "b": 1.0}, "group")
    assert collapsed_share(made).value == pytest.approx(2 / 3)
    apart = groups(components, {"a": 1.0, "b": 2.0})
    assert collapsed_share(apart).value == 0


def test_components_over_best_of_n_and_with_gold():
    made = groups(TWO, ONE_EACH)
    # The best of all four: correct and format together on the first, format on the second.
    means = best_of_n(made, (1, 4))
    assert means["correct"] == pytest.approx([0.25, 0.5])
    assert means["format"] == pytest.approx([0.375, 1.0])
    gold = gold_correlations(made, -made.components["format"])
    assert gold["format"].value == pytest.approx(-1)


ROWS = [{"prompt": f"q{i}", "chosen": "a", "rejected": "b"} for i in range(40)]


def samples(rng, right, tagged):
    """Forty prompts, eight samples: correct on some prompts alone, tagged at random."""
    rows = []
    for i in range(40):
        solves = rng.random() < right
        texts = [
            ("1" if solves and rng.random() < 0.5 else "0")
            + ("<t>" if rng.random() < tagged else "")
            for _ in range(8)
        ]
        rows.append({"prompt": f"q{i}", "outputs": texts})
    return rows


def parts(format_weight):
    def reward(items):
        made = []
        for item in items:
            correct, form = float("1" in item.response), float("<t>" in item.response)
            made.append(
                {"total": correct + format_weight * form, "correct": correct, "format": form}
            )
        return made

    return reward


def audited(reward, data):
    return rma.audit(reward, ROWS, samples=data, only=["mix"], cache=False, debug=True)


def test_a_format_that_swamps_is_a_finding_before_any_training():
    report = audited(parts(1.0), samples(np.random.default_rng(1), 0.2, 0.5))
    titles = [f.title for f in report.findings]
    assert any(t.startswith("Swamping: format has ") for t in titles)
    assert any(t.startswith("Starved component: correct is the same") for t in titles)


def test_a_balanced_mix_is_silent():
    report = audited(parts(1.0), samples(np.random.default_rng(2), 1.0, 0.5))
    assert [f.title for f in report.findings] == []
    shares = [report.get("mix.advantage_share", component=n).value for n in ("correct", "format")]
    assert sum(shares) == pytest.approx(1)


def test_what_has_no_components_is_not_run():
    def plain(completions, **columns):
        return [len(c) / 7 for c in completions]

    result = audited(plain, samples(np.random.default_rng(3), 1, 0.5)).record.audits["mix"]
    assert result.status == "not_run"
    assert "no components" in result.reason


def test_recorded_components_are_enough():
    rng = np.random.default_rng(4)
    rows = []
    for i in range(30):
        correct, form = rng.integers(0, 2, (2, 6)).tolist()
        total = [c + 0.5 * f for c, f in zip(correct, form, strict=True)]
        rows.append({"prompt": f"q{i}", "rewards": total, "correct": correct, "format": form})
    evals = [{**row, "chosen_reward": 1.0, "rejected_reward": 0.5} for row in ROWS]
    names = {f"{side}_{n}": 0.0 for side in ("chosen", "rejected") for n in ("correct", "format")}
    report = rma.audit(
        "recorded",
        [{**row, **names} for row in evals],
        samples=rows,
        components="correct,format",
        only=["mix"],
        cache=False,
        debug=True,
    )
    shares = {
        n: report.get("mix.advantage_share", component=n).value for n in ("correct", "format")
    }
    assert shares["correct"] == pytest.approx(0.8, abs=0.08)  # 1 : 1/4 in variance


def slow_tilt(texts, advantage):
    """By the definition: features by name, the kernel written out, the sample itself left out."""
    tokens = [re.findall(r"\w+|[^\w\s]", text.lower()) for text in texts]
    names = {f for words in tokens for f in [*words, *itertools.pairwise(words)]}
    seen = set()
    for name in names:
        has = tuple(name in words or name in [*itertools.pairwise(words)] for words in tokens)
        if any(has) and not all(has) and tuple(not h for h in has) not in seen:
            seen.add(has)
    columns = [np.array(has, dtype=float) - np.mean(has) for has in seen]
    kernel = sum(np.outer(c, c) for c in columns)
    return [
        sum(kernel[i, j] * advantage[j] for j in range(len(texts)) if j != i)
        for i in range(len(texts))
    ]


def test_the_tilt_by_words_is_its_definition():
    rng = np.random.default_rng(4)
    vocabulary = ["yes", "no", "call", "us", "now", "today."]
    for _ in range(5):
        texts = [" ".join(rng.choice(vocabulary, 4)) for _ in range(7)]
        advantage = rng.normal(size=7)
        np.testing.assert_allclose(tilt(texts, advantage), slow_tilt(texts, advantage), atol=1e-12)
    same = tilt(["one text"] * 4, np.array([1.0, -1, 2, -2]))
    assert same.tolist() == [0] * 4


def test_where_no_word_is_shared_the_slopes_are_the_same():
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=(2, 50, 6))
    made = groups({"a": a, "b": b}, {"a": 1.0, "b": 0.3}, "group")
    texts = [[f"word{g}x{k}" for k in range(6)] for g in range(50)]
    free, worded = first_movers(made), word_slopes(made, texts, rng)
    for name in ("a", "b"):
        assert worded[name].value == pytest.approx(free[name].value, rel=1e-9)
        assert worded[name].low == pytest.approx(free[name].low, rel=1e-9)


def test_what_no_word_says_does_not_move_by_words():
    # "same" is 1 where two independent words agree: no word says it, and it has the most advantage.
    rng = np.random.default_rng(12)
    first, second = rng.integers(0, 2, (2, 400, 16))
    texts = [
        [f"{'ab'[i]} {'cd'[j]}" for i, j in zip(*row, strict=True)]
        for row in zip(first, second, strict=True)
    ]
    made = groups({"same": first == second, "first": first}, {"same": 1.0, "first": 0.5})
    free, worded = first_movers(made), word_slopes(made, texts, rng)
    assert free["same"].low > free["first"].high
    # Adjacent words say it to a bigram model; as single words, with a word between, nothing does.
    apart = [
        [text.replace(" ", f" {'xyz'[k % 3]} ") for k, text in enumerate(row)] for row in texts
    ]
    worded = word_slopes(made, apart, rng)
    assert worded["first"].low > worded["same"].high
    assert worded["same"].low < 0.2


def test_intervals_of_shares_allow_for_skewness():
    # A rare component whose share a few groups have: Hall's statistic at both ends is Student's.
    rng = np.random.default_rng(8)
    rare, common = (rng.random((60, 8)) < 0.03).astype(float), rng.normal(size=(60, 8))
    share = advantage_shares(groups({"rare": rare, "common": common}, {"rare": 2, "common": 1}))[
        "rare"
    ]
    error = math.sqrt(np.sum(share.influence**2))
    a = np.sum(share.influence**3) / error**3
    assert a > 0.1
    quantile = stdtrit(share.df, 0.975)
    for end, sign in ((share.low, 1), (share.high, -1)):
        t = (share.value - end) / error
        assert t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6 == pytest.approx(sign * quantile)
    assert share.high - share.value > share.value - share.low


def test_what_a_mix_is_not_defined_for_names_the_parts_that_it_is_defined_for():
    """A verdict in a mix, even one called "total", is named where the verifier audit is not run."""

    def tagged(items):
        return [float("<answer>" in item.response) for item in items]

    def brief(items):
        return [-float(len(item.response)) for item in items]

    tagged.kind, brief.kind = "verdict", "score"
    mix = Mix(
        [
            Part("total", given_function(tagged), 1.0),
            Part("brief", given_function(brief), 0.01),
        ],
        "group",
    )
    rows = [
        {"prompt": f"Q{i}?", "chosen": f"<answer>{i}</answer>", "rejected": f"{i}"}
        for i in range(20)
    ]
    report = rma.audit(mix, rows, only=["verifier", "preference"], cache=False, debug=True)
    reason = report.audits["verifier"].reason
    assert "audit that part alone" in reason
    assert "tagged" in reason
    assert "brief (" not in reason
