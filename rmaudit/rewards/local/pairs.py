"""Models that read two responses to a prompt at once: P(the first is better), and no scalar."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.data.types import prompt_text
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, RewardModel, Signal, Text
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint
from rmaudit.rewards.local.checkpoint_files import Permissions, read_json
from rmaudit.rewards.local.description import loaded
from rmaudit.rewards.local.devices import torch_device
from rmaudit.rewards.local.encoding import maximum_length, special_tokens
from rmaudit.rewards.local.language_model import logits_alone, logits_of
from rmaudit.rewards.local.lengths import LengthRule
from rmaudit.rewards.local.placement import WHOLE, Dtype, Placement, torch_dtype
from rmaudit.rewards.local.pooling import own_heads, pad
from rmaudit.rewards.local.query import parse
from rmaudit.rewards.local.recipe import Asked, Recipe, resolve
from rmaudit.rewards.local.rendering import fixed_day, sound
from rmaudit.rewards.local.screen import screen_of_texts
from rmaudit.rewards.local.transformers_model import padding_id, positions

_log = logging.getLogger("rmaudit")
Chat = Literal["no", "yes", "ask"]
_BREAD = "How do I bake bread?"
_TRIAL = (
    Text(_BREAD, "Mix flour and water.", other="No."),
    Text("hi", "yes", other="Say what you see, and then more. " * 8),
    Text("Count. " * 30, "one two three", other="one"),
)
_PLACES = ("{prompt}", "{a}", "{b}")


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two responses become one text: the query of ``pair:PATH?...``.

    Attributes
    ----------
    format
        The text, with ``{prompt}``, ``{a}`` and ``{b}``. A model's is nowhere written down, so it
        is never guessed.
    chat
        "no": the text as it is; "yes": as the one turn of a user, by the chat template; "ask": the
        same, and the answer begun.
    a, b
        The tokens that a causal model chooses between.
    """

    format: str
    chat: Chat = "no"
    a: str = "A"
    b: str = "B"

    @classmethod
    def parse(cls, query: str) -> Comparison:
        r"""Settings from ``format=...&chat=yes``; percent-encoding and ``\n`` are read.

        Raises
        ------
        UsageError
            If a name is unknown, or the format lacks one of its three places.
        """
        given = parse("pair", query, cls, "pair:PATH?format={prompt} A: {a} B: {b}")
        if any(given.get("format", "").count(place) != 1 for place in _PLACES):
            raise UsageError(
                "pair: say how its text is made, with each of {prompt}, {a} and {b} once: "
                "pair:PATH?format={prompt}\\n\\nA: {a}\\n\\nB: {b}"
            )
        return cls(**given)


class PairReward(RewardModel):
    """A model of pairs: a sequence classifier, or a causal model that says "A" or "B".

    Parameters
    ----------
    checkpoint
        Model and tokenizer.
    name
        As the report shows it.
    comparison
        How texts are made and answers read.
    head
        Of a classifier with two labels, the one that says that the first response is better. With
        one label its logit is the log-odds of that.
    device, max_length, date
        As in `load_reward_model`.

    Notes
    -----
    A reward is P(the response is better than the other one), read with the response in the first
    place; the other order is another text, and both are scored. Too long a text loses the oldest
    tokens of its prompt. Nothing is padded: texts of one length share a batch.
    """

    kind = "pair"
    signal: Signal = "preference"
    pads_left = False

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        comparison: Comparison,
        *,
        head: int | None = None,
        device: str = "auto",
        max_length: int | None = None,
        date: str | None = None,
    ) -> None:
        self.name, self.comparison = name, comparison
        self.dtype = checkpoint.dtype
        self.model = checkpoint.on(torch_device(device))
        self._base = checkpoint.base
        self.device = next(self.model.parameters()).device
        self.tokenizer = checkpoint.tokenizer
        if comparison.chat != "no" and not self.tokenizer.chat_template:
            raise UsageError(f"{name}: chat={comparison.chat}, but there is no chat template")
        self.recipe = _recipe(comparison, self.tokenizer, date)
        self.causal = self.model.get_output_embeddings() is not None
        self._answers = self._said() if self.causal else None
        front, back = special_tokens(self.tokenizer)
        self._front, self._back = ([], []) if comparison.chat != "no" else (front, back)
        self.max_length = maximum_length(self.tokenizer, positions(self.model), max_length)
        self._pad_id = padding_id(self.tokenizer)
        self._lengths = LengthRule.of(self.model)
        encoded = self.encode([Text("Which?", "this", other="that one")])
        with torch.inference_mode():
            self._head = None if self.causal else self._first(self._values(encoded), head)
        self.notices = self.recipe.notices
        for notice in self.notices:
            _log.warning("%s: %s", name, notice)
        facts = (
            "pair",
            comparison,
            self.recipe.facts,
            self._head,
            str(self.dtype),
            self.max_length,
        )
        self.fingerprint = checkpoint.fingerprint(facts)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids of each comparison."""
        return [self._encode(text) for text in texts]

    @torch.inference_mode()
    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """P(the response is better than the other one), (len(batch),)."""
        found = np.full(len(batch), np.nan)
        by_length: dict[int, list[int]] = {}
        for row, each in enumerate(batch):
            by_length.setdefault(each.tokens, []).append(row)
        for rows in by_length.values():
            values = self._values([batch[row] for row in rows])
            found[rows] = torch.sigmoid(self._log_odds(values).double()).cpu().numpy()
        return found

    def describe(self) -> dict[str, Any]:
        """Architecture, size, number format, device, length, and how texts are made."""
        how = f"between {self.comparison.a!r} and {self.comparison.b!r}"
        return {
            **loaded(self.model, self.dtype, self.device),
            "max_length": self.max_length,
            "text": self.comparison.format,
            "chat": self.comparison.chat,
            "head": how if self.causal else f"label {self._head}",
            **self.recipe.day,
        }

    def screen(self) -> list[tuple[str, str]]:
        """What `rmaudit doctor --model` shows, as (what, found)."""
        encoded = self.encode(_TRIAL)
        said = self.describe()
        how = {"no": "as it is", "yes": "a user's turn", "ask": "a user's turn, the answer begun"}
        chosen = f"P(the first response is better), {said['head']}, at the last token"
        rows = {
            "reward": chosen if self.causal else f"P(the first is better), {said['head']}",
            "text": f"{self.comparison.format!r}, {how[self.comparison.chat]}",
            "batches": "of equal lengths, not padded; both orders of every pair",
        }
        if self.recipe.date is not None:
            rows["date in the text"] = self.recipe.date.isoformat()
        alone = np.array([self._alone(each) for each in encoded])
        return screen_of_texts(self, rows, encoded[0].payload, self.forward(encoded), alone)

    @torch.inference_mode()
    def _alone(self, each: Encoded) -> float:
        """What the model's own forward pass gives a text alone."""
        if self._answers is not None:
            values = logits_alone(self.model, each.payload)[-1:, self._answers]
        else:
            self._lengths.reset(self.model)
            tokens = torch.tensor([each.payload], device=self.device)
            inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
            values = own_heads(self.model, inputs).float()
        return float(torch.sigmoid(self._log_odds(values).double())[0])

    def _values(self, batch: Sequence[Encoded]) -> Tensor:
        """Log-odds of a causal model's answers, (n, 2), or a classifier's heads, (n, k)."""
        sequences = [each.payload for each in batch]
        if self._answers is not None:
            rows = [x[-1, self._answers] for x in logits_of(self.model, sequences, self._pad_id)]
            return torch.stack(rows)
        if self._lengths.decides(len(sequences[0])):
            self._lengths.reset(self.model)
        tokens, mask = (each.to(self.device) for each in pad(sequences, self._pad_id))
        return own_heads(self.model, {"input_ids": tokens, "attention_mask": mask}).float()

    def _log_odds(self, values: Tensor) -> Tensor:
        if values.shape[1] == 1:
            return values[:, 0]
        first = self._head or 0
        return values[:, first] - values[:, 1 - first]

    def _first(self, values: Tensor, head: int | None) -> int:
        """The label that says that the first response is better."""
        count = values.shape[1]
        if count == 1 and head in (None, 0):
            return 0
        if count == 2 and head in (0, 1):
            return int(head)
        raise UsageError(
            f"{self.name}: the model has {count} labels; one of two says that the first response "
            "is better: say which with --head N"
        )

    def _said(self) -> list[int]:
        words = [self.tokenizer.encode(w, add_special_tokens=False) for w in self._words]
        if any(len(ids) != 1 for ids in words) or words[0] == words[1]:
            raise RewardModelError(
                f"{self.name}: {self._words[0]!r} and {self._words[1]!r} are no two single tokens; "
                "say pair:PATH?a=...&b=..."
            )
        return [ids[0] for ids in words]

    @property
    def _words(self) -> tuple[str, str]:
        return self.comparison.a, self.comparison.b

    def _encode(self, text: Text) -> Encoded:
        if text.other is None:
            raise RewardModelError(
                f"{self.name} compares two responses and has no reward for one alone"
            )
        prompt = sound(prompt_text(text.prompt))
        outputs = sound(text.output), sound(text.other)
        ids = self._ids(prompt, *outputs)
        excess = 0 if self.max_length is None else max(0, len(ids) - self.max_length)
        cut = bool(excess)
        if excess:
            low, high = 0, len(prompt)  # the fewest characters whose loss makes it fit
            while low < high:
                middle = (low + high) // 2
                fits = len(self._ids(prompt[middle:], *outputs)) <= (self.max_length or 0)
                low, high = (low, middle) if fits else (middle + 1, high)
            ids = self._ids(prompt[low:], *outputs)
            excess = max(0, len(ids) - (self.max_length or 0))
            ids = [*self._front, *ids[len(self._front) + excess :]]
        own = len(self.tokenizer(outputs[0], add_special_tokens=False)["input_ids"])
        return Encoded(ids, len(ids), own, truncated=cut, output_truncated=excess > 0)

    def _ids(self, prompt: str, first: str, second: str) -> list[int]:
        made = self.comparison.format
        values = dict(zip(_PLACES, (prompt, first, second), strict=True))
        order = sorted(_PLACES, key=made.index)
        text = ""
        for place in order:  # one after the other: what stands in a response is no place
            before, _, made = made.partition(place)
            text += before + values[place]
        text += made
        if self.comparison.chat != "no":
            turns = [{"role": "user", "content": text}]
            ask = self.comparison.chat == "ask"
            day, template = self.recipe.date, str(self.recipe.template)
            text = self.tokenizer.apply_chat_template(
                turns,
                tokenize=False,
                add_generation_prompt=ask,
                chat_template=template if day is None else fixed_day(template, day),
            )
        body: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [*self._front, *body, *self._back]


def _recipe(comparison: Comparison, tokenizer: Any, date: str | None) -> Recipe:
    """The chat template that a comparison goes through, and the day that it writes."""
    if comparison.chat != "no":
        return resolve(Asked(date=date), tokenizer)
    if date is not None:
        raise UsageError("--date: the model's texts hold no date (chat=no); leave it out")
    return Recipe()


def load_pairs(
    folder: Path,
    name: str,
    comparison: Comparison,
    permissions: Permissions,
    *,
    dtype: Dtype = "auto",
    placement: Placement = WHOLE,
    **options: Any,
) -> PairReward:
    """The model of pairs in a folder; options as `PairReward` takes them."""
    device = torch_device(options.get("device", "auto"))  # before a long load
    config = folder / "config.json"
    made_for = (read_json(config).get("architectures") if config.is_file() else None) or [""]
    causal = str(made_for[0]).endswith(("CausalLM", "LMHeadModel"))
    task: Literal["CausalLM", "SequenceClassification"] = (
        "CausalLM" if causal else "SequenceClassification"
    )
    number = torch_dtype(dtype, device, folder)
    checkpoint = load_checkpoint(
        folder, number, permissions, task, device=device, placement=placement
    )
    return PairReward(checkpoint, name, comparison, **options)
