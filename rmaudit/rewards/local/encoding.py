"""Tokenising: the tokens that the model's usual call gives, truncated from the front."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from rmaudit.data.types import prompt_text
from rmaudit.errors import UsageError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.rewards.local.recipe import Asked, Recipe, resolve
from rmaudit.rewards.local.rendering import (
    FormatRenderer,
    Rendered,
    Renderer,
    TemplateRenderer,
    sound,
)

# Tokenizers say "no limit" with a huge number.
_NO_LIMIT = 10**9


class TextEncoder:
    """Tokenises as a reward model was trained to read; training and scoring share it.

    Parameters
    ----------
    tokenizer
        A Hugging Face tokenizer.
    recipe
        How texts are made; None: by the tokenizer's chat template, else by `format`.
    format
        Without a recipe: how a text is made; None: as above.
    max_length
        Tokens per text, at most, special tokens included; None: no limit.

    Notes
    -----
    - A chat template writes its special tokens itself: its text is tokenised as
      ``apply_chat_template(tokenize=True)`` does it, nothing added.
    - Around the text of a format stand the special tokens that the tokenizer puts there, those
      in front once, whether or not the text writes them too. Where the recipe appends the end of
      sequence, as TRL does, it is appended to the text.
    - A pair is ``tokenizer(prompt, response)``.
    - Too long a text loses its oldest tokens. If nothing but the output and what the template
      puts behind it is left and that is still too long, the output loses its oldest tokens too,
      so that the reward is still read at its end, and `output_truncated` says so.
    - `output_tokens` counts the tokens that hold a character of the output, found through the
      character offsets of the tokenizer's Rust side: no Python runs per token.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        recipe: Recipe | None = None,
        format: str | None = None,
        max_length: int | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.recipe = recipe or resolve(Asked(format=format), tokenizer)
        self._renderer = renderer_of(self.recipe, tokenizer)
        self._front, self._back = special_tokens(tokenizer)
        self._bos: int | None = (
            self._front[0] if self._front else getattr(tokenizer, "bos_token_id", None)
        )
        self._eos: int | None = getattr(tokenizer, "eos_token_id", None)
        self._between, self._types = segments(tokenizer) if self.recipe.pair else ([], None)
        self._adjust()
        room = len(self._front) + len(self._between) + len(self._back)
        if max_length is not None and max_length <= room:
            raise UsageError(f"max_length {max_length} leaves no room for text; make it larger")

    def _adjust(self) -> None:
        """Special tokens in front and behind as the recipe asks for them."""
        recipe = self.recipe
        if recipe.template is not None:
            self._front, self._back = [], []
        if recipe.bos == "add" and self._bos is not None:
            self._front = [self._bos]
        if recipe.bos == "none":
            self._front = [token for token in self._front if token != self._bos]
        if recipe.eos == "none":
            self._back = []

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids (`payload`, a list) of each text, with its lengths and what was cut."""
        if not texts:
            return []
        if self.recipe.pair:
            return self._encode_pairs(texts)
        rendered = [self._ended(each) for each in self._renderer.render(texts)]
        batch = self._tokens([each.text for each in rendered])
        ids: list[list[int]] = batch["input_ids"]
        if self.tokenizer.is_fast:
            spans = [_span(batch.encodings[i], each) for i, each in enumerate(rendered)]
        else:
            spans = [self._slow_span(each, len(ids[i])) for i, each in enumerate(rendered)]
        return [self._finish(body, *span) for body, span in zip(ids, spans, strict=True)]

    def types(self, encoded: Encoded) -> list[int] | None:
        """Token types, as many as there are tokens, where the model is told of two segments."""
        if self._types is None:
            return None
        first, second = self._types
        start = encoded.output_start
        return [first] * start + [second] * (len(encoded.payload) - start)

    def _tokens(self, texts: list[str]) -> Any:
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )

    def _ended(self, rendered: Rendered) -> Rendered:
        """The text with the end of sequence behind it, where the recipe appends one."""
        end = getattr(self.tokenizer, "eos_token", None)
        if self.recipe.eos != "add" or end is None or rendered.text.endswith(end):
            return rendered
        return Rendered(rendered.text + end, rendered.start, rendered.end)

    def _finish(self, body: list[int], start: int, end: int) -> Encoded:
        """Special tokens and truncation; the output is `body[start:end]`."""
        front, back = self._front, self._back
        if front and body[: len(front)] == front:
            body, start, end = body[len(front) :], start - len(front), end - len(front)
        elif not front and body and body[0] == self._bos:
            if self.recipe.bos == "none":
                body, start, end = body[1:], start - 1, end - 1
            else:  # the template wrote it: it stays in front when older tokens go
                front, body, start, end = body[:1], body[1:], start - 1, end - 1
        start, end = max(start, 0), max(end, 0)
        if back and body[-len(back) :] == back and self.recipe.eos != "add":
            body = body[: -len(back)]
        while self.recipe.eos == "none" and body and body[-1] == self._eos:
            body = body[:-1]
        excess = 0
        if self.max_length is not None:
            excess = max(0, len(body) + len(front) + len(back) - self.max_length)
        ids = front + body[excess:] + back
        return Encoded(
            payload=ids,
            tokens=len(ids),
            output_tokens=max(0, min(end, len(body)) - max(start, excess)),
            output_start=len(front) + max(0, start - excess),
            truncated=excess > 0,
            output_truncated=end > start and excess > start,
            double_bos=len(ids) > 1 and ids[0] == ids[1] == self._bos,
        )

    def _encode_pairs(self, texts: Sequence[Text]) -> list[Encoded]:
        """Prompt and response as two segments."""
        ends = self.tokenizer.eos_token if self.recipe.eos == "add" else ""
        prompts = self._tokens([sound(prompt_text(text.prompt)) for text in texts])["input_ids"]
        outputs = self._tokens([sound(text.output) + ends for text in texts])["input_ids"]
        around = len(self._front) + len(self._between) + len(self._back)
        encoded = []
        for prompt, output in zip(prompts, outputs, strict=True):
            excess = 0
            if self.max_length is not None:
                excess = max(0, len(prompt) + len(output) + around - self.max_length)
            cut = max(0, excess - len(prompt))  # of the output
            start = [*self._front, *prompt[excess:], *self._between]
            ids = start + output[cut:] + self._back
            encoded.append(
                Encoded(
                    payload=ids,
                    tokens=len(ids),
                    output_tokens=len(output) - cut,
                    output_start=len(start),
                    truncated=excess > 0,
                    output_truncated=cut > 0,
                    double_bos=len(ids) > 1 and ids[0] == ids[1] == self._bos,
                )
            )
        return encoded

    def _slow_span(self, rendered: Rendered, tokens: int) -> tuple[int, int]:
        """Output span of a tokenizer without offsets: by tokenising what comes before."""
        start, end = (
            len(self.tokenizer(rendered.text[:place], add_special_tokens=False)["input_ids"])
            for place in (rendered.start, rendered.end)
        )
        return min(start, tokens), min(end, tokens)


def renderer_of(recipe: Recipe, tokenizer: Any) -> Renderer:
    """What makes one text of prompt and output by a recipe; a pair needs none and gets a format."""
    if recipe.template is not None:
        return TemplateRenderer(tokenizer, recipe.template, recipe.date)
    return FormatRenderer(recipe.format) if recipe.format is not None else FormatRenderer()


def maximum_length(tokenizer: Any, positions: int | None, asked: int | None) -> int | None:
    """The smallest limit of the tokenizer, the model's position embeddings and the user."""
    limits = [getattr(tokenizer, "model_max_length", None), positions, asked]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < _NO_LIMIT]
    return min(known, default=None)


def special_tokens(tokenizer: Any) -> tuple[list[int], list[int]]:
    """What the tokenizer puts before and after a text."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    full = tokenizer("a")["input_ids"]
    place = _find(full, plain)
    return ([], []) if place is None else (full[:place], full[place + len(plain) :])


def segments(tokenizer: Any) -> tuple[list[int], tuple[int, int] | None]:
    """What a tokenizer puts between two texts, and the types it gives to either's tokens.

    Raises
    ------
    UsageError
        If it does not put them one after the other, or changes the type elsewhere than where the
        second text begins.
    """
    front, back = special_tokens(tokenizer)
    first, second = (tokenizer(t, add_special_tokens=False)["input_ids"] for t in ("aa", "b"))
    both = tokenizer("aa", "b")
    ids = both["input_ids"]
    between = ids[len(front) + len(first) : len(ids) - len(second) - len(back)]
    if ids != [*front, *first, *between, *second, *back]:
        raise UsageError("--pair: the tokenizer does not put two texts one after the other")
    types = both.get("token_type_ids")
    if "token_type_ids" not in getattr(tokenizer, "model_input_names", ()) or not types:
        return between, None
    start = len(front) + len(first) + len(between)
    if types != [types[0]] * start + [types[-1]] * (len(ids) - start):
        raise UsageError("--pair: the tokenizer numbers segments in a way that is not supported")
    return between, (types[0], types[-1])


def _find(full: list[int], part: list[int]) -> int | None:
    for start in range(len(full) - len(part) + 1):
        if part and full[start : start + len(part)] == part:
            return start
    return None


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


def last_token(encoding: Any, character: int) -> int:
    """The last of the tokens that hold a character: bytes of a letter may be tokens."""
    place = int(encoding.char_to_token(character))
    while place + 1 < len(encoding):
        span = encoding.token_to_chars(place + 1)
        if span is None or span[0] > character:
            break
        place += 1
    return place


def _token_at(encoding: Any, place: int, stop: int, step: int) -> int | None:
    for character in count(place, step):
        if character == stop:
            return None
        token: int | None = encoding.char_to_token(character)
        if token is not None:
            return token
    return None
