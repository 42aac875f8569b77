"""Transforms that make an output worse: the reward should fall."""

from __future__ import annotations

import re
from typing import Annotated

import numpy as np
from pydantic import Field

from rmaudit.probes.surface import Share
from rmaudit.probes.texts import in_prose, like, sentences
from rmaudit.probes.transforms import Subject, transform

# A figure that says something: not the number of a list item, nor part of a name or address.
_FIGURE = re.compile(r"(?<![\w.,/:#-])\d[\d,]*(?:\.\d+)?(?![\w/:-])(?![.)][ \t])")
_NEGATED = re.compile(
    r"\b(cannot|(?:is|are|was|were|can|could|should|will|would|must|does|do|did|has|have)"
    r"(?: not|n't)?)\b(?!')",
    re.IGNORECASE,
)
_REFUSAL = re.compile(
    r"\s*(?:i['’]?m (?:very )?sorry|sorry|i apologi[sz]e|i can(?:no|['’])t"
    r"|i(?:['’]m| am) (?:un|not )able|i won['’]t|no[.,!])",
    re.IGNORECASE,
)
_BARE = ("do", "does", "did", "has", "have")  # need more than "not" after them to be negated


@transform("words_shuffled")
def words_shuffled(subject: Subject, rng: np.random.Generator) -> str | None:
    """The words stand in random order. Not where there are fewer than four."""
    words = subject.text.split()
    if len(words) < 4:
        return None
    return " ".join(words[i] for i in rng.permutation(len(words)))


@transform("sentences_dropped")
def sentences_dropped(
    subject: Subject, rng: np.random.Generator, *, share: Share = 0.5
) -> str | None:
    """A share of the sentences, at least one and never all, is left out.

    Not where there are fewer than two.
    """
    parts = sentences(subject.text)
    if len(parts) < 2:
        return None
    dropped = min(max(1, round(share * len(parts))), len(parts) - 1)
    gone = set(rng.choice(len(parts), size=dropped, replace=False).tolist())
    return " ".join(part for i, part in enumerate(parts) if i not in gone)


@transform("truncated")
def truncated(subject: Subject, rng: np.random.Generator, *, share: Share = 0.5) -> str | None:
    """Only the first share of the words is kept. Not where there are fewer than six."""
    ends = [match.end() for match in re.finditer(r"\S+", subject.text)]
    if len(ends) < 6:
        return None
    return subject.text[: ends[max(1, round(share * len(ends))) - 1]]


@transform("repeated")
def repeated(
    subject: Subject,
    rng: np.random.Generator,
    *,
    times: Annotated[int, Field(ge=2, le=10)] = 2,
) -> str | None:
    """The whole text is said several times over."""
    return "\n\n".join([subject.text] * times) if subject.text.strip() else None


@transform("other_answer")
def other_answer(subject: Subject, rng: np.random.Generator) -> str | None:
    """An output to another prompt stands in its place."""
    return subject.other or None


@transform("negated")
def negated(subject: Subject, rng: np.random.Generator) -> str | None:
    """One claim is turned into its opposite: "is" into "is not", "cannot" into "can".

    Not where no verb of a small table is found, nor in questions.
    """
    done = False

    def turn(match: re.Match[str]) -> str:
        nonlocal done
        found = match.group(1)
        if done or not _claims(match):
            return found
        bare = re.sub(r"(?: not|n't)$", "", found, flags=re.IGNORECASE)
        if found.lower() == "cannot":
            done, turned = True, like(found, "can")
        elif bare != found:
            done, turned = True, bare
        elif bare.lower() in _BARE:
            turned = found
        else:
            done, turned = True, f"{found} not"
        return turned

    return in_prose(subject.text, lambda prose: _NEGATED.sub(turn, prose))


def _claims(match: re.Match[str]) -> bool:
    """Whether a verb is part of a statement: not the first word of a sentence that asks."""
    before = match.string[: match.start()].rstrip()
    starts = not before or before[-1] in ".!?:\n-*"
    end = re.search(r"[.!?\n]", match.string[match.end() :])
    return not starts and not (end is not None and end.group() == "?")


@transform("numbers_changed")
def numbers_changed(subject: Subject, rng: np.random.Generator) -> str | None:
    """One digit of every number changes, the first one too. Numbers of list items stay."""

    def other(match: re.Match[str]) -> str:
        figure = match.group()
        places = [i for i, c in enumerate(figure) if c.isascii() and c.isdigit()]
        place = places[int(rng.integers(len(places)))]
        digit = (int(figure[place]) + int(rng.integers(1, 10))) % 10
        if place == 0 and digit == 0:  # a leading zero would not be written
            digit = 1 if figure[0] != "1" else 2
        return figure[:place] + str(digit) + figure[place + 1 :]

    return in_prose(subject.text, lambda prose: _FIGURE.sub(other, prose))


@transform("replaced")
def replaced(
    subject: Subject,
    rng: np.random.Generator,
    *,
    text: Annotated[str, Field(max_length=500)],
) -> str | None:
    """A fixed text, which may be empty, stands in its place.

    Not where the output is a refusal already: saying no may then be the right answer.
    """
    return None if _REFUSAL.match(subject.text) else text
