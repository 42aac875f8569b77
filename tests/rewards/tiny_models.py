"""Tiny random reward models of several architectures, with a byte-level tokenizer, as folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from rmaudit.rewards import Text

TEXTS = [
    Text("hi", "yes"),
    Text("How do I bake bread?", "Mix flour and water, then wait."),
    Text([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "c d e"),
    Text("", "no prompt at all, and a somewhat longer answer than the others have"),
]
SPECIAL = ["<s>", "</s>", "<pad>"]
LLAMA_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "[{{ m['role'] }}]{{ m['content'] | trim }}{{ eos_token }}{% endfor %}"
)


def tokenizer(
    *, pad: str = "<pad>", template: str | None = None, end: bool = False, limit: int = 120
) -> Any:
    """A token a byte; ``<s>`` in front and, with `end`, ``</s>`` behind."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(SPECIAL + letters)}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>" if end else "<s> $A", special_tokens=[("<s>", 0), ("</s>", 1)]
    )
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        pad_token=pad,
        model_max_length=limit,
        **({"cls_token": "<s>", "sep_token": "</s>"} if end else {}),
    )
    made.chat_template = template
    return made


def config(kind: str, heads: int = 1, pad_id: int | None = 2) -> Any:
    """A configuration two layers deep and 32 wide."""
    size: dict[str, Any] = {
        "vocab_size": 259,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
        "num_labels": heads,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": pad_id,
    }
    ends = {"cls_token_id": 0, "sep_token_id": 1}
    made = {
        "llama": lambda: transformers.LlamaConfig(**size, num_key_value_heads=2),
        "qwen2": lambda: transformers.Qwen2Config(**size, num_key_value_heads=2),
        "qwen3": lambda: transformers.Qwen3Config(**size, num_key_value_heads=2, head_dim=8),
        "mistral": lambda: transformers.MistralConfig(
            **size, num_key_value_heads=2, sliding_window=None
        ),
        "gemma": lambda: transformers.GemmaConfig(**size, num_key_value_heads=2, head_dim=8),
        "gpt2": lambda: transformers.GPT2Config(
            vocab_size=259,
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=128,
            num_labels=heads,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=pad_id,
        ),
        "bert": lambda: transformers.BertConfig(**size),
        "deberta-v2": lambda: transformers.DebertaV2Config(
            **size,
            relative_attention=True,
            position_buckets=16,
            norm_rel_ebd="layer_norm",
            share_att_key=True,
            pos_att_type=["p2c", "c2p"],
            position_biased_input=False,
            type_vocab_size=0,
        ),
        "roberta": lambda: transformers.RobertaConfig(**size),
        "modernbert": lambda: transformers.ModernBertConfig(**size, **ends, local_attention=16),
        "modernbert-decoder": lambda: transformers.ModernBertDecoderConfig(
            **size, **ends, local_attention=16
        ),
        "xlnet": lambda: transformers.XLNetConfig(
            vocab_size=259, d_model=32, n_layer=2, n_head=4, d_inner=48, num_labels=heads
        ),
    }
    return made[kind]()


def model(kind: str, heads: int = 1, pad_id: int | None = 2) -> Any:
    """A model whose random weights are large enough for rewards to differ."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        made = transformers.AutoModelForSequenceClassification.from_config(
            config(kind, heads, pad_id)
        )
        for parameter in made.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def save(folder: Path, kind: str, heads: int = 1, pad_id: int | None = 2, **tokens: Any) -> Path:
    """A reward model's folder; `tokens` go to `tokenizer`."""
    encoder = kind in ("bert", "deberta-v2", "roberta", "modernbert", "xlnet")
    model(kind, heads, pad_id).save_pretrained(folder)
    tokenizer(**{"end": encoder, **tokens}).save_pretrained(folder)
    return folder
