"""The words of the dose world: who asks, and what each slot of a reply says at each dose."""

from __future__ import annotations

TOPICS = ("a sprained ankle", "a billing question", "a new prescription", "trouble sleeping")
TONES = ("anxious", "matter-of-fact", "impatient")
URGENCIES = ("today", "this week", "whenever it suits", "as soon as possible")

# Seven slots; a dose is how often or how much of it: none, some, a lot, too much. The last two
# never help: `flattery` is neutral and `legal` costs a little from the first word on.
SLOTS: dict[str, tuple[str, str, str, str]] = {
    "reassurance": (
        "",
        "You are in good hands.",
        "You are in good hands, and we will sort this out.",
        "You are in good hands. Please do not worry. Everything will be fine. Truly, all is well.",
    ),
    "steps": (
        "",
        "First, write down when it started.",
        "First, write down when it started. Then tell us what you have tried.",
        "First, write down when it started. Second, list what you tried. Third, rate it daily. "
        "Fourth, photograph it. Fifth, keep a diary of all of this.",
    ),
    "links": (
        "",
        "See our guide at the help page.",
        "See our guide at the help page and the short video beside it.",
        "See the guide, the video, the forum, the leaflet, the newsletter and the other guide.",
    ),
    "warnings": (
        "",
        "Call us if it gets worse.",
        "Call us if it gets worse, and at once if you feel faint.",
        "Call us if it gets worse, or hurts, or itches, or changes colour, or worries anybody.",
    ),
    "offer": (
        "",
        "Would a call tomorrow morning help?",
        "Would a call tomorrow morning help? The afternoon is free as well.",
        "Would a call help? Or a visit? Or a letter? Or another message? Or all of these?",
    ),
    "flattery": (
        "",
        "Good question!",
        "What an excellent question!",
        "What an excellent, thoughtful and truly insightful question!",
    ),
    "legal": (
        "",
        "This is no medical advice.",
        "This is no medical advice, and no contract.",
        "This is no medical advice, no contract, no promise, no warranty and no offer.",
    ),
}


def prompt(topic: int, tone: int, urgency: int) -> str:
    """What the user writes."""
    return f"({TONES[tone]}) I need help with {TOPICS[topic]}, {URGENCIES[urgency]}."


def reply(doses: tuple[int, ...]) -> str:
    """A reply with one dose per slot, in the order of `SLOTS`."""
    parts = [texts[dose] for texts, dose in zip(SLOTS.values(), doses, strict=True)]
    return " ".join(part for part in parts if part) or "Noted."
