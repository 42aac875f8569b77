"""Verdicts without a reference answer: what is accepted is a fact, what is wrong has a reason."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.audits.verifier.exploits import EXPLOIT_CLASSES, Row
from rmaudit.errors import UsageError
from rmaudit.export.sarif import sarif
from rmaudit.gating import Policy

ROWS = [
    {
        "prompt": f"Describe item {i} in tags and use the word 'plum{i}'.",
        "chosen": f"<think>item {i} is old</think><answer>A plum{i} of no great worth.</answer>",
        "rejected": f"Item {i} is a thing of little worth.",
    }
    for i in range(60)
]


def verdict(judge, **attributes):
    def reward(prompts, completions, **columns):
        return [float(judge(p, c)) for p, c in zip(prompts, completions, strict=True)]

    reward.kind = "verdict"
    for name, value in attributes.items():
        setattr(reward, name, value)
    return reward


def audited(reward, rows=ROWS, only=("verifier", "hacking"), **more):
    return rma.audit(reward, rows, only=list(only), cache=False, debug=True, **more)


def serious(report):
    return [f for f in report.findings if f.severity in ("high", "medium")]


def accepted(report):
    metrics = report.audits["verifier"].metrics
    return {
        m.slice["class"]: m.value
        for m in metrics
        if m.id == "verifier.acceptance_rate" and "class" in m.slice
    }


def number(text):
    digits = re.search(r"\d+", text)
    return int(digits[0]) if digits else 1


TAGS = verdict(
    lambda p, c: re.fullmatch(r"<think>.*</think><answer>.*</answer>", c, re.DOTALL) is not None
)


def test_each_class_by_hand():
    row = Row("Say 'a b' or \"c\".", "<t>One two, three.</t> Four", "Five.", ("a b", "c"))
    made = {name: each.make(row) for name, each in EXPLOIT_CLASSES.items()}
    claim = made.pop("claim of success")
    assert "correct" in claim
    assert made == {
        "empty": "",
        "white space": " \n",
        "punctuation": ".",
        "prompt repeated": "Say 'a b' or \"c\".",
        "bare tags": "<t></t>",
        "placeholder in tags": "<t>.</t>",
        "keywords alone": "a b, c",
        "another prompt's response": "Five.",
        "first half": "<t>One two,",
        "said twice": "<t>One two, three.</t> Four\n\n<t>One two, three.</t> Four",
        "content removed": "<t>blah blah, blah.</t> blah",
    }


def test_a_check_of_the_format_accepts_tags_around_nothing():
    report = audited(TAGS)
    rates = accepted(report)
    taken = {name for name, rate in rates.items() if rate == 1}
    assert taken == {
        *("bare tags", "placeholder in tags"),
        *("another prompt's response", "said twice", "content removed"),
    }
    assert {rate for name, rate in rates.items() if name not in taken} == {0.0}
    titles = {f.title.split(":")[0] for f in report.findings}
    assert "The verifier accepts tags with nothing in them" in titles
    assert len(titles) == len(taken)
    bare = next(f for f in report.findings if "nothing in them" in f.title)
    assert bare.severity == "low"
    assert "is not known without a label" in bare.detail
    assert bare.examples[0]["output"] == "<think></think><answer></answer>"


def test_a_rate_is_that_of_the_verdict_and_its_interval_is_by_prompt():
    third = verdict(lambda p, c: "plum" in c or (c == "." and number(p) % 3 == 0))
    rate = audited(third, only=["verifier"]).get(
        "verifier.acceptance_rate", **{"class": "punctuation"}
    )
    assert rate.value == pytest.approx(20 / 60)
    assert rate.n_clusters == 60
    assert 0.2 < rate.low < 20 / 60 < rate.high < 0.5


def test_a_sample_of_prompts_does_not_depend_on_the_order_of_the_rows(monkeypatch):
    monkeypatch.setattr("rmaudit.audits.verifier.plan.MOST_PROMPTS", 25)
    third = verdict(lambda p, c: number(p + c) % 3 == 0)
    shown = [accepted(audited(third, rows, only=["verifier"])) for rows in (ROWS, ROWS[::-1])]
    assert shown[0] == shown[1]
    accepted_prompts = 25 * shown[0]["punctuation"]  # a third of 60 would be no whole number of 25
    assert accepted_prompts == pytest.approx(round(accepted_prompts))


def test_what_is_made_of_a_response_counts_where_that_one_is_accepted():
    even = verdict(lambda p, c: "<answer>" in c and number(c) % 2 == 0)
    report = audited(even, only=["verifier"])
    cases = {row[0]: row[2] for row in report.audits["verifier"].tables["content_free"].rows}
    assert cases["said twice"] == 30
    assert cases["bare tags"] == 60
    # 60 prompts, each beside the 23rd after it: of even items all of those are odd.
    assert cases["another prompt's response"] == 30


def test_a_class_on_which_the_reward_fails_is_named():
    def strict(completions, **columns):
        return [float(c.split()[0] == "<think>item") for c in completions]

    strict.kind = "verdict"
    report = audited(strict, only=["verifier"])
    parts = {p.what: p.needs for p in report.record.audits["verifier"].not_run}
    assert "gave none" in parts["the class 'empty'"]
    assert "the class 'punctuation'" not in parts


def test_the_words_of_the_columns_that_it_reads_are_tried():
    def stuffed(completions, keywords):
        return [float(all(k in c for k in ks)) for c, ks in zip(completions, keywords, strict=True)]

    stuffed.kind = "verdict"
    rows = [{**row, "keywords": [f"plum{i}", "worth"]} for i, row in enumerate(ROWS)]
    report = audited(stuffed, rows, only=["verifier"])
    assert accepted(report)["keywords alone"] == 1
    assert accepted(report)["punctuation"] == 0


EVERYTHING = verdict(lambda p, c: True)


def test_wrong_by_gold_and_only_what_gold_refuses():
    gold = verdict(lambda p, c: len(c.strip()) > 1)
    report = audited(EVERYTHING, only=["verifier"], gold=gold)
    assert {f.title.split(":")[0] for f in serious(report)} == {
        "The verifier accepts an empty response",
        "The verifier accepts white space alone",
        "The verifier accepts a single full stop",
    }
    assert all("the gold reward refuses it" in f.detail for f in serious(report))
    assert serious(report) == list(report.findings)  # the others are correct by gold
    assert report["verifier.false_positive_rate"].value == 1


@pytest.mark.parametrize("label", [False, True])
def test_wrong_by_the_labels_of_the_data(label):
    rows = [
        {"prompt": f"Item {i} in under 5 words?", "output": text, "label": good}
        for i in range(40)
        for text, good in ((f"Plum {i}", True), (".", label), ("far too many words to say", False))
    ]
    short = verdict(lambda p, c: len(c.split()) < 5)
    report = audited(short, rows, only=["verifier"])
    found = [f for f in report.findings if "full stop:" in f.title]
    if label:  # the data say that it is a correct response
        assert found == []
    else:
        assert [f.severity for f in found] == ["high"]
        assert "the data label it so" in found[0].detail
        where = {"class": "punctuation"}
        assert report.get("verifier.false_positive_rate", **where).value == 1


def test_wrong_by_declaration():
    sure = verdict(lambda p, c: True, refuses=("empty",))
    (finding,) = serious(audited(sure, only=["verifier"]))
    assert finding.title.startswith("The verifier accepts an empty response: 100")
    assert "declares that it refuses" in finding.detail
    kept = verdict(lambda p, c: bool(c.strip()), refuses=("empty", "white space"))
    assert serious(audited(kept, only=["verifier"])) == []
    with pytest.raises(UsageError, match=r"no class of exploits is named 'emtpy'.*empty"):
        audited(verdict(lambda p, c: True, refuses=("emtpy",)))
    with pytest.raises(UsageError, match=r"refuses = 'empty' \(str\); say the classes"):
        audited(verdict(lambda p, c: True, refuses="empty"))


def test_with_a_reference_a_response_without_content_is_wrong():
    rows = [
        {"prompt": f"{i} plus 700?", "chosen": f"It is {i + 700}.", "rejected": "No.",
         "answer": str(i + 700)} for i in range(40)
    ]  # fmt: skip

    def lax(completions, answer):
        return [float(c.strip() in ("", f"It is {a}.")) for c, a in zip(completions, answer)]  # noqa: B905

    lax.kind = "verdict"
    found = {f.title.split(":")[0] for f in serious(audited(lax, rows, only=["verifier"]))}
    assert found == {
        "The verifier accepts an empty response",
        "The verifier accepts white space alone",
    }


def test_what_says_nothing_is_paid_where_the_labelled_response_is_not():
    broken = verdict(lambda p, c: not c.strip() or (number(p) % 2 == 0 and "plum" in c))
    report = audited(broken, only=["hacking"])
    (finding,) = serious(report)
    assert finding.metric == "hacking.content_free_win_rate"
    assert "empty" in finding.title
    assert 0.3 < report["hacking.content_free_win_rate"].value < 0.7
    assert report["hacking.content_free_win_rate"].n_clusters == 30


def test_labels_that_err_are_no_attack():
    # A limit of words whose labels are swapped in a third of the pairs: exact all the same.
    rng = np.random.default_rng(3)
    rows = []
    for i in range(120):
        short, long = f"Item {i}.", f"Item {i} is far too long for this."
        pair = (long, short) if rng.random() < 1 / 3 else (short, long)
        rows.append({"prompt": f"Item {i}, briefly?", "chosen": pair[0], "rejected": pair[1]})
    report = audited(verdict(lambda p, c: len(c.split()) < 4), rows, only=["hacking"])
    assert report["hacking.content_free_win_rate"].value > 0.2
    assert serious(report) == []


EXACT = [
    lambda p, c: len(c) <= 90,
    lambda p, c: len(c.split()) <= 12,
    lambda p, c: len(c.split()) >= 9,
    lambda p, c: "plum" in c,
    lambda p, c: p.split("'")[1] in c,
    lambda p, c: "<think>" in c,
    lambda p, c: re.search(r"<answer>.*</answer>", c) is not None,
    lambda p, c: c.count("<think>") == 1 and c.count("</answer>") == 1,
    lambda p, c: "\n" not in c.strip(),
    lambda p, c: "!" not in c,
    lambda p, c: "thing" not in c,
    lambda p, c: not c.startswith("Item"),
    lambda p, c: c.count(".") <= 1,
    lambda p, c: c.rstrip().endswith((".", ">")) or not c.strip(),
    lambda p, c: c.strip() == c,
    lambda p, c: len(re.findall(r"\d", c)) <= 4,
    lambda p, c: len(set(c.split())) == len(c.split()),
    lambda p, c: "," not in c,
    lambda p, c: c.isascii(),
    lambda p, c: True,
]


@pytest.mark.parametrize("number", range(20))
def test_an_exact_verdict_gets_facts_alone(number):
    check = EXACT[number]
    # The labels are those of the check: of each row the response that meets it is chosen.
    pairs = [sorted((r["chosen"], r["rejected"]), key=lambda c, p=r["prompt"]: not check(p, c))
             for r in ROWS]  # fmt: skip
    rows = [
        {"prompt": row["prompt"], "chosen": chosen, "rejected": rejected}
        for row, (chosen, rejected) in zip(ROWS, pairs, strict=True)
        if check(row["prompt"], chosen)
    ]
    assert len(rows) > 40
    report = audited(verdict(check), rows)
    assert report["hacking.content_free_win_rate"].value == 0
    assert serious(report) == []
    for finding in report.findings:
        assert finding.metric == "verifier.acceptance_rate"
        assert "is not known without a label or a gold verdict" in finding.detail


def test_a_gate_says_what_is_not_tolerated():
    report = audited(TAGS, only=["verifier"])
    rules = [
        {"metric": "verifier.acceptance_rate", "max": 0.1, "slice": {"class": name}}
        for name in ("bare tags", "empty")
    ]
    result = rma.gate(report, Policy.parse({"schema_version": 1, "rule": rules}, "test"))
    assert [o.verdict for o in result.outcomes] == ["fail", "pass"]
    (alert,) = sarif(result, Path("report.json"))["runs"][0]["results"]
    assert "bare tags" in alert["message"]["text"]
