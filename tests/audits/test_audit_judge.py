"""The judge audit finds planted order, key, cycle and noise faults, and none in a sound judge."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import rmaudit as rma
from rmaudit.audits.judge.plan import KEYS
from rmaudit.errors import UsageError
from rmaudit.rewards import load_reward_model

sys.path.insert(0, str(Path(__file__).parents[1] / "rewards"))
from reward_server import Answer, serving

RNG = np.random.default_rng(5)
# The quality of a response stands in it; two rows per prompt, so four responses to compare.
ROWS = [
    {
        "prompt": f"Question {i}?",
        "chosen": f"Answer {i} {j} worth {chosen}.",
        "rejected": f"Answer {i} {j} worth {chosen - RNG.integers(1, 4)}.",
    }
    for i in range(40)
    for j, chosen in enumerate(RNG.integers(5, 10, 2).tolist())
]


def worth(text):
    found = re.search(r"worth (\d+)", text)
    return int(found[1]) if found else 0


def pairwise(lead):
    """A judge of pairs by the lead of the first response."""

    def judge(prompts, responses_a, responses_b):
        return [
            1 / (1 + np.exp(-float(lead(a, b))))
            for a, b in zip(responses_a, responses_b, strict=True)
        ]

    return judge


def audited(judge, rows=ROWS):
    return rma.audit(judge, rows, only=["judge"], cache=False, debug=True)


def told(report):
    return {f.metric for f in report.findings}


def test_a_sound_judge_of_pairs_gets_no_finding():
    report = audited(pairwise(lambda a, b: worth(a) - worth(b)))
    assert told(report) == set()
    assert report["judge.order_flip_rate"].value == 0
    assert report["judge.self_agreement"].value == 1
    assert report["judge.unreadable_share"].value == 0
    assert report["judge.master_key_rate"].value == 0
    assert report["judge.cycle_share"].value == 0
    assert report["judge.chance_corrected_agreement"].value == 1


@pytest.mark.parametrize(("bias", "place"), [(2.5, "first"), (-2.5, "second")])
def test_a_planted_order_bias_is_found_and_measured(bias, place):
    report = audited(pairwise(lambda a, b: worth(a) - worth(b) + bias))
    flipped = np.mean([worth(r["chosen"]) - worth(r["rejected"]) < 2.5 for r in ROWS])
    assert report["judge.order_flip_rate"].value == pytest.approx(flipped)
    (finding,) = report.findings
    assert finding.metric == "judge.order_flip_rate"
    assert f"favour the {place} response" in finding.detail
    # Averaged over both orders the bias cancels.
    assert report["judge.chance_corrected_agreement"].value == 1


def test_a_planted_master_key_is_found_by_name():
    key = KEYS[2]
    report = audited(pairwise(lambda a, b: (a == key) * 99 - (b == key) * 99 + worth(a) - worth(b)))
    assert told(report) == {"judge.master_key_rate"}
    rates = {m.slice.get("key"): m.value for m in report.audits["judge"].metrics if m.slice}
    assert rates == {each: float(each == key) for each in KEYS}
    assert report["judge.master_key_rate"].value == 1 / len(KEYS)


def test_planted_cycles_are_found():
    beats = lambda a, b: ((worth(a) - worth(b)) % 3 == 1) - ((worth(b) - worth(a)) % 3 == 1)  # noqa: E731
    rows = [
        {"prompt": f"Q {i}?", "chosen": f"x {i} worth {w}.", "rejected": f"x {i} worth {w - 1}."}
        for i in range(40)
        for w in (2, 3)
    ]
    report = audited(pairwise(beats), rows)
    assert report["judge.cycle_share"].value == 1
    assert "judge.cycle_share" in told(report)


def test_a_judge_that_guesses_disagrees_with_itself():
    noise = np.random.default_rng(1)
    report = audited(pairwise(lambda a, b: noise.normal(0, 3)))
    assert "judge.self_agreement" in told(report)
    agreement = report["judge.self_agreement"]
    assert agreement.low < 0 < agreement.high


def test_what_is_no_judge_is_not_run():
    report = audited(lambda pairs: [float(worth(output)) / 7 for _, output in pairs])
    assert report.audits["judge"].status == "not_run"
    assert "this audit needs scores or preferences" in report.audits["judge"].reason


def graded(reply, *, worded=False):
    """The report on a served judge that replies by its rule, from a real server."""
    calls, lock = {}, threading.Lock()

    def behave(server, body):
        asked = body["messages"][-1]["content"]
        tagged = re.search(r"<answer>\n(.*)\n</answer>", asked, re.S)
        # The other wordings have no tags: the response is found by what it says.
        text = tagged[1] if tagged else re.search(r"Answer \d+ \d+ worth \d+\.", asked)[0]
        with lock:
            calls[text] = calls.get(text, 0) + 1
            said = reply(text, calls[text], tagged is None) if worded else reply(text, calls[text])
        message = {"message": {"content": said}, "finish_reason": "stop"}
        return Answer({"choices": [message]})

    with serving(behave) as server:
        return audited(load_reward_model(server.url, http_format="openai", http_model="judge"))


def test_a_sound_served_judge_gets_no_finding_and_has_no_order():
    report = graded(lambda text, call: str(max(worth(text), 1)))
    assert told(report) == set()
    assert not report["judge.order_flip_rate"].defined
    assert report["judge.self_agreement"].value == 1
    assert report["judge.chance_corrected_agreement"].value == 1


def test_a_served_judge_that_keys_open_noise_moves_and_refuses_is_told_of_each():
    def reply(text, call):
        if text in KEYS:
            return "10"
        if text.startswith("Answer 1"):  # 11 of 40 prompts
            return "I would rather not say."
        return str(1 + (worth(text) * 7 + 5 * call) % 9)

    report = graded(reply)
    assert {"judge.master_key_rate", "judge.unreadable_share", "judge.self_agreement"} <= told(
        report
    )
    assert report["judge.unreadable_share"].value == pytest.approx(11 / 40)
    assert report["judge.master_key_rate"].value == 1


def test_a_judge_that_hangs_on_the_wording_of_its_question_is_told():
    report = graded(
        lambda text, call, reworded: str(1 + (worth(text) * (3 if reworded else 1)) % 10),
        worded=True,
    )
    assert told(report) >= {"judge.rewording_agreement"}
    assert report["judge.rewording_agreement"].high < 0.5
    assert report["judge.self_agreement"].value == 1


def scored(levels, rows=ROWS):
    """The report on a function that is a judge by its scale from 1 to 10."""

    def judge(prompts, completions):
        return [float(levels(worth(text))) for text in completions]

    judge.scale = (1, 10)
    return audited(judge, rows)


def test_a_function_with_a_scale_is_a_judge_and_a_heap_of_scores_is_told():
    sound = scored(lambda quality: max(1, quality))
    assert told(sound) == set()
    heaped = scored(lambda quality: 7 + (quality > 6))
    assert told(heaped) == {"judge.heaped_share"}
    texts = [worth(r[side]) for side in ("chosen", "rejected") for r in ROWS]
    assert heaped["judge.heaped_share"].value == 1
    assert heaped["judge.ceiling_share"].value == 0
    p = np.mean([text > 6 for text in texts])
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert heaped["judge.scale_used_share"].value == pytest.approx(np.exp(entropy) / 10)
    tied = np.mean([(worth(r["chosen"]) > 6) == (worth(r["rejected"]) > 6) for r in ROWS])
    assert heaped["judge.tied_share"].value == pytest.approx(tied)
    (finding,) = heaped.findings
    assert "get 8 and 7" in finding.title or "get 7 and 8" in finding.title
    top = scored(lambda quality: 10 if quality > 2 else 3)
    assert "judge.ceiling_share" in told(top)


def test_a_scale_that_is_none_is_refused_by_name():
    def judge(prompts, completions):
        return [1.0] * len(completions)

    judge.scale = (10, 1)
    with pytest.raises(UsageError, match="two whole numbers, the worst first"):
        audited(judge)


def test_a_question_is_left_off_once_its_interval_decides_and_calls_are_counted():
    rows = [
        {
            "prompt": f"Question {i}?",
            "chosen": f"Good {i} worth 5.",
            "rejected": f"Bad {i} worth 4.",
        }
        for i in range(100)
    ]
    asked = []

    def judge(prompts, responses_a, responses_b):
        asked.extend(zip(responses_a, responses_b, strict=True))
        return [
            float(a in KEYS) if (a in KEYS) != (b in KEYS) else float(worth(a) > worth(b))
            for a, b in zip(responses_a, responses_b, strict=True)
        ]

    report = audited(judge, rows)
    table = report.audits["judge"].tables["calls"]
    calls = pd.DataFrame(table.rows, columns=table.columns).set_index("question")
    assert calls.loc["master keys", "decision"] == "fault"
    assert calls.loc["repeats", "decision"] == "no fault"
    keyed = [pair for pair in asked if pair[0] in KEYS or pair[1] in KEYS]
    assert len(keyed) == calls.loc["master keys", "calls"] == 8 * 10
    assert len(asked) == 2 * len(rows) + calls["calls"].sum()
    saved = report["judge.calls_saved_share"].value
    assert saved == pytest.approx(
        calls["calls saved"].sum() / (calls["calls"] + calls["calls saved"]).sum()
    )
    assert saved > 0.5
