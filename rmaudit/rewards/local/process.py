"""Process reward models: a score for each step of an output, and one reward made of them."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import Encoded, Rewarded, RewardModel, Signal, Text
from rmaudit.rewards.local import turns
from rmaudit.rewards.local.checkpoint import Checkpoint, load_checkpoint
from rmaudit.rewards.local.checkpoint_files import Permissions, read_json
from rmaudit.rewards.local.description import loaded
from rmaudit.rewards.local.encoding import (
    last_token,
    maximum_length,
    renderer_of,
    special_tokens,
)
from rmaudit.rewards.local.language_model import logits_alone, logits_of
from rmaudit.rewards.local.placement import WHOLE, Placement
from rmaudit.rewards.local.query import parse
from rmaudit.rewards.local.recipe import USUAL, Asked, Declared, Recipe, declared, resolve
from rmaudit.rewards.local.rendering import sound
from rmaudit.rewards.local.screen import screen_of_texts
from rmaudit.rewards.local.transformers_model import (
    Dtype,
    padding_id,
    positions,
    torch_device,
    torch_dtype,
)
from rmaudit.rewards.steps import AGGREGATES, READINGS, Aggregate, aggregate_steps, readings

_log = logging.getLogger("rmaudit")
# Math-Shepherd is called on question + " " + solution, each of whose lines ends in " ки"; the line
# breaks stay (Wang et al. 2024, arXiv 2312.08935; the model card of math-shepherd-mistral-7b-prm).
_SHEPHERD, _SHEPHERD_FORMAT = " ки", "{prompt} {output}"

_TRIAL = (
    Text("How do I bake bread?", "Mix flour and water.\nWait.\nUse a lidded pan."),
    Text("hi", "yes"),
    Text("Count.", "one two three\n" * 8),
)
Unit = Literal["step", "turn"]


@dataclass(frozen=True, slots=True)
class Steps:
    """How steps are found, marked, scored and put together: the query of ``prm:PATH?...``."""

    aggregate: Aggregate = "min"
    split: str = "\n"  # what stands between the steps of an output
    tag: str | None = None  # what the model reads a score at; None: "\n", " ки" of a causal model
    good: str = "+"  # the tokens that a causal model chooses between
    bad: str = "-"
    unit: Unit = "step"  # "turn": every turn of the assistant, the prompt's too, is a step

    @classmethod
    def parse(cls, query: str) -> Steps:
        r"""Settings from ``aggregate=mean&split=\n\n``; percent-encoding and ``\n`` are read.

        Raises
        ------
        UsageError
            If a name or an aggregate is unknown, or a value is empty.
        """
        return cls(**parse("prm", query, cls, "prm:PATH?aggregate=min"))


class ProcessReward(RewardModel):
    """A model that scores steps: a token classifier, or a causal model that says "+" or "-".

    Parameters
    ----------
    checkpoint
        Model and tokenizer.
    name
        As the report shows it.
    steps
        How steps are found and put together.
    head
        Which label of a token classifier means that a step is right; by default the second of
        two, as TRL trains them, or the only one (through a sigmoid).
    device, asked, max_length
        As in `load_reward_model`.

    Notes
    -----
    As TRL's ``PRMTrainer`` reads them: prompt, steps and tags are tokenised one by one, and a
    step's score is read at the last token of the tag behind it. A causal model without another tag
    is read as Math-Shepherd is: one text, " ки" behind each step, the steps' own breaks kept.
    With ``unit=turn`` the chat template's text is scored at the last token of every turn of the
    assistant. Scores are probabilities. Too long a text loses its oldest tokens; steps that go with
    them have no score.
    """

    kind = "process"
    signal: Signal = "score"  # a probability of steps: its margin is no log-odds
    pads_left = False

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        steps: Steps,
        *,
        head: int | None = None,
        device: str = "auto",
        asked: Asked = USUAL,
        max_length: int | None = None,
    ) -> None:
        self.name, self.steps = name, steps
        self.device, self.dtype = torch_device(device), checkpoint.dtype
        self.model = checkpoint.on(self.device)
        self._base = checkpoint.base
        self.tokenizer = checkpoint.tokenizer
        causal = hasattr(self.model, "lm_head") or self.model.get_output_embeddings() is not None
        self._causal = causal
        self._in_text = causal and (steps.tag or _SHEPHERD).strip() == _SHEPHERD.strip()
        told = declared(checkpoint.folders[0])
        told = Declared(format=_SHEPHERD_FORMAT if self._in_text else told.format)
        self.recipe = resolve(asked, self.tokenizer, told)
        self._renderer = renderer_of(self.recipe, self.tokenizer)
        if steps.unit == "turn":
            turns.check(self.tokenizer, self._renderer, name)
        self._front = _front(self.recipe, self.tokenizer)
        self._tag = _SHEPHERD if self._in_text else steps.tag or ("ки" if causal else "\n")
        self._tag_ids = self._ids(self._tag)
        self._labels = self._said() if causal else _labels(self.model.config, head, name)
        self.max_length = maximum_length(self.tokenizer, positions(self.model), max_length)
        self._pad_id = padding_id(self.tokenizer)
        self.notices = self.recipe.notices
        for notice in self.notices:
            _log.warning("%s: %s", name, notice)
        facts = (
            self.recipe.facts,
            self._front,
            steps,
            self._labels,
            str(self.dtype),
            self.max_length,
        )
        self.fingerprint = checkpoint.fingerprint(("process", *facts))

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Token ids with a tag behind each step; the payload also says where the scores are."""
        return [self._encode(text) for text in texts]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); `pad_left` means nothing here."""
        return self.score_batch(batch).total

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """Rewards of one batch; every aggregate of the steps' scores is a component."""
        scores = self.step_scores(batch)
        each = [readings(steps) for steps in scores]
        return Rewarded(
            np.array([aggregate_steps(steps, self.steps.aggregate) for steps in scores]),
            {f"{READINGS}{a}": np.array([r[f"{READINGS}{a}"] for r in each]) for a in AGGREGATES},
        )

    @torch.inference_mode()
    def step_scores(self, batch: Sequence[Encoded]) -> list[list[float]]:
        """Each step's probability of being right, a list a text."""
        sequences = [each.payload[0] for each in batch]
        scores = []
        for each, logits in zip(batch, logits_of(self.model, sequences, self._pad_id), strict=True):
            scores.append(self._read(logits, each.payload[1]))
        return scores

    def _read(self, logits: Tensor, places: Sequence[int]) -> list[float]:
        chosen = logits[list(places)][:, self._labels]  # (n_steps, n_labels)
        right = torch.sigmoid(chosen) if len(self._labels) == 1 else chosen.softmax(dim=-1)
        return [float(value) for value in right[:, -1].double()]

    def describe(self) -> dict[str, Any]:
        """Architecture, size, number format, device, length, texts, steps and their aggregate."""
        return {
            **loaded(self.model, self.dtype, self.device),
            "max_length": self.max_length,
            "text": self.recipe.format or self.recipe.shown,
            **self._shown_steps(),
            "aggregate": self.steps.aggregate,
            **self.recipe.day,
        }

    @torch.inference_mode()
    def screen(self) -> list[tuple[str, str]]:
        """What `rmaudit doctor --model` shows, as (what, found)."""
        encoded = self.encode(_TRIAL)
        alone = [
            self._read(logits_alone(self.model, each.payload[0]), each.payload[1])
            for each in encoded
        ]
        (ids, places), recipe = encoded[0].payload, self.recipe
        tokens = self.tokenizer.convert_ids_to_tokens([ids[place] for place in places])
        read = zip(places, tokens, alone[0], strict=True)
        at = ", ".join(f"{token!r} ({place}) {score:.3g}" for place, token, score in read)
        rows = {
            "reward": f"{self.steps.aggregate} of its steps' probabilities, {self._shown_labels()}",
            "text": f"{recipe.shown}, from {recipe.source} (--bos {recipe.bos})",
            "steps": self._shown_steps().get("steps")
            or f"split on {self.steps.split!r}, a tag {self._tag!r} behind each",
            "batches": "padded right",
            "steps read at": f"{at} (token, its place from 0, its score)",
        }
        if recipe.date is not None:
            rows["date in the text"] = recipe.date.isoformat()
        direct = np.array([aggregate_steps(each, self.steps.aggregate) for each in alone])
        return screen_of_texts(self, rows, ids, self.forward(encoded), direct)

    def _shown_labels(self) -> str:
        if self._causal:
            return f"between {self.steps.bad!r} and {self.steps.good!r}"
        return f"label {self._labels[-1]} of {len(self._labels)}"

    def _shown_steps(self) -> dict[str, Any]:
        if self.steps.unit == "turn":
            return {"steps": "turns of the assistant, each scored at its last token"}
        return {"steps_split_on": self.steps.split, "step_tag": self._tag}

    def _encode(self, text: Text) -> Encoded:
        if self.steps.unit == "turn":
            return turns.encode(self.tokenizer, self._renderer, text, self.max_length)
        rendered = self._renderer.render([text])[0]
        before = self._ids(rendered.text[: rendered.start])
        if self._front and before[: len(self._front)] == self._front:
            before = before[len(self._front) :]
        output = sound(text.output)
        parts = [part for part in output.split(self.steps.split) if part.strip()] or [output]
        if self._in_text:
            body, places, start = self._tagged(rendered.text[: rendered.start], parts)
        else:
            marked = [self._ids(part) + self._tag_ids for part in parts]
            places = (np.cumsum([len(ids) for ids in marked]) + len(before) - 1).tolist()
            body, start = before + list(itertools.chain.from_iterable(marked)), len(before)
        room = len(body) if self.max_length is None else self.max_length - len(self._front)
        excess = max(0, len(body) - room)
        ids = self._front + body[excess:]
        kept = [int(p) - excess + len(self._front) for p in places if p >= excess]
        cut = excess > start
        start = len(self._front) + max(0, start - excess)
        return Encoded(
            payload=(ids, kept),
            tokens=len(ids),
            output_tokens=len(ids) - start,
            output_start=start,
            truncated=excess > 0,
            output_truncated=cut,
        )

    def _tagged(self, before: str, parts: Sequence[str]) -> tuple[list[int], list[int], int]:
        """One text with a tag behind each step and the steps' own breaks kept.

        Its token ids, the place of each tag's last token, and where the output begins.
        """
        if self._front:  # they are put in front of every text
            before = before.removeprefix(self.tokenizer.decode(self._front))
        pieces, ends, text = [before], [], before
        for number, part in enumerate(parts):
            marked = part + self._tag
            text += marked
            ends.append(len(text) - 1)
            rest = self.steps.split if number + 1 < len(parts) else ""
            text += rest
            pieces.append(marked + rest)
        if not self.tokenizer.is_fast:
            ids = [self._ids(piece) for piece in pieces]
            sizes = np.cumsum([len(each) for each in ids])
            tails = [len(self._ids(self.steps.split))] * (len(parts) - 1) + [0]
            places = [int(n) - 1 - tail for n, tail in zip(sizes[1:], tails, strict=True)]
            return list(itertools.chain.from_iterable(ids)), places, len(ids[0])
        batch = self.tokenizer(text, add_special_tokens=False, verbose=False)
        starts = batch.char_to_token(len(before))
        encoding = batch.encodings[0]
        return batch["input_ids"], [last_token(encoding, end) for end in ends], int(starts or 0)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _said(self) -> list[int]:
        """The tokens for a bad and a good step."""
        words = [self._ids(word) for word in (self.steps.bad, self.steps.good)]
        if not all(words) or words[0][-1] == words[1][-1]:
            raise RewardModelError(
                f"{self.name}: its tokenizer does not tell {self.steps.good!r} from "
                f"{self.steps.bad!r}; say prm:PATH?good=...&bad=..."
            )
        return [ids[-1] for ids in words]


def load_process(
    folder: Path,
    name: str,
    steps: Steps,
    permissions: Permissions,
    *,
    dtype: Dtype = "auto",
    placement: Placement = WHOLE,
    **options: Any,
) -> ProcessReward:
    """The process reward model in a folder; options as `ProcessReward` takes them.

    A model that was saved as a causal one says "+" or "-"; all others classify tokens.
    """
    device = torch_device(options.get("device", "auto"))  # before a long load
    config = folder / "config.json"
    made_for = (read_json(config).get("architectures") if config.is_file() else None) or [""]
    causal = str(made_for[0]).endswith(("CausalLM", "LMHeadModel"))
    task: Literal["CausalLM", "TokenClassification"] = (
        "CausalLM" if causal else "TokenClassification"
    )
    number = torch_dtype(dtype, device, folder)
    checkpoint = load_checkpoint(
        folder, number, permissions, task, device=device, placement=placement
    )
    return ProcessReward(checkpoint, name, steps, **options)


def _front(recipe: Recipe, tokenizer: Any) -> list[int]:
    """What stands in front of a text: a chat template writes its own."""
    if recipe.bos == "add":
        return [tokenizer.bos_token_id]
    if recipe.bos == "none" or recipe.template is not None:
        return []
    return special_tokens(tokenizer)[0]


def _labels(config: Any, head: int | None, name: str) -> list[int]:
    """Which outputs the softmax is over, the label of a right step last."""
    count = int(config.num_labels)
    if head is None and count > 2:
        raise UsageError(
            f"{name}: the model has {count} labels; say which one means that a step is right with "
            "--head N (head=N)"
        )
    right = count - 1 if head is None else head
    if not 0 <= right < count:
        raise UsageError(f"{name}: there is no head {right}; the model has {count}")
    return [label for label in range(count) if label != right] + [right]
