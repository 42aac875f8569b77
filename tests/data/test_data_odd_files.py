"""Files of odd make: read as they are meant, or refused in a line that names what is not known."""

from __future__ import annotations

import csv
import io
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


def test_the_advice_never_takes_a_score_of_one_response_for_a_vote_on_both() -> None:
    rows = [{"prompt": p, "response_a": g, "response_b": b, "score_a": 5, "score_b": 1}
            for p, g, b in PAIRS]  # fmt: skip
    with pytest.raises(DataError, match="score_a") as error:
        load(rows)
    assert "label=score_a" not in str(error.value)
    assert "label=score_b" not in str(error.value)


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
