"""The mapping that would fit a table best, for the message that refuses it."""

from __future__ import annotations

import shlex

from rmaudit.data import names
from rmaudit.data.profile import Profile

LONGEST = 200  # characters of a name; a longer one is no name that anybody types


def suggestion(profile: Profile) -> str:
    """What to say: ``say --columns prompt=question,chosen=response_a,...``."""
    free = {names.plain(name): name for name in profile.values}
    texts = [n for n in profile.values if profile.text(n) or profile.turns(n)]
    parts = []
    context = next((free[n] for n in (*names.MAIN, *names.TURNS) if free.get(n) in texts), None)
    if context is None:
        context = next((n for n in texts if names.looks_like(n) == "context"), None)
    responses = [
        n
        for n in texts
        if names.looks_like(n) == "response" and n != context and n.lower() not in names.REFERENCES
    ]
    labels = [
        n
        for n in profile.values
        if names.looks_like(n) in ("label", "reward")
        and profile.filled(n)
        and n not in (context, *responses)
        and not profile.sentences(n)
    ]
    if context not in (None, "prompt"):
        parts.append(f"prompt={names.short(context, LONGEST)}")
    pair = names.sides(texts) or (tuple(responses[:2]) if len(responses) > 1 else None)
    lists = [n for n in profile.values if profile.lists(n) and names.looks_like(n) == "response"]
    if pair:
        parts += _of_pair(pair, labels)
    elif lists:
        # A rank is best where it is lowest, a score where it is highest: never one for the other.
        ranks = [n for n in labels if "rank" in n.lower() and _listed(profile, n)]
        scores = [n for n in labels if n not in ranks and _listed(profile, n)]
        parts += [*_one(lists, "outputs"), *(_one(ranks, "ranking") or _one(scores, "ratings"))]
    elif responses:
        single = [n for n in labels if "rank" not in n.lower()]
        numbers = bool(single) and profile.numbers(single[0])
        parts += [*_one(responses, "output"), *_one(single, "rating" if numbers else "label")]
    columns = ",".join(parts) or "prompt=...,output=..."
    columns = columns if not set(columns) & set(" ()&;'") else shlex.quote(columns)
    return (
        f"say which is which, such as --columns {columns} "
        "(and --columns ignore=NAME+NAME for what is none)"
    )


def _of_pair(pair: tuple[str, ...], labels: list[str]) -> list[str]:
    # A column about one of the two does not say which is better.
    ends = names.ending(*map(names.plain, pair))
    about = tuple(f"_{end}" for end in ends) if ends[0] else ()
    labels = [n for n in labels if not (about and names.plain(n).endswith(about))]
    return [
        *_one([pair[0]], "chosen"),
        *_one([pair[1]], "rejected"),
        *(_one(labels, "label") or ["label=(the column that says which is better)"]),
    ]


def _one(columns: list[str], target: str) -> list[str]:
    return [f"{target}={names.short(columns[0], LONGEST)}"] if columns else []


def _listed(profile: Profile, name: str) -> bool:
    """Whether a column holds a list of numbers, one per response."""
    values = profile.values[name]
    return all(isinstance(v, list) and all(isinstance(x, int | float) for x in v) for v in values)
