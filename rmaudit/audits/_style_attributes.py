"""Surface attributes of an output, counted by plain patterns: no parser, English word lists."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits._attribute import markdown_marks
from rmaudit.audits.pairs import Float

_FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]")
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
# A stop after a word, or the end of a line without one, tried once a line: linear in the text.
_SENTENCE_END = re.compile(
    r"\w[)\"'\]*]*[.!?]+(?=\s)|(?:\A|(?<=[\n.!?]))[^\w\n.!?]*\w[^\n.!?]*(?=\n)"
)
_VOWELS = re.compile(r"[aeiouy]+")
_SILENT = re.compile(r"(?<=[^aeiouyl])e\b")
_HEDGES = (
    r"maybe|perhaps|possibly|probably|presumably|apparently|roughly|might|could be|may be|seems?"
    r"|appears? to|likely|i think|i believe|i guess|i(?:'m| am) not (?:sure|certain)"
    r"|as far as i know|in my opinion|it depends"
)
_POLITE = (
    r"please|thank you|thanks|sorry|apologi[sz]e|glad to|happy to|you(?:'re| are) welcome"
    r"|feel free|i hope this helps|kindly|of course"
)


@dataclass(frozen=True)
class Attribute:
    """A surface attribute: its name in words and how it is counted."""

    words: str  # as in "it pays for ..."
    count: Callable[[NDArray[np.object_]], Float]  # outputs (m,) to amounts (m,)

    def amount(self, outputs: NDArray[np.object_]) -> Float:
        """``log2(1 + count)``, (m,): one unit is one doubling of what there is."""
        return np.asarray(np.log2(1 + self.count(outputs)), dtype=np.float64)


def _unfenced(text: str) -> str:
    """Without code blocks."""
    return _FENCED.sub("\n", text) if "```" in text else text


def _matches(
    pattern: str, flags: int = 0, hint: str = ""
) -> Callable[[NDArray[np.object_]], Float]:
    """Counts outside code; `hint`, quick to search for, is in every match."""
    return _counter(re.compile(pattern, flags), re.compile(hint), _unfenced)


def _words(pattern: str) -> Callable[[NDArray[np.object_]], Float]:
    compiled = re.compile(rf"(?<!\w)(?:{pattern})(?!\w)", re.IGNORECASE)
    hint = re.compile(rf"(?:{pattern})(?!\w)")  # starts with a letter, which is fast to look for
    return _counter(compiled, hint, lambda text: text.replace("’", "'"))


def _counter(
    pattern: re.Pattern[str], hint: re.Pattern[str], clean: Callable[[str], str]
) -> Callable[[NDArray[np.object_]], Float]:
    """Counts of a pattern that a text cannot hold if its lower case does not hold the hint."""

    def count(text: str) -> int:
        # Outside ASCII, regular expressions and lower() do not agree on what is a letter's case.
        if hint.pattern and text.isascii() and not hint.search(text.lower()):
            return 0
        return len(pattern.findall(text))

    return lambda outputs: np.array([count(clean(text)) for text in outputs], dtype=np.float64)


def _emoji(outputs: NDArray[np.object_]) -> Float:
    return np.array(
        [0 if text.isascii() else len(_EMOJI.findall(text)) for text in outputs], dtype=np.float64
    )


def _code_blocks(outputs: NDArray[np.object_]) -> Float:
    return np.array([len(_FENCED.findall(text)) for text in outputs], dtype=np.float64)


@lru_cache(maxsize=1 << 17)  # few words make up most of any text
def _syllables(word: str) -> int:
    return max(len(_VOWELS.findall(_SILENT.sub("", word))), 1)


def _grade(outputs: NDArray[np.object_]) -> Float:
    """Years of school needed to read each output with ease, (m,), at least 0.

    Flesch & Kincaid (1975): 0.39 words a sentence + 11.8 syllables a word - 15.59. Syllables are
    groups of vowels, less a silent final e. English; 0 for outputs without words.
    """
    grades = []
    for text in outputs:
        prose = _unfenced(text)
        words = _WORD.findall(prose.lower())
        sentences = max(len(_SENTENCE_END.findall(prose + "\n")), 1)
        syllables = sum(map(_syllables, words))
        per_sentence, per_word = len(words) / sentences, syllables / max(len(words), 1)
        grades.append(0.39 * per_sentence + 11.8 * per_word - 15.59 if words else 0.0)
    return np.maximum(np.array(grades, dtype=np.float64), 0.0)


ATTRIBUTES = {
    "markdown": Attribute("marks of markdown", markdown_marks),
    "lists": Attribute(
        "list items", _matches(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S", re.MULTILINE)
    ),
    "headings": Attribute("headings", _matches(r"^[ \t]*#{1,6}[ \t]+\S", re.MULTILINE)),
    "bold": Attribute("bold text", _matches(r"\*\*(?=\S).+?(?<=\S)\*\*|__(?=\S).+?(?<=\S)__")),
    "code_blocks": Attribute("code blocks", _code_blocks),
    "emoji": Attribute("emoji", _emoji),
    "exclamation": Attribute("exclamation marks", _matches(r"(?<=\w)!+|!+(?=\s|\Z)", hint="!")),
    "hedging": Attribute("hedging", _words(_HEDGES)),
    "politeness": Attribute("politeness", _words(_POLITE)),
    "citations": Attribute(
        "citations",
        _matches(
            r"\[\d{1,3}(?:[,;–-]\s*\d{1,3})*\](?!\()|https?://\S+|\bet al\b|\baccording to\b"
            r"|\([A-Z][\w.&, -]{0,60}?,? \d{4}[a-z]?\)",
            re.IGNORECASE,
            hint=r"\[\d|https?:|et al|according to|\([a-z]",
        ),
    ),
    "reading_grade": Attribute("words that are hard to read", _grade),
    "first_person": Attribute("the first person", _words(r"i|i'(?:m|ve|ll|d)|me|my|mine|myself")),
}
