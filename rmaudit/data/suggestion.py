"""The mapping that would fit a table best, for the message that refuses it."""

from __future__ import annotations

from rmaudit.data import names
from rmaudit.data.profile import Profile


def suggestion(profile: Profile) -> str:
    """What to say: ``say --columns prompt=question,chosen=response_a,...``."""
    free = {name.strip().lower().replace(" ", "_"): name for name in profile.values}
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
        if n not in texts or not profile.sentences(n)
        if names.looks_like(n) in ("label", "reward") and n not in (context, *responses)
        if profile.filled(n)
    ]
    if context not in (None, "prompt"):
        parts.append(f"prompt={context}")
    pair = names.sides(texts) or (tuple(responses[:2]) if len(responses) > 1 else None)
    lists = [n for n in profile.values if profile.lists(n) and names.looks_like(n) == "response"]
    if pair:
        parts += [f"chosen={pair[0]}", f"rejected={pair[1]}"]
        parts += [f"label={labels[0]}"] if labels else []
    elif lists:
        parts.append(f"outputs={lists[0]}")
        parts += [f"ratings={labels[0]}"] if labels else []
    elif responses:
        parts.append(f"output={responses[0]}")
        if labels:
            numbers = profile.numbers(labels[0])
            parts.append(f"{'rating' if numbers else 'label'}={labels[0]}")
    elif labels:
        parts.append(f"rating={labels[0]}")
    return (
        f"say which is which, such as --columns {','.join(parts) or 'prompt=...,output=...'} "
        "(and --columns ignore=NAME+NAME for what is none)"
    )
