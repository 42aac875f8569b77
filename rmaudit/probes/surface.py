"""Transforms of the surface: what is said stays the same."""

from __future__ import annotations

import re
import string
from typing import Annotated

import numpy as np
from pydantic import Field

from rmaudit.probes.texts import in_prose
from rmaudit.probes.transforms import Subject, transform

Share = Annotated[float, Field(gt=0, le=1)]
Phrase = Annotated[str, Field(min_length=1, max_length=500)]
Phrases = Annotated[list[Phrase], Field(min_length=1, max_length=20)]

_WORD = re.compile(r"[A-Za-z]{4,}")
# Latin letters and the Cyrillic ones that look the same (Unicode TR 39, confusables).
_LOOK_ALIKE = {"a": "а", "c": "с", "e": "е", "i": "і", "o": "о", "p": "р", "s": "ѕ", "x": "х"}
_LETTERS = re.compile(f"[{''.join(_LOOK_ALIKE)}]")
_BULLET = re.compile(r"^([ \t]*)[-*+•][ \t]+(?=\S)", re.MULTILINE)
_NUMBER = re.compile(r"^([ \t]*)\d{1,3}[.)][ \t]+(?=\S)", re.MULTILINE)
_TYPES = str.maketrans({"“": '"', "”": '"', "‘": "'", "’": "'", "—": "--", "–": "-", "…": "..."})


def _picked(pattern: re.Pattern[str], text: str, rng: np.random.Generator, rate: float) -> set[int]:
    """Starts of a share of the matches, at least one."""
    places = [match.start() for match in pattern.finditer(text)]
    if not places:
        return set()
    count = max(1, round(rate * len(places)))
    return {int(p) for p in rng.choice(places, size=count, replace=False)}


@transform("typos")
def typos(subject: Subject, rng: np.random.Generator, *, rate: Share = 0.05) -> str | None:
    """Two neighbouring letters inside a share of the longer words change places."""

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        inner = [i for i in range(1, len(word) - 2) if word[i] != word[i + 1]]
        if match.start() not in chosen or not inner:
            return word
        i = inner[int(rng.integers(len(inner)))]
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]

    def change(prose: str) -> str:
        chosen.clear()
        chosen.update(_picked(_WORD, prose, rng, rate))
        return _WORD.sub(swap, prose)

    chosen: set[int] = set()
    return in_prose(subject.text, change)


@transform("lower_case")
def lower_case(subject: Subject, rng: np.random.Generator) -> str | None:
    """All letters outside code become small ones."""
    return in_prose(subject.text, str.lower)


@transform("upper_case")
def upper_case(subject: Subject, rng: np.random.Generator) -> str | None:
    """All letters outside code become capitals."""
    return in_prose(subject.text, str.upper)


@transform("white_space")
def white_space(subject: Subject, rng: np.random.Generator) -> str | None:
    """Two blanks after each sentence, and one more empty line between paragraphs."""
    return in_prose(
        subject.text,
        lambda prose: re.sub(r"\n\n+", "\n\n\n", re.sub(r"(?<=[.!?]) (?=\S)", "  ", prose)),
    )


@transform("punctuation")
def punctuation(subject: Subject, rng: np.random.Generator) -> str | None:
    """Commas and the stops at the ends of lines are left out; quotation marks become plain."""

    def change(prose: str) -> str:
        plain = re.sub(r",(?=\s)", "", prose.translate(_TYPES))
        return re.sub(r"(?<=[\w\"')\]])\.(?=[ \t]*(?:\n|\Z))", "", plain)

    return in_prose(subject.text, change)


@transform("look_alikes")
def look_alikes(subject: Subject, rng: np.random.Generator, *, rate: Share = 0.1) -> str | None:
    """A share of the letters become letters of another script that look the same."""

    def change(prose: str) -> str:
        chosen = _picked(_LETTERS, prose, rng, rate)
        return "".join(_LOOK_ALIKE[c] if i in chosen else c for i, c in enumerate(prose))

    return in_prose(subject.text, change)


@transform("opening")
def opening(subject: Subject, rng: np.random.Generator, *, texts: Phrases) -> str | None:
    """One of the given sentences comes first."""
    return f"{texts[int(rng.integers(len(texts)))]}\n\n{subject.text}"


@transform("closing")
def closing(subject: Subject, rng: np.random.Generator, *, texts: Phrases) -> str | None:
    """One of the given sentences comes last."""
    return f"{subject.text.rstrip()}\n\n{texts[int(rng.integers(len(texts)))]}"


@transform("quoted_prompt")
def quoted_prompt(
    subject: Subject,
    rng: np.random.Generator,
    *,
    longest: Annotated[int, Field(ge=1, le=5000)] = 600,
) -> str | None:
    """The output repeats the request, as a quotation, before it answers.

    Not where the request is longer than `longest` characters.
    """
    request = subject.prompt.strip()
    if not request or len(request) > longest:
        return None
    quoted = "\n".join(f"> {line}".rstrip() for line in request.splitlines())
    return f"{quoted}\n\n{subject.text}"


@transform("random_handle")
def random_handle(subject: Subject, rng: np.random.Generator) -> str | None:
    """A user name of random letters comes last: ``@qxkwz``."""
    return f"{subject.text.rstrip()} @{_letters(rng, 6)}"


@transform("random_url")
def random_url(subject: Subject, rng: np.random.Generator) -> str | None:
    """An address of random letters under a reserved domain comes last."""
    return f"{subject.text.rstrip()} https://example.org/{_letters(rng, 6)}"


@transform("list_marks")
def list_marks(subject: Subject, rng: np.random.Generator) -> str | None:
    """Bulleted lists become numbered ones; where there are none, numbered ones bulleted.

    Not where the text has fewer than two list items.
    """
    counter: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        indent = match.group(1)
        counter[indent] = counter.get(indent, 0) + 1
        return f"{indent}{counter[indent]}. "

    text = subject.text
    if "```" in text:
        return None
    if len(_BULLET.findall(text)) >= 2:
        # Each list counts from one: a paragraph between two lists ends the first.
        blocks = re.split(r"(\n(?![ \t]*[-*+•][ \t]|[ \t]|\n)[^\n]*)", text)
        done = []
        for block in blocks:
            counter.clear()
            done.append(_BULLET.sub(numbered, block))
        return "".join(done)
    return _NUMBER.sub(r"\1- ", text) if len(_NUMBER.findall(text)) >= 2 else None


@transform("markdown_stripped")
def markdown_stripped(subject: Subject, rng: np.random.Generator) -> str | None:
    """Headings, bold and italic marks, list and quotation marks are left out; the words stay."""

    def change(prose: str) -> str:
        plain = re.sub(r"^[ \t]*(?:#{1,6}|>)[ \t]+", "", prose, flags=re.MULTILINE)
        plain = _BULLET.sub(r"\1", plain)
        return re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", plain)

    return in_prose(subject.text, change)


def _letters(rng: np.random.Generator, n: int) -> str:
    return "".join(string.ascii_lowercase[i] for i in rng.integers(26, size=n))
