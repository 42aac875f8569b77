"""Training data of judges: the pairs stand in the prompts, the responses are verdicts on them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rmaudit.data.types import Prompt, prompt_text

MOST = 0.8  # of the rows: a few are written otherwise
LONGEST = 200  # characters at the end of a response that its verdict is looked for in
_NAME = r"(?:response|answer|assistant|output|completion|candidate|model|reply)"
_CANDIDATE = re.compile(rf"\b{_NAME}[\s_(#*:-]*(a|b|1|2)\b", re.IGNORECASE)
# A side alone, or marked as the verdict at the end of a text.
_VERDICT = re.compile(
    rf"(?s)\W*(?:{_NAME}\W*)?(?:a|b|1|2|tie)\W*"
    r"|.*(?:\[\[?|\{|<(?:answer|verdict|preference)>|verdict\W+|better\W+)"
    rf"\W*(?:{_NAME}\W*)?(?:a|b|1|2|c|tie)\b\W*(?:</\w+>)?\W*",
    re.IGNORECASE,
)


def judges_pairs(prompt: Prompt, response: str) -> bool:
    """Whether a response is the verdict on two responses that its prompt names."""
    if not _VERDICT.fullmatch(response.strip()[-LONGEST:]):
        return False
    named = {side.lower() for side in _CANDIDATE.findall(prompt_text(prompt))}
    return named >= {"a", "b"} or named >= {"1", "2"}


def verdicts_of(rows: Sequence[tuple[Prompt, str]]) -> list[str] | None:
    """The different verdicts, where most rows (prompt, response) are a judge's, else None."""
    judged = [response.strip() for prompt, response in rows if judges_pairs(prompt, response)]
    if not judged or len(judged) < MOST * len(rows):
        return None
    return sorted(set(judged), key=lambda text: (len(text), text))
