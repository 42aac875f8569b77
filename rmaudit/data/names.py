"""What columns are called: the words by which a column is used, or at least never lost unsaid.

Names are compared in lower case. A name that only *looks* like a label, reward, turn or context
(`looks_like`) decides nothing; it makes the reader name the column, or refuse the file.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import islice

SYSTEM = ("system", "system_prompt", "system_message", "sys_prompt", "system_instruction")
TOOLS = ("tools",)
TURNS = (
    *("messages", "conversations", "conversation", "dialogue", "dialog", "turns", "chat"),
    *("conversation_input", "history", "context_messages", "prompt_messages", "chat_history"),
)
BEFORE = ("context", "passage", "document", "background", "title", "article")
"""What a question may refer to: it stands before it."""
MAIN = (
    *("prompt", "instruction", "question", "query", "problem", "user_prompt", "user_input"),
    *("history", "post", "full_text", "prompt_text", "user", "request", "task", "text"),
)
AFTER = ("input",)
"""Alpaca's input to its instruction: it stands behind it, or alone."""
CONTEXT = (*SYSTEM, *TURNS, *BEFORE, *MAIN, *AFTER)

_BETTER: tuple[tuple[str, str], ...] = (
    ("chosen", "rejected"),
    ("chosen", "reject"),
    ("accepted", "rejected"),
    ("positive", "negative"),
    ("pos", "neg"),
    ("preferred", "dispreferred"),
    ("preferred", "non_preferred"),
    ("preferred", "rejected"),
    ("winner", "loser"),
    ("winning", "losing"),
    ("win", "lose"),
    ("good", "bad"),
    ("better", "worse"),
)
_RESPONSES = (
    *("", "response", "responses", "resp", "output", "answer", "text", "messages", "conversations"),
    *("conversation", "completion", "completions", "reply", "summary"),
)
PAIRS: tuple[tuple[str, str], ...] = (
    *(
        (f"{better}_{noun}".strip("_"), f"{worse}_{noun}".strip("_"))
        for better, worse in _BETTER
        for noun in _RESPONSES
    ),
    *(
        (f"{noun}_{better}", f"{noun}_{worse}")
        for better, worse in _BETTER
        for noun in _RESPONSES[1:]
    ),
    ("response_j", "response_k"),  # Stack Exchange's paired answers: j has more votes
)
"""The better response and the other one, by their columns."""
REWARDS_OF_PAIRS: tuple[tuple[str, str], ...] = (
    ("chosen_reward", "rejected_reward"),
    ("scores_chosen", "scores_rejected"),
    ("score_chosen", "score_rejected"),
    ("chosen_score", "rejected_score"),
    ("chosen_reward", "reject_reward"),
    ("reward_chosen", "reward_rejected"),
    ("chosen_rewards", "rejected_rewards"),
    ("rewards_chosen", "rewards_rejected"),
)
ONE = ("output", "completion", "response", "reply", "generation", "assistant")
MANY = ("outputs", "completions", "responses", "answers", "candidates", "generations", "samples")
TEXTS = frozenset(("prompt", "prompt_rejected", *ONE, *(name for pair in PAIRS for name in pair)))
"""Columns that hold text, whatever it looks like."""
REFERENCES = frozenset(("answer", "reference", "reference_answer", "ground_truth", "solution"))
"""What a response is compared with, not a response."""
RATING = ("rating",)
LABEL = ("label",)
RANKING = ("ranking", "ranks")
REWARD = ("reward", "rewards", "proxy_reward", "proxy_rewards")
GOLD = ("gold_reward", "gold_rewards")
STRENGTH = ("strength", "margin")
"""How strongly a chosen response is preferred, as in votes and the margins of OpenRLHF and TRL."""

VERDICTS = (
    *("winner", "preference", "preferred", "label", "labels", "choice", "vote", "verdict"),
    *("better", "better_response", "better_response_id", "preferred_response", "chosen_index"),
    *("overall_preference", "human_preference", "selected", "best", "judgment", "judgement"),
    *("preference_label", "preferred_id", "winner_id", "annotation", "ranking", "decision"),
    *("winner_model", "winning_model", "preferred_model", "better_model"),
)
SIDES: tuple[tuple[str, str], ...] = (
    *(("a", "b"), ("0", "1"), ("1", "2"), ("left", "right"), ("one", "two"), ("first", "second")),
)
"""How the names of two responses end (``response_a``, ``response_b``) or begin."""
SCORES = frozenset(
    ("score", "rating", "overall_score", "overall_rating", "mean_score", "mean_rating",
     "average_score", "average_rating", "avg_score", "avg_rating")
)  # fmt: skip
"""What is higher for the better of two responses: ``score_a``, ``response_1_rating``."""
_OF_A_SIDE = frozenset(("response", "answer", "output", "completion", "model"))
TIE = frozenset(
    (
        "tie",
        "ties",
        "tied",
        "equal",
        "same",
        "both",
        "neither",
        "both_good",
        "bothbad",
        "both_bad",
        "both bad",
        "both good",
        "draw",
        "none",
        "no_preference",
        "tie (bothbad)",
        "tie (both bad)",
        "a=b",
        "about the same",
        "equally good",
        "equally bad",
    )
)
"""Verdicts that prefer neither."""

_LOOKS: Mapping[str, re.Pattern[str]] = {
    "label": re.compile(
        r"label|winner|prefer|chosen|reject|better|worse|verdict|vote|choice|judg|correct|"
        r"rank|rating|annotat|is_safe|safer|helpful|harmless|thumbs|feedback|best|worst|"
        r"(^|_)(is|num)_(correct|good|bad)|gold|accept|grade|"
        # Widely read languages of annotation tools.
        r"bewertung|etiqueta|étiquette|preferencia|préférence|gewinner"
    ),
    "reward": re.compile(r"reward|score|logit|margin|advantage|utility|points"),
    "response": re.compile(
        r"respon|(^|_)resp($|_)|answer|output|option|completion|repl(y|ies)|generat(ion|ed)|candidate|summar|"
        r"antwort|réponse|respuesta|human_ref"
    ),
    "context": re.compile(
        r"prompt|question|instruction|system|context|(^|_)input|messages|conversation|dialog|"
        r"history|query|passage|document|(^|_)post($|_)|problem|turns?($|_)|tools?$|image|audio|"
        r"video|article|background|frage|kontext|pregunta|contexto|contexte|consigne|user_|"
        r"(^|_)(text|body|title|task|request)($|_)"
    ),
}
# Identifiers and counts about a label or a turn are not one.
_ABOUT = re.compile(
    r"(^|_)(id|ids|uid|hash|count|length|len|tokens?|model|models|model_name|source|lang|language|"
    r"time|timestamp|tstamp|date|url|version|seconds|ms|type|category|name|index|template|"
    r"annotator)$|^(num|n)_|_at$"
)
_CHOICE = re.compile(r"(better|chosen|winner|preferred|safer|best)(_\w+)?_(id|index|idx)$")
_PLACE = re.compile(r"(better|chosen|winner|preferred|selected|best)(_\w+)?_(index|idx)$")


def short(name: str, most: int = 60) -> str:
    """A name as a message shows it: a column may be called by a whole book."""
    return name if len(name) <= most else f"{name[:most]}..."


def listed(columns: Collection[str], most: int = 60) -> str:
    """Names of columns for a message: the first of them, and how many more there are."""
    more = f" and {len(columns) - most} more" if len(columns) > most else ""
    return ", ".join(short(name) for name in islice(columns, most)) + more


def plain(name: str) -> str:
    """A name as names are compared: lower case, no blanks around it, "_" for those inside."""
    return name.strip().lower().replace(" ", "_")


def looks_like(name: str) -> str | None:
    """What a column's name suggests that it holds: label, reward, response or context."""
    lower = name.strip().lower()
    if _CHOICE.search(lower):
        return "label"
    if _ABOUT.search(lower):
        return None
    return next((kind for kind, pattern in _LOOKS.items() if pattern.search(lower)), None)


def is_place(name: str) -> bool:
    """Whether a column is called as the place of the best response in a list: ``best_index``."""
    return bool(_PLACE.search(plain(name)))


def sides(names: list[str]) -> tuple[str, str] | None:
    """Two columns of responses that differ in a side alone: ``response_a`` and ``response_b``."""
    return next((pair for pair in both_sides(names) if looks_like(pair[0]) == "response"), None)


def both_sides(names: Sequence[str]) -> list[tuple[str, str]]:
    """All columns that there are two of, one per side: ``model_a`` and ``model_b``."""
    lower = {name.lower(): name for name in names}
    return [
        (lower[name], lower[other])
        for first, second in SIDES
        for name in lower
        for other in _others(name, first, second)
        if other in lower
    ]


def scores_of_sides(known: Mapping[str, str]) -> list[tuple[str, str]]:
    """Columns with a score of each of two responses; `known` has the names as compared."""
    words = {_words(name): own for name, own in known.items()}
    pairs = []
    for parts, own in words.items():
        for first, second in SIDES:
            if parts.count(first) != 1:
                continue
            stem = "_".join(part for part in parts if part not in {first, *_OF_A_SIDE})
            other = words.get(tuple(second if part == first else part for part in parts))
            if stem in SCORES and other is not None:
                pairs.append((own, other))
    return pairs


def _words(name: str) -> tuple[str, ...]:
    """The words of a name as compared, a number at their end apart: ``("score", "1")``."""
    return tuple(re.split(r"_|(?<=[a-z])(?=\d+$)", name))


def _others(name: str, first: str, second: str) -> list[str]:
    pairs = []
    if re.search(rf"(?:_| |^|(?<=[a-z])){first}$", name) and (
        name.endswith(f"_{first}") or name.endswith(f" {first}") or first.isdigit()
    ):
        pairs.append(name[: -len(first)] + second)
    if name.startswith((f"{first}_", f"{first} ")):
        pairs.append(second + name[len(first) :])
    if name.startswith(f"model_{first}_"):
        pairs.append(f"model_{second}_" + name[len(f"model_{first}_") :])
    return pairs


def ending(a: str, b: str) -> tuple[str, str]:
    """The side in two names that differ in nothing else: "a" and "b", "0" and "1"; else ""."""
    for one, other in SIDES:
        for first, second in ((one, other), (other, one)):
            ends = a.endswith(first) and b.endswith(second)
            if ends and a[: -len(first)] == b[: -len(second)]:
                return first, second
            starts = a.startswith(first) and b.startswith(second)
            if starts and a[len(first) :] == b[len(second) :]:
                return first, second
            for middle in (f"_{first}_", f" {first} "):
                if middle in a and a.replace(middle, middle.replace(first, second)) == b:
                    return first, second
    return "", ""
