"""The published layouts: each one's example row is recognised, and read as it says."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from rmaudit.data import load
from rmaudit.data.layouts import Layout, layouts, register_layout
from rmaudit.data.layouts.shapes import Fields, word

EXAMPLES = {name: dict(layout.example) for name, layout in layouts.items()}


def messages() -> list[dict[str, Any]]:
    """Two trees of messages, one per row: a question, and two answers by rank."""
    reply = EXAMPLES["oasst-messages"]
    found = []
    for tree, asked in (("t", "What is 2 plus 2?"), ("u", "What is 3 plus 1?")):
        first = {"message_id": tree, "parent_id": None, "message_tree_id": tree, "text": asked}
        found.append({**first, "role": "prompter", "rank": None})
        for rank, text in ((1, "5"), (0, "4")):
            of_tree = {"parent_id": tree, "message_tree_id": tree, "message_id": f"{tree}{rank}"}
            found.append({**reply, **of_tree, "text": text, "rank": rank})
    return found


def rows(name: str) -> list[dict[str, Any]]:
    """The example as a table of two rows, of which the prompts differ."""
    if name == "oasst-messages":
        return messages()
    text = json.dumps(EXAMPLES[name])
    return [
        json.loads(text),
        json.loads(text.replace("2 plus 2", "3 plus 1").replace('"id": 0', '"id": 1')),
    ]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_recognised_and_its_context_and_responses_arrive(name: str) -> None:
    data = load(rows(name))
    shape = layouts[name].shape
    assert data.reading.layout == name
    assert data.type == shape.kind
    assert data.source.rows_used == len(rows(name))
    assert not data.set_aside
    said = json.dumps(data.frame["prompt"].tolist())
    asked = "2 plus 2" if "2 plus 2" in json.dumps(rows(name)) else "2 and 2"
    assert asked in said
    frame = data.frame
    if data.type == "preference":
        # In every example "4" is right and "5" is wrong.
        assert all("4" in text for text in frame["chosen"])
        assert all("5" in text for text in frame["rejected"])
        assert not frame["tie"].any()
    elif data.type == "ranking":
        for outputs, ranks in zip(frame["outputs"], frame["ranking"], strict=True):
            best = [t for t, rank in zip(outputs, ranks, strict=True) if rank == min(ranks)]
            assert all("4" in text for text in best)
            assert max(ranks) > min(ranks)
    elif data.type == "unpaired":
        assert all(
            ("5" not in t) == good for t, good in zip(frame["output"], frame["label"], strict=True)
        )
    elif data.type == "samples":
        assert frame["rewards"].tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_entry_says_what_it_was_checked_against(name: str) -> None:
    layout = layouts[name]
    assert layout.title
    assert layout.source
    assert layout.checked in ("file", "documentation", "unchecked")
    assert layout.shape.reads & set(layout.example)


def test_a_package_adds_a_layout_by_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("mine", "tests_layout_plugin", "rmaudit.layouts")

    def plug(self: EntryPoint) -> object:
        register_layout(
            Layout(
                "mine",
                "Our own",
                ("frage", "gut", "schlecht"),
                Fields("preference", {"prompt": "frage", "chosen": "gut", "rejected": "schlecht"}),
                "none",
                "documentation",
                {"frage": "a", "gut": "b", "schlecht": "c"},
            )
        )
        return self

    monkeypatch.setattr(EntryPoint, "load", plug)
    monkeypatch.setattr("rmaudit.registry.entry_points", lambda group: [entry])
    monkeypatch.setattr(layouts, "_loaded", False)
    monkeypatch.setattr(layouts, "_things", {})
    data = load([{"frage": "p", "gut": "g", "schlecht": "b"}])
    assert (data.reading.layout, data.frame["chosen"][0]) == ("mine", "g")


def test_rm_bench_crosses_the_styles_within_one_item() -> None:
    frame = load(rows("rm-bench")).frame
    assert len(frame) == 18
    assert frame["group"].nunique() == 2
    styles = ("concise", "detailed_plain", "detailed_markdown")
    first = frame[:9]
    expected = [(a, b) for a in styles for b in styles]
    assert list(zip(first["style"], first["style_rejected"], strict=True)) == expected
    right, wrong = EXAMPLES["rm-bench"]["chosen"], EXAMPLES["rm-bench"]["rejected"]
    assert first["chosen"].tolist() == [right[styles.index(a)] for a, _ in expected]
    assert first["rejected"].tolist() == [wrong[styles.index(b)] for _, b in expected]


def test_turns_that_were_not_judged_are_cut() -> None:
    def talk(first: str, second: str) -> list[dict[str, str]]:
        texts = ("a?", first, "b?", second)
        return [
            {"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)
        ]

    row = {"winner": "model_b", "conversation_a": talk("1", "2"), "conversation_b": talk("3", "4")}
    frame = load([{**row, "turn": 1}, {**row, "turn": 2}]).frame
    assert frame["chosen"].tolist() == ["3", "4"]
    assert [len(prompt) for prompt in frame["prompt"]] == [1, 3]


def test_votes_decide_and_are_kept_with_their_names() -> None:
    row = dict(EXAMPLES["multipref"])
    row["normal_worker_annotations"] = [
        {"evaluator": "x", "overall_pref": "B-is-slightly-better"},
        {"evaluator": "y", "overall_pref": "Tie"},
        {"evaluator": "z", "overall_pref": "B-is-clearly-better"},
        {"evaluator": "w", "overall_pref": "A-is-clearly-better"},
    ]
    frame = load([row]).frame
    assert (frame["chosen"][0], frame["rejected"][0]) == ("5", "4")
    assert frame["annotator_votes"][0] == ["chosen", "tie", "chosen", "rejected"]
    assert frame["annotators"][0] == ["x", "y", "z", "w"]


@pytest.mark.parametrize(
    ("strength", "chosen", "tie"), [(-3, "4", False), (1, "5", False), (0, "4", True)]
)
def test_a_strength_prefers_by_its_sign(strength: int, chosen: str, tie: bool) -> None:
    row = {**EXAMPLES["helpsteer2-preference"], "preference_strength": strength}
    frame = load([row]).frame
    assert (frame["chosen"][0], frame["tie"][0]) == (chosen, tie)
    assert frame["strength"][0] == abs(strength)


def test_the_shared_root_of_a_tree_is_the_context() -> None:
    row = json.loads(json.dumps(EXAMPLES["oasst-trees"]))
    reply = row["prompt"]["replies"][0]
    reply["replies"] = [
        {
            "text": "And 3 plus 3?",
            "role": "prompter",
            "replies": [
                {"text": "7", "role": "assistant", "rank": 1, "replies": []},
                {"text": "6", "role": "assistant", "rank": 0, "replies": []},
            ],
        }
    ]
    frame = load([row]).frame
    assert [len(prompt) for prompt in frame["prompt"]] == [1, 3]
    assert frame["ranking"].tolist() == [[1, 2], [2, 1]]
    assert frame["group"].nunique() == 1


def test_a_row_that_is_not_built_as_its_layout_is_is_set_aside_with_what_it_lacks() -> None:
    broken = json.loads(json.dumps(EXAMPLES["oasst-trees"]))
    del broken["prompt"]["replies"][0]["text"]
    data = load([EXAMPLES["oasst-trees"], broken])
    assert (data.source.rows_used, data.source.rows_set_aside) == (1, 1)
    [aside] = data.set_aside
    assert (aside.row, aside.reason) == (2, "not built as this layout is")
    assert aside.detail == "no 'text' inside"


def test_a_file_of_a_layout_may_be_in_any_container(tmp_path: Path) -> None:
    path = tmp_path / "shp.json"
    path.write_text(json.dumps(rows("shp")))
    assert load(path).reading.layout == "shp"


def shepherd(text: str, signed: str) -> dict[str, str]:
    """A row as Math-Shepherd's authors published them."""
    return {"input": text, "label": signed, "task": "GSM8K"}


def test_signs_stand_where_the_tags_do_and_not_where_a_sum_has_one() -> None:
    text = "What is 2 + 2 - 1? Step 1: 2 + 2 = 4. ки\nStep 2: 4 - 1 = 2. ки\nStep 3: So 2. ки"
    signed = text.replace("ки", "+", 1).replace("ки", "-", 1).replace("ки", "-", 1)
    frame = load([shepherd(text, signed)]).frame
    assert frame["prompt"].tolist() == ["What is 2 + 2 - 1?"] * 3
    assert frame["label"].tolist() == [True, False, False]
    assert frame["output"][2] == "Step 1: 2 + 2 = 4.\nStep 2: 4 - 1 = 2.\nStep 3: So 2."
    assert frame["step"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("text", "signed", "reason"),
    [
        ("Why? Step 1: a ки", "Why? Step 1: b +", "not the same text"),
        ("Why? Step 1: a ки", "Why? Step 1: a *", "not the same text"),
        ("Why? Step 1: a ки b", "Why? Step 1: a + b", "a step without its tag"),
        ("Why? First a ки", "Why? First a +", "no 'Step 1:'"),
    ],
)
def test_tagged_steps_that_cannot_be_told_are_set_aside(
    text: str, signed: str, reason: str
) -> None:
    good = shepherd("Why? Step 1: a ки", "Why? Step 1: a -")
    data = load([good, shepherd(text, signed)])
    assert [fault.reason for fault in data.set_aside] == [reason]
    assert data.frame["label"].tolist() == [False]


def test_a_conversation_with_another_answer_than_a_sign_is_no_solution() -> None:
    row = json.loads(json.dumps(EXAMPLES["signed-conversations"]))
    row["conversations"][-1]["content"] = "So it is."
    assert load([row]).reading.layout == ""


def test_the_page_lists_each_layout_as_it_is_declared() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    for name, layout in layouts.items():
        line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        for words in (layout.title, layout.shape.kind, layout.source, layout.checked):
            assert words in line


def test_the_response_of_ms_swift_stands_behind_the_last_question() -> None:
    call = {"role": "tool_call", "content": '{"name": "add"}'}
    result = {"role": "tool_response", "content": "4"}
    ask, good = ({"role": role, "content": "x"} for role in ("user", "assistant"))
    row = {
        "messages": [ask, call, result, good],
        "rejected_response": [{"role": "assistant", "content": "y"}],
    }
    frame = load([row]).frame
    assert [turn["role"] for turn in frame["prompt"][0]] == ["user", "assistant", "tool"]
    assert [turn["role"] for turn in frame["prompt_rejected"][0]] == ["user"]
    assert (frame["chosen"][0], frame["rejected"][0]) == ("x", "y")


def test_messages_one_a_row_are_one_ranking_a_turn_with_all_turns_before_it() -> None:
    tree = messages()[:3]
    more = [
        {**tree[0], "message_id": "q2", "parent_id": "t0", "text": "Sure?"},
        {**tree[1], "message_id": "a", "parent_id": "q2", "text": "Yes.", "rank": 0},
        {**tree[1], "message_id": "b", "parent_id": "q2", "text": "No.", "rank": 1},
        {**tree[1], "message_id": "c", "parent_id": "q2", "text": "Hm.", "rank": None},
        {**tree[1], "message_id": "d", "parent_id": "elsewhere", "text": "Lost."},
    ]
    data = load([*tree, *more])
    assert data.frame["outputs"].tolist() == [["5", "4"], ["Yes.", "No."]]
    assert data.frame["ranking"].tolist() == [[2, 1], [1, 2]]
    assert [m["content"] for m in data.frame["prompt"][1]] == ["What is 2 plus 2?", "4", "Sure?"]
    assert data.frame["group"].tolist() == ["t", "t"]
    assert (data.source.rows_read, data.source.rows_used, data.source.rows_set_aside) == (8, 6, 2)
    assert set(data.source.reasons) == {"a reply without a rank", "no such message before it"}


def test_messages_that_gain_a_column_later_still_know_their_parents() -> None:
    first, *replies = messages()[:3]
    data = load([first, *({**each, "lang": "en"} for each in replies)])
    assert data.frame["outputs"].tolist() == [["5", "4"]]


@pytest.mark.parametrize(
    ("flags", "chosen", "tie"), [((1, 0, 0), "4", False), ((0, 1, 0), "5", False),
                                 ((0, 0, 1), "4", True), (("", "1.0", ""), "5", False),
                                 ((1, 1, 0), None, None), ((0, 0, 0), None, None)],
)  # fmt: skip
def test_a_winner_is_marked_by_one_column_of_several(
    flags: tuple[object, ...], chosen: str | None, tie: bool | None
) -> None:
    names = ("winner_model_a", "winner_model_b", "winner_tie")
    good = dict(EXAMPLES["arena-55k"])
    row = {**good, **dict(zip(names, flags, strict=True)), "id": 1}
    data = load([good, row])
    if chosen is None:
        assert data.source.rows_set_aside == 1
    else:
        assert (data.frame["chosen"][1], data.frame["tie"][1]) == (chosen, tie)


def test_both_conversations_of_the_kaggle_table_keep_their_own_turns() -> None:
    row = {
        **EXAMPLES["arena-55k"],
        "prompt": '["2 and 2?", "And 1?"]',
        "response_a": '["4", "6"]',
        "response_b": '["four", "5"]',
        "winner_model_a": 0,
        "winner_model_b": 1,
    }
    frame = load([row]).frame
    assert (frame["chosen"][0], frame["rejected"][0]) == ("5", "6")
    assert [m["content"] for m in frame["prompt"][0]] == ["2 and 2?", "four", "And 1?"]
    assert [m["content"] for m in frame["prompt_rejected"][0]] == ["2 and 2?", "4", "And 1?"]
    assert load([row, {**row, "response_a": '["4"]'}]).source.rows_set_aside == 1


@pytest.mark.parametrize(
    ("ranks", "said"), [((1, 2), "chosen"), ((2, 1), "rejected"), ((1, 1), "tie")]
)
def test_an_order_that_an_annotator_gave_is_a_vote(ranks: tuple[int, int], said: str) -> None:
    row = dict(EXAMPLES["argilla-2"])
    order = [{"rank": r, "value": f"response{i}"} for i, r in enumerate(ranks, 1)]
    votes = [{"value": "response1", "user_id": u} for u in ("x", "y")]
    row["responses"] = {"preference": [*votes, {"value": order, "user_id": "z"}]}
    assert load([row]).frame["annotator_votes"][0] == ["chosen", "chosen", said]


def test_a_harness_s_samples_are_read_once_whatever_the_number_of_filters() -> None:
    row = EXAMPLES["lm-eval-samples"]
    two = {**row, "doc_id": 1, "doc": {"question": "3 plus 1?"}, "resps": [["4", "5"]]}
    asked = json.loads(json.dumps(two).replace("What is 2 plus 2?", "3 plus 1?"))
    rows = [{**each, "filter": name} for name in ("strict", "flexible") for each in (row, asked)]
    frame = load(rows).frame
    assert frame["outputs"].tolist() == [["4"], ["4", "5"]]
    assert frame["prompt"].tolist() == ["What is 2 plus 2?", "3 plus 1?"]
    assert frame["question"].tolist() == ["What is 2 plus 2?", "3 plus 1?"]


def test_a_verdict_of_any_number_is_a_word() -> None:
    words = [word(value) for value in (2.0, 2.5, float("inf"), float("nan"), " B ")]
    assert words == ["2", "2.5", "inf", "nan", "b"]
