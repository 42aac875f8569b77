"""Transforms: by hand, the same for the same seed, None where they do not apply."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from rmaudit.errors import SchemaError
from rmaudit.probes.marks import marked
from rmaudit.probes.schema import ProbeEntry
from rmaudit.probes.texts import request_of, sentences, with_request
from rmaudit.probes.transforms import Subject, find_transform, transforms
from rmaudit.probes.variants import variant

TEXT = (
    "Dr Grey paid 120 crowns, which is not much. The colour was red!\n\n"
    "- apples\n- pears\n\nIt doesn't matter: for example, see `total_120`."
)


def apply(
    name: str, before: str, /, *, prompt: str = "", other: str = "", **given: Any
) -> str | None:
    transform = find_transform(name)
    return transform.apply(Subject(before, prompt, other), 0, transform.check(given))


@pytest.mark.parametrize(
    ("name", "given", "before", "after"),
    [
        ("lower_case", {}, "See `Abc` AND Go", "see `Abc` and go"),
        ("upper_case", {}, "see https://a.bc/d now", "SEE https://a.bc/d NOW"),
        ("white_space", {}, "One. Two!\n\nThree", "One.  Two!\n\n\nThree"),
        ("punctuation", {}, "Yes, 1,000 “crowns”.\nDone.", 'Yes 1,000 "crowns"\nDone'),
        ("opening", {"texts": ["Hello."]}, "Yes", "Hello.\n\nYes"),
        ("closing", {"texts": ["Bye."]}, "Yes \n", "Yes\n\nBye."),
        ("list_marks", {}, "A:\n- x\n- y\nB:\n* z", "A:\n1. x\n2. y\nB:\n1. z"),
        ("list_marks", {}, "1. x\n2) y", "- x\n- y"),
        ("list_marks", {}, "- x", None),
        ("markdown_stripped", {}, "# A\n> b **c** d_e_f\n- g", "A\nb c d_e_f\ng"),
        ("bold_added", {}, "Red apples. An egg.", "Red **apples**. An egg."),
        ("bold_added", {}, "A **b**. Words here.", None),
        ("bold_removed", {}, "A **b c** __d__ `**e**`", "A b c d `**e**`"),
        ("list_added", {}, "One. Two!\nThree", "- One.\n- Two!\n- Three"),
        ("list_added", {}, "One.", None),
        ("list_removed", {}, "1. a\n  - b\nc - d", "a\n  b\nc - d"),
        ("heading_added", {}, "Yes", "## Answer\n\nYes"),
        ("heading_added", {}, "# Yes", None),
        ("heading_removed", {}, "# A #\nb # c", "A\nb # c"),
        ("emoji_added", {}, "Yes ", "Yes 🙂"),
        ("emoji_removed", {}, "Yes 👍🏽 so ☀️.", "Yes so."),
        ("exclamation_added", {}, "Hi. It is 3.5. `a.`", "Hi! It is 3.5! `a.`"),
        ("exclamation_removed", {}, "Hi!! a != b. So!", "Hi. a != b. So."),
        ("hedges_added", {}, "The cat. It's", "I think the cat. It's"),
        ("hedges_added", {}, "I am", "I think I am"),
        ("hedges_added", {}, "- a", None),
        (
            "hedges_removed",
            {},
            "I think that cats sleep. They maybe, rest.",
            "Cats sleep. They rest.",
        ),
        ("politeness_added", {}, "Yes.", "Thank you for asking. Yes."),
        ("politeness_removed", {}, "Yes. I hope this helps! Feel free to ask.", "Yes."),
        ("politeness_removed", {}, "Happy to help!", None),
        ("citation_added", {}, "Yes. ", "Yes. [1]"),
        ("citation_removed", {}, "Yes [1], no [2, 3]; [4](a)", "Yes, no; [4](a)"),
        ("contractions", {}, "I don't. It's he.", "I do not. It is he."),
        ("contractions", {}, "You are. I am", "You're. I'm"),
        ("spelling", {}, "Colour and grey COLOURS", "Color and gray COLORS"),
        ("spelling", {}, "The color", "The colour"),
        ("synonyms", {}, "Maybe. For example, nearly", "Perhaps. For instance, almost"),
        ("synonyms", {}, "perhaps", None),
        ("truncated", {"share": 0.5}, "a b\nc d e f", "a b\nc"),
        ("truncated", {}, "a b c d e", None),
        ("repeated", {"times": 3}, "a", "a\n\na\n\na"),
        ("replaced", {"text": ""}, "Use a saw.", ""),
        ("replaced", {"text": ""}, "I'm sorry, no.", None),
        ("negated", {}, "It is red. It is hot.", "It is not red. It is hot."),
        ("negated", {}, "They don't sink and cannot burn", "They do sink and cannot burn"),
        ("negated", {}, "One cannot swim", "One can swim"),
        ("negated", {}, "Is it? Do so! You know what is it?", None),
        ("words_shuffled", {}, "one two three", None),
        ("sentences_dropped", {}, "One only.", None),
        ("numbers_changed", {}, "1. a `7` b3", None),
        ("numbers_changed", {}, "no number", None),
        ("typos", {}, "a bit odd", None),
    ],
)
def test_by_hand(name: str, given: dict[str, Any], before: str, after: str | None) -> None:
    assert apply(name, before, **given) == after


def test_what_depends_on_the_prompt_and_on_others() -> None:
    assert apply("quoted_prompt", "Yes", prompt="Is it?\nSay so.") == "> Is it?\n> Say so.\n\nYes"
    assert apply("quoted_prompt", "Yes", prompt="x" * 601) is None
    assert apply("quoted_prompt", "Yes") is None
    assert apply("other_answer", "mine", other="another") == "another"
    assert apply("other_answer", "mine") is None
    assert apply("other_answer", "mine", other="mine") is None


def test_random_ones_keep_what_they_promise() -> None:
    words = " ".join(f"w{i}" for i in range(30))
    shuffled = apply("words_shuffled", words)
    assert shuffled is not None
    assert Counter(shuffled.split()) == Counter(words.split())
    six = "One. Two. Three. Four. Five. Six."
    kept = apply("sentences_dropped", six, share=0.5)
    assert kept is not None
    assert len(kept.split()) == 3
    assert [w for w in six.split() if w in kept] == kept.split()  # the order stays
    typed = apply("typos", "abcdefgh " * 40, rate=0.25)
    assert typed is not None
    changed = [word for word in typed.split() if word != "abcdefgh"]
    assert len(changed) == 10
    assert all(sorted(word) == sorted("abcdefgh") for word in changed)
    assert all(word[0] == "a" and word[-1] == "h" for word in changed)
    foreign = apply("look_alikes", "a" * 50, rate=0.1)
    assert foreign is not None
    assert Counter(foreign) == {"a": 45, "а": 5}
    figures = apply("numbers_changed", "1,920 of 7 or 3.5 in `88`")
    assert figures is not None
    first, _, second, _, third, _, code = figures.split()
    assert (first, second, third) != ("1,920", "7", "3.5")
    assert (len(first), len(second), len(third), code) == (5, 1, 3, "`88`")
    assert [a != b for a, b in zip("1,920", first, strict=True)].count(True) == 1
    assert first[0] != "0"
    handle = apply("random_handle", "Hi")
    assert handle is not None
    assert handle.startswith("Hi @")


def parameters(name: str) -> dict[str, Any]:
    given = {"opening": {"texts": ["A", "B"]}, "closing": {"texts": ["A", "B"]}}
    return {**given, "replaced": {"text": "No."}}.get(name, {})


@pytest.mark.parametrize("name", sorted(transforms()))
def test_same_seed_same_text_and_no_surprise_on_odd_input(name: str) -> None:
    transform = find_transform(name)
    checked = transform.check(parameters(name))
    for text in (
        TEXT,
        "",
        " ",
        "\n",
        "```\ncode",
        "\ud800",
        "а́ 漢字 🙂",
        "**",
        "." * 500,
        "1 " * 200,
    ):
        subject = Subject(text, "Why?", "other")
        once, again = (transform.apply(subject, 5, checked) for _ in range(2))
        assert once == again
        assert once is None or once != text
    assert transform.meaning.endswith(".")


def test_seeds_differ() -> None:
    transform = find_transform("words_shuffled")
    subject = Subject(" ".join(str(i) for i in range(50)))
    assert transform.apply(subject, 0, {}) != transform.apply(subject, 1, {})


def test_a_very_long_text_is_left_alone() -> None:
    assert apply("lower_case", "A" * 100_001) is None


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("typo", {}, "did you mean typos"),
        ("typos", {"rat": 0.1}, "did you mean rate"),
        ("typos", {"rate": 2.0}, "rate"),
        ("typos", {"rate": "much"}, "rate"),
        ("closing", {}, "texts"),
        ("lower_case", {"rate": 0.1}, "takes none"),
    ],
)
def test_what_is_wrong_is_said(name: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        find_transform(name).check(given)


def test_the_request_of_a_prompt() -> None:
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    turns.append({"role": "user", "content": "c"})
    assert request_of(turns) == "c"  # type: ignore[arg-type]
    changed = with_request(turns, "d")  # type: ignore[arg-type]
    assert [turn["content"] for turn in changed] == ["a", "b", "d"]  # type: ignore[index]
    assert turns[2]["content"] == "c"
    assert request_of("Human: why?\n\nAssistant:") == "Human: why?"
    assert with_request("Human: why?\n\nAssistant:", "How?") == "How?\n\nAssistant:"
    assert request_of([]) == ""


def test_a_probe_changes_only_what_it_acts_on() -> None:
    entry = ProbeEntry(name="h", meaning="m", transform="random_handle", expected="same")
    prompt, output = variant(entry, "Why?", "Because.") or ("", "")
    assert prompt == "Why?"
    assert output.startswith("Because. @")
    on_prompt = entry.model_copy(update={"acts_on": "prompt"})
    prompt, output = variant(on_prompt, "Why?", "Because.") or ("", "")
    assert output == "Because."
    assert str(prompt).startswith("Why? @")
    assert variant(on_prompt, "", "Because.") is None


def test_sentences() -> None:
    assert sentences('A b. "C?" D\n\n- e\n') == ["A b.", '"C?"', "D", "- e"]


def test_marks() -> None:
    assert marked("the cat sat", "the dog sat") == "the [-cat-][+dog+] sat"
    assert marked("a b c", "a c") == "a [-b-] c"
    assert marked("a b", "a  b") == "a  b"  # white space alone
    assert marked("one two three", "vier") == "vier"  # nothing is left
