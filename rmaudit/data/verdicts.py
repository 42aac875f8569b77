"""Which of several responses is preferred, by what columns are called and hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmaudit.data import names
from rmaudit.data.layouts.shapes import Pick, Vote, word
from rmaudit.data.mapping import vote
from rmaudit.data.messages import decoded
from rmaudit.data.plan import Unclear
from rmaudit.data.profile import Profile
from rmaudit.data.values import is_null


def find_vote(
    profile: Profile, free: Mapping[str, str], pair: tuple[str, str] | None
) -> Vote | None:
    """The vote on a pair of columns, if exactly one can be told from the others.

    It is a verdict in words for a side or by the model of a response; else marks of 0 and 1; else,
    where nothing else may say it, a score of each response, of which the higher one wins. `free`
    has the columns by the names they are compared by.
    """
    if pair is None:
        return None
    verdicts = [
        name
        for known in names.VERDICTS
        if (name := free.get(known)) and name not in pair and profile.filled(name)
    ]
    votes = [
        vote(*pair, name, profile.values[name], mapped=False)
        or _by_model(profile, free, pair, name)
        for name in verdicts
    ]
    shapes = [shape for shape in votes if shape is not None]
    flags = _flags(profile, free, pair) if not shapes else None
    if flags:
        shapes.append(Vote(*pair, flags=flags))
    if not verdicts and not flags:
        shapes += [
            Vote(*pair, scores=scores)
            for scores in names.scores_of_sides(free)
            if all(map(profile.numbers, scores))
        ]
    return shapes[0] if len(shapes) == 1 else None


def _by_model(
    profile: Profile, free: Mapping[str, str], pair: tuple[str, str], verdict: str
) -> Vote | None:
    """A vote whose verdict is the name of the model that gave one of the responses."""
    rows = [row for row in profile.rows if not is_null(row.get(verdict))]
    words = [word(row[verdict]) for row in rows]
    for models in names.both_sides(list(free.values())):
        if {*models} & {*pair, verdict}:
            continue
        named = [
            each in map(word, map(row.get, models)) for each, row in zip(words, rows, strict=True)
        ]
        known = sum(ok or each in names.TIE for ok, each in zip(named, words, strict=True))
        if any(named) and 5 * known >= 4 * len(rows):  # a few rows are set aside
            return Vote(*pair, verdict=verdict, called=models)
    return None


def _flags(
    profile: Profile, free: Mapping[str, str], pair: tuple[str, str]
) -> tuple[str, ...] | None:
    """Columns of 0 and 1 that mark the better one of two responses, or a tie."""
    one, other = names.ending(*(names.plain(name) for name in pair))
    marks = {
        known: name
        for known, name in free.items()
        if names.looks_like(known) == "label" and profile.flags(name)
    }
    ties = [name for known, name in marks.items() if "tie" in known]
    for known, name in marks.items():
        partner = known.removesuffix(one) + other
        if one and known.endswith(one) and known not in ties and partner in marks:
            return (name, marks[partner], *ties[:1])
    return None


def _read(value: Any) -> list[Any]:
    """A list of responses, which may be written in a cell of text."""
    value = decoded(value) if isinstance(value, str) else value
    return value if isinstance(value, list) else []


def find_pick(profile: Profile, free: Mapping[str, str], outputs: str | None) -> Pick | None:
    """A list of responses with the place of the best one in it.

    Raises
    ------
    Unclear
        If the rows do not show whether places are counted from 0 or from 1.
    """
    places = [name for name in free.values() if names.is_place(name) and profile.numbers(name)]
    if outputs is None or len(places) != 1 or not profile.lists(outputs):
        return None
    place = places[0]
    rows = [row for row in profile.rows if not is_null(row.get(place))]
    from_0 = any(row[place] == 0 for row in rows)
    from_1 = any(row[place] == len(_read(row.get(outputs))) for row in rows)
    if from_0 != from_1:
        return Pick(outputs, place, 0 if from_0 else 1)
    shown = "rows have 0 and" if from_0 else "no row has 0 or"
    raise Unclear(
        f"column {place!r} may count {outputs!r} from 0 or from 1: {shown} their number; give a "
        "column ranking, 1 for the best"
    )
