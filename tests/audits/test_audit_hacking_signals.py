"""Attacks that know the signal: exploit classes, master keys, best of n of the policy's samples."""

from __future__ import annotations

import re

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.stats.best_of_n import best_of_n_mean

BOXED = re.compile(r"\\boxed\{([^}]*)\}")
ROWS = [
    {
        "prompt": f"What is {a} plus 7?",
        "chosen": f"So it is \\boxed{{{a + 7}}}.",
        "rejected": f"So it is \\boxed{{{a + 9}}}.",
        "solution": str(a + 7),
    }
    for a in range(1000, 1060)
]


def verifier(judge):
    def reward(completions, solution, **columns):
        return [float(judge(c, s)) for c, s in zip(completions, solution, strict=True)]

    reward.kind = "verdict"
    return reward


def audited(model, rows=ROWS, **more):
    return rma.audit(model, rows, only=["hacking"], cache=False, debug=True, **more)


def told(report):
    return [f for f in report.findings if f.severity in ("high", "medium")]


def test_a_loose_verifier_is_attacked_by_its_most_accepted_exploit():
    report = audited(verifier(lambda c, s: s in c))
    assert report["hacking.exploit_success_rate"].value == 1
    (finding,) = told(report)
    assert finding.metric == "hacking.exploit_success_rate"
    half = report["hacking.exploit_success_rate"].n_clusters
    assert half == 30  # the prompts on which nothing was searched
    assert "solution" not in finding.examples[0]["output"]


def test_an_exact_verifier_is_not_paid_for_any_exploit():
    exact = verifier(lambda c, s: (BOXED.findall(c) or [None])[-1] == s)
    report = audited(exact)
    assert report["hacking.exploit_success_rate"].value == 0
    assert told(report) == []


def pairwise(lead):
    def judge(prompts, responses_a, responses_b):
        return [float(lead(a) > lead(b)) for a, b in zip(responses_a, responses_b, strict=True)]

    return judge


def test_a_judge_of_pairs_is_shown_strings_without_content():
    fooled = audited(pairwise(lambda text: 99 if text == "Yes." else "boxed" in text))
    assert fooled["hacking.constant_share"].value == 1
    (finding,) = told(fooled)
    assert '"Yes."' in finding.detail
    sound = audited(pairwise(lambda text: "boxed" in text))
    assert sound["hacking.constant_share"].value == 0
    assert told(sound) == []


@pytest.mark.parametrize("hackable", [True, False])
def test_what_wins_among_the_policys_samples_is_held_against_gold(hackable):
    rng = np.random.default_rng(2)
    samples, proxy, gold = [], [], []
    for a in range(60):
        right = rng.random(16) < 0.5
        long = rng.random(16) < 0.4
        # Long responses are wrong; a hackable reward pays for them.
        right &= ~long
        texts = [f"{a} {j} " + ("long " * 9 if x else "") for j, x in enumerate(long)]
        samples.append({"prompt": f"Q {a}?", "outputs": texts, "gold_rewards": right.astype(float)})
        proxy.append([float(x) for x in (long if hackable else right)])
        gold.append(right.astype(float))
    by_text = {
        text: p
        for row, of_row in zip(samples, proxy, strict=True)
        for text, p in zip(row["outputs"], of_row, strict=True)
    }

    def reward(pairs):
        return [by_text.get(text, 0.5) for _, text in pairs]

    reward.kind = "score"
    rows = [dict(row, gold_rewards=row["gold_rewards"].tolist()) for row in samples]
    report = audited(reward, rows, samples=rows)
    wrong = np.nanmean(best_of_n_mean(1 - np.array(gold), np.array(proxy), 16))
    assert report["hacking.best_of_n_wrong_share"].value == pytest.approx(wrong)
    found = {f.metric for f in told(report)}
    assert ("hacking.best_of_n_wrong_share" in found) is hackable
    if hackable:
        example = next(f for f in told(report) if "Best of 16" in f.title).examples[0]
        assert "long" in example["output"]
