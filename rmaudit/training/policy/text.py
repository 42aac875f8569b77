"""A causal language model of transformers as a policy over texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rmaudit.data.types import Prompt
from rmaudit.errors import RewardModelError
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.checkpoint import silent
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT, FormatRenderer, chat_messages
from rmaudit.rewards.local.transformers_model import torch_device
from rmaudit.training.adapters import with_adapters
from rmaudit.training.parallel import local_device
from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.settings import SamplingConfig
from rmaudit.training.recompute import enable
from rmaudit.training.reward.backbone import has_no_weights, one_line


@dataclass(frozen=True)
class TextPolicy:
    """A policy, and its tokenizer between it and texts."""

    policy: CausalPolicy
    tokenizer: Any
    max_prompt_tokens: int

    def encode_prompt(self, prompt: Prompt) -> list[int]:
        """Ids of a prompt, up to where the output begins; the oldest tokens are dropped.

        Made with the chat template where there is one, else with the format that reward models are
        trained with by default: the texts that are optimised are those that are scored.
        """
        if getattr(self.tokenizer, "chat_template", None):
            turns = chat_messages(Text(prompt, ""))[:-1]
            text = self.tokenizer.apply_chat_template(
                turns, add_generation_prompt=True, tokenize=False
            )
            ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        else:
            text = FormatRenderer(DEFAULT_FORMAT).render([Text(prompt, "")])[0].text
            ids = self.tokenizer(text)["input_ids"]
            # Some tokenizers end every text: the output is still to come.
            ends = {self.tokenizer.eos_token_id, self.tokenizer.sep_token_id}
            ids = ids[:-1] if ids and ids[-1] in ends else ids
        return list(ids[-self.max_prompt_tokens :])

    def encode_output(self, output: str) -> list[int]:
        """Ids of an output with its end token, cut to the policy's length (then without one)."""
        ids = self.tokenizer(output, add_special_tokens=False)["input_ids"]
        return [*ids, self.policy.eos_id][: self.policy.max_new_tokens]

    def decode(self, prompt: int, ids: Sequence[int]) -> str:
        """The text of an output, whatever the prompt."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))


def load_text_policy(
    base: str | Path, settings: SamplingConfig | None = None, **options: Any
) -> TextPolicy:
    """A policy from a transformers directory or hub id, in float32.

    Parameters
    ----------
    base
        Weights are read from safetensors; a directory with a configuration but no weights gives a
        fresh model, drawn from the settings' seed.
    settings, options
        How it samples and where, or the same by name: ``load_text_policy(base, device="cpu")``.

    Raises
    ------
    RewardModelError
        If it cannot be loaded, has no end token, or has fewer positions than the lengths ask for.
    """
    from transformers import AutoTokenizer

    settings, base = settings or SamplingConfig(**options), str(base)
    with one_line(base, "tokenizer"), silent():
        tokenizer = AutoTokenizer.from_pretrained(base)
    if tokenizer.eos_token_id is None:
        raise RewardModelError(f"{base}: its tokenizer has no end token, so no output would end")
    model = _causal_model(base, settings.seed)
    if settings.lora_rank:
        model = _with_adapters(model, settings.lora_rank, settings.seed)
    if settings.checkpointing:
        enable(model, base)
    prompt, output = settings.max_prompt_tokens, settings.max_new_tokens
    positions = getattr(model.config, "max_position_embeddings", None) or 10**9
    if prompt + output > positions:
        raise RewardModelError(
            f"{base}: has {positions} positions, fewer than {prompt} for the prompt and "
            f"{output} for the output; shorten one of them"
        )
    pad_id = tokenizer.pad_token_id
    policy = CausalPolicy(
        model.to(torch_device(local_device(settings.device))),
        pad_id=tokenizer.eos_token_id if pad_id is None else pad_id,
        eos_id=tokenizer.eos_token_id,
        max_new_tokens=output,
        temperature=settings.temperature,
    )
    return TextPolicy(policy, tokenizer, prompt)


def _causal_model(base: str, seed: int) -> Any:
    """The weights of a directory or hub id; fresh ones from `seed` where a directory has none."""
    from transformers import AutoConfig, AutoModelForCausalLM

    with one_line(base, "policy"), silent(), torch.random.fork_rng():
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(base)
        if has_no_weights(Path(base)):
            return AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, use_safetensors=True)


def _with_adapters(model: Any, rank: int, seed: int) -> Any:
    """Adapters on all linear layers; the weights under them stay as they are."""
    with silent(), torch.random.fork_rng():
        torch.manual_seed(seed)
        return with_adapters(model, rank, "CAUSAL_LM")
