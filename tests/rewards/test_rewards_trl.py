"""Margins are those that TRL's RewardTrainer computes on the texts that it trains on."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from tiny_models import LLAMA_TEMPLATE, model, tokenizer
from tokenizers import processors

from rmaudit.rewards import Text, load_reward_model

datasets = pytest.importorskip("datasets")
trl = pytest.importorskip("trl")

PAIRS = [
    ("How do I bake bread?", "Mix flour and water, then wait.", "No."),
    ("hi", "hello there", "go away"),
    ("Say a or b.", "a", "b, and then some more words"),
    ("2 + 2?", "Four.", "Five."),
]
CASES = [
    pytest.param("llama", "<pad>", 2, True, id="decoder-template"),
    pytest.param("llama", "<pad>", 2, False, id="decoder-plain"),
    pytest.param("llama", None, None, True, id="decoder-no-pad-template"),
    pytest.param("qwen2", None, None, False, id="decoder-no-pad-plain"),
    pytest.param("bert", "<pad>", 2, False, id="encoder-plain"),
]


def trained(kind, pad, pad_id, conversational, folder):
    """A model that RewardTrainer has made one step with, saved by it, and the trainer."""
    made = tokenizer(
        pad=pad, template=LLAMA_TEMPLATE if conversational else None, end=kind == "bert"
    )
    if conversational:
        rows = [
            {
                "prompt": [{"role": "user", "content": p}],
                "chosen": [{"role": "assistant", "content": c}],
                "rejected": [{"role": "assistant", "content": r}],
            }
            for p, c, r in PAIRS
        ]
    else:
        rows = [{"prompt": p, "chosen": c, "rejected": r} for p, c, r in PAIRS]
    trainer = trl.RewardTrainer(
        model=model(kind, pad_id=pad_id),
        args=trl.RewardConfig(
            output_dir=str(folder),
            max_steps=1,
            per_device_train_batch_size=4,
            learning_rate=1e-3,
            report_to="none",
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            disable_tqdm=True,
            save_strategy="no",
        ),
        processing_class=made,
        train_dataset=datasets.Dataset.from_list(rows),
    )
    trainer.train()
    trainer.save_model(str(folder))
    return trainer


@pytest.mark.filterwarnings("ignore")  # TRL's and accelerate's, of one another
@pytest.mark.parametrize(("kind", "pad", "pad_id", "conversational"), CASES)
def test_margins_are_those_of_trl(kind, pad, pad_id, conversational, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        trainer = trained(kind, pad, pad_id, conversational, tmp_path)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(len(PAIRS))])
    with torch.inference_mode():
        logits = trainer.model.eval()(**batch).logits[:, 0]
    expected = (logits[: len(PAIRS)] - logits[len(PAIRS) :]).double().numpy()

    rewarder = load_reward_model(tmp_path)
    chosen, rejected = (
        rewarder.forward(rewarder.encode([Text(p, each[place]) for p, *each in PAIRS]))
        for place in (0, 1)
    )
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(chosen - rejected, expected, atol=1e-4, rtol=0)
    if not conversational:
        assert "TRL" in rewarder.describe()["text_from"]


def cross_encoder(folder, kind="bert"):
    """An encoder whose tokenizer joins two texts, with token types or without."""
    model(kind).save_pretrained(folder)
    made = tokenizer(end=True)
    made.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> $B:1 </s>:1",
        special_tokens=[("<s>", 0), ("</s>", 1)],
    )
    made.save_pretrained(folder)
    if kind == "bert":
        settings = json.loads((folder / "tokenizer_config.json").read_text())
        settings["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_cross_encoder_reads_prompt_and_response_as_a_pair(kind, tmp_path, caplog):
    # sentence-transformers' CrossEncoder: tokenizer(query, document), and the one logit.
    folder = cross_encoder(tmp_path, kind)
    rewarder = load_reward_model(folder, pair=kind == "roberta")
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    made = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [Text(p, c) for p, c, _ in PAIRS]
    expected = []
    for text in texts:
        with torch.inference_mode():
            inputs = made(text.prompt, text.output, return_tensors="pt")
            expected.append(float(loaded(**inputs).logits[0, 0]))
    np.testing.assert_allclose(
        rewarder.forward(rewarder.encode(texts)), expected, atol=1e-5, rtol=0
    )
    assert "encoded as pairs" in caplog.text
    one = load_reward_model(folder, format="{prompt} {output}")
    assert np.abs(one.forward(one.encode(texts)) - expected).max() > 0.02


def test_a_long_pair_loses_the_beginning_of_its_prompt(tmp_path):
    rewarder = load_reward_model(cross_encoder(tmp_path), max_length=12)
    first, second = rewarder.encode([Text("abcdefghij", "xyz"), Text("ab", "k" * 20)])
    assert rewarder.tokenizer.decode(first.payload) == "<s>efghij</s>xyz</s>"
    assert rewarder.encoder.types(first) == [0] * 8 + [1] * 4
    assert (first.truncated, first.output_truncated) == (True, False)
    assert rewarder.tokenizer.decode(second.payload) == "<s></s>" + "k" * 9 + "</s>"
    assert second.output_truncated
