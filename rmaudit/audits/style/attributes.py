"""Surface attributes of an output, counted by plain patterns: no parser, English word lists."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits.common.attribute import MARKDOWN
from rmaudit.text.patterns import (
    Counter,
    code_blocks,
    counts,
    matches,
    sifted,
    whole_words,
)
from rmaudit.text.readability import reading_grades
from rmaudit.typing import Float

_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf\U0001f1e6-\U0001f1ff]")
_HEDGES = (
    r"maybe|perhaps|possibly|probably|presumably|apparently|roughly|might|could be|may be|seems?"
    r"|appears? to|likely|i think|i believe|i guess|i(?:'m| am) not (?:sure|certain)"
    r"|as far as i know|in my opinion|it depends"
)
_POLITE = (
    r"please|thank you|thanks|sorry|apologi[sz]e|glad to|happy to|you(?:'re| are) welcome"
    r"|feel free|i hope this helps|kindly|of course"
)
_CITATION = (
    r"\[\d{1,3}(?:[,;–-]\s*\d{1,3})*\](?!\()|https?://\S+|\bet al\b|\baccording to\b"
    r"|\([A-Z][\w.&, -]{0,60}?,? \d{4}[a-z]?\)"
)


@dataclass(frozen=True)
class Attribute:
    """A surface attribute: its name in words and how it is counted."""

    words: str  # as in "it pays for ..."
    counter: Counter


ATTRIBUTES = {
    "markdown": Attribute("markdown marks", MARKDOWN),
    "lists": Attribute(
        "list items",
        matches(
            r"^[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t]+\S",
            r"(?:^|\n)[ \t]*(?:[-*+]|\d{1,3}[.)])[ \t]",
            re.MULTILINE,
        ),
    ),
    "headings": Attribute("headings", matches(r"^[ \t]*#{1,6}[ \t]+\S", "#", re.MULTILINE)),
    "bold": Attribute(
        "bold text", matches(r"\*\*(?=\S).+?(?<=\S)\*\*|__(?=\S).+?(?<=\S)__", r"\*\*|__")
    ),
    "code_blocks": Attribute("code blocks", sifted("```", code_blocks)),
    "emoji": Attribute("emoji", sifted(r"[^\x00-\x7f]", lambda text: len(_EMOJI.findall(text)))),
    "exclamation": Attribute("exclamation marks", matches(r"(?<=\w)!+|!+(?=\s|\Z)", "!")),
    "hedging": Attribute("hedging", whole_words(_HEDGES)),
    "politeness": Attribute("politeness", whole_words(_POLITE)),
    "citations": Attribute(
        "citations",
        matches(_CITATION, r"\[\d|https?:|et al|according to|\([a-z]", re.IGNORECASE),
    ),
    "reading_grade": Attribute("words that are hard to read", reading_grades),
    "first_person": Attribute(
        "first-person words", whole_words(r"i|i'(?:m|ve|ll|d)|me|my|mine|myself")
    ),
}


def amounts(outputs: NDArray[np.object_]) -> dict[str, Float]:
    """``log2(1 + count)`` by attribute, (m,) each: one unit is one doubling of what there is."""
    counted = counts(outputs, {name: each.counter for name, each in ATTRIBUTES.items()})
    return {name: np.log2(1 + count) for name, count in counted.items()}
