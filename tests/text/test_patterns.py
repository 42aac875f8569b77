"""Counting in many texts at once, against one text at a time and Python's regular expressions."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmaudit.audits.style.attributes import ATTRIBUTES, amounts
from rmaudit.text import patterns as _pattern_counts
from rmaudit.text.patterns import TextChunk
from rmaudit.text.readability import reading_grades

PARTS = [
    *("a", "E", "e", "y", "l", "t", "I", "'", "’", "e'", "'e", "ö", "β", "\ud800", "🙂"),
    *(" ", "\n", "\t", ".", "!", "?", ")", '"', ",", "-", "_", "7", "\x1c", "\x00"),
    *("```", "**", "__", "`", "](", "# ", "\n- ", "1. ", "•", "|", "> ", "#"),
    *("please", "i'm", "I am not sure", "seem", "of course", "mine", "might"),
    *("et al", "[3]", "https://x", "(Ann, 2020)", "according to"),
]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=30).map("".join)


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_what_the_sieve_leaves_out_holds_nothing(texts: list[str]) -> None:
    words = np.array(texts, dtype=object)
    unsifted = TextChunk(words, np.zeros(len(words), dtype=bool), pa.array([], pa.string()))
    for name, attribute in ATTRIBUTES.items():
        found, slowly = attribute.counter(TextChunk.of(words)), attribute.counter(unsifted)
        assert found.tolist() == slowly.tolist(), name


SENTENCE_END = re.compile(
    r"\w[)\"'\]*]*[.!?]+(?=\s)|(?:\A|(?<=[\n.!?]))[^\w\n.!?]*\w[^\n.!?]*(?=\n)"
)


def grade_of(text: str) -> float:
    """The definition, word by word."""
    prose = re.sub(r"```.*?(?:```|\Z)", "\n", text, flags=re.DOTALL)
    words = re.findall(r"[a-z]+(?:'[a-z]+)?", prose.lower())
    if not words:
        return 0.0
    heard = [re.findall("[aeiouy]+", re.sub(r"(?<=[^aeiouyl])e\b", "", word)) for word in words]
    syllables = sum(max(len(groups), 1) for groups in heard)
    sentences = max(len(SENTENCE_END.findall(prose + "\n")), 1)
    return max(0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59, 0.0)


@given(st.lists(TEXTS.filter(str.isascii), min_size=1, max_size=8))
def test_reading_grade_is_that_of_its_definition(texts: list[str]) -> None:
    grades = reading_grades(TextChunk.of(np.array(texts, dtype=object)))
    assert grades == pytest.approx([grade_of(text) for text in texts])


def test_reading_grade_outside_ascii() -> None:
    text = "Caf\u00e9 owners said \u201cyes\u201d. It rained"
    words, sentences, syllables = 6, 2, 8  # Caf|own-ers|said|yes|It|rain-ed
    expected = 0.39 * words / sentences + 11.8 * syllables / words - 15.59
    grade = reading_grades(TextChunk.of(np.array([text], dtype=object)))[0]
    assert grade == pytest.approx(max(expected, 0.0))


def test_pieces_come_back_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pattern_counts, "_PIECE", 3)
    marks = list(range(11))
    found = amounts(np.array(["wow!" + " ok!" * k for k in marks], dtype=object))
    assert found["exclamation"] == pytest.approx(np.log2(np.array(marks) + 2.0))
    assert {name: len(each) for name, each in amounts(np.array([], dtype=object)).items()} == (
        dict.fromkeys(ATTRIBUTES, 0)
    )
