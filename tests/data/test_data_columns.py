"""Columns: what looks like a label, reward, turn or context is used, named or refused."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data_files import PAIRS, N
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmaudit.data import load, parse_columns, validate
from rmaudit.data.names import looks_like
from rmaudit.errors import DataError, UsageError

TALK = [{"role": "user", "content": "Is it?"}]


def table(**columns: Any) -> list[dict[str, Any]]:
    """Rows of columns; a function makes the value of each row."""
    return [{k: v(i) if callable(v) else v for k, v in columns.items()} for i in range(N)]


NAMES = [
    *("prompt", "question", "instruction", "input", "system", "messages", "frage", "user_query"),
    *("chosen", "rejected", "response", "response_a", "response_b", "answer_0", "answer_1"),
    *("completions", "outputs", "label", "winner", "preference", "score", "rating", "reward"),
    *("chosen_score", "votes", "is_safe", "rank", "context", "history", "images", "tools"),
    *("model", "source", "language", "model_a", "model_b", "score_a", "score_b", "best_index"),
]
VALUES = [
    lambda i: f"some words of row {i}",
    lambda i: i % 2,
    lambda i: f"{i % 2}",
    lambda i: ("a", "b")[i % 2],
    lambda i: [f"one of {i}", f"two of {i}"],
    lambda i: [0.5, 1.5],
    lambda i: [{"role": "user", "content": f"turn {i}"}],
    lambda i: None,
    lambda i: {"a": i},
]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(range(len(VALUES))), min_size=1))
def test_a_column_is_used_or_named_or_the_file_refused(columns: dict[str, int]) -> None:
    rows = table(**{name: VALUES[place] for name, place in columns.items()})
    try:
        data = load(rows)
    except DataError as error:
        refused = str(error)
        assert not [name for name in columns if looks_like(name) and name not in refused]
        return
    said = "\n".join(data.notices)
    for name in columns:
        assert name in data.reading.used or name in said
    source = data.source
    assert source.rows_read == source.rows_used + source.rows_set_aside == N
    if data.type == "deployment":  # nothing that looks like a label was passed over
        filled = {n for n, place in columns.items() if place != 7}
        left = filled - set(data.reading.used)
        assert not {n for n in left if looks_like(n) not in (None, "context")}


@pytest.mark.parametrize(
    ("columns", "prompt"),
    [
        ({"question": "q?"}, "q?"),
        ({"input": "q?"}, "q?"),
        ({"instruction": "Do it.", "input": "q?"}, "Do it.\nq?"),
        ({"context": "c", "question": "q?"}, "c\nq?"),
        ({"messages": TALK}, TALK),
        ({"conversations": [{"from": "human", "value": "Is it?"}]}, TALK),
        ({"system": "s", "messages": TALK}, [{"role": "system", "content": "s"}, *TALK]),
        ({"Prompt": "q?"}, "q?"),
        (
            {"system": "s", "prompt": "q?"},
            [{"role": "system", "content": "s"}, {"role": "user", "content": "q?"}],
        ),
        (
            {"history": [["a?", "b"]], "query": "q?"},
            [
                {"role": "user", "content": "a?"},
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "q?"},
            ],
        ),
        (
            {"tools": [{"name": "add"}], "prompt": TALK},
            [{"role": "tools", "content": '[{"name": "add"}]'}, *TALK],
        ),
    ],
)
def test_the_context_is_taken_from_its_columns(columns: dict[str, Any], prompt: Any) -> None:
    data = load(table(**columns, chosen="g", rejected="b"))
    assert data.frame["prompt"].tolist() == [prompt] * N
    assert set(columns) <= set(data.reading.used)


def test_a_text_that_may_be_the_context_is_asked_for() -> None:
    rows = table(frage=lambda i: f"Was ist {i} plus 2?", chosen="vier", rejected="zwei")
    with pytest.raises(DataError, match="column 'frage' may be one: say --columns prompt=frage"):
        load(rows)
    assert load(rows, columns="prompt=frage").frame["prompt"][3] == "Was ist 3 plus 2?"
    data = load(rows, columns={"ignore": "frage"})
    assert (data.frame["prompt"] == "").all()
    assert not data.reading.unused


def test_context_beside_a_prompt_is_named() -> None:
    data = load(table(prompt="p", context=lambda i: f"text {i} here", chosen="g", rejected="b"))
    assert data.reading.unused == ("context",)
    assert "not used (kept as metadata): context" in data.notices[-1]


@pytest.mark.parametrize(
    ("columns", "mapping", "chosen"),
    [
        ({"response_a": "x", "response_b": "y", "winner": "b"}, "", "y"),
        ({"response_a": "x", "response_b": "y", "preference": "model_a"}, "", "x"),
        ({"answer_1": "x", "answer_2": "y", "better": 2}, "", "y"),
        ({"completion_0": "x", "completion_1": "y", "choice": "1"}, "", "y"),
        ({"Response A": "x", "Response B": "y", "Winner": "Response B"}, "", "y"),
        ({"u": "x", "v": "y", "w": 0}, "chosen=u,rejected=v,label=w", "y"),
        ({"u": "x", "v": "y", "w": -2.5}, "chosen=u,rejected=v,label=w", "y"),
        (
            {"answer1": "x", "answer2": "y", "w": {"selected": "right"}},
            "chosen=answer1,rejected=answer2,label=w.selected",
            "y",
        ),
        ({"u": "x", "v": "y", "w": "v"}, "chosen=u,rejected=v,label=w", "y"),
    ],
)
def test_a_vote_is_read_where_its_words_tell(
    columns: dict[str, Any], mapping: str, chosen: str
) -> None:
    data = load(table(prompt=lambda i: f"p{i}", **columns), columns=mapping or None)
    assert data.type == "preference"
    assert data.frame["chosen"].tolist() == [chosen] * N


@pytest.mark.parametrize("values", [(1, 7), (1.0001, 1.9998), (0.1, 0.9), (0, 1, 2)])
def test_numbers_without_a_sign_are_no_strengths(values: tuple[float, ...]) -> None:
    columns = {"u": "x", "v": "y", "w": lambda i: values[i % len(values)]}
    mapping = "chosen=u,rejected=v,label=w"
    with pytest.raises(DataError, match=r"column 'w' holds .* does not say which .* below 0"):
        load(table(prompt=lambda i: f"p{i}", **columns), columns=mapping)
    columns["w"] = lambda i: values[i % len(values)] - 1.05  # about a middle of 0
    data = load(table(prompt=lambda i: f"p{i}", **columns), columns=mapping)
    assert data.frame["chosen"].tolist() == ["y" if columns["w"](i) < 0 else "x" for i in range(N)]


def test_a_column_whose_own_name_has_a_dot_is_found_and_used() -> None:
    columns = {
        "Input.ask": lambda i: f"Was ist {i}?",
        "Input.a": "x",
        "Input.b": "y",
        "Answer.w": 0,
    }
    mapping = "prompt=Input.ask,chosen=Input.a,rejected=Input.b,label=Answer.w"
    data = load(table(**columns), columns=mapping)
    assert (data.frame["prompt"][3], data.frame["chosen"][3]) == ("Was ist 3?", "y")
    assert set(data.reading.used) == set(columns)
    assert not data.reading.unused


@pytest.mark.parametrize(
    "pair",
    [("pos_resp", "neg_resp"), ("good", "bad"), ("better_answer", "worse_answer"),
     ("preferred", "rejected"), ("response_win", "response_lose"), ("response_j", "response_k")],
)  # fmt: skip
def test_a_pair_is_told_by_words_for_better_and_worse(pair: tuple[str, str]) -> None:
    data = load(
        table(prompt=lambda i: f"p{i}", **dict(zip(pair, ("gut", "schlecht"), strict=True)))
    )
    assert data.type == "preference"
    assert (data.frame["chosen"] == "gut").all()


def test_marks_called_good_and_bad_are_no_texts() -> None:
    with pytest.raises(DataError, match="how labels and responses belong together"):
        load(table(prompt="p", response="x", good_answer=lambda i: i % 2, bad_answer=0))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ([{"from": "human", "value": "Why?"}], ("The sum is 4.", "The sum is 5.")),
        ("Why is it so?", ("The sum is 4.", "The sum is 5.")),
    ],
)
def test_a_common_beginning_of_two_answers_is_no_prompt_where_a_column_may_be_one(
    asked: Any, said: tuple[str, str]
) -> None:
    rows = [
        {"trajectory": asked if isinstance(asked, list) else f"{i} {asked}", "chosen": said[0],
         "rejected": said[1]}
        for i in range(N)
    ]  # fmt: skip
    with pytest.raises(DataError, match="column 'trajectory' may be one"):
        load(rows)
    whole = [{**row, "chosen": f"\n\nHuman: Why?\n\nAssistant: {said[0]}",
              "rejected": f"\n\nHuman: Why?\n\nAssistant: {said[1]}"} for row in rows]  # fmt: skip
    assert load(whole).frame["chosen"].str.strip().tolist() == [said[0]] * N


@pytest.mark.parametrize(
    "columns",
    [
        {"response_a": "x", "response_b": "y", "label": lambda i: i % 2},  # which is 1?
        {"response_1": "x", "response_2": "y", "overall_preference": lambda i: i - 3},
        {"response_a": "x", "response_b": "y", "winner": lambda i: f"gpt-{i}"},
        {"response": "x", "score": 0.5},
        {"replies": lambda i: ["x", "y"], "votes": lambda i: [1, 2]},
        {"better_response_id": 1},
    ],
)
def test_labels_that_do_not_tell_are_refused_by_name(columns: dict[str, Any]) -> None:
    rows = table(prompt=lambda i: f"p{i}", **columns)
    for read in (load, validate):
        with pytest.raises(DataError) as error:
            read(rows)
        assert all(name in str(error.value) for name in columns)
        assert "--columns" in str(error.value)
    assert load(rows, type="deployment").type == "deployment"


@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        ({"replies": ["x", "y"], "rank": [1, 2]}, "outputs=replies,ranking=rank"),
        ({"replies": ["x", "y"], "score": [1, 2]}, "outputs=replies,ratings=score"),
        ({"completions": ["x", "y"], "chosen": 0}, "outputs=completions (and"),
        ({"response": "x", "rank": 1}, "output=response (and"),
        ({"response": "x", "score": 1.5}, "output=response,rating=score"),
        ({"response": "x", "thumbs": True}, "output=response,label=thumbs"),
        ({"antwort_1": "x", "antwort_2": "y", "bewertung": "?"},
         "chosen=antwort_1,rejected=antwort_2,label=bewertung"),
    ],
)  # fmt: skip
def test_advice_never_turns_a_rank_into_a_score(columns: dict[str, Any], advice: str) -> None:
    with pytest.raises(DataError, match="--columns") as error:
        load(table(prompt=lambda i: f"p{i}", **columns))
    assert f"--columns {advice}" in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chosen", "say NAME=COLUMN"),
        ("choosen=a", "did you mean chosen"),
        ("chosen=a,chosen=b", "given twice"),
        ("chosen=nothing", "no column 'nothing'"),
    ],
)
def test_a_wrong_mapping_is_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load(PAIRS, columns=text)
    assert not parse_columns(None)


def test_labels_and_rewards_are_numbers_however_they_are_written() -> None:
    words = ["1", "0", "true", "no", "good", "bad"]
    rows = table(prompt="p", output=lambda i: f"o{i}", label=lambda i: words[i])
    assert load(rows).frame["label"].tolist() == [True, False] * 3
    rewards = [Decimal("1.5"), "1.5", 1.5, [1.5], None, 1]
    frame = load(
        [
            {**p, "chosen_reward": r, "rejected_reward": 0}
            for p, r in zip(PAIRS, rewards, strict=True)
        ]
    ).frame
    assert frame["chosen_reward"].fillna(-1).tolist() == [1.5, 1.5, 1.5, 1.5, -1, 1]
    with pytest.raises(DataError, match="'spam' says neither yes nor no"):
        load(table(prompt="p", output="o", label="spam"))


def test_average_ranks_are_ties() -> None:
    ranks = [[1.5, 1.5, 3], [3.0, 1.0, 2.0], [2, 2, 2], ["1", "2", "3"], [1, 2.5, 2.5]]
    rows = [{"prompt": "p", "outputs": ["x", "y", "z"], "ranking": each} for each in ranks]
    expected = [[1, 1, 3], [3, 1, 2], [2, 2, 2], [1, 2, 3], [1, 2, 2]]
    assert load(rows).frame["ranking"].tolist() == expected


def test_conversations_in_cells_are_decoded(tmp_path: Path) -> None:
    answer = [*TALK, {"role": "assistant", "content": "it's so"}]
    for write in (json.dumps, repr, lambda v: repr(v).replace("}, {", "}\n {")):
        frame = pd.DataFrame(
            [{"prompt": write(TALK), "chosen": write(answer), "rejected": write(answer)}] * 2
        )
        frame.to_csv(tmp_path / "d.csv", index=False)
        frame.to_parquet(tmp_path / "d.parquet")
        for name in ("d.csv", "d.parquet"):
            got = load(tmp_path / name).frame
            assert (got["prompt"][0], got["chosen"][0]) == (TALK, "it's so")


def test_tool_calls_reach_prompt_and_output() -> None:
    call = {"id": "x", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    turn = {"role": "assistant", "content": None, "tool_calls": [call]}
    data = load([{"prompt": [*TALK, turn], "chosen": [turn], "rejected": "no"}])
    kept = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    assert data.frame["prompt"][0][1]["tool_calls"] == [kept]
    expected = '<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call>'
    assert data.frame["chosen"][0] == expected


def test_what_turns_hold_beside_their_text_is_named() -> None:
    turn = {"role": "assistant", "content": "g", "reasoning_content": "hm", "weight": 1}
    data = load([{"prompt": "p", "chosen": [turn], "rejected": "b"}])
    assert any("reasoning_content of a response is not scored" in line for line in data.notices)
    assert any("not read: weight" in line for line in data.notices)
    picture = [{"role": "user", "content": [{"type": "image"}]}]
    with pytest.raises(DataError, match="images, audio and video are not read"):
        load([{"prompt": picture, "chosen": "a", "rejected": "b"}])


def test_rows_of_one_id_are_a_group() -> None:
    data = load([{**row, "id": f"item-{i // 2}"} for i, row in enumerate(PAIRS)])
    assert data.frame["id"].tolist()[:3] == ["item-0", "item-0#2", "item-1"]
    assert data.frame["group"].tolist() == [
        "item-0",
        "item-0",
        "item-1",
        "item-1",
        "item-2",
        "item-2",
    ]
    assert data.source.rows_set_aside == 0
    assert "3 ids are on several rows" in data.notices[0]
    assert "1 id is on several rows" in load([{**row, "id": "x"} for row in PAIRS]).notices[0]


def test_who_the_annotators_are_is_used_where_it_is_a_list() -> None:
    votes = {"annotator_votes": ["chosen", "rejected"], "annotator_age": ["old", "young"]}
    rows = [{**row, **votes, "annotator_pay": 3} for row in PAIRS]
    assert load(rows).reading.unused == ("annotator_pay",)
    without = [{**row, "annotator_age": ["old", "young"]} for row in PAIRS]
    assert load(without).reading.unused == ("annotator_age",)


def test_losses_and_unused_columns_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "rmaudit"):
        load([*PAIRS, {"prompt": "p", "chosen": 3, "rejected": "b", "model": "m"}])
    assert [record.getMessage() for record in caplog.records] == [
        "<memory>: 1 of 7 rows set aside: wrong type (1); rmaudit validate lists them",
        "<memory>: not used (kept as metadata): model",
    ]


def test_samples_of_one_a_row_are_gathered_by_prompt() -> None:
    rows = [
        {"prompt": f"p{i % 2}", "completion": f"c{i}", "reward": i / 10, "step": i // 4}
        for i in range(N)
    ]
    frame = load(rows, type="samples").frame
    assert frame["outputs"].tolist() == [["c0", "c2"], ["c1", "c3"], ["c4"], ["c5"]]
    assert frame["rewards"].tolist() == [[0.0, 0.2], [0.1, 0.3], [0.4], [0.5]]
    assert len(load(rows)) == N


def test_rewards_of_several_components_are_kept() -> None:
    whole = {"total": 3.0, "x": 1.0}
    rows = [{**row, "chosen_reward": whole, "rejected_reward": {"x": 2.0}} for row in PAIRS]
    frame = load(rows).frame
    assert frame["chosen_reward"].tolist() == [3.0] * N
    assert frame["rejected_reward"].isna().all()
    assert frame["chosen_components"][0] == whole


def test_the_views_give_responses_and_pairs_of_every_type() -> None:
    tie = {"prompt": "q", "chosen": "c", "rejected": "d", "tie": True}
    preference = load([{"prompt": "p", "chosen": "a", "rejected": "b"}, tie])
    chosen, rejected = preference.outputs()
    assert (chosen.name, rejected.name) == ("chosen", "rejected")
    assert (chosen.texts, rejected.texts) == (["a", "c"], ["b", "d"])
    assert (chosen.level - rejected.level).tolist() == [1.0, 0.0]
    pairs = preference.pairs()
    assert pairs is not None
    assert (pairs.chosen, pairs.tied.tolist()) == (["a", "c"], [False, True])

    ranking = load(
        [
            {"prompt": "p", "outputs": ["x", "y", "z"], "ranking": [2, 3, 1]},
            {"prompt": "q", "outputs": ["u", "v"], "ranking": [1, 1]},
        ]
    )
    third = ranking.outputs()[2]
    assert (third.name, third.rows.tolist(), third.prompts, third.texts) == (
        "output_2", [0], ["p"], ["z"],
    )  # fmt: skip
    assert [side.level.tolist() for side in ranking.outputs()] == [[-2, -1], [-3, -1], [-1]]
    pairs = ranking.pairs()
    assert pairs is not None
    assert (pairs.chosen, pairs.rejected) == (["z", "u"], ["y", "u"])
    assert pairs.tied.tolist() == [False, True]

    rating = load([{"prompt": "p", "output": "o", "rating": 4}])
    assert rating.outputs()[0].level.tolist() == [4.0]
    assert rating.pairs() is None
    samples = load([{"prompt": "p", "outputs": ["x"], "rewards": [1.0]}])
    assert [side.texts for side in samples.outputs()] == [["x"]]
    assert pd.isna(samples.outputs()[0].level).all()
    assert load([{"prompt": "p"}]).outputs() == ()


def test_columns_that_the_reward_reads_are_not_told_as_unused(caplog):
    data = table(
        prompt=lambda i: f"Is {i} odd?",
        chosen=lambda i: f"good {i}",
        rejected=lambda i: f"bad {i}",
        solution="x",
        extra={"key": 1},
        origin="here",
    )
    assert load(data).notices == ("<memory>: not used (kept as metadata): solution, extra, origin",)
    caplog.clear()
    read = load(data, reads=lambda data: ("solution", "extra.key"))
    assert read.reading.used == ("prompt", "chosen", "rejected", "solution", "extra")
    assert [record.getMessage() for record in caplog.records] == list(read.notices)
    assert read.notices == ("<memory>: not used (kept as metadata): origin",)


def test_a_mapped_column_without_a_place_is_refused_and_possible_ratings_are_named() -> None:
    picked = [{"text": f"{i}?", "options": ["a", "b"], "best": ["a"]} for i in range(4)]
    with pytest.raises(DataError, match=r"label=.* has no place"):
        load(picked, columns="prompt=text,outputs=options,label=best")
    with pytest.raises(DataError, match=r"rating=.* has no place"):
        load(
            [{"q": f"{i}?", "a": "x", "b": "y", "s": 3} for i in range(4)],
            columns="prompt=q,chosen=a,rejected=b,rating=s",
        )
    rated = [{"prompt": f"{i}?", "response": f"r{i}", "fluency": i % 3} for i in range(9)]
    assert "--columns rating=fluency" in " ".join(load(rated).reading.notes)
    read = load(rated, columns="rating=fluency")
    assert read.type == "rating"
    assert not read.reading.notes
