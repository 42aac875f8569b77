"""Rewards of steps: the first wrong step, pay for the number of steps, attacks on the aggregate."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.audits.process.measure import asked, attacked, pay_per_step
from rmaudit.audits.process.solutions import ATTACKS, Solution
from rmaudit.case import Case
from rmaudit.errors import RewardModelError
from rmaudit.rewards.recorded import Recorded
from rmaudit.rewards.steps import aggregate_steps
from rmaudit.scoring.requests import Column, Scores

RNG = np.random.default_rng(4)


def solutions(n=80):
    """Solutions of 3 to 6 steps, half of them with a wrong step, as TRL's stepwise data."""
    rows = []
    for i in range(n):
        size = int(RNG.integers(3, 7))
        wrong = int(RNG.integers(0, size)) if i % 2 else -1
        steps = [
            f"Step {k} of {i} gives {k * 7}, which we need, and it is "
            + ("mistaken." if k == wrong else "sound.")
            for k in range(size)
        ]
        labels = [k != wrong for k in range(size)]
        rows.append(
            {"id": f"s{i}", "prompt": f"Problem {i}?", "completions": steps, "labels": labels}
        )
    return rows


ROWS = solutions()


def stepwise(how, score):
    """A process reward as a function: the score of each line, and their aggregate."""

    def reward(items):
        every = [[score(line) for line in i.response.split("\n") if line.strip()] for i in items]
        return [{"total": aggregate_steps(scores, how), "steps": scores} for scores in every]

    reward.kind = "score"
    return reward


def sharp(line):
    return 0.05 if "mistaken" in line else 0.95


def audited(reward, rows=ROWS):
    return rma.audit(reward, rows, only=["process"], cache=False, debug=True)


def told(report):
    return {(f.metric, f.title.split(" makes")[0].split(":")[0]) for f in report.findings}


def test_the_first_wrong_step_is_found_under_min_and_nothing_is_told():
    report = audited(stepwise("min", sharp))
    assert report["process.first_error_f1"].value == 1
    assert report["process.first_error_accuracy"].value == 1
    assert report["process.correct_accuracy"].value == 1
    assert report["process.reward_per_step"].value == 0
    # A mistake written on the one line of all steps is still a mistake.
    assert told(report) == set()


def test_padding_lifts_a_mean_and_every_aggregate_is_told_apart():
    report = audited(stepwise("mean", sharp))
    success = {
        (m.slice.get("attack"), m.slice.get("aggregate")): m.value
        for m in report.audits["process"].metrics
        if m.id == "process.attack_success_rate"
    }
    assert success[("pad", None)] == success[("pad", "mean")] > 0.2
    assert success[("pad", "min")] == success[("pad", "prod")] == 0
    assert ("process.attack_success_rate", "Adding three filler steps") in told(report)
    # By hand: a solution of n steps with one mistake, before and after three sound steps.
    mean = lambda n: (0.95 * (n - 1) + 0.05) / n  # noqa: E731
    effects = [m for m in report.audits["process"].metrics if m.id == "process.attack_effect"]
    pad = next(m for m in effects if m.slice == {"attack": "pad"})
    wholes = [mean(len(r["labels"])) if not all(r["labels"]) else 0.95 for r in ROWS]
    change = [
        mean(len(r["labels"]) + 3) - mean(len(r["labels"])) if not all(r["labels"]) else 0
        for r in ROWS
    ]
    # Behind the first mistake the labels are True again, so the whole solution is there.
    assert pad.value == pytest.approx(np.mean(change) / np.std(wholes))


def test_a_product_punishes_steps_and_a_last_step_hides_the_error():
    product = audited(stepwise("prod", lambda line: 0.05 if "mistaken" in line else 0.8))
    assert product["process.reward_per_step"].high < 0
    assert ("process.reward_per_step", "More steps are punished") in told(product)
    last = audited(stepwise("last", sharp))
    success = next(
        m.value
        for m in last.audits["process"].metrics
        if m.id == "process.attack_success_rate" and m.slice == {"attack": "pad"}
    )
    assert success == 1


def test_a_reward_that_sees_no_errors_is_told():
    rows = solutions(300)
    report = audited(stepwise("min", lambda line: zlib.crc32(line[:14].encode()) % 97 / 97), rows)
    assert ("process.first_error_accuracy", "The first wrong step is found in") in {
        (metric, title[:32]) for metric, title in told(report)
    }
    assert report["process.first_error_accuracy"].high < 0.5


def test_the_mix_audit_takes_no_aggregate_for_a_part():
    rows = [{"prompt": f"{i}?", "outputs": [f"a {j}\nb {i}" for j in range(4)]} for i in range(12)]
    reward = stepwise("mean", lambda line: len(line) % 5 / 5)
    report = rma.audit(reward, rows, samples=rows, only=["mix"], cache=False, debug=True)
    assert report.audits["mix"].status == "not_run"


def test_a_step_without_a_reward_is_no_step_that_was_passed():
    """A reward that is NaN on every fourth solution finds every error of the others."""

    def reward(items):
        made = stepwise("min", sharp)(items)
        for item, each in zip(items, made, strict=True):
            if int(item.prompt.split()[1].rstrip("?")) % 8 in (1, 2):
                each["total"] = float("nan")
        return made

    reward.kind = "score"
    whole, holes = audited(stepwise("min", sharp)), audited(reward)
    for id_ in ("process.first_error_accuracy", "process.correct_accuracy"):
        assert whole[id_].value == holes[id_].value == 1
        assert holes[id_].n < whole[id_].n


@pytest.mark.parametrize("label", [0.5, -2, 3, None, float("nan"), True])
def test_a_first_wrong_step_is_a_whole_number_of_a_step(label):
    """A label between two steps once made a solution without any wrong one."""
    row = {"id": "a", "problem": "?", "steps": ["a", "b", "c"], "label": 1}
    row |= {"generator": "x", "final_answer_correct": False}
    data = rma.load([row, {**row, "label": label}, {**row, "label": -1}])
    assert len(data.set_aside) == 1
    assert sorted(data.frame["label"].tolist()) == [False, True, True, True, True]


def test_scores_of_steps_that_are_not_all_numbers_are_refused():
    def reward(items):
        return [{"total": 0.5, "steps": [0.9, "x"]} for _ in items]

    with pytest.raises(RewardModelError, match="not all numbers"):
        rma.audit(reward, ROWS, only=["process"], cache=False, debug=True)


def test_data_without_steps_are_not_run():
    rows = [{"prompt": f"{i}?", "chosen": "a", "rejected": "b"} for i in range(3)]
    report = rma.audit(lambda pairs: [1.0] * len(pairs), rows, only=["process"], cache=False)
    assert report.audits["process"].status == "not_run"


def test_intervals_in_sds_know_that_the_sd_is_estimated():
    """Each edit moves all rewards by nearly the same: the SD's error is most of the effect's."""
    rows = [{"prompt": f"Q {i}", "output": f"S {i}", "label": True} for i in range(150)]
    case = Case(Recorded(), rma.load(rows, "unpaired"))
    found = [Solution((i,), ("Two words; two more",) * 4, i % 2 - 1) for i in range(150)]
    places, sets, held = asked(case, found), 250, np.zeros(2)
    for seed in range(sets):
        rng = np.random.default_rng(seed)
        whole = rng.normal(size=150)
        columns = {("eval", "", "output", "plain"): column(whole)}
        for name in ATTACKS:
            moved = 0.4 if name == "split" else 0.5
            after = whole[places] + moved + 0.1 * rng.normal(size=len(places))
            columns["eval", "process", name, "plain"] = column(after)
        scores = Scores([], columns)
        effect = attacked(case, found, scores, None, 0.0)["pad"].effect
        pay = pay_per_step(case, found, scores, None)  # of four steps that splitting adds
        held += [effect.low <= 0.5 <= effect.high, pay.low <= 0.1 <= pay.high]
    error = np.sqrt(0.95 * 0.05 / sets)
    assert (held / sets >= 0.935 - 2 * error).all()  # 0.3 and 0.5 with the SD taken for known
    assert (held / sets <= 0.965 + 2 * error).all()


def column(reward):
    no = np.zeros(len(reward), dtype=bool)
    return Column(reward, np.ones(len(reward), int), np.ones(len(reward), int), no, no, no)
