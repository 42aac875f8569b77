"""Files of odd make: read as they are meant, or refused in a line that names what is not known."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rmaudit.data import load, validate
from rmaudit.errors import DataError

ASKED = [f"What is {n} plus 2?" for n in range(10)]
GOOD = [str(n + 2) for n in range(10)]
BAD = [str(n + 3) for n in range(10)]
PAIRS = list(zip(ASKED, GOOD, BAD, strict=True))


def table(path: Path, rows: list[dict[str, Any]], separator: str = ",") -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=separator)
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "names",
    [("PROMPT", "Chosen", "Rejected"), ("Question", " Chosen Response", "Rejected Response "),
     ("prompt", "preferred", "dispreferred"), ("Instruction", "Chosen Answer", "Rejected Answer")],
)  # fmt: skip
def test_responses_that_look_like_numbers_are_text_under_every_known_header(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    rows = [dict(zip(names, (p, f"0{g}", f"{b}.0"), strict=True)) for p, g, b in PAIRS]
    frame = load(table(tmp_path / "d.csv", rows)).frame
    assert frame["prompt"].tolist() == ASKED
    assert frame["chosen"].tolist() == [f"0{g}" for g in GOOD]
    assert frame["rejected"].tolist() == [f"{b}.0" for b in BAD]


@pytest.mark.parametrize(
    ("yes", "no"),
    [("yes", "no"), ("TRUE", "FALSE"), ("1.0", "0.0"), ("👍", "👎"), ("correct ", "incorrect"),
     (1.0, 0.0), (True, False)],
)  # fmt: skip
def test_words_for_good_and_bad_are_labels(yes: object, no: object) -> None:
    rows = [{"prompt": p, "completion": o, "label": label}
            for p, g, b in PAIRS for o, label in ((g, yes), (b, no))]  # fmt: skip
    assert load(rows).frame["label"].tolist() == [True, False] * 10


@pytest.mark.parametrize(("yes", "no"), [("accepted", "refused"), ("1", "2"), ("oui", "no")])
def test_labels_of_which_one_side_is_not_understood_are_refused(
    yes: str, no: str, tmp_path: Path
) -> None:
    rows = [{"prompt": p, "completion": o, "label": label}
            for p, g, b in PAIRS for o, label in ((g, yes), (b, no))]  # fmt: skip
    path = table(tmp_path / "d.csv", rows)
    for read in (load, validate):
        with pytest.raises(DataError, match="labels are not understood: column 'label', row"):
            read(path)


@pytest.mark.parametrize(("unknown", "used"), [(1, 9), (2, 8), (3, None)])
def test_a_few_verdicts_that_are_not_known_are_set_aside_and_many_refuse_the_file(
    unknown: int, used: int | None
) -> None:
    words = ["a", "b", "tie", "both bad", "a", "b", "a", "b", "a", "b"]
    words[:unknown] = ["unknown"] * unknown
    rows = [{"prompt": p, "response_a": g, "response_b": b, "winner": w}
            for (p, g, b), w in zip(PAIRS, words, strict=True)]  # fmt: skip
    if used is None:
        with pytest.raises(DataError, match="'winner'"):
            load(rows)
        return
    data = load(rows)
    assert (data.source.rows_used, data.source.reasons) == (used, {"not a verdict": unknown})


def test_columns_of_0_and_1_mark_the_better_response() -> None:
    rows = [{"prompt": p, "answer_1": g, "answer_2": b, "is_better_1": int(i % 2 == 0),
             "is_better_2": int(i % 2)} for i, (p, g, b) in enumerate(PAIRS)]  # fmt: skip
    frame = load(rows).frame
    assert frame["chosen"].tolist() == [(g, b)[i % 2] for i, (_, g, b) in enumerate(PAIRS)]


MODELS = ("large", "small")


@pytest.mark.parametrize(
    ("sides", "authors", "verdict"),
    [
        ("ab", "model_{}", "winner"),
        ("12", "generator_{}", "winner"),
        ("ab", "model_{}_name", "preference"),
        ("12", "model_{}", "winner_model"),
    ],
)
def test_a_verdict_may_name_the_model_of_a_response(sides: str, authors: str, verdict: str) -> None:
    first, second = (authors.format(side) for side in sides)
    winner = ["large", "small", "tie", "large", "small", "large", "both bad", "other", None, "x"]
    swapped = [i % 2 for i in range(10)]
    rows = [
        {"prompt": p, f"response_{sides[0]}": (g, b)[s], f"response_{sides[1]}": (b, g)[s],
         first: MODELS[s], second: MODELS[1 - s], verdict: w}
        for (p, g, b), s, w in zip(PAIRS, swapped, winner, strict=True)
    ]  # fmt: skip
    rows[9] |= {first: "x", second: "x"}  # the winner, and the loser
    data = load(rows)
    good = {"large": GOOD, "small": BAD}  # the large one gives the good response in all rows
    used = [(i, w) for i, w in enumerate(winner[:7])]
    assert [c for c, (i, w) in zip(data.frame["chosen"], used, strict=True) if w in good] == [
        good[w][i] for i, w in used if w in good
    ]
    assert data.frame["tie"].tolist() == [w not in good for _, w in used]
    assert data.source.reasons == {
        "not a verdict": 1, "no preference given": 1, "not one winner": 1
    }  # fmt: skip
    assert {first, second} <= set(data.reading.used)


def test_published_votes_may_name_the_model_too() -> None:
    talk = [[{"role": "user", "content": "What is 2 plus 2?"}, {"role": "assistant", "content": a}]
            for a in "45"]  # fmt: skip
    row = {"conversation_a": talk[0], "conversation_b": talk[1], "model_a": "m", "model_b": "n"}
    data = load([{**row, "winner": each} for each in ("n", "model_a", "m", "tie")])
    assert data.reading.layout == "arena"
    assert data.frame["chosen"].tolist() == ["5", "4", "4", "4"]
    with pytest.raises(DataError, match="'k'; known: model_a, model_b"):
        load([{**row, "winner": "k"}])


def test_a_vote_that_is_not_given_is_no_tie() -> None:
    rows = [{"prompt": p, "response_a": g, "response_b": b, "winner": w}
            for (p, g, b), w in zip(PAIRS, [None, *"abababab", "tie"], strict=True)]  # fmt: skip
    data = load(rows)
    assert data.source.reasons == {"no preference given": 1}
    assert data.frame["tie"].sum() == 1


@pytest.mark.parametrize(
    ("responses", "scores"),
    [
        ("response_{}", "score_{}"),
        ("response_{}", "response_{}_score"),
        ("output_{}", "rating_{}"),
        ("model_{}_output", "overall_score_{}"),
    ],
)
@pytest.mark.parametrize("sides", ["ab", "12"])
def test_the_higher_score_of_two_responses_wins_where_no_vote_is_there(
    responses: str, scores: str, sides: str
) -> None:
    given = [(5, 1), (1, 5), (2, 2.5), (3, 3)]
    rows = [
        {"prompt": p, responses.format(sides[0]): g, responses.format(sides[1]): b}
        | {scores.format(side): each for side, each in zip(sides, of_both, strict=True)}
        for (p, g, b), of_both in zip(PAIRS, given, strict=False)
    ]
    data = load(rows)
    assert data.frame["chosen"].tolist() == [GOOD[0], BAD[1], BAD[2], GOOD[3]]
    assert data.frame["tie"].tolist() == [False, False, False, True]
    assert data.frame["strength"].tolist() == [4, 4, 0.5, 0]
    voted = load([{**row, "winner": "tie" if i else sides[1]} for i, row in enumerate(rows)])
    assert voted.frame["chosen"][0] == BAD[0]  # a vote says more than scores: they are named
    assert set(voted.reading.unused) == {scores.format(side) for side in sides}


@pytest.mark.parametrize(
    "more",
    [
        {"toxicity_score_a": 5, "toxicity_score_b": 1},  # which is better?
        {"rank_a": 5, "rank_b": 1},
        {"reward_a": 5, "reward_b": 1},  # of a model, perhaps of the one to be audited
        {"score_a": 5, "score_b": 1, "rating_a": 1, "rating_b": 5},
        {"score_a": 5, "score_b": 1, "winner": "nobody"},
        {"score_a": "high", "score_b": "low"},
    ],
)
def test_scores_of_two_responses_that_do_not_tell_are_refused(more: dict[str, object]) -> None:
    rows = [{"prompt": p, "response_a": g, "response_b": b, **more} for p, g, b in PAIRS]
    with pytest.raises(DataError) as error:
        load(rows)
    assert all(name in str(error.value) for name in more)
    # The advice never takes a score of one response for a vote on both.
    assert not any(f"label={name}" in str(error.value) for name in more if name != "winner")


@pytest.mark.parametrize("first", [0, 1])
def test_a_list_of_responses_with_the_place_of_the_best_is_a_ranking(first: int) -> None:
    rows = [{"prompt": p, "candidates": [g, b, "none"], "best_index": i % 3 + first}
            for i, (p, g, b) in enumerate(PAIRS)]  # fmt: skip
    data = load([*rows, {**rows[0], "best_index": None}])
    assert data.type == "ranking"
    assert data.frame["ranking"].tolist()[:3] == [[1, 2, 2], [2, 1, 2], [2, 2, 1]]
    assert data.frame["outputs"].tolist() == [row["candidates"] for row in rows]
    assert data.source.reasons == {"no preference given": 1}
    outside = load([*rows, {**rows[0], "best_index": 7}])
    assert outside.source.reasons == {"not a verdict": 1}


@pytest.mark.parametrize("write", [repr, json.dumps])
def test_lists_of_responses_in_cells_are_decoded(write: Any, tmp_path: Path) -> None:
    rows = [{"prompt": p, "responses": write([g, f"it's {b}"]), "best_index": i % 2}
            for i, (p, g, b) in enumerate(PAIRS)]  # fmt: skip
    frame = load(table(tmp_path / "d.csv", rows)).frame
    assert frame["outputs"].tolist() == [[g, f"it's {b}"] for _, g, b in PAIRS]
    assert frame["ranking"].tolist() == [[1, 2], [2, 1]] * 5
    sides = [{"prompt": p, "chosen": write([g, "x"]), "rejected": write([b])} for p, g, b in PAIRS]
    frame = load(table(tmp_path / "e.csv", sides)).frame
    assert frame["outputs"].tolist() == [[g, "x", b] for _, g, b in PAIRS]
    assert frame["ranking"].tolist() == [[1, 1, 3]] * 10


@pytest.mark.parametrize("places", [[1, 1, 2], [0, 3, 1]])
def test_places_that_may_be_counted_from_0_or_1_are_refused(places: list[int]) -> None:
    rows = [{"prompt": p, "responses": [g, b, "none"], "chosen_index": place}
            for (p, g, b), place in zip(PAIRS, places, strict=False)]  # fmt: skip
    with pytest.raises(DataError, match="'chosen_index' may count 'responses' from 0 or from 1"):
        load(rows)


def test_scores_by_name_are_used_only_where_they_are_of_a_response() -> None:
    scores = {"scores": {"m": 1.0, "n": 2.0}}
    for more, used in (({}, False), ({"output": "o"}, True)):
        data = load([{"prompt": p, **more, **scores} for p in ASKED])
        assert data.type == "deployment"
        assert ("scores" in data.reading.used) is used
        assert ("scores" in data.reading.unused) is not used


def test_a_conversation_in_an_object_is_the_context() -> None:
    turn = {"role": "user", "content": "What is 2 plus 2?"}
    for name in ("conversation", "messages", "input"):
        frame = load([{name: {"messages": [turn]}, "chosen": "4", "rejected": "5"}]).frame
        assert frame["prompt"][0] == [turn]
    with pytest.raises(DataError, match="'dialog_context' may be one: say --columns"):
        load([{"dialog_context": {"lines": [turn]}, "chosen": "4", "rejected": "5"}])


def test_rows_that_lack_the_prompt_which_others_have_are_set_aside(tmp_path: Path) -> None:
    for place, name in enumerate(("prompt", "question")):
        part = {name: ASKED[:3], "chosen": GOOD[:3], "rejected": BAD[:3]}
        pq.write_table(pa.table(part), tmp_path / f"part-{place}.parquet")
    data = load(tmp_path)
    assert (data.source.rows_used, data.source.reasons) == (3, {"missing column": 3})
    assert "question" in data.reading.unused
    rows = [{"question": p, "chosen": g, "rejected": b} for p, g, b in PAIRS]
    assert load([*rows, {"chosen": "1", "rejected": "2"}]).source.rows_set_aside == 1


def test_a_decimal_comma_is_named(tmp_path: Path) -> None:
    rows = [{"prompt": p, "response": g, "rating": "4,5"} for p, g, _ in PAIRS]
    with pytest.raises(DataError, match="'4,5'; write a point for a decimal comma"):
        load(table(tmp_path / "d.csv", rows, ";"))


def test_prompts_with_a_reference_answer_are_deployment_data_and_the_answer_is_named() -> None:
    data = load([{"input": p, "label": g} for p, g, _ in PAIRS])
    assert (data.type, data.reading.unused) == ("deployment", ("label",))
    with pytest.raises(DataError, match="'label'"):  # a label of what?
        load([{"input": p, "label": "good"} for p, *_ in PAIRS])


def test_a_strength_of_preference_is_used_and_words_for_one_are_named() -> None:
    rows = [{"prompt": p, "chosen": g, "rejected": b, "margin": i}
            for i, (p, g, b) in enumerate(PAIRS)]  # fmt: skip
    data = load(rows)
    assert "margin" in data.reading.used
    assert data.strength is not None
    assert data.strength.tolist() == list(range(10))
    assert data.take(data.strength > 7).strength.tolist() == [8, 9]  # type: ignore[union-attr]
    words = load([{**row, "margin": "much"} for row in rows])
    assert (words.strength, words.reading.unused) == (None, ("margin",))


def test_a_prompt_that_is_no_text_behind_a_system_turn_is_named() -> None:
    rows = [
        {"system": "Be brief.", "question": question, "chosen": "4", "rejected": "5"}
        for question in ("What is 2 plus 2?", 2147483648)
    ]
    data = load(rows)
    assert len(data) == 1
    assert [(aside.row, aside.column) for aside in data.set_aside] == [(2, "prompt")]


def test_results_of_which_no_row_is_a_response_are_refused(tmp_path: Path) -> None:
    row = {"doc_id": 0, "doc": {"question": "q", "\ud800": 1}, "target": "4", "resps": [["4"]],
           "arguments": {"gen_args_0": {"arg_0": "q", "arg_1": {"until": []}}}, "filter": "none",
           "filtered_resps": ["4"], "metrics": ["reward"], "reward": 1.0}  # fmt: skip
    other = row | {"doc": {"question": "q"}, "filter": ["4"], "filtered_resps": "none"}
    path = tmp_path / "samples.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [row] * 11 + [other]))
    with pytest.raises(DataError, match="none of 12 rows can be used"):
        load(path)
    source = validate(path).source
    assert (source.rows_used, source.rows_set_aside) == (0, 12)
    assert source.reasons["nothing to compare"] == 1


def test_an_archive_is_refused_by_name(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "rows.jsonl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jsonl", '{"prompt": "p", "chosen": "a", "rejected": "b"}\n' * 5)
    with pytest.raises(DataError, match=r"is a zip archive .* which is not read; unpack it"):
        load(path)
