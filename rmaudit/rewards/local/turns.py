"""Dialogue-turn process rewards: the assistant's turns are the steps of a conversation."""

from __future__ import annotations

from typing import Any

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.rewards.local.encoding import last_token
from rmaudit.rewards.local.rendering import Renderer, TemplateRenderer


def check(tokenizer: Any, renderer: Renderer, name: str) -> None:
    """Refuse a model whose turns cannot be told apart in its text.

    Raises
    ------
    UsageError
        If there is no chat template, or the tokenizer does not say where its tokens stand.
    """
    if not isinstance(renderer, TemplateRenderer):
        raise UsageError(f"{name}: unit=turn needs a chat template; give one with --template FILE")
    if not tokenizer.is_fast:
        raise UsageError(
            f"{name}: unit=turn needs a fast tokenizer, which knows its tokens' places"
        )


def encode(tokenizer: Any, renderer: Renderer, text: Text, limit: int | None) -> Encoded:
    """A conversation's token ids, and the place of the last token of each assistant turn.

    Too long a text loses its oldest tokens; turns that go with them have no score.
    """
    assert isinstance(renderer, TemplateRenderer)  # nosec B101: `check` held
    whole, turns = renderer.until_turns(text)
    batch = tokenizer(whole, add_special_tokens=False, verbose=False)
    ids: list[int] = batch["input_ids"]
    places = [last_token(batch.encodings[0], len(turn) - 1) for turn in turns]
    output = len(tokenizer(text.output, add_special_tokens=False, verbose=False)["input_ids"])
    excess = 0 if limit is None else max(0, len(ids) - limit)
    start = max(0, places[-1] + 1 - output - excess)
    return Encoded(
        payload=(ids[excess:], [place - excess for place in places if place >= excess]),
        tokens=len(ids) - excess,
        output_tokens=min(output, len(ids) - excess),
        output_start=start,
        truncated=excess > 0,
        output_truncated=excess > places[-1] + 1 - output,
    )
