"""The model that is trained: any Hugging Face backbone under one reward head."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards.local.checkpoint import silent
from rmaudit.rewards.local.encoding import TextEncoder, maximum_length
from rmaudit.rewards.local.pooling import position_offset, reward_heads
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT
from rmaudit.training.adapters import with_adapters


def load_encoder(base: str, max_length: int) -> TextEncoder:
    """What makes token ids of texts: the one that scoring uses.

    The tokenizer is given a padding token if it has none, and the maximum length of training, so
    that scoring, which takes it from the tokenizer, cuts texts where training did.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    with one_line(base, "tokenizer"), silent():
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


def load_backbone(
    base: str, tokenizer: Any, seed: int, *, heads: Sequence[str] = ("reward",), lora_rank: int = 0
) -> Any:
    """A sequence-classification model with a label a head, in float32, in evaluation mode.

    Parameters
    ----------
    base
        A directory or hub id. Weights are read from safetensors; what they lack (the head) is
        drawn from `seed`. A directory with a configuration but no weights gives a fresh model.
    heads
        Names of the heads, kept as the model's labels; the first is the reward.
    lora_rank
        Above 0: the weights stay as they are, and adapters of this rank on all linear layers are
        trained with the head (peft; Hu et al. 2021, arXiv 2106.09685).

    Notes
    -----
    Evaluation mode switches dropout off, in training too: a reward must not depend on chance, and
    the noise costs small models accuracy. Gradients flow all the same.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with one_line(base, "model"), silent(), torch.random.fork_rng():
        torch.manual_seed(seed)
        config = _config(base, heads)
        # Padding is masked: where no token is meant for it, any will do.
        config.pad_token_id = tokenizer.pad_token_id or 0
        if has_no_weights(Path(base)):
            model = AutoModelForSequenceClassification.from_config(  # type: ignore[no-untyped-call]
                config
            )
        else:
            own = AutoConfig.from_pretrained(base)
            if lora_rank:
                _refuse_other_heads(base, own, len(heads))
            model = AutoModelForSequenceClassification.from_pretrained(
                base,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                # A reward model with other heads gives its body; these heads are drawn anew.
                ignore_mismatched_sizes=not lora_rank and own.num_labels != len(heads),
            )
        if lora_rank:
            model = _with_adapters(model, base, lora_rank)
    return model.eval()


def head_values(model: Any, tokens: Tensor, mask: Tensor) -> Tensor:
    """Values of all heads on right-padded texts, (n, n_heads), in float32."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return reward_heads(inner, tokens, mask).float()


def hold_level(model: Any, heads: int) -> None:
    """Keep the bias of the reward, head 0, where it is: losses of differences do not identify it.

    Its gradient under such a loss is what rounding leaves, and Adam turns that into full steps: the
    level of all rewards would wander, differently on every machine. A head without a bias has
    nothing to hold.
    """
    layers = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    biases = [m.bias for m in layers if m.out_features == heads and m.bias is not None]
    for bias in biases:
        if bias.requires_grad:
            learnt = torch.ones_like(bias)
            learnt[0] = 0.0
            bias.register_hook(learnt.__mul__)  # type: ignore[no-untyped-call]


def save_backbone(model: Any, tokenizer: Any, out: Path) -> None:
    """Safetensors, configuration and tokenizer, as plain transformers loads them.

    The configuration also says how the head was trained to be read: at a text's last token, where
    transformers passes over padding tokens, which may end the text.
    """
    model.config.rmaudit = {"pool": "last", "format": DEFAULT_FORMAT, "pair": False}
    with silent():
        model.save_pretrained(out)
        model.config.save_pretrained(out)  # adapters leave it out, and with it the heads' names
        tokenizer.save_pretrained(out)


def has_no_weights(folder: Path) -> bool:
    """Whether a base is a mere description. Pickled weights are weights: loading refuses them."""
    endings = {".safetensors", ".bin", ".pt", ".pth"}
    return folder.is_dir() and not any(path.suffix in endings for path in folder.iterdir())


def _config(base: str, heads: Sequence[str] = ("reward",)) -> Any:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(base, num_labels=len(heads))
    if len(heads) > 1:
        config.id2label = dict(enumerate(heads))
        config.label2id = {name: place for place, name in config.id2label.items()}
    return config


def _refuse_other_heads(base: str, own: Any, heads: int) -> None:
    """Adapters are loaded onto their base, whose own head must then fit."""
    classifies = any(str(n).endswith("Classification") for n in own.architectures or [])
    if classifies and own.num_labels != heads:
        raise UsageError(
            f"{base}: its head gives {own.num_labels} values and this feedback needs {heads}: "
            "adapters cannot change that; train all weights (lora_rank 0), or name the model that "
            "it was made from"
        )


def _with_adapters(model: Any, base: str, rank: int) -> Any:
    if has_no_weights(Path(base)):
        raise UsageError(f"{base}: has no weights to adapt; train all of them (lora_rank 0)")
    return with_adapters(model, rank, "SEQ_CLS")


@contextmanager
def one_line(base: str, what: str) -> Iterator[None]:
    """Errors of loading `what` of `base` as one line that says what to do."""
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors each have their own
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise RewardModelError(
            f"{base}: cannot load the {what} to train on: {reason}; name a transformers directory "
            "with safetensors weights, or a hub id"
        ) from error
