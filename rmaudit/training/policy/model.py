"""A causal language model as a policy: sample outputs, and say how probable given outputs are.

Everything that trains a policy here needs these two, so they stand behind one small class. Tokens
are plain ids; which text they stand for is the business of whoever made the prompts.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rmaudit.training.recompute import recomputing

Tokens = Sequence[int]
MOST_NUMBERS = 2**28  # of a table (sequences, tokens, vocabulary) that no gradient needs: 1 GiB


@dataclass(frozen=True, slots=True)
class Rollout:
    """Prompts and outputs in one rectangle: prompts end at column `width`, outputs start there."""

    tokens: Tensor  # (n, width + T) ids; prompts padded on the left, outputs on the right
    attention: Tensor  # (n, width + T) bool: real tokens
    width: int

    @property
    def mask(self) -> Tensor:
        """Real tokens of the outputs, the one that ends an output included, (n, T) bool."""
        return self.attention[:, self.width :]

    @property
    def outputs(self) -> list[list[int]]:
        """The outputs as ids, without padding."""
        rows = zip(
            self.tokens[:, self.width :].tolist(), self.mask.sum(dim=1).tolist(), strict=True
        )
        return [row[:length] for row, length in rows]

    def take(self, rows: Tensor) -> Rollout:
        """Some of the rows, in that order."""
        return Rollout(self.tokens[rows], self.attention[rows], self.width)

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model says of a rollout; each (n, T), zero where there is no token."""

    log_probs: Tensor  # of the tokens, nats
    entropy: Tensor  # of the distribution that each token was drawn from, nats
    hidden: Tensor  # (n, T, width of the model): the state that each token was chosen from


class CausalPolicy:
    """Any Hugging Face causal language model, with a length limit and an optional grammar.

    Parameters
    ----------
    model
        Called as ``model(input_ids, attention_mask, position_ids, past_key_values, use_cache)``.
    pad_id
        Fills up; never attended to, so any id will do.
    eos_id
        Ends an output; None where all outputs have `max_new_tokens` tokens.
    max_new_tokens
        Longest output.
    allowed
        The grammar: (max_new_tokens, vocabulary) bool, the tokens that may stand at each position.
        What is not allowed has probability 0; the rest is renormalised.
    temperature
        Of sampling. Log-probabilities are those of the distribution that is sampled from.

    Notes
    -----
    Dropout is off, in training too: with it, the probability of a token would differ between
    sampling and training by chance, and with it every ratio and every KL estimate.
    """

    def __init__(
        self,
        model: Any,
        *,
        pad_id: int,
        eos_id: int | None,
        max_new_tokens: int,
        allowed: Tensor | None = None,
        temperature: float = 1.0,
    ) -> None:
        self.model = model.eval()
        self.pad_id, self.eos_id = pad_id, eos_id
        self.max_new_tokens = max_new_tokens
        self.allowed = allowed
        self.temperature = temperature
        # Over a long prompt the logits of a real vocabulary would fill the memory for nothing.
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._keeps = "logits_to_keep" in inspect.signature(inner.forward).parameters

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    def frozen(self) -> CausalPolicy:
        """A copy that no training changes: the reference of a KL penalty."""
        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model).requires_grad_(False)
        return twin

    def pack(self, prompts: Sequence[Tokens], outputs: Sequence[Tokens]) -> Rollout:
        """Given prompts and outputs as a rollout; an end token belongs to its output."""
        width = max(len(prompt) for prompt in prompts)
        length = max(len(output) for output in outputs)
        tokens = torch.full((len(prompts), width + length), self.pad_id)
        attention = torch.zeros(tokens.shape, dtype=torch.bool)
        for row, (prompt, output) in enumerate(zip(prompts, outputs, strict=True)):
            start, end = width - len(prompt), width + len(output)
            tokens[row, start:end] = torch.tensor([*prompt, *output])
            attention[row, start:end] = True
        return Rollout(tokens.to(self.device), attention.to(self.device), width)

    @torch.inference_mode()
    def sample(
        self, prompts: Sequence[Tokens], generator: torch.Generator, *, copies: int = 1
    ) -> tuple[Rollout, Tensor]:
        """Outputs for each prompt, and the log-probability of each of their tokens, (n, T).

        The `copies` outputs of a prompt stand side by side; the prompt is read once for all.
        """
        rollout = self.pack(prompts, [[]] * len(prompts))
        tokens, attention = rollout.tokens, rollout.attention
        going = attention.new_ones(len(prompts) * copies)
        inputs = tokens
        cache: Any = None
        log_probs = []
        for step in range(self.max_new_tokens):
            out = self.model(
                input_ids=inputs,
                attention_mask=attention.long(),
                position_ids=_positions(attention)[:, -inputs.shape[1] :],
                past_key_values=cache,
                use_cache=True,
                **self._last(1),
            )
            cache = out.past_key_values
            log_p = self._log_softmax(out.logits[:, -1:], step)[:, 0]  # (n, vocabulary)
            if step == 0 and copies > 1:
                cache.batch_repeat_interleave(copies)
                log_p, tokens, attention = (
                    each.repeat_interleave(copies, dim=0) for each in (log_p, tokens, attention)
                )
            drawn = torch.multinomial(log_p.exp(), 1, generator=generator)  # (n, 1)
            log_probs.append(log_p.gather(1, drawn)[:, 0] * going)
            inputs = torch.where(going[:, None], drawn, self.pad_id)
            tokens = torch.cat([tokens, inputs], dim=1)
            attention = torch.cat([attention, going[:, None]], dim=1)
            if self.eos_id is not None:
                going = going & (drawn[:, 0] != self.eos_id)
                if not going.any():
                    break
        # Cloned: tensors of inference mode cannot take part in a backward pass.
        with torch.inference_mode(False):
            drawn_rollout = Rollout(tokens.clone(), attention.clone(), rollout.width)
            return drawn_rollout, torch.stack(log_probs, dim=1).clone()

    def evaluate(self, rollout: Rollout) -> Evaluation:
        """Log-probabilities, entropies and states of a rollout's tokens.

        In one forward pass where a gradient may be asked for, else in as many as memory wants.
        """
        if torch.is_grad_enabled():
            with recomputing(self.model):
                return self._evaluate(rollout)
        rows = max(MOST_NUMBERS // (rollout.mask.shape[1] * self.model.config.vocab_size), 1)
        parts = [
            self._evaluate(rollout.take(some))
            for some in torch.split(torch.arange(len(rollout)), rows)
        ]
        return Evaluation(
            torch.cat([part.log_probs for part in parts]),
            torch.cat([part.entropy for part in parts]),
            torch.cat([part.hidden for part in parts]),
        )

    def _evaluate(self, rollout: Rollout) -> Evaluation:
        length = rollout.mask.shape[1]
        out = self.model(
            input_ids=rollout.tokens,
            attention_mask=rollout.attention.long(),
            position_ids=_positions(rollout.attention),
            output_hidden_states=True,
            use_cache=False,
            **self._last(length + 1),
        )
        # The state at column t chooses the token at column t + 1.
        chosen_from = slice(-length - 1, -1)
        log_p = self._log_softmax(out.logits[:, chosen_from], 0)  # (n, T, vocabulary)
        targets = rollout.tokens[:, rollout.width :, None]
        # At padding any token will do: what the grammar forbids has log-probability -inf.
        targets = torch.where(rollout.mask[..., None], targets, log_p.argmax(-1, keepdim=True))
        finite = log_p.masked_fill(log_p.isneginf(), 0.0)
        return Evaluation(
            log_probs=log_p.gather(2, targets)[..., 0] * rollout.mask,
            entropy=-(log_p.exp() * finite).sum(dim=-1) * rollout.mask,
            hidden=out.hidden_states[-1][:, chosen_from],
        )

    def _last(self, count: int) -> dict[str, int]:
        """Ask the model for the logits of the last columns only, if it can leave out the rest."""
        return {"logits_to_keep": count} if self._keeps else {}

    def log_probs(self, rollout: Rollout) -> Tensor:
        """Log-probability of each token of the outputs, (n, T), zero where there is none."""
        return self.evaluate(rollout).log_probs

    def _log_softmax(self, logits: Tensor, start: int) -> Tensor:
        """Of logits (n, t, vocabulary) for the positions from `start` of the outputs; float32."""
        logits = logits.float() / self.temperature
        if self.allowed is not None:
            grammar = self.allowed[start : start + logits.shape[1]].to(logits.device)
            logits = logits.masked_fill(~grammar, -torch.inf)
        return torch.log_softmax(logits, dim=-1)


def _positions(attention: Tensor) -> Tensor:
    """Position of each token, counted without padding, (n, t)."""
    return (attention.long().cumsum(dim=1) - 1).clamp(min=0)
