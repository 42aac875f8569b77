"""The model that is trained: any Hugging Face backbone under one reward head."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rmaudit.errors import RewardModelError
from rmaudit.rewards.encoding import TextEncoder, maximum_length
from rmaudit.rewards.pooling import position_offset, reward_heads


def load_encoder(base: str, max_length: int) -> TextEncoder:
    """What makes token ids of texts: the one that scoring uses.

    The tokenizer is given a padding token if it has none, and the maximum length of training, so
    that scoring, which takes it from the tokenizer, cuts texts where training did.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with _one_line(base, "tokenizer"), silent():
        tokenizer = AutoTokenizer.from_pretrained(base)
        config = _config(base)
        with torch.device("meta"):  # the shape alone: no weights are made
            model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config
            )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None:
        positions -= position_offset(model)
    limit = maximum_length(tokenizer, positions, max_length)
    tokenizer.model_max_length = limit
    return TextEncoder(tokenizer, max_length=limit)


def load_backbone(base: str, tokenizer: Any, seed: int) -> Any:
    """A sequence-classification model with one label, in float32, in evaluation mode.

    Parameters
    ----------
    base
        A directory or hub id. Weights are read from safetensors; what they lack (the head) is
        drawn from `seed`. A directory with a configuration but no weights gives a fresh model.

    Notes
    -----
    Evaluation mode switches dropout off, in training too: a reward must not depend on chance, and
    the noise costs small models accuracy. Gradients flow all the same.
    """
    from transformers import AutoModelForSequenceClassification

    with _one_line(base, "model"), silent(), torch.random.fork_rng():
        torch.manual_seed(seed)
        config = _config(base)
        # Padding is masked: where no token is meant for it, any will do.
        config.pad_token_id = tokenizer.pad_token_id or 0
        if _has_no_weights(Path(base)):
            model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config
            )
        else:
            model = AutoModelForSequenceClassification.from_pretrained(
                base, config=config, dtype=torch.float32, use_safetensors=True
            )
    return model.eval()


def rewards(model: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    """Rewards of right-padded texts, (n,), in float32."""
    return reward_heads(model, tokens, mask)[:, 0].float()


def save_backbone(model: Any, tokenizer: Any, out: Path) -> None:
    """Safetensors, configuration and tokenizer, as plain transformers loads them."""
    with silent():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)


def _has_no_weights(folder: Path) -> bool:
    """Whether a base is a mere description. Pickled weights are weights: loading refuses them."""
    endings = {".safetensors", ".bin", ".pt", ".pth"}
    return folder.is_dir() and not any(path.suffix in endings for path in folder.iterdir())


def _config(base: str) -> Any:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(base, num_labels=1)


@contextmanager
def _one_line(base: str, what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers, tokenizers and safetensors each have their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RewardModelError(
            f"{base}: cannot load the {what} to train on: {reason}; name a transformers directory "
            "with safetensors weights, or a hub id"
        ) from error


@contextmanager
def silent() -> Iterator[None]:
    """Without transformers' notes on new head weights and its progress bars: both are expected."""
    logging: Any = importlib.import_module("transformers.utils.logging")
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
