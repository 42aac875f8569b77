"""Rewards of tiny models of many architectures against transformers' own forward pass.

``python -m benchmarks.model_matrix --out FILE`` builds each architecture from its configuration
class, with random weights, and compares our reward of a text with ``model(**inputs).logits`` of the
text alone: read plainly, with a chat template, with the end of sequence as padding token, padded
right, padded left, in a batch of its own, beside a long text, with a shared prompt, in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

from rmaudit.errors import RmauditError
from rmaudit.rewards import Text, load_reward_model

READINGS = (
    "plain",
    "chat template",
    "pad = eos",
    "padded right",
    "padded left",
    "alone",
    "beside a long text",
    "shared prompt",
    "bfloat16",
)
TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}"
    "{% endfor %}"
)
_QUESTION = "How do I bake bread at home without an oven?"
TEXTS = [
    Text("hi", "yes"),
    Text(_QUESTION, "Mix flour and water, then wait."),
    Text(_QUESTION, "Use a lidded pan on a low flame."),
    Text("What?", "no, and " * 12),
]
_LONG = Text("A long one.", "word " * 60)

# Every name is a size that some configuration class knows; each takes those that it has.
_SIZES: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embed_dim", "embedding_size", "dim"), 32),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "d_ff", "d_inner", "hidden_dim"), 48),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim", "moe_intermediate_size"), 48),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "num_layers"), 2),
    **dict.fromkeys(("encoder_layers", "decoder_layers", "num_decoder_layers"), 2),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("num_key_value_heads", "num_experts_per_tok"), 2),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    **dict.fromkeys(("max_position_embeddings", "n_positions", "max_seq_len"), 600),
    **dict.fromkeys(("head_dim", "d_kv", "kv_channels"), 8),
    "vocab_size": 259,
    "sliding_window": 64,
}
_OTHERS: dict[str, dict[str, Any]] = {
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 64},
    "gptj": {"rotary_dim": 4},
    "qwen2": {"sliding_window": None},
    "longformer": {"attention_window": 16},
    "funnel": {"block_sizes": [1, 1], "d_head": 8},
    "mpt": {"max_seq_len": 600},
    "mamba": {"state_size": 8},
    "modernbert": {"cls_token_id": 0, "sep_token_id": 1, "local_attention": 32},
    "phi3": {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
    "xlm": {"emb_dim": 32},
    "flaubert": {"emb_dim": 32},
    "big_bird": {"attention_type": "original_full"},
    "mobilebert": {"intra_bottleneck_size": 32, "true_hidden_size": 32},
    "convbert": {"head_ratio": 2, "conv_kernel_size": 3},
    "squeezebert": {"embedding_size": 32},
    "reformer": {"is_decoder": False, "axial_pos_shape": [20, 30], "axial_pos_embds_dim": [16, 16]},
}
_ENDS = {"bos_token_id": 0, "eos_token_id": 1}


def tokenizer(*, pad: str = "<pad>", template: str | None = None, end: bool = False) -> Any:
    """A token a byte, after ``<s>``, ``</s>`` and ``<pad>``; with `end`, ``</s>`` closes a text."""
    words = ["<s>", "</s>", "<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
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
        model_max_length=512,
        **({"cls_token": "<s>", "sep_token": "</s>"} if end else {}),
    )
    made.chat_template = template
    return made


def config(kind: str, pad_id: int = 2) -> Any:
    """A tiny configuration of an architecture, with one label."""
    made = transformers.CONFIG_MAPPING[kind]
    if kind == "gemma3":
        return _gemma3(pad_id)
    known = made().to_dict()
    sizes = {name: size for name, size in _SIZES.items() if name in known or name == "num_labels"}
    sizes |= {"num_labels": 1, "pad_token_id": pad_id, **_ENDS, **_OTHERS.get(kind, {})}
    return made(**sizes)


def _gemma3(pad_id: int) -> Any:
    """A composite configuration: what the text model needs stands in `text_config` alone."""
    text = {name: size for name, size in _SIZES.items() if name in ("vocab_size", "hidden_size")}
    text |= {"intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    text |= {"num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 600}
    seen = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    seen |= {"num_attention_heads": 2, "image_size": 28, "patch_size": 14}
    return transformers.Gemma3Config(
        text_config=text | {"pad_token_id": pad_id, **_ENDS},
        vision_config=seen,
        mm_tokens_per_image=4,
        num_labels=1,
    )


def build(folder: Path, kind: str, *, pad_is_end: bool = False, template: bool = False) -> Any:
    """A model with random weights and its tokenizer in a folder; the model."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        settings = config(kind, pad_id=1 if pad_is_end else 2)
        model = transformers.AutoModelForSequenceClassification.from_config(settings)
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    model.eval().save_pretrained(folder)
    encoder = not hasattr(model, "score")
    made = tokenizer(
        pad="</s>" if pad_is_end else "<pad>", template=TEMPLATE if template else None, end=encoder
    )
    made.save_pretrained(folder)
    return model


def own_rewards(folder: Path, texts: Sequence[Text], dtype: torch.dtype) -> np.ndarray:
    """``model(**inputs).logits`` of each text alone, by transformers and the tokenizer only."""
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype)
    made = transformers.AutoTokenizer.from_pretrained(folder)
    found = []
    for text in texts:
        if made.chat_template:
            turns = [{"role": "user", "content": text.prompt}]
            turns.append({"role": "assistant", "content": text.output})
            inputs = made.apply_chat_template(turns, return_tensors="pt", return_dict=True)
        else:
            inputs = made(f"{text.prompt}\n\n{text.output}", return_tensors="pt")
        if not torch.is_tensor(inputs["input_ids"]):
            raise TypeError("no tensors")
        with torch.inference_mode():
            found.append(float(loaded.eval()(**inputs).logits[0, 0]))
    return np.array(found)


def _apart(given: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference relative to one plus the reward's size."""
    return float((np.abs(given - expected) / (1 + np.abs(expected))).max())


def readings(kind: str, folder: Path) -> Iterator[tuple[str, float | str]]:
    """Each reading of an architecture with its largest difference, or why there is none."""
    plain, chat, ends = folder / "plain", folder / "chat", folder / "ends"
    build(plain, kind)
    build(chat, kind, template=True)
    build(ends, kind, template=True, pad_is_end=True)
    expected = own_rewards(plain, TEXTS, torch.float32)

    def compare(where: Path, wanted: np.ndarray | None = None, **how: Any) -> float | str:
        try:
            model = load_reward_model(where, **how)
            if wanted is None:
                dtype = torch.bfloat16 if how else torch.float32
                wanted = own_rewards(where, TEXTS, dtype)
            encoded = model.encode(TEXTS)
            alone = np.array([model.forward([each])[0] for each in encoded])
            return _apart(alone, wanted)
        except RmauditError as error:
            return f"refused: {error}".replace(str(folder), "").strip()

    yield "plain", (first := compare(plain, expected))
    yield "chat template", compare(chat)
    yield "pad = eos", compare(ends)
    if isinstance(first, str):
        return
    model = load_reward_model(plain)
    encoded = model.encode(TEXTS)
    yield "padded right", _apart(model.forward(encoded), expected)
    left = model.forward(encoded, pad_left=True) if model.pads_left else None
    yield "padded left", "not used" if left is None else _apart(left, expected)
    alone = np.array([model.forward([each])[0] for each in encoded])
    yield "alone", _apart(alone, expected)
    beside = model.forward([*encoded, *model.encode([_LONG])])[:-1]
    yield "beside a long text", _apart(beside, expected)
    pair = model.forward(encoded[1:3])
    yield "shared prompt", _apart(pair, expected[1:3]) if model.shares_prefixes else "not used"
    yield "bfloat16", compare(plain, dtype="bfloat16")


def architectures() -> list[str]:
    """Architectures that transformers can classify sequences with."""
    names = transformers.models.auto.modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
    composite = {
        kind for kind in names if transformers.CONFIG_MAPPING[kind].sub_configs and kind != "gemma3"
    }  # their other halves are large, and read no text
    return sorted(set(names) - composite)


def row(kind: str) -> dict[str, float | str]:
    """The readings of one architecture; one that cannot be built tiny says why."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return dict(readings(kind, Path(folder)))
        except Exception as error:  # whatever a configuration class objects to
            said = str(error).strip().splitlines() or [type(error).__name__]
            return {"not built": f"{type(error).__name__}: {said[0][:150]}"}


def table(rows: dict[str, dict[str, float | str]]) -> str:
    """The matrix as Markdown: an architecture a line, a reading a column."""
    lines = ["| architecture | " + " | ".join(READINGS) + " |"]
    lines.append("| --- |" + " ---: |" * len(READINGS))
    for kind, values in rows.items():
        if "not built" not in values:
            cells = [_cell(values.get(name, "refused")) for name in READINGS]
            lines.append(f"| `{kind}` | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | str) -> str:
    if isinstance(value, str):
        return "refused" if value.startswith("refused") else value
    return "0" if value == 0 else f"{value:.0e}"


def main() -> None:
    """Write the matrix of all architectures, or of those named, as JSON and as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("model-matrix.json"))
    parser.add_argument("kinds", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("rmaudit").setLevel(logging.ERROR)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    rows: dict[str, dict[str, float | str]] = {}
    for kind in arguments.kinds or architectures():
        rows[kind] = row(kind)
        print(kind, rows[kind], flush=True)
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    arguments.out.with_suffix(".md").write_text(table(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
