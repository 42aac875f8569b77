"""The data audit: worked by hand, against slow definitions, and on real files."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from known_rewards import table

from rmaudit.audits.common.row_content import (
    NONE,
    Content,
    contradictions,
    cycles,
    duplicates,
    leaked,
    normal,
)
from rmaudit.audits.data.audit import Data
from rmaudit.case import Case
from rmaudit.data import load
from rmaudit.results import AuditResult
from rmaudit.scoring.requests import Scores


def pair(prompt: str, chosen: str, rejected: str, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def audit(rows: Any, feedback: Any = None, **options: Any) -> AuditResult:
    case = Case(
        model=None,  # type: ignore[arg-type]  # no model is asked
        eval=load(rows),
        feedback=None if feedback is None else load(feedback),
        **options,
    )
    return Data().measure(case, Scores((), {}))


def test_duplicates_and_contradictions_by_hand() -> None:
    rows = [
        pair("p", "a", "b"),
        pair("p", " a", "b\n"),  # repeats the first, but for white space
        pair("p", "b", "a"),  # contradicts both
        pair("q", "a", "b"),  # another prompt
        pair("q", "c", "d", tie=True),
        pair("q", "d", "c", tie=True),  # a tie is the same both ways
        pair("q", "c", "d"),  # a choice does not repeat a tie, and does not contradict it
        pair("r", "e", "é"),
    ]
    result = audit(rows)
    assert result["data.duplicate_share"].value == 2 / 8
    assert result["data.contradiction_share"].value == 3 / 8
    assert result["data.identical_pair_share"].value == 0
    estimate = result["data.duplicate_share"]
    assert 0 < estimate.low < 2 / 8 < estimate.high < 1
    assert (estimate.n, estimate.n_clusters) == (8, 3)


def test_findings_name_real_rows_and_their_partners() -> None:
    rows = [pair(str(i), "a", "b", id=f"i{i}") for i in range(50)]
    rows += [pair(str(i), "a", "b", id=f"again{i}") for i in range(7)]
    found = audit(rows, example_limit=3).findings
    (finding,) = [f for f in found if f.metric == "data.duplicate_share"]
    assert finding.metric == "data.duplicate_share"
    assert finding.title.startswith("Rows that repeat an earlier row: 7 of 57 (12.3% [")
    assert finding.severity == "medium"
    assert [(e["id"], e["note"]) for e in finding.examples] == [
        ("again0", "repeats id i0"),
        ("again1", "repeats id i1"),
        ("again2", "repeats id i2"),
    ]


def test_a_clean_set_has_no_findings() -> None:
    result = audit([pair(str(i), "aa"[: 1 + i % 2], "bb"[: 2 - i % 2]) for i in range(40)])
    assert result.findings == ()
    assert result["data.duplicate_share"].value == 0


def test_identical_and_empty_outputs() -> None:
    rows = [
        pair("p", "a b", "a  b "),
        pair("q", "e\u0301", "é"),
        pair("r", "", "x"),
        pair("s", "a", "b"),
    ]
    result = audit(rows)
    assert result["data.identical_pair_share"].value == 2 / 4  # NFC, and white space
    faults = result.tables["faults"].set_index("what")
    assert faults.loc["empty response", "value"] == 1 / 4


def test_the_same_output_to_two_contexts_is_no_identical_pair() -> None:
    rows = [pair("p", "a", "a", prompt_rejected="q"), pair("r", "a", "b")]
    assert audit(rows)["data.identical_pair_share"].value == 0


def test_leakage_needs_the_prompt_and_an_output() -> None:
    user = [{"role": "user", "content": "p "}]
    feedback = [pair("p", "a", "b", id="known"), pair("", "z", "y")]
    rows = [
        {"prompt": user, "chosen": "x", "rejected": "a", "id": "leaked"},  # one turn is its text
        pair("p", "x", "y"),  # only the prompt
        pair("other", "a", "b"),  # only the outputs
        pair("", "w", "v"),  # no prompt is not a prompt in common
        pair("", "z", "w", id="bare"),
        pair("", "", "u"),
    ]
    result = audit(rows, feedback)
    assert result["data.leakage_share"].value == 2 / 6
    faults = result.tables["faults"].set_index(["input", "what"])
    assert faults.loc[("eval", "prompt in feedback"), "value"] == 2 / 6
    (finding,) = [f for f in result.findings if f.metric == "data.leakage_share"]
    assert [e["id"] for e in finding.examples] == ["leaked", "bare"]
    assert finding.examples[0]["note"] == "in the feedback data as id known"
    assert result.not_run == ()


def test_leakage_without_feedback_is_not_run() -> None:
    result = audit([pair("p", "a", "b")])
    assert [entry.needs for entry in result.not_run] == ["--feedback"]
    with pytest.raises(KeyError):
        result["data.leakage_share"]


def test_the_feedback_data_are_checked_too() -> None:
    result = audit([pair("p", "a", "b"), pair("q", "a", "b")], [pair("x", "a", "b")] * 2)
    assert result.get("data.duplicate_share", input="feedback").n == 2
    assert any("Rows of the feedback data that repeat" in f.title for f in result.findings)


def test_cycles_by_hand() -> None:
    circle = [pair("p", "a", "b"), pair("p", "b", "c"), pair("p", "c", "a")]
    line = [pair("q", "a", "b"), pair("q", "b", "c"), pair("q", "a", "c")]
    two = [pair("r", "a", "b"), pair("r", "b", "a")]  # a contradiction is no circle
    # c beats a once and loses twice: the majority makes it a line
    voted = [
        pair("s", *"ab"),
        pair("s", *"bc"),
        pair("s", *"ca"),
        pair("s", *"ac"),
        pair("s", *"ac"),
    ]
    result = audit(circle + line + two + voted)
    estimate = result["data.cycle_share"]
    assert (estimate.value, estimate.n) == (1 / 3, 3)


def test_a_ranking_alone_cannot_be_circular_but_two_can() -> None:
    def ranking(prompt: str, texts: str, ranks: list[int]) -> dict[str, Any]:
        return {"prompt": prompt, "outputs": list(texts), "ranking": ranks}

    alone = audit([ranking("p", "abc", [1, 2, 3]), ranking("q", "abc", [3, 2, 1])])
    reason = alone["data.cycle_share"].undefined_reason
    assert reason == "no prompt has three responses compared in several rows"
    rows = [ranking("p", "abc", [1, 2, 3]), ranking("p", "ca", [1, 2]), ranking("p", "ca", [1, 2])]
    rows += [ranking("q", "abc", [1, 2, 3]), ranking("q", "ab", [1, 1])]
    result = audit(rows)
    assert result["data.contradiction_share"].value == 3 / 5
    assert result["data.duplicate_share"].value == 1 / 5
    # p: a > b > c by one row each, c > a by two against one; in q a tie decides nothing new,
    # so that only one of its rows compares
    assert result["data.cycle_share"].n == 1


def test_rankings_that_list_an_output_twice_do_not_contradict_themselves() -> None:
    rows = [{"prompt": "p", "outputs": ["a", "b", "a"], "ranking": [1, 2, 3]}]
    rows += [{"prompt": "q", "outputs": ["a", "b"], "ranking": [1, 2]}]
    result = audit(rows)
    assert result["data.contradiction_share"].value == 0
    assert result["data.identical_pair_share"].value == 1 / 2


def test_ratings_and_labels_contradict_on_the_same_text() -> None:
    ratings = [("p", "a", 1), ("p", "a", 2), ("p", "a", 1), ("q", "a", 2)]
    result = audit([{"prompt": p, "output": o, "rating": r} for p, o, r in ratings])
    assert result["data.contradiction_share"].value == 3 / 4
    rows = [{"prompt": q, "output": o, "label": x} for q, o, x in [
        ("p", "a", True), ("p", "a", False), ("q", "a", True), ("q", "b", False)]]  # fmt: skip
    result = audit(rows)
    assert result["data.contradiction_share"].value == 2 / 4
    reason = result["data.identical_pair_share"].undefined_reason
    assert reason == "unpaired data compare no responses"


def test_rewards_without_texts_have_undefined_shares() -> None:
    rows = [{"prompt": p, "ranking": [1, 2], "scores": {"m": [1, 2]}} for p in "pq"]
    result = audit(rows, [pair("p", "a", "b"), pair("x", "a", "b")])
    assert result["data.duplicate_share"].undefined_reason == "the data hold no response texts"
    assert np.isnan(result["data.duplicate_share"].value)
    assert result["data.leakage_share"].value == 1 / 2  # by the prompt, which is all there is


def test_length_and_position_skew() -> None:
    rows = [pair(str(i), "long text", "short", chosen_position=1 + (i == 0)) for i in range(40)]
    rows += [
        pair("tie", "long text", "s", tie=True),
        pair("same", "ab", "cd", chosen_position=None),
    ]
    result = audit(rows)
    skew = result.tables["skew"].set_index("what")
    assert skew.loc["chosen response is longer", ["value", "n"]].tolist() == [1, 40]
    assert skew.loc["chosen response was shown first", ["value", "n"]].tolist() == [39 / 40, 40]
    assert sum("response is longer" in f.title for f in result.findings) == 1
    (figure,) = [f for f in result.figures if f.name == "length_difference"]
    # log2(10/6) = 0.74 falls between 0.5 and 0.75: bin 26 of 48 from -6 in steps of a quarter
    assert figure.data["series"][0]["counts"][26] == 40
    assert figure.data["series"][0]["counts"][24] == 1


def test_rows_set_aside_are_reported_with_reasons() -> None:
    result = audit([pair("p", "a", "b"), {"prompt": "p", "chosen": 3, "rejected": "b"}, 7])
    (finding,) = [f for f in result.findings if "set aside" in f.title]
    assert finding.severity == "high"
    assert [e["id"] for e in finding.examples] == ["2", "3"]
    assert result.tables["inputs"].iloc[0].tolist() == ["eval", "preference", 3, 1, 2]
    assert set(result.tables["set_aside"]["reason"]) == {"wrong type", "not an object"}
    assert any(figure.kind == "bars" for figure in result.figures)


@pytest.mark.parametrize("text", ["a\u00a0b", "a \t\n b", " a b ", "a\u2003b"])
def test_white_space_is_one_space(text: str) -> None:
    assert normal(text) == "a b"


ROWS = st.lists(
    st.builds(
        lambda p, c, r, tie: pair(p, c, r, tie=tie),
        st.sampled_from("pq"),
        st.sampled_from("abcd"),
        st.sampled_from("abcd"),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=14,
)


def strict(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if not row["tie"] and row["chosen"] != row["rejected"]]


def slow_contradicted(rows: list[dict[str, Any]]) -> list[bool]:
    said = {(r["prompt"], r["chosen"], r["rejected"]) for r in strict(rows)}
    return [r in strict(rows) and (r["prompt"], r["rejected"], r["chosen"]) in said for r in rows]


def slow_circular(rows: list[dict[str, Any]]) -> dict[str, bool]:
    """By prompt: a closed walk over three outputs or four, each step a majority."""
    found = {}
    for prompt in "pq":
        pairs = [(r["chosen"], r["rejected"]) for r in strict(rows) if r["prompt"] == prompt]
        texts = {text for both in pairs for text in both}
        if len(texts) < 3:
            continue
        beats = {(a, b) for a, b in pairs if pairs.count((a, b)) > pairs.count((b, a))}
        walks = itertools.chain(itertools.permutations(texts, 3), itertools.permutations(texts, 4))
        found[prompt] = any(
            all(step in beats for step in zip(walk, walk[1:] + walk[:1], strict=True))
            for walk in walks
        )
    return found


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_fast_and_slow_definitions_agree(rows: list[dict[str, Any]]) -> None:
    content = Content.of(load(rows))
    seen: set[Any] = set()
    repeats = []
    for row in rows:
        both = (row["chosen"], row["rejected"])
        key = (row["prompt"], row["tie"], tuple(sorted(both)) if row["tie"] else both)
        repeats.append(key in seen)
        seen.add(key)
    assert (duplicates(content) != NONE).tolist() == repeats
    partners = contradictions(content)
    assert (partners != NONE).tolist() == slow_contradicted(rows)
    for row, partner in zip(rows, partners, strict=True):
        if partner != NONE:
            assert (rows[partner]["chosen"], rows[partner]["rejected"]) == (
                row["rejected"], row["chosen"],
            )  # fmt: skip
    first, circular = cycles(content)
    by_prompt = {rows[i]["prompt"]: bool(c) for i, c in zip(first, circular, strict=True)}
    assert by_prompt == slow_circular(rows)


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_a_ranking_of_two_says_what_a_pair_says(rows: list[dict[str, Any]]) -> None:
    rankings = [
        {
            "prompt": row["prompt"],
            "outputs": [row["chosen"], row["rejected"]],
            "ranking": [1, 1] if row["tie"] or row["chosen"] == row["rejected"] else [1, 2],
        }
        for row in rows
    ]
    pairs, ranked = Content.of(load(rows)), Content.of(load(rankings))
    assert (duplicates(pairs) == duplicates(ranked)).all()
    assert (contradictions(pairs) == contradictions(ranked)).all()
    assert (pairs.identical == ranked.identical).all()
    for one, other in zip(cycles(pairs), cycles(ranked), strict=True):
        assert (one == other).all()


@settings(max_examples=60, deadline=None)
@given(ROWS, ROWS)
def test_leakage_agrees_with_its_definition(
    rows: list[dict[str, Any]], feedback: list[dict[str, Any]]
) -> None:
    known = {(r["prompt"], r[side]) for r in feedback for side in ("chosen", "rejected")}
    by_text, by_prompt = leaked(Content.of(load(rows)), Content.of(load(feedback)))
    for row, partner in zip(rows, by_text, strict=True):
        texts = {(row["prompt"], row[side]) for side in ("chosen", "rejected")}
        assert (partner != NONE) == bool(texts & known)
        if partner != NONE:
            other = feedback[partner]
            assert texts & {(other["prompt"], other[side]) for side in ("chosen", "rejected")}
    prompts = {row["prompt"] for row in feedback}
    assert (by_prompt != NONE).tolist() == [row["prompt"] in prompts for row in rows]


def test_real_defects_are_found(shared_data: Path) -> None:
    pandalm = audit(shared_data / "pandalm" / "pairs_3annotators.jsonl.gz")
    # "about one row in ten is an exact repeat", and some responses are empty
    assert 0.08 < pandalm["data.duplicate_share"].value < 0.2
    assert any("hold an empty response" in f.title for f in pandalm.findings)
    autoj = audit(shared_data / "autoj" / "pairs_58_scenarios.jsonl.gz")
    assert autoj["data.identical_pair_share"].value == 4 / 908
    folder = shared_data / "hh_rlhf"
    split = audit(folder / "test.jsonl.gz", folder / "train.jsonl.gz")
    assert split["data.leakage_share"].value == 0
    same = audit(folder / "test.jsonl.gz", folder / "test.jsonl.gz")
    assert same["data.leakage_share"].value == 1


def test_rows_with_a_word_put_in_are_near_leaks_and_templates_are_not(
    make_case: Callable[..., Any], run_audit: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(400)]

    def drawn(n: int, start: str) -> list[dict[str, str]]:
        return [
            {
                "prompt": f"{start} {' '.join(rng.choice(words, 8))}",
                "chosen": " ".join(rng.choice(words, 8)),
                "rejected": " ".join(rng.choice(words, 8)),
            }
            for _ in range(n)
        ]

    data = drawn(60, "question")
    seen = [{**row, "prompt": row["prompt"] + " please"} for row in data]
    case = make_case(data, feedback=table(drawn(100, "question") + seen))
    result = run_audit(Data(), case)
    assert result["data.leakage_share"].value == 0
    assert result["data.near_leakage_share"].value == 1
    (finding,) = [f for f in result.findings if f.metric == "data.near_leakage_share"]
    assert finding.severity == "high"
    assert "hardly changed" in finding.examples[0]["note"]
    # One template: rows are alike, those of the feedback among themselves too.
    reply = "thank you for calling we will book a visit for you on the day that you have named"
    same = [
        {
            "prompt": f"book a visit on day {i} please",
            "chosen": f"{reply} {i}",
            "rejected": f"no {i}",
        }
        for i in rng.permutation(300)
    ]
    alike = make_case(same[:60], feedback=table(same[60:]))
    result = run_audit(Data(), alike)
    assert result["data.near_leakage_share"].value == 1
    assert "data.near_leakage_share" not in [f.metric for f in result.findings]
