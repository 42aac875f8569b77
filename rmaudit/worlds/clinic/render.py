"""Contexts and replies of the clinic world as text."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from rmaudit.worlds.clinic.text import (
    ANSWERS,
    FAMILIES,
    PHRASINGS,
    SENTENCES,
    SITUATIONS,
    TONES,
    VAGUE,
    Situation,
)


def contexts_frame() -> pd.DataFrame:
    """Every context: family x situation x phrasing x tone.

    Returns
    -------
    Columns id (str), family, kind, tone, phrasing (int), situation (int), urgent (bool), prompt;
    one row a context, in a fixed order. Prompts are unique.
    """
    rows = []
    for family in FAMILIES:
        for s, situation in enumerate(SITUATIONS[family]):
            for p, phrasing in enumerate(PHRASINGS[family]):
                body = phrasing.format(subject=situation.subject, aside=situation.aside)
                for tone, frame in TONES.items():
                    rows.append(
                        {
                            "id": f"{family.replace(' ', '-')}-{s}-{p}-{tone}",
                            "family": family,
                            "kind": kind_of(family, situation),
                            "tone": tone,
                            "phrasing": p,
                            "situation": s,
                            "urgent": situation.urgent,
                            "prompt": frame.format(body=body),
                        }
                    )
    return pd.DataFrame(rows)


def kind_of(family: str, situation: Situation) -> str:
    """The column of the reward table that a situation falls under."""
    if family == "mixed intent":
        return "mixed urgent" if situation.urgent else "mixed routine"
    return family


def render(family: str, subject: str, wording: int, values: Mapping[str, str]) -> str:
    """A reply as text.

    Parameters
    ----------
    family, subject
        Of the context; the subject is named in the answer.
    wording
        0 or 1: which of the two wordings of every sentence.
    values
        Slot name -> value.
    """
    sentences = []
    for slot, by_value in SENTENCES.items():
        value = values[slot]
        if slot == "answer":
            wordings = ANSWERS[family] if value == "yes" else VAGUE
            sentences.append(wordings[wording].format(subject=subject))
        elif value in by_value:
            sentences.append(by_value[value][wording])
    if values["markdown"] == "yes":
        return "\n".join(["**Our reply**", *(f"- {sentence}" for sentence in sentences)])
    return " ".join(sentences)
