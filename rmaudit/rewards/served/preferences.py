"""Which of two answers a judge preferred, read from its reply: never a letter by the way.

Accepted are forms in which a verdict is said to be one; whatever leaves a choice is none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from rmaudit.rewards.served.replies import readable

_THING = r"(?:answer|response|reply|assistant|option|candidate|model|output)"
_TIE = r"tie|tied|equal|both|neither|same|draw"
_SIDE = rf"(?:the\s+)?(?:{_THING}\s+)?(?P<v>[ABCT]\b|{_TIE})"
_BRACKETS = re.compile(
    rf"\[\[\s*(?:{_THING}\s+)?(?P<v>[ABC]|{_TIE}|[AB]\s*(?:>>?|=|<<?)\s*[AB])\s*\]\]", re.I
)
_TAGGED = re.compile(
    r"<(?P<tag>(?:final_)?(?:verdict|winner|choice|preference|preferred|better|answer|decision))>"
    rf"\s*{_SIDE}\s*</(?P=tag)>",
    re.IGNORECASE,
)
_ALONE = re.compile(
    rf"^\W*(?:{_THING}\s+)?(?P<v>[ABCT]|{_TIE}|[AB]\s*(?:>>?|=|<<?)\s*[AB])\W*$", re.IGNORECASE
)
_LABELLED = re.compile(
    r"(?i:\b(?:verdict|winner|choice|preference|preferred(?:\s+\w+)?|better(?:\s+\w+)?|decision))"
    rf"(?i:\s*(?:[:=\u2014\uff1a]|\bis\b))\s*[\[(]?(?i:the\s+)?(?i:{_THING}\s+)?"
    rf"(?P<v>[ABT]\b|(?i:a\s+)?(?i:{_TIE})\b)"
)
_DEGREE = r"(?:(?:clearly|much|slightly|far|significantly|marginally|overall|somewhat)\s+)*"
_GOOD = r"(?:better|best|stronger|superior|preferable|preferred|more\s+\w+|winner)"
_IN_PROSE = (
    re.compile(
        rf"\b(?i:{_THING}\s+)?(?P<v>[AB])\s+(?i:is|was)\s+(?i:{_DEGREE}(?:the\s+)?{_DEGREE}{_GOOD})\b"
    ),
    re.compile(rf"\b(?i:{_THING}\s+)?(?P<v>[AB])\s+(?i:wins)\b"),
    re.compile(rf"\b(?i:prefer|choose|pick|favou?r)\s+(?i:the\s+)?(?i:{_THING}\s+)?(?P<v>[AB])\b"),
    re.compile(r"\b(?P<v>first|second)\s+" + _THING + rf"\s+(?:is|was)\s+{_DEGREE}{_GOOD}\b", re.I),
    re.compile(
        r"\b(?P<v>equally)\s+(?:good|bad|helpful|strong)\b|(?:\bis|'s) a (?P<w>tie)\b", re.I
    ),
)
_UNSURE = re.compile(
    r"\b(?:not|cannot|never|if|unless|but|except|although|though|otherwise|might|could|while|neither)\b"
    r"|n't\b",
    re.IGNORECASE,
)
_KEYS = ("verdict", "winner", "choice", "preference", "preferred", "better", "decision", "answer")


class Verdict(NamedTuple):
    """What a judge preferred, and where its word begins in the reply (-1: in several places)."""

    value: float  # 1: the first answer (A), 0: the second (B), 0.5: neither
    start: int


def read_verdict(reply: str) -> Verdict | str:
    """The verdict in a judge's reply, or why there is none.

    Notes
    -----
    Thinking between ``<think>`` and ``</think>`` is passed over. Read are, in this order:
    ``[[A]]``, ``[[B>A]]``; ``<verdict>A</verdict>``; a JSON object with a winner; a
    letter (or "A>B") that is all there is, or stands alone on the first or the last line; "Winner:
    A"; "Answer A is better". T, C or "tie" is a tie. Two different verdicts in one of these forms
    leave open which is meant.
    """
    read = readable(reply)
    if isinstance(read, str):
        return read
    visible, plain = read
    for found in (
        _matches((_BRACKETS,), visible),
        _matches((_TAGGED,), visible),
        _json_verdicts(visible),
        _alone(plain),
        _matches((_LABELLED,), plain, careful=True),
        _matches(_IN_PROSE, plain, careful=True),
    ):
        if not found:
            continue
        if len({each.value for each in found}) > 1:
            return "it names several verdicts"
        return found[0]
    return "nothing in it is said to be the verdict"


def _value(word: str) -> float:
    """The verdict in a word: which side, or an inequality of the two."""
    said = re.sub(r"\s+", "", word).upper()
    if "<" in said:
        said = said[-1]
    if ">" in said:
        said = said[0]
    return {"A": 1.0, "FIRST": 1.0, "B": 0.0, "SECOND": 0.0}.get(said, 0.5)


def _matches(
    patterns: Iterable[re.Pattern[str]], text: str, *, careful: bool = False
) -> list[Verdict]:
    """Every match; none if, with `careful`, a sentence takes it back or sets a condition."""
    found = []
    for pattern in patterns:
        for match in pattern.finditer(text):
            if careful and _UNSURE.search(_sentence(text, match)):
                return []
            group = "v" if match["v"] is not None else "w"
            found.append(Verdict(_value(match[group]), match.start(group)))
    return found


def _sentence(text: str, match: re.Match[str]) -> str:
    marks = (". ", "\n", "! ", "? ")
    start = max(text.rfind(mark, 0, match.start()) + len(mark) for mark in marks)
    ends = [place for mark in marks if (place := text.find(mark, match.end())) >= 0]
    return text[max(0, start if start > 1 else 0) : min(ends, default=len(text))]


def _alone(text: str) -> list[Verdict]:
    """A letter that is the first or the last line with words."""
    lines = [m for m in re.finditer(r"[^\n]+", text) if m.group().strip()]
    found = []
    for line in dict.fromkeys((lines[0], lines[-1])):
        match = _ALONE.match(line.group())
        if match:
            found.append(Verdict(_value(match["v"]), line.start() + match.start("v")))
    return found


def _json_verdicts(text: str) -> list[Verdict]:
    """The verdict of the one JSON object in a reply; none if no key says which value it is."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        return []
    try:
        content: Any = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return []
    if not isinstance(content, dict):
        return []
    by_name = {str(key).lower(): value for key, value in content.items()}
    said = [value for key in _KEYS if isinstance(value := by_name.get(key), str)]
    matches = [m for value in said if (m := re.fullmatch(rf"\s*{_SIDE}\s*", value, re.I))]
    if not matches or len(matches) < len(said):
        return []
    return [Verdict(_value(match["v"]), -1) for match in matches]
