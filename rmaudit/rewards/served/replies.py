"""The score that a judge meant, read from its reply: never another number that stands in it.

Accepted are forms in which a number is said to be the score; whatever leaves a choice is no score.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from rmaudit.errors import UsageError

# A comma and three digits are thousands, not decimals.
_SIGNED = r"[-+\u2212]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?)"
_ALONE = re.compile(rf"^\W*?(?P<n>{_SIGNED})(?:\s*/\s*(?P<of>\d+))?[^\w%]*$")
_BRACKETS = re.compile(rf"\[\[\s*(?P<n>{_SIGNED})\s*\]\]")
_TAGGED = re.compile(
    rf"<(?P<tag>(?:final_|overall_)?(?:score|rating|grade|reward))>\s*(?P<n>{_SIGNED})"
    r"(?:\s*(?:/|out of)\s*(?P<of>\d+))?\s*</(?P=tag)>",
    re.IGNORECASE,
)
_SCALE_WORDS = r"(?:\s*\([^()\n]{0,40}\)|\s+(?:on a scale )?(?:of|from) \d+ (?:to|-) \d+)?"
_UNIT = r"(?:\s+(?:stars?|points?))?"
_AFTER = (
    r"(?![A-Za-z])"  # 1e1, 8th
    + _UNIT
    + r"(?:\s*(?:/|out of)\s*(?P<of>\d+))?(?!\s*(?:%|percent|(?:-|–|to|or|and)\s*\d)|[\d.,]*\d)"
)
_LABELLED = re.compile(
    r"(?P<label>(?:\b(?:final|overall|total)\s+)?\b(?:score|rating|grade|reward|mark)|"
    rf"\b(?:overall|final|total))'?{_SCALE_WORDS}\s*(?:[:=\u2014\uff1a]|\bis\b|\bof\b)\s*"
    rf"[\[(]?\s*(?P<n>{_SIGNED}){_AFTER}",
    re.IGNORECASE,
)
_GIVEN = re.compile(
    r"\b(?:give|gives|gave|rate|rates|rated|score|scores|scored|grade|graded|assign|award|"
    r"deserves|merits)\b(?:\s+(?:this|it|that|the|answer|response|reply|as|with)\b)*"
    rf"(?:\s+(?:a|an))?(?:\s+(?:score|rating|grade|mark)\s+of)?\s+(?P<n>{_SIGNED}){_AFTER}",
    re.IGNORECASE,
)
_OF_TOP = re.compile(rf"(?<![\d.,/])(?P<n>{_SIGNED}){_UNIT}\s*(?:/|out of)\s*(?P<of>\d+)(?![\d/])")
_UNSURE = re.compile(
    r"\b(?:not|cannot|never|if|unless|but|except|although|though|otherwise|might|could|earlier|"
    r"previous(?:ly)?|first|draft|instead)\b|n't\b",
    re.IGNORECASE,
)
_THOUGHT = re.compile(
    r"<(think|thinking|thought|reasoning|scratchpad)>.*?</\1>|◁think▷.*?◁/think▷",
    re.IGNORECASE | re.DOTALL,
)
_THOUGHT_ENDS = re.compile(r"</(?:think|thinking|thought|reasoning|scratchpad)>|◁/think▷", re.I)
_THOUGHT_BEGINS = re.compile(r"<(?:think|thinking|thought|reasoning|scratchpad)>|◁think▷", re.I)
_KEYS = ("score", "final_score", "overall_score", "overall", "rating", "grade", "reward", "total")


@dataclass(frozen=True, slots=True)
class Scale:
    """The scores that a judge may give, from the worst to the best."""

    lowest: int = 1
    highest: int = 10

    @classmethod
    def parse(cls, text: str) -> Scale:
        """A scale such as ``1-10``.

        Raises
        ------
        UsageError
            If it is not two whole numbers, the lower first.
        """
        match = re.fullmatch(r"\s*(-?\d+)\s*(?:-|\.\.|to)\s*(-?\d+)\s*", text)
        if not match or not int(match[1]) < int(match[2]):
            raise UsageError(
                f"--scale {text}: say two whole numbers, the worst first: --scale 1-10"
            )
        return cls(int(match[1]), int(match[2]))

    def __str__(self) -> str:
        return f"{self.lowest} to {self.highest}"

    def holds(self, value: float) -> bool:
        """Whether a number is on the scale."""
        return self.lowest <= value <= self.highest


USUAL_SCALE = Scale()


class Score(NamedTuple):
    """A score, and where in the reply it is written."""

    value: float
    start: int
    end: int


def read_score(reply: str, scale: Scale) -> Score | str:
    """The score in a judge's reply, or why there is none.

    Parameters
    ----------
    reply
        What the judge wrote; thinking between ``<think>`` and ``</think>`` is passed over.
    scale
        What it was asked for; another number is no score.

    Notes
    -----
    Read are, in this order: ``[[8]]``; ``<score>8</score>``; a JSON object with a
    score; a number that is all there is, or stands alone on the first or the last line; a labelled
    one ("Score: 8", "Overall: 8/10"); "I give this an 8"; "8/10". Two different numbers in one of
    these forms leave open which is meant.
    """
    read = readable(reply)
    if isinstance(read, str):
        return read
    visible, plain = read
    for found in (
        _matches(_BRACKETS, visible, scale),
        _matches(_TAGGED, visible, scale),
        _json_scores(visible),
        _alone(plain, scale),
        _labelled(plain, scale),
        _sure(_GIVEN, plain, scale),
        _sure(_OF_TOP, plain, scale),
    ):
        if found is None:
            continue
        values = {each.value for each in found}
        if len(values) > 1:
            return f"it names several scores ({', '.join(f'{v:g}' for v in sorted(values))})"
        score = found[0]
        if not scale.holds(score.value):
            return f"{score.value:g} is not on the scale {scale}"
        return score
    return "no number in it is said to be the score"


def readable(reply: str) -> tuple[str, str] | str:
    """A reply without its thinking, and the same without Markdown's marks; or why there is none.

    Both keep the places of the reply.
    """
    visible = _without_thoughts(reply)
    if visible is None:
        return "its thinking does not end"
    if not visible.strip():
        return "it is empty"
    return visible, re.sub(r"[*`_#\"]", " ", visible)


def _without_thoughts(reply: str) -> str | None:
    """The reply with its thinking blanked, place for place; None if the thinking does not end."""
    visible = _THOUGHT.sub(lambda m: " " * len(m.group()), reply)
    ends = list(_THOUGHT_ENDS.finditer(visible))
    if ends:  # what began it was written by the chat template
        visible = " " * ends[-1].end() + visible[ends[-1].end() :]
    return None if _THOUGHT_BEGINS.search(visible) else visible


def _number(text: str) -> float:
    if re.search(r"\d,\d{3}(?!\d)", text):
        text = text.replace(",", "")
    return float(text.replace(",", ".").replace("\u2212", "-"))


def _matches(pattern: re.Pattern[str], text: str, scale: Scale) -> list[Score] | None:
    """Every match whose "out of" is the scale's own; None if there is no match at all."""
    scores = []
    for match in pattern.finditer(text):
        of = match.groupdict().get("of")
        if of is not None and int(of) != scale.highest:
            return None  # on another scale
        scores.append(Score(_number(match["n"]), match.start("n"), match.end("n")))
    return scores or None


def _alone(text: str, scale: Scale) -> list[Score] | None:
    """A number that is the first or the last line with words, or all there is."""
    lines = [m for m in re.finditer(r"[^\n]+", text) if m.group().strip()]
    scores = []
    for line in dict.fromkeys((lines[0], lines[-1])):
        match = _ALONE.match(line.group())
        if match and (match["of"] is None or int(match["of"]) == scale.highest):
            start = line.start() + match.start("n")
            scores.append(Score(_number(match["n"]), start, line.start() + match.end("n")))
    return scores or None


def _labelled(text: str, scale: Scale) -> list[Score] | None:
    """Numbers behind "score:" and its like; what is called overall or final comes first."""
    summary = re.compile(r"overall|final|total", re.IGNORECASE)
    matches = [m for m in _LABELLED.finditer(text) if not _doubtful(text, m.start("label"))]
    above = [m for m in matches if summary.search(m["label"])]
    chosen = above or matches
    if any(m["of"] is not None and int(m["of"]) != scale.highest for m in chosen):
        return None
    if not above:  # "Score: 8/10 for style, 3/10 for truth" says no score of the whole
        chosen = [*chosen, *(r for m in chosen for r in _OF_TOP.finditer(text, *_rest(text, m)))]
    return [Score(_number(m["n"]), m.start("n"), m.end("n")) for m in chosen] or None


def _rest(text: str, match: re.Match[str]) -> tuple[int, int]:
    """From the end of a match to that of its line."""
    end = text.find("\n", match.end())
    return match.end(), len(text) if end < 0 else end


def _doubtful(text: str, place: int) -> bool:
    """Whether the words before a label in its line take it back: "the first score was: 3"."""
    return _UNSURE.search(text[text.rfind("\n", 0, place) + 1 : place]) is not None


def _sure(pattern: re.Pattern[str], text: str, scale: Scale) -> list[Score] | None:
    """Matches in prose, none if a sentence that holds one takes it back or sets a condition."""
    for match in pattern.finditer(text):
        start = max(text.rfind(mark, 0, match.start()) for mark in (". ", "\n", "! ", "? ")) + 1
        end = min(
            (p for m in (". ", "\n", "! ") if (p := text.find(m, match.end())) >= 0),
            default=len(text),
        )
        if _UNSURE.search(text[start:end]):
            return None
    return _matches(pattern, text, scale)


def _json_scores(text: str) -> list[Score] | None:
    """The score of the one JSON object in a reply; none if no key says which value it is."""
    start, end = text.find("{"), text.rfind("}")
    if not 0 <= start < end:
        return None
    try:
        content: Any = json.loads(text[start : end + 1])
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    by_name = {str(key).lower().replace(" ", "_"): value for key, value in content.items()}
    values = list(_numbers(by_name[key] for key in _KEYS if key in by_name))
    if not values and len(by_name) == 1:
        values = list(_numbers(by_name.values()))
    if not values:
        return None
    places = [m for m in re.finditer(_SIGNED, text) if _number(m.group()) == values[0]]
    at = places[-1].span() if len(places) == 1 else (-1, -1)
    return [Score(value, *at) for value in values]


def _numbers(values: Iterable[Any]) -> Iterable[float]:
    for value in values:
        if isinstance(value, str) and re.fullmatch(_SIGNED, value.strip()):
            yield _number(value.strip())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            with suppress(OverflowError):  # JSON knows integers of any length
                yield float(value)
