"""A small fresh transformer with a tokenizer of its own, for demonstrations and tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rmaudit.rewards.local.checkpoint import silent
from rmaudit.training.reward.settings import RewardTrainingConfig

# What the demonstration trains with: three members on about 3,000 clinic pairs.
DEMO_TRAINING = RewardTrainingConfig(
    epochs=2,
    learning_rate=2e-3,
    batch_pairs=32,
    token_budget=16384,
    max_length=256,
    evaluations_per_epoch=1,
    members=3,
    # Matrices this small gain nothing from bfloat16, and little from a second thread, which on a
    # busy machine makes training ten times slower: the threads wait for one another.
    precision="float32",
    threads=1,
)


def tiny_base(
    folder: str | Path,
    texts: Iterable[str],
    *,
    layers: int = 2,
    width: int = 64,
    max_length: int = 256,
) -> Path:
    """Write the configuration and tokenizer of a small BERT-type encoder, without weights.

    `train_reward_model` draws fresh weights for every member of an ensemble from its seed.

    Parameters
    ----------
    folder
        Where to write.
    texts
        The corpus whose words are the vocabulary (lower-cased, split at punctuation; at most
        8,192 words). Unseen words become one unknown token.
    layers, width
        Of the transformer; heads are 32 wide.

    Returns
    -------
    The folder, which `train_reward_model` takes as its base.
    """
    from transformers import BertConfig

    folder = Path(folder)
    tokenizer = _word_tokenizer(texts, max_length)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 32),
        intermediate_size=4 * width,
        max_position_embeddings=max_length,
        pad_token_id=tokenizer.pad_token_id,
    )
    with silent():
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def tiny_causal(folder: str | Path, texts: Iterable[str], *, max_length: int = 64) -> Path:
    """Write the configuration and tokenizer of a small causal language model, without weights.

    `rmaudit.training.policy.train.train_policy` draws fresh weights for it from its seed.
    Parameters are those of `tiny_base`.
    """
    from transformers import LlamaConfig

    folder = Path(folder)
    tokenizer = _word_tokenizer(texts, max_length)
    tokenizer.eos_token = "[SEP]"
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=max_length,
        initializer_range=0.3,  # else fresh weights of this width hardly tell words apart
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with silent():
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def _word_tokenizer(texts: Iterable[str], max_length: int) -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    special["sep_token"] = "[SEP]"
    words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    words.normalizer = normalizers.Lowercase()
    words.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordLevelTrainer(
        vocab_size=8192, special_tokens=list(special.values()), show_progress=False
    )
    words.train_from_iterator(texts, trainer)
    words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, words.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=words, model_max_length=max_length, **special
    )
