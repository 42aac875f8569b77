"""Models whose class scores a conversation itself: ``get_score(tokenizer, conversation)``.

Such a class makes its text in its own way (InternLM2's puts a reward token behind the chat
template), so its forward pass on a text made elsewhere gives another reward. What it says is its
score is the reward.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.base import FAILED, Encoded, Rewarded, RewardModel, Text
from rmaudit.rewards.local.checkpoint import Checkpoint, silent
from rmaudit.rewards.local.checkpoint_files import first_line
from rmaudit.rewards.local.description import loaded
from rmaudit.rewards.local.devices import torch_device
from rmaudit.rewards.local.encoding import TextEncoder
from rmaudit.rewards.local.pooling import own_heads
from rmaudit.rewards.local.recipe import USUAL, Asked, declared, resolve
from rmaudit.rewards.local.rendering import chat_messages, fixed_day
from rmaudit.rewards.local.trial import PADDING_TOLERANCE, TRIAL_TEXTS, one_batch

ONE, MANY = "get_score", "get_scores"
_log = logging.getLogger("rmaudit")


def scores_itself(model: Any) -> bool:
    """Whether a model's class has a method that scores conversations."""
    return callable(getattr(model, ONE, None)) or callable(getattr(model, MANY, None))


class OwnScoreReward(RewardModel):
    """The score that a model's own class gives a conversation.

    Parameters
    ----------
    checkpoint
        Model and tokenizer.
    name
        As the report shows it.
    device, asked
        As in `load_reward_model`; of `asked`, the date.
    token_budget
        Tokens of a batch, at most, where the class scores several conversations at once.

    Notes
    -----
    ``get_scores`` is called for batches where it gives a first trial's texts what ``get_score``
    gives each. Texts are not cut: where the class does, it decides. Lengths are those of the chat
    template's text.

    Raises
    ------
    RewardModelError
        If the method takes other things than a tokenizer and a conversation, or fails.
    """

    kind = "get_score"
    pads_left = False

    def __init__(
        self,
        checkpoint: Checkpoint,
        name: str,
        *,
        device: str = "auto",
        asked: Asked = USUAL,
        token_budget: int | None = None,
    ) -> None:
        self.name, self.dtype = name, checkpoint.dtype
        self.model = checkpoint.on(torch_device(device))
        self._base = checkpoint.base
        self.device = next(self.model.parameters()).device
        self.tokenizer = checkpoint.tokenizer
        self.recipe = resolve(asked, self.tokenizer, declared(checkpoint.folders[0]))
        self.encoder = TextEncoder(self.tokenizer, recipe=self.recipe)
        if self.recipe.date is not None and self.recipe.template is not None:
            self.tokenizer.chat_template = fixed_day(self.recipe.template, self.recipe.date)
        self._adapter = checkpoint.adapter
        self.fingerprint = checkpoint.fingerprint((ONE, self.recipe.facts, str(self.dtype)))
        self.token_budget = token_budget or (4096 if self.device.type == "cpu" else 16384)
        texts = list(TRIAL_TEXTS)
        with _watched(self.model) as self._seen:
            self._alone = np.array([self._score(text) for text in texts])
        if not np.isclose(self._score(texts[0]), self._alone[0], rtol=1e-3, atol=1e-3):
            raise RewardModelError(
                f"{name}: {type(self.model).__name__}.{self._method} gives one conversation "
                "another score each time, so no number of it could be repeated"
            )
        self.batched = self._batches_are_harmless(texts)
        self._forward_apart = self._against_forward(texts)
        self.notices = self._notices()
        for notice in self.notices:
            _log.warning("%s: %s", name, notice)

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """The texts themselves, with their lengths as the chat template makes them."""
        encoded = self.encoder.encode(texts)
        return [replace(each, payload=t) for each, t in zip(encoded, texts, strict=True)]

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Rewards of one batch, (len(batch),); `pad_left` means nothing here."""
        rewarded = self.score_batch(batch)
        for reason in rewarded.failures.values():
            raise RewardModelError(f"{self.name}: {reason}")
        return rewarded.total

    def score_batch(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> Rewarded:
        """Rewards of one batch; a text on which the class fails is `FAILED`."""
        texts = [each.payload for each in batch]
        if self.batched and len(texts) > 1:
            with suppress(Exception):  # then each alone, to find the text
                return Rewarded(self._scores(texts))
        total, failures = np.full(len(texts), FAILED), {}
        for place, text in enumerate(texts):
            try:
                total[place] = self._score(text)
            except RewardModelError as error:
                failures[place] = str(error)
        return Rewarded(total, {}, failures)

    def describe(self) -> dict[str, Any]:
        """Architecture, size, number format, device, and that the class scores itself."""
        facts = {
            **loaded(self.model, self.dtype, self.device),
            "adapter": self._adapter,
            "max_length": None,
            "text": f"{type(self.model).__name__}.{self._method} makes it",
            "head": f"what {self._method} returns",
            "differs_from_forward": self._forward_apart,
            "padding": f"as {MANY} does" if self.batched else "none: each text alone",
        }
        return facts | self.recipe.day

    def screen(self) -> list[tuple[str, str]]:
        """What `rmaudit doctor --model` shows, as (what, found)."""
        size = sum(parameter.numel() for parameter in self.model.parameters())
        rows = [
            ("class", f"{type(self.model).__name__}, code of its own, {size:,} parameters"),
            ("reward", f"what its {self._method} returns"),
            ("signal", self.signal),
            ("text", f"made by {self._method} from the conversation; --template or --format make "
                "one here, scored by the forward pass"),
            ("truncation", "none here: the class decides"),
            ("number format", f"{str(self.dtype).removeprefix('torch.')} on {self.device}"),
            ("batches", f"by {MANY}" if self.batched else "one text at a time"),
        ]  # fmt: skip
        if self._seen:
            ids = self._seen[0]
            rows += [
                ("example", repr(self.tokenizer.decode(ids))),
                ("token ids", " ".join(map(str, ids))),
            ]
        if self.recipe.date is not None:
            rows.append(("date in the text", self.recipe.date.isoformat()))
        return [*rows, ("forward pass", self._forward_said())]

    @property
    def _method(self) -> str:
        return ONE if callable(getattr(self.model, ONE, None)) else MANY

    def _score(self, text: Text) -> float:
        if self._method == MANY:
            return float(self._scores([text])[0])
        return float(self._called(ONE, chat_messages(text), 1)[0])

    def _scores(self, texts: Sequence[Text]) -> NDArray[np.float64]:
        return self._called(MANY, [chat_messages(text) for text in texts], len(texts))

    @torch.inference_mode()
    def _called(self, name: str, conversation: Any, count: int) -> NDArray[np.float64]:
        """What the class returns, (count,)."""
        shown = f"{type(self.model).__name__}.{name}"
        method = getattr(self.model, name)
        before = (self.tokenizer,) if _wants_tokenizer(method, shown) else ()
        try:
            with silent():
                returned = method(*before, conversation)
            values = torch.as_tensor(returned).double().cpu().reshape(-1)
        except Exception as error:  # whatever a class of its own may raise
            raise RewardModelError(f"{shown} fails on a text: {first_line(error)}") from error
        if len(values) != count:
            raise RewardModelError(
                f"{shown} gives {len(values)} numbers for {count} conversations, not one each"
            )
        numbers: NDArray[np.float64] = values.numpy()
        return numbers

    def _batches_are_harmless(self, texts: Sequence[Text]) -> bool:
        if not callable(getattr(self.model, MANY, None)):
            return False
        try:
            together = self._scores(texts)
        except RewardModelError:
            return False
        allowed = PADDING_TOLERANCE[self.dtype] * (1 + np.abs(self._alone))
        return bool((np.abs(together - self._alone) <= allowed).all())

    def _against_forward(self, texts: Sequence[Text]) -> float | None:
        """How far off the forward pass on the template's own text is; None: it gives no reward."""
        try:
            with torch.inference_mode():
                encoded = self.encoder.encode(texts)
                batches = [one_batch(self.model, self.encoder, [each]) for each in encoded]
                heads = torch.cat([own_heads(self.model, inputs) for inputs in batches])
        except Exception:  # a class whose forward pass gives values of tokens, or none
            return None
        if heads.shape[1] != 1:
            return None
        return float(np.abs(heads[:, 0].double().cpu().numpy() - self._alone).max())

    def _forward_said(self) -> str:
        if self._forward_apart is None:
            return "gives no reward of a text"
        return (
            f"on the text of {self.recipe.shown}: rewards differ by up to "
            f"{self._forward_apart:.3g} on {len(TRIAL_TEXTS)} texts"
        )

    def _notices(self) -> tuple[str, ...]:
        said = [f"the reward is what its class's {self._method} returns"]
        if self._forward_apart is not None:
            said[0] += f"; model(**inputs) {self._forward_said()}"
        return (*said, *self.recipe.notices)


def refuse_unused(name: str, **options: Any) -> None:
    """Options of the forward pass that would have no effect.

    Raises
    ------
    UsageError
        Naming the first that is given.
    """
    for option, value in options.items():
        if value:
            raise UsageError(
                f"{name}: its class scores whole conversations ({ONE}), so "
                f"--{option.replace('_', '-')} has no effect: leave it out, or say how texts are "
                "made (--template, --format), which takes the forward pass"
            )


def _wants_tokenizer(method: Callable[..., Any], shown: str) -> bool:
    """Whether a method takes a tokenizer before the conversation.

    Raises
    ------
    RewardModelError
        If it takes anything else.
    """
    needed = [
        each.name
        for each in inspect.signature(method).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    first = bool(needed) and "tokenizer" in needed[0].lower()
    if len(needed) != 1 + first:
        raise RewardModelError(
            f"{shown}({', '.join(needed)}): takes neither (tokenizer, conversation) nor "
            "(conversation); wrap it in a function (--model python:module:callable), or say how "
            "texts are made (--template, --format), which takes the forward pass"
        )
    return first


@contextmanager
def _watched(model: Any) -> Iterator[list[list[int]]]:
    """Token ids of the texts, one each, that go through the forward pass meanwhile."""
    seen: list[list[int]] = []
    before = vars(model).get("forward")
    own = model.forward

    def forward(*args: Any, **given: Any) -> Any:
        ids = given.get("input_ids", args[0] if args else None)
        if isinstance(ids, Tensor) and ids.ndim == 2 and len(ids) == 1:
            seen.append(ids[0].tolist())
        return own(*args, **given)

    model.forward = forward
    try:
        yield seen
    finally:
        del model.forward
        if before is not None:
            model.forward = before
