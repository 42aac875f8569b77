"""Tokenising: one beginning of sequence, truncation from the front, the output kept whole."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from rmaudit.errors import UsageError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT, Rendered, renderer

# Tokenizers say "no limit" with a huge number.
_NO_LIMIT = 10**9


class TextEncoder:
    """Tokenises as a reward model was trained to read; training and scoring share it.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer.
    format
        How a text is made where the tokenizer has no chat template.
    max_length
        Tokens a text, at most, special tokens included; None: no limit.

    Notes
    -----
    - The special tokens that the tokenizer puts in front are written once, whether or not the
      template or the text writes them too. Those it puts behind (BERT's ``[SEP]``, or an end of
      sequence) are added as well, but for templates of models without ``[SEP]``: what ends such a
      text is the template's affair.
    - Too long a text loses its oldest tokens. If nothing but the output and what the template
      puts behind it is left and that is still too long, the output loses its oldest tokens too,
      so that the reward is still read at its end, and `output_truncated` says so.
    - `output_tokens` counts the tokens that hold a character of the output, found through the
      character offsets of the tokenizer's Rust side: no Python runs per token.
    """

    def __init__(
        self, tokenizer: Any, *, format: str = DEFAULT_FORMAT, max_length: int | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._renderer = renderer(tokenizer, format)
        self.recipe = self._renderer.recipe
        self._front, self._back = special_tokens(tokenizer)
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if has_template and getattr(tokenizer, "sep_token_id", None) not in self._back:
            self._back = []
        self._bos: int | None = (
            self._front[0] if self._front else getattr(tokenizer, "bos_token_id", None)
        )
        if max_length is not None and max_length <= len(self._front) + len(self._back):
            raise UsageError(f"max_length {max_length} leaves no room for text; make it larger")

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids (`payload`, a list) of each text, with its lengths and what was cut."""
        if not texts:
            return []
        rendered = self._renderer.render(texts)
        batch = self.tokenizer(
            [each.text for each in rendered],
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )
        ids: list[list[int]] = batch["input_ids"]
        if self.tokenizer.is_fast:
            spans = [_span(batch.encodings[i], each) for i, each in enumerate(rendered)]
        else:
            spans = [self._slow_span(each, len(ids[i])) for i, each in enumerate(rendered)]
        return [self._finish(body, *span) for body, span in zip(ids, spans, strict=True)]

    def _finish(self, body: list[int], start: int, end: int) -> Encoded:
        """Special tokens and truncation; the output is `body[start:end]`."""
        front, back = self._front, self._back
        if front and body[: len(front)] == front:
            body, start, end = body[len(front) :], start - len(front), end - len(front)
        elif not front and body and body[0] == self._bos:
            # The template wrote it: it stays in front when older tokens go.
            front, body, start, end = body[:1], body[1:], start - 1, end - 1
        start, end = max(start, 0), max(end, 0)
        if back and body[-len(back) :] == back:
            body = body[: -len(back)]
        excess = 0
        if self.max_length is not None:
            excess = max(0, len(body) + len(front) + len(back) - self.max_length)
        ids = front + body[excess:] + back
        return Encoded(
            payload=ids,
            tokens=len(ids),
            output_tokens=max(0, end - max(start, excess)),
            output_start=len(front) + max(0, start - excess),
            truncated=excess > 0,
            output_truncated=end > start and excess > start,
            double_bos=len(ids) > 1 and ids[0] == ids[1] == self._bos,
        )

    def _slow_span(self, rendered: Rendered, tokens: int) -> tuple[int, int]:
        """Output span of a tokenizer without offsets: by tokenising what comes before."""
        start, end = (
            len(self.tokenizer(rendered.text[:place], add_special_tokens=False)["input_ids"])
            for place in (rendered.start, rendered.end)
        )
        return min(start, tokens), min(end, tokens)


def maximum_length(tokenizer: Any, positions: int | None, asked: int | None) -> int | None:
    """The smallest limit of the tokenizer, the model's position embeddings and the user."""
    limits = [getattr(tokenizer, "model_max_length", None), positions, asked]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known, default=None)


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    for start in range(len(full) - len(plain) + 1):
        if plain and full[start : start + len(plain)] == plain:
            return full[:start], full[start + len(plain) :]
    return [], []


def _span(encoding: Any, rendered: Rendered) -> tuple[int, int]:
    """First and one past the last token of the output, (start, end).

    Characters may belong to no token (white space, in some tokenizers): then the next one counts.
    """
    if rendered.start == rendered.end:
        after = _token_at(encoding, rendered.start, len(rendered.text), 1)
        place = len(encoding) if after is None else after
        return place, place
    first = _token_at(encoding, rendered.start, rendered.end, 1)
    last = _token_at(encoding, rendered.end - 1, rendered.start - 1, -1)
    if first is None or last is None:
        return len(encoding), len(encoding)
    after = last + 1
    while after < len(encoding) and encoding.token_to_chars(after)[0] < rendered.end:
        after += 1  # a character of several tokens
    return first, after


def _token_at(encoding: Any, place: int, stop: int, step: int) -> int | None:
    for character in count(place, step):
        if character == stop:
            return None
        token: int | None = encoding.char_to_token(character)
        if token is not None:
            return token
    return None
