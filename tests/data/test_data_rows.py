"""The check of one row: its type, its normal form, and why it cannot be used."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rmaudit.data import load
from rmaudit.data.faults import Fault
from rmaudit.data.rows import check, infer_type
from rmaudit.errors import DataError

USER = {"role": "user", "content": "p"}
GOOD, BAD = ({"role": "assistant", "content": text} for text in "gb")
PAIR = {"prompt": "p", "chosen": "g", "rejected": "b"}
RANKING = {"prompt": "p", "outputs": ["x", "y"], "ranking": [1, 2]}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (PAIR, "preference"),
        ({"chosen": "", "rejected": ""}, "preference"),
        ({"prompt": "", "scores": {"m": {"chosen": 1, "rejected": 0}}}, "preference"),
        ({"prompt": "", "chosen_reward": 1.0, "rejected_reward": 0.0}, "preference"),
        (RANKING, "ranking"),
        ({"prompt": "", "ranking": [1], "rewards": [0.5]}, "ranking"),
        ({"prompt": "", "ranking": [1], "scores": {"m": [0.5]}}, "ranking"),
        ({"prompt": "", "output": "", "rating": 1}, "rating"),
        ({"prompt": "", "completion": "", "label": True}, "unpaired"),
        ({"prompt": ""}, "deployment"),
        ({"prompt": "", "outputs": []}, "deployment"),
        ({"prompt": "", "completion": ""}, "deployment"),
        ({"prompt": "", "outputs": [], "proxy_rewards": []}, "samples"),
        ({"prompt": "", "scores": {"m": [0.5]}}, "samples"),
        ({"text": ""}, None),
        ({}, None),
    ],
)
def test_the_columns_tell_the_type(record: dict[str, Any], expected: str | None) -> None:
    assert infer_type(record) == expected


@pytest.mark.parametrize(
    "record",
    [
        PAIR,
        {"prompt": "p", "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": "p", "chosen": [GOOD], "rejected": "b"},
    ],
)
def test_outputs_become_text(record: dict[str, Any]) -> None:
    row = check(record, "preference")
    assert row == {"tie": False, "prompt": "p", "chosen": "g", "rejected": "b"}


@pytest.mark.parametrize(
    "record",
    [
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "p", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": None, "chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
)
def test_conversations_keep_their_turns_in_the_prompt(record: dict[str, Any]) -> None:
    row = check(record, "preference")
    assert row == {"tie": False, "prompt": [USER], "chosen": "g", "rejected": "b"}


def test_outputs_of_two_contexts_keep_both() -> None:
    record = {"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, BAD, USER, BAD]}
    row = check(record, "preference")
    assert (row["prompt"], row["chosen"]) == ([USER, GOOD, USER], "g")
    assert (row["prompt_rejected"], row["rejected"]) == ([USER, BAD, USER], "b")


def test_a_prompt_of_the_rejected_output_counts_only_where_it_differs() -> None:
    assert check({**PAIR, "prompt_rejected": "q"}, "preference")["prompt_rejected"] == "q"
    assert "prompt_rejected" not in check({**PAIR, "prompt_rejected": "p"}, "preference")


def test_a_null_prompt_is_no_prompt_and_not_an_implicit_one() -> None:
    row = check({"prompt": None, "chosen": "ab", "rejected": "ac"}, "preference")
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("", "ab", "ac")


def test_unknown_columns_are_kept_and_row_makes_place() -> None:
    row = check({**PAIR, "language": "en", "row": 7, "x": {"a": [1]}}, "preference")
    assert (row["language"], row["row_given"], row["x"]) == ("en", 7, {"a": [1]})


def test_non_finite_rewards_are_kept() -> None:
    record = {**PAIR, "chosen_reward": math.nan, "rejected_reward": -math.inf}
    row = check(record, "preference")
    assert math.isnan(row["chosen_reward"])
    assert row["rejected_reward"] == -math.inf
    assert math.isnan(check({**PAIR, "chosen_reward": None}, "preference")["chosen_reward"])


def test_trl_unpaired_rows_have_their_completion_as_output() -> None:
    row = check({"prompt": "p", "completion": [GOOD], "label": 1}, "unpaired")
    assert row == {"prompt": "p", "output": "g", "label": True}


def test_rewards_without_texts_have_empty_outputs() -> None:
    row = check({"prompt": "p", "ranking": [1, 2], "scores": {"m": [3, 1]}}, "ranking")
    assert (row["outputs"], row["ranking"]) == (["", ""], [1, 2])
    row = check({"prompt": "p", "rewards": [0.5, None]}, "samples")
    assert row["outputs"] == ["", ""]
    assert row["rewards"][0] == 0.5
    assert math.isnan(row["rewards"][1])
    # no list at all, as Parquet writes it: the reward is not known, the row is good
    row = check({"prompt": "p", "rewards": [0.5], "gold_rewards": None}, "samples")
    assert row == {"prompt": "p", "outputs": [""], "rewards": [0.5]}
    pair = {"prompt": "p", "scores": {"m": {"chosen": 1, "rejected": 2}}}
    assert check(pair, "preference")["chosen"] == ""


def test_names_become_text() -> None:
    row = check(
        {**PAIR, "id": 3, "group": 2.0, "subset": "s", "annotators": [1, "b"]}, "preference"
    )
    assert (row["id"], row["group"], row["subset"]) == ("3", "2", "s")
    assert row["annotators"] == ["1", "b"]


def test_votes_on_several_questions_are_kept_apart() -> None:
    row = check({**PAIR, "annotator_votes": {"q": [1, 2]}}, "preference")
    assert row["votes_by_question"] == {"q": [1, 2]}
    assert "annotator_votes" not in row


FAULTS: list[tuple[str, object, str | None, str]] = [
    ("preference", [1], None, "not an object"),
    ("preference", "text", None, "not an object"),
    ("preference", None, None, "not an object"),
    ("preference", {"prompt": "p", "chosen": "g"}, "rejected", "missing column"),
    ("preference", {**PAIR, "chosen": 3}, "chosen", "wrong type"),
    ("preference", {**PAIR, "chosen": None}, "chosen", "wrong type"),
    ("preference", {**PAIR, "prompt": {"a": 1}}, "prompt", "wrong type"),
    ("preference", {**PAIR, "tie": "perhaps"}, "tie", "not a label"),
    ("preference", {**PAIR, "chosen_reward": "high"}, "chosen_reward", "wrong type"),
    ("preference", {**PAIR, "chosen_reward": 10**400}, "chosen_reward", "number out of range"),
    ("preference", {**PAIR, "chosen": "\ud800"}, "chosen", "text is not valid Unicode"),
    ("preference", {**PAIR, "x": [{"\udfff": 1}]}, "x", "text is not valid Unicode"),
    ("preference", {**PAIR, "id": [1]}, "id", "wrong type"),
    ("preference", {"chosen": "g", "rejected": [BAD]}, "rejected", "wrong type"),
    ("preference", {"chosen": [USER, GOOD], "rejected": [USER]}, "rejected", "does not end"),
    (
        "preference",
        {**PAIR, "annotators": ["a"], "annotator_votes": ["chosen", "tie"]},
        "annotators",
        "wrong length",
    ),
    ("ranking", {**RANKING, "ranking": [1]}, "ranking", "wrong length"),
    ("ranking", {**RANKING, "ranking": [1, 1.5]}, "ranking", "not a rank"),
    ("ranking", {**RANKING, "ranking": [1, None]}, "ranking", "wrong type"),
    ("ranking", {**RANKING, "ranking": [1, math.inf]}, "ranking", "not a rank"),
    ("ranking", {**RANKING, "outputs": "xy"}, "outputs", "wrong type"),
    ("ranking", {**RANKING, "rewards": [1.0]}, "rewards", "wrong length"),
    ("ranking", {"prompt": "p", "ranking": [1, 2]}, "outputs", "missing column"),
    ("ranking", {**RANKING, "outputs": [[USER, GOOD], [BAD]]}, "outputs", "outputs answer"),
    ("rating", {"prompt": "p", "output": "o", "rating": None}, "rating", "not a finite number"),
    ("rating", {"output": "o", "rating": 1}, "prompt", "missing column"),
    ("rating", {"prompt": "p", "rating": 1}, "output", "missing column"),
    ("unpaired", {"prompt": "p", "output": "o", "label": 2}, "label", "not a label"),
    ("deployment", {"x": 1}, "prompt", "missing column"),
    ("samples", {"prompt": "p"}, "outputs", "missing column"),
    ("samples", {"prompt": "p", "outputs": []}, "outputs", "no outputs"),
]


@pytest.mark.parametrize(("kind", "record", "column", "reason"), FAULTS)
def test_rows_that_cannot_be_used_say_why(
    kind: Any, record: object, column: str | None, reason: str
) -> None:
    with pytest.raises(Fault, match=reason) as fault:
        check(record, kind)
    assert fault.value.column == column


def test_details_are_short_and_printable() -> None:
    fault = Fault("c", "r", "\ud800" + "x" * 500)
    assert fault.detail.startswith("\\ud800x")
    assert len(fault.detail) < 250


def test_a_column_named_tie_says_nothing_of_data_other_than_pairs() -> None:
    rows = [{"prompt": "p", "output": text, "rating": 1.0, "tie": "bow tie"} for text in "ab"]
    assert not load(rows).tied.any()
    pairs = [{"prompt": "p", "chosen": "a", "rejected": "b", "tie": tie} for tie in (True, False)]
    assert load(pairs).tied.tolist() == [True, False]


def test_items_and_ids_of_one_prompt_are_one_unit() -> None:
    two = [
        {"prompt": "Sum?", "completions": [f"a {i}", "b"], "labels": [True, i > 0]} for i in (0, 1)
    ]
    other = {"prompt": "Product?", "completions": ["c", "d"], "labels": [True, True]}
    steps = load([*two, other])
    assert len(set(steps.clusters[:4])) == 1
    assert steps.clusters[4] == steps.clusters[5] != steps.clusters[0]
    pair = {"prompt": "P", "chosen": "x", "rejected": "y"}
    pairs = [pair | {"id": id_, "chosen": f"x{n}"} for n, id_ in enumerate("aab")]
    assert len(set(load(pairs).clusters)) == 1  # the id on two rows cuts no prompt
    assert len(set(load([{**row, "prompt": ""} for row in pairs]).clusters)) == 2  # rows of an id
    mixed = [pairs[0], pairs[1] | {"prompt": "Q"}, pairs[2] | {"prompt": "R"}]
    assert len(set(load(mixed).clusters)) == 2


def test_a_judges_training_data_are_refused_and_multiple_choice_is_not() -> None:
    two = "[CONTEXT] 1+1? [RESPONSE A] {} [RESPONSE B] {} \n"
    turns = [
        {
            "messages": [
                {"role": "user", "content": two.format(i, i + 1)},
                {"role": "assistant", "content": verdict},
            ]
        }
        for i, verdict in enumerate(["A", "B", "I prefer the first. [[A]]", "<answer>B</answer>"])
    ]
    with pytest.raises(DataError, match="verdicts on two responses that stand in the prompts"):
        load(turns)
    choices = [{"prompt": f"{i}? A) yes B) no", "completion": "AB"[i % 2]} for i in range(4)]
    assert load(choices).type == "deployment"
    talk = [{"prompt": two.format(i, i), "completion": f"Both say {i}, so I do."} for i in range(4)]
    assert load(talk).type == "deployment"


def test_numbers_mapped_as_a_label_say_how_they_are_read() -> None:
    rows = [{"q": f"{i}?", "one": "x", "two": "y", "best": i % 2} for i in range(6)]
    read = load(rows, columns="prompt=q,chosen=one,rejected=two,label=best")
    assert "best: 1 or true is read as 'one' preferred" in " ".join(read.reading.notes)
    assert read.frame["chosen"].tolist() == ["y", "x"] * 3
    signed = [row | {"best": 2 * row["best"] - 1} for row in rows]
    read = load(signed, columns="prompt=q,chosen=one,rejected=two,label=best")
    assert "best: above 0 is read as 'one' preferred" in " ".join(read.reading.notes)
    words = [row | {"best": "AB"[row["best"]]} for row in rows]
    assert not load(words, columns="prompt=q,chosen=one,rejected=two,label=best").reading.notes
