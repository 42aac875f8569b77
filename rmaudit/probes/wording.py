"""Transforms of the wording: other words for the same thing, from small tables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from rmaudit.probes.texts import in_prose, like
from rmaudit.probes.transforms import Subject, transform

CONTRACTIONS = {
    "do not": "don't",
    "does not": "doesn't",
    "did not": "didn't",
    "is not": "isn't",
    "are not": "aren't",
    "was not": "wasn't",
    "were not": "weren't",
    "have not": "haven't",
    "has not": "hasn't",
    "had not": "hadn't",
    "will not": "won't",
    "would not": "wouldn't",
    "should not": "shouldn't",
    "could not": "couldn't",
    "cannot": "can't",
    "it is": "it's",
    "that is": "that's",
    "there is": "there's",
    "you are": "you're",
    "we are": "we're",
    "they are": "they're",
    "I am": "I'm",
    "I have": "I've",
    "I will": "I'll",
    "you will": "you'll",
    "we will": "we'll",
}

# British to American. Only forms that are unambiguous in both.
SPELLINGS = {
    "behaviour": "behavior",
    "behaviours": "behaviors",
    "colour": "color",
    "colours": "colors",
    "coloured": "colored",
    "favour": "favor",
    "favourite": "favorite",
    "favourites": "favorites",
    "flavour": "flavor",
    "flavours": "flavors",
    "honour": "honor",
    "humour": "humor",
    "labour": "labor",
    "neighbour": "neighbor",
    "neighbours": "neighbors",
    "neighbourhood": "neighborhood",
    "rumour": "rumor",
    "rumours": "rumors",
    "vapour": "vapor",
    "centre": "center",
    "centres": "centers",
    "fibre": "fiber",
    "litre": "liter",
    "litres": "liters",
    "metre": "meter",
    "metres": "meters",
    "theatre": "theater",
    "defence": "defense",
    "offence": "offense",
    "analyse": "analyze",
    "analysed": "analyzed",
    "analysing": "analyzing",
    "apologise": "apologize",
    "categorise": "categorize",
    "emphasise": "emphasize",
    "familiarise": "familiarize",
    "maximise": "maximize",
    "memorise": "memorize",
    "minimise": "minimize",
    "optimise": "optimize",
    "optimised": "optimized",
    "organisation": "organization",
    "organisations": "organizations",
    "organise": "organize",
    "organised": "organized",
    "prioritise": "prioritize",
    "realise": "realize",
    "realised": "realized",
    "recognise": "recognize",
    "recognised": "recognized",
    "specialise": "specialize",
    "specialised": "specialized",
    "summarise": "summarize",
    "utilise": "utilize",
    "visualise": "visualize",
    "cancelled": "canceled",
    "labelled": "labeled",
    "modelling": "modeling",
    "travelled": "traveled",
    "traveller": "traveler",
    "travelling": "traveling",
    "fulfil": "fulfill",
    "skilful": "skillful",
    "aeroplane": "airplane",
    "aluminium": "aluminum",
    "grey": "gray",
    "jewellery": "jewelry",
    "mould": "mold",
    "pyjamas": "pajamas",
    "sceptical": "skeptical",
    "tyre": "tire",
    "tyres": "tires",
}

# One way only: the right word can stand wherever the left one does, rarely the reverse.
SYNONYMS = {
    "additional": "further",
    "approximately": "about",
    "assist": "help",
    "attempt": "try",
    "begin": "start",
    "begins": "starts",
    "difficult": "hard",
    "ensure": "make sure",
    "entire": "whole",
    "essential": "crucial",
    "for example": "for instance",
    "frequently": "often",
    "huge": "enormous",
    "incorrect": "wrong",
    "individuals": "people",
    "maybe": "perhaps",
    "nearly": "almost",
    "numerous": "many",
    "obtain": "get",
    "rapidly": "quickly",
    "require": "need",
    "requires": "needs",
    "sufficient": "enough",
    "therefore": "hence",
    "utilize": "use",
}


@transform("contractions")
def contractions(subject: Subject, rng: np.random.Generator) -> str | None:
    """Contracted forms are written out; where there are none, full forms are contracted."""
    text = subject.text.replace("’", "'")
    out = _both_ways(text, CONTRACTIONS)
    return None if out == text else out


@transform("spelling")
def spelling(subject: Subject, rng: np.random.Generator) -> str | None:
    """British spellings become American; where there are none, American ones British."""
    return _both_ways(subject.text, SPELLINGS)


@transform("synonyms")
def synonyms(subject: Subject, rng: np.random.Generator) -> str | None:
    """Some words become others of the same meaning, each where the table has it."""
    return in_prose(subject.text, lambda prose: _replaced(prose, SYNONYMS))


def _both_ways(text: str, table: Mapping[str, str]) -> str:
    """Right-hand words by left-hand ones; where there are none, the other way."""
    inverse = {right: left for left, right in table.items()}
    first, second = (inverse, table) if table is CONTRACTIONS else (table, inverse)
    changed = in_prose(text, lambda prose: _replaced(prose, first))
    return changed if changed != text else in_prose(text, lambda prose: _replaced(prose, second))


def _replaced(prose: str, table: Mapping[str, str]) -> str:
    lowered = {key.lower(): value for key, value in table.items()}

    def other(match: re.Match[str]) -> str:
        found = match.group()
        word = lowered[found.lower()]
        return word if word.startswith("I") else like(found, word)

    return _pattern(tuple(table)).sub(other, prose)


@cache
def _pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    longest = sorted(words, key=len, reverse=True)
    body = "|".join(re.escape(word) for word in longest)
    return re.compile(rf"(?<![\w'])(?:{body})(?![\w'])", re.IGNORECASE)
