"""Prompts and outputs as TRL reads them."""

from __future__ import annotations

import pytest

from rmaudit.data.faults import Fault
from rmaudit.data.messages import context, extract_prompt, messages, output, prompt


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def bot(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


HUMAN = "\n\nHuman: What is 2 plus 2?\n\nAssistant:"
CHAT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant"


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt_"),
    [
        ("The sky is blue.", "The sky is green.", "The sky is"),
        ("The sky is blue.", "The sky is black.", "The sky is"),  # TRL cuts within the word
        (HUMAN + " The sum is 4.", HUMAN + " Then it is 5.", HUMAN),
        (HUMAN + " Hello.", HUMAN + " Hello. More.", HUMAN),  # one begins with the other
        (HUMAN + " same", HUMAN + " same", HUMAN),
        (HUMAN + " a" + HUMAN + " b", HUMAN + " a" + HUMAN + " c", HUMAN + " a" + HUMAN),
        (HUMAN + " a" + HUMAN + " b", HUMAN + " x" + HUMAN + " c", HUMAN),
        (CHAT + "\nyes", CHAT + "\nno", CHAT),
        ("same", "same", ""),
        ("abc", "abcdef", ""),
        ("xy", "zw", ""),
        ("a b", "a c", "a"),
        ("one\n\ntwo", "one\n\nthree", "one"),
    ],
)
def test_implicit_prompts_end_at_a_turn_or_between_words(
    chosen: str, rejected: str, prompt_: str
) -> None:
    for one, other in ((chosen, rejected), (rejected, chosen)):
        parts = extract_prompt(one, other)
        assert parts == (prompt_, one[len(prompt_) :], other[len(prompt_) :])


def test_the_sky_is_the_example_of_trl() -> None:
    parts = extract_prompt("The sky is blue.", "The sky is green.")
    assert parts == ("The sky is", " blue.", " green.")


@pytest.mark.parametrize(("chosen", "rejected"), [("", ""), ("", "a"), ("a ", "b ")])
def test_texts_without_a_common_prompt_have_none(chosen: str, rejected: str) -> None:
    assert extract_prompt(chosen, rejected) == ("", chosen, rejected)


def test_an_output_is_the_last_assistant_turn() -> None:
    assert output([user("a"), bot("b")], "chosen") == ([user("a")], "b")
    assert output([bot("b")], "chosen") == ([], "b")
    assert output("b", "chosen") == ([], "b")


@pytest.mark.parametrize("value", [[], [bot("a"), user("b")]])
def test_an_output_that_the_assistant_does_not_end_is_a_fault(value: list[object]) -> None:
    with pytest.raises(Fault, match="does not end with an assistant turn"):
        output(value, "chosen")


def test_content_in_text_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert messages([{"role": "user", "content": parts}], "prompt") == [user("ab")]


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ("text", "not a message list"),
        ({"speaker": "human", "value": "a"}, "not a message list"),
        ({"role": "assistant", "content": None}, "message content is not text"),
        ({"role": "user", "content": [{"type": "image"}]}, "message content is not text"),
        ({"role": "user", "content": 3}, "message content is not text"),
    ],
)
def test_turns_without_text_are_faults(turn: object, reason: str) -> None:
    with pytest.raises(Fault, match=reason):
        prompt([turn])


@pytest.mark.parametrize(
    ("given", "before", "expected"),
    [
        ("p", [], "p"),
        ("", [], ""),
        ([], [], []),
        ("", [user("p")], [user("p")]),
        # TRL: a plain prompt beside conversational outputs repeats their first turns.
        ("p", [user("p")], [user("p")]),
        ("p", [bot("a"), user("q")], [user("p"), bot("a"), user("q")]),
        ([user("p")], [bot("a"), user("q")], [user("p"), bot("a"), user("q")]),
        ([user("p")], [user("p")], [user("p")]),
    ],
)
def test_the_context_holds_each_turn_once(given: object, before: object, expected: object) -> None:
    assert context(given, before) == expected  # type: ignore[arg-type]
