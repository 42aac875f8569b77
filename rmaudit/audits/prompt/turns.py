"""Does the reward read the turns before the last, and the system prompt? Part of `prompt`.

Another prompt in the whole prompt's place does not tell: a reward that reads the last turn alone
loses all its accuracy then, though the task may stand in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from rmaudit.audits.common.pairs import Comparisons, Margins, pair_examples, standardized
from rmaudit.case import Case
from rmaudit.data.types import Message, Prompt, prompt_key
from rmaudit.results import Estimate, Finding
from rmaudit.scoring.requests import Request, Scores
from rmaudit.stats.intervals import for_skewness
from rmaudit.stats.law import p_at_least
from rmaudit.typing import Float, Integers

BLIND = 0.05  # SD: margins that move by less do not depend on what was taken out
FEWEST_PROMPTS = 10  # that differ in what is taken out
EARLIER, SYSTEM = "prompt.earlier_turns_shift", "prompt.system_shift"
SIDES = {EARLIER: "last_turn", SYSTEM: "no_system"}
WORDS = {EARLIER: "the turns before the last", SYSTEM: "the system prompt"}


def earlier_turns(prompt: Prompt) -> tuple[list[Message], list[Message]]:
    """The prompt without its turns before the last, and those; the system prompt stays.

    Nothing is taken out where the last turn is not the user's: templates refuse a tool's result
    without its call.
    """
    messages = [] if isinstance(prompt, str) else prompt
    turns = [m for m in messages if not _is_system(m)]
    if not turns or turns[-1]["role"] != "user":
        return messages, []
    return [*(m for m in messages if _is_system(m)), turns[-1]], turns[:-1]


def system_prompt(prompt: Prompt) -> tuple[list[Message], list[Message]]:
    """The prompt without its system prompt, and that; nothing is taken out where it is all."""
    messages = [] if isinstance(prompt, str) else prompt
    rest = [m for m in messages if not _is_system(m)]
    return rest, [m for m in messages if _is_system(m)] if rest else []


TAKEN: dict[str, Callable[[Prompt], tuple[list[Message], list[Message]]]] = {
    EARLIER: earlier_turns,
    SYSTEM: system_prompt,
}


def _is_system(message: Message) -> bool:
    return message["role"] in ("system", "developer")


def with_part(case: Case, pairs: Comparisons, places: Integers, id_: str) -> Integers:
    """Those of the places whose prompt has the part that is taken out, (n,)."""
    prompts = case.eval.frame["prompt"].tolist()
    row = pairs.outputs.row[pairs.better[places]]
    here: Integers = places[np.array([bool(TAKEN[id_](prompts[i])[1]) for i in row], dtype=bool)]
    return here


def turn_requests(case: Case, pairs: Comparisons, places: Integers, audit: str) -> list[Request]:
    """Both responses of the pairs that have such a part, without it: up to four texts per pair."""
    frame, outputs = case.eval.frame, pairs.outputs
    asked = []
    for id_, side in SIDES.items():
        here = with_part(case, pairs, places, id_)
        if not here.size:
            continue
        row = outputs.row[pairs.better[here]]
        ids = frame["id"].iloc[row].tolist()
        prompts: list[Prompt] = [TAKEN[id_](p)[0] for p in frame["prompt"].iloc[row]]
        for which, of in (("better", pairs.better), ("worse", pairs.worse)):
            words = outputs.words[of[here]].tolist()
            asked.append(Request(f"{side}_{which}", ids, prompts, words, audit))
    return asked


Shift = tuple[Estimate, Margins, Float]
"""Mean absolute change of the margin in SD, the pairs, and the change of each, (n,)."""


def shifts(
    case: Case, scores: Scores, pairs: Comparisons, places: Integers, found: Margins
) -> dict[str, Shift]:
    """How far margins move without each part, by metric."""
    result: dict[str, Shift] = {}
    for id_, side in SIDES.items():
        here = with_part(case, pairs, places, id_)
        if not here.size:
            reason = f"needs prompts with {WORDS[id_]} in --eval: messages of several turns"
            nothing = Estimate.undefined(reason, confidence=case.confidence)
            result[id_] = (nothing, found.take(np.zeros(len(found), dtype=bool)), np.zeros(0))
            continue
        better, worse = pairs.better[here], pairs.worse[here]
        without = [
            scores.reward(f"{side}_{which}", audit="prompt") for which in ("better", "worse")
        ]
        change = np.abs(found.reward[better] - found.reward[worse] - without[0] + without[1])
        known = np.isfinite(change)
        own = replace(found, better=better[known], worse=worse[known], tied=pairs.tied[here][known])
        estimate = for_skewness(  # most margins stay without a part of the prompt, a few jump
            standardized(
                change[known],
                np.ones(known.sum()),
                own.cluster,
                own.unit,
                confidence=case.confidence,
            )
        )
        result[id_] = (estimate, own, change[known])
    return result


def turn_findings(case: Case, found: Mapping[str, Shift]) -> list[Finding]:
    """Parts of the prompt that margins do not depend on, for certain."""
    findings = []
    for id_, (shift, pairs, change) in found.items():
        if not shift.defined or shift.high >= BLIND:
            continue
        prompts = case.eval.frame["prompt"].iloc[pairs.row]
        parts = {prompt_key(TAKEN[id_](prompt)[1]) for prompt in prompts}
        if len(parts) < FEWEST_PROMPTS:  # what is the same everywhere need not be read
            continue
        findings.append(
            Finding(
                "medium",
                "prompt",
                id_,
                f"It does not read {WORDS[id_]}: margins move by {shift.value:.3f} SD without",
                f"{shift.n:,} pairs have it, in {len(parts):,} wordings; the interval ends at "
                f"{shift.high:.3f} SD. Where the task stands there, responses are judged without "
                "it: check that the whole conversation reaches the model (chat template, "
                "truncation from the left).",
                pair_examples(case, pairs, -change),
                p_at_least(shift, BLIND),
            )
        )
    return findings
