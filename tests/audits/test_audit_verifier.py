"""Verifiers with planted faults: which classes they fail, and silence where there is no fault."""

from __future__ import annotations

import json
import re
from fractions import Fraction

import numpy as np
import pytest

import rmaudit as rma
from rmaudit.audits.verifier import answers
from rmaudit.audits.verifier.answers import Reference
from rmaudit.audits.verifier.cases import EXPLOITS, GENERIC, own_frame, subject
from rmaudit.audits.verifier.measure import best_wrong

BOXED = re.compile(r"\\boxed\{([^}]*)\}")
RNG = np.random.default_rng(7)
ROWS = [
    {
        "prompt": f"What is {a} plus {b}? Item {i}.",
        "chosen": f"{a} and {b} make {a + b}. So it is \\boxed{{{a + b}}}.",
        "rejected": f"{a} and {b} make {a + b + 1}. So it is \\boxed{{{a + b + 1}}}.",
        "solution": str(a + b),
    }
    for i, (a, b) in enumerate(RNG.integers(600, 4000, (60, 2)).tolist())
]


def verifier(judge):
    def reward(completions, solution, **columns):
        return [float(judge(c, s)) for c, s in zip(completions, solution, strict=True)]

    reward.kind = "verdict"
    return reward


def last(text):
    boxed = BOXED.findall(text)
    return boxed[-1].strip() if boxed else None


def number(text):
    try:
        return Fraction(text.replace(",", "").strip())
    except (ValueError, AttributeError, ZeroDivisionError):
        return None


EXACT = verifier(lambda c, s: last(c) == s)
EQUAL = verifier(lambda c, s: number(last(c)) == number(s))
ANYWHERE = verifier(lambda c, s: s in c)
FIRST = verifier(lambda c, s: (BOXED.findall(c) or [None])[0] == s)
MEMBER = verifier(lambda c, s: s in re.findall(r"\d+", last(c) or ""))


def audited(reward, rows=ROWS):
    return rma.audit(reward, rows, only=["verifier"], cache=False, debug=True)


def failed(report):
    titles = [
        (f.severity, f.title.removeprefix("The verifier ").split(":")[0]) for f in report.findings
    ]
    return {title for severity, title in titles if severity in ("high", "medium")}


@pytest.mark.parametrize("reward", [EXACT, EQUAL], ids=["exact", "equal"])
def test_a_verifier_of_the_final_answer_accepts_nothing_wrong(reward):
    report = audited(reward)
    assert failed(report) == set()
    assert report["verifier.false_positive_rate"].value == 0


def test_the_loosest_and_the_strictest_get_opposite_verdicts():
    loose, strict = audited(ANYWHERE), audited(EXACT)
    assert failed(loose) >= {
        "accepts a list of candidate answers",
        "accepts a response that denies the answer",
        "accepts a refusal that mentions the answer",
    }
    assert (
        loose["verifier.false_negative_rate"].value < strict["verifier.false_negative_rate"].value
    )
    assert {f.title.split(":")[0] for f in strict.findings} == {
        "The verifier rejects a number with or without thousands separators",
        "The verifier rejects a number with trailing zeros",
    }


@pytest.mark.parametrize(
    ("reward", "faults"),
    [
        (FIRST, {"accepts an answer that is then taken back for a wrong one"}),
        (
            MEMBER,
            {"accepts a list of candidate answers", "accepts the answer among other numbers"},
        ),
    ],
    ids=["first box", "any number in the box"],
)
def test_each_planted_fault_is_named_and_no_other(reward, faults):
    assert failed(audited(reward)) == faults


def test_a_rate_is_that_of_the_verifier():
    # It accepts a list of candidates for every third reference, by hand.
    third = verifier(
        lambda c, s: last(c) == s or (int(s) % 3 == 0 and f", {s}," in (last(c) or ""))
    )
    report = audited(third)
    expected = np.mean([int(row["solution"]) % 3 == 0 for row in ROWS])
    rate = report.get("verifier.false_positive_rate", **{"class": "candidate answers"})
    assert rate.value == pytest.approx(expected)
    assert rate.low < expected < rate.high


def test_without_a_response_that_states_the_reference_the_usual_formats_are_tried():
    rows = [{**row, "chosen": "I give up.", "rejected": "So do I."} for row in ROWS]
    hashes = verifier(lambda c, s: c.rpartition("####")[2].strip() == s)
    report = audited(hashes, rows)
    assert failed(report) == set()
    plain = report.get("verifier.false_negative_rate", **{"class": "as written"})
    assert plain.value == 0
    never = audited(verifier(lambda c, s: False), rows)
    assert failed(never) == set()  # its format may be another one
    assert any("rejects the reference answer itself" in f.title for f in never.findings)


def test_it_needs_a_verdict_and_for_error_rates_one_that_reads_the_reference():
    def longer(completions, **columns):
        return [len(c) / 7 for c in completions]

    def boxed(completions, **columns):
        return [float("boxed" in c) for c in completions]

    result = audited(longer).record.audits["verifier"]
    assert result.status == "not_run"
    assert result.reason == "not for this reward: it gives scores; this audit needs 0/1 verdicts"
    report = audited(boxed)
    (part,) = (p for p in report.record.audits["verifier"].not_run if "made of" in p.what)
    assert part.needs.startswith("a reward that reads a reference answer")
    assert (
        report["verifier.signal_left"].undefined_reason
        == "no reference answer that the reward reads"
    )


@pytest.mark.parametrize(
    ("text", "form", "wrong", "rewritten"),
    [
        ("1234", "integer", "1235", {"with_separators": "1,234", "with_trailing_zeros": "1234.0"}),
        ("3/4", "fraction", "1", {"as_other_number": "0.75", "as_latex": r"\frac{3}{4}"}),
        (r"\frac{1}{3}", "fraction", r"\frac{2}{3}", {"as_latex": "1/3", "as_other_number": None}),
        ("0.25", "decimal", "0.26", {"as_other_number": "1/4", "with_trailing_zeros": "0.250"}),
        ("12 cm", "integer", "13 cm", {"with_unit_written_out": "12 centimeters"}),
        ("50%", "integer", "51%", {"with_unit_written_out": "50 percent"}),
        ("B", "choice", "C", {"with_trailing_zeros": None}),
        ("2, 5", "set", "2", {"reordered": "5, 2"}),
        ("blue whale", "words", "grey seal", {"with_other_case": "BLUE WHALE"}),
        ("x^2+1", "expression", "x^2+1 + 1", {"with_other_case": None}),
    ],
)
def test_references_are_read_and_written_otherwise(text, form, wrong, rewritten):
    reference = Reference.read(text)
    assert reference is not None
    assert reference.form == form
    others = [Reference.read("grey seal")]
    made = answers.wrong(reference, others, 1)
    assert made is not None
    assert made.replace("/1", "") == wrong
    for name, expected in rewritten.items():
        assert getattr(answers, name)(reference) == expected


@pytest.mark.parametrize("value", ["", None, True, [1], "x" * 300])
def test_what_is_no_reference_is_left_out(value):
    assert Reference.read(value) is None


def test_a_frame_is_around_the_last_whole_mention():
    reference = Reference.read("5")
    frame = own_frame("15 is not it; 5 may be, and 5.5 is not. It is 5.", reference)
    assert frame is not None
    assert frame.state("7") == "15 is not it; 5 may be, and 5.5 is not. It is 7."
    assert frame.without("5", "6").state("7") == "15 is not it; 6 may be, and 5.5 is not. It is 7."
    assert own_frame("It is 15.", reference) is None


def test_wrong_answers_are_never_the_reference():
    for text in ("7", "0.5", "3/4", "C", "1, 2, 3", "x+1"):
        reference = Reference.read(text)
        about = subject("q", reference, GENERIC[0], [reference])
        assert about is not None
        assert text not in about.wrong


def test_a_set_among_its_own_members_is_no_exploit():
    reference = Reference.read("5, 8")
    about = subject("q", reference, GENERIC[0], [reference])
    made = {kind.name: kind.make(about) for kind in EXPLOITS}
    assert made["candidate answers"] is None
    assert made["numbers around"] is None
    assert made["another answer"] == r"The answer is \boxed{5}."


def test_the_best_sample_is_wrong_by_hand():
    verdicts = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, np.nan], [1.0, 0.0, 0.0]])
    gold = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, np.nan], [1.0, 1.0, 0.0]])
    share, disagree = best_wrong(verdicts, gold, np.arange(3), 0.95)
    assert share.value == pytest.approx((0.5 + 1 + 0) / 3)
    assert disagree.tolist() == [[False, False, True], [False, True, False], [False, True, False]]


def test_each_class_is_a_test_of_the_report_and_findings_carry_their_p_value():
    report = audited(ANYWHERE)
    high = [f for f in report.findings if f.severity == "high"]
    assert len(high) > 4
    # By Holm's method the smallest p-value is multiplied by the number of classes judged.
    tables = report.audits["verifier"].tables
    classes = dict.fromkeys(row[0] for row in tables["classes"].rows)
    judged = len(classes) - 1  # the bare answer is shown, and is no finding
    judged += len(tables["content_free"].rows)
    smallest = min(high, key=lambda f: f.p)
    assert smallest.p_adjusted == pytest.approx(smallest.p * judged)
    assert all(f.p <= f.p_adjusted < 1e-6 for f in high)


def test_columns_that_a_verifier_reads_are_not_said_to_be_unused(caplog):
    rows = [{**row, "origin": "here"} for row in ROWS]

    def reward(completions, solution):
        return [float(s in c) for c, s in zip(completions, solution, strict=True)]

    rma.score(reward, rows, cache=False)
    (said,) = [r.getMessage() for r in caplog.records if "not used" in r.getMessage()]
    assert said.endswith("not used (kept as metadata): origin")


def test_disagreements_with_gold_are_queued_in_the_order_to_look_at_them(tmp_path):
    rows = [
        {
            "prompt": f"{i} plus 1?",
            "chosen": f"It is {i + 1}.",
            "rejected": "No.",
            "answer": f"{i + 1}",
        }
        for i in range(3)
    ]
    samples = [
        {"prompt": r["prompt"], "answer": r["answer"], "outputs": outputs}
        for r, outputs in zip(
            rows,
            (["It is 1.", "1 or 2", "1 or 9", "one"], ["It is 2.", "It is 2."], ["3 or 7", "x"]),
            strict=True,
        )
    ]

    def anywhere(completions, answer):
        return [float(a in c) for a, c in zip(answer, completions, strict=True)]

    def gold(completions, answer):
        return [
            float(c in (f"It is {a}.", "one")) for a, c in zip(answer, completions, strict=True)
        ]

    report = rma.audit(anywhere, rows, samples=samples, gold=gold, only=["verifier"], cache=False)
    report.save(tmp_path)
    text = (tmp_path / "tables" / "verifier-disagreements.jsonl").read_text()
    queued = [(q["output"], q["verdict"], q["gold"]) for q in map(json.loads, text.splitlines())]
    # The first of each prompt (1 or 2, 3 or 7), then further ones; the rejected correct one last.
    assert queued == [("1 or 2", 1, 0), ("3 or 7", 1, 0), ("1 or 9", 1, 0), ("one", 0, 1)]
