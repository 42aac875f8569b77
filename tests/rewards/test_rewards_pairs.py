"""Models that compare two responses: P(first better), both orders, and no scalar."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from test_rewards_implicit import language_model
from test_rewards_own_forward import edit
from tiny_models import LLAMA_TEMPLATE, save, tokenizer

import rmaudit as rma
from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import Text, load_reward_model

PAIRS = [
    Text("How do I bake bread?", "Mix flour and water.", other="No."),
    Text("hi", "{b} and {prompt}", other="hello there"),
    Text([{"role": "user", "content": "a"}], "c d", other="e"),
]
QUERY = "format={prompt}\\n\\nA: {a}\\nB: {b}\\nBetter:"


def text_of(pair):
    prompt = pair.prompt if isinstance(pair.prompt, str) else "User: a"
    return f"{prompt}\n\nA: {pair.output}\nB: {pair.other}\nBetter:"


@pytest.mark.parametrize("chat", ["no", "yes", "ask"])
def test_a_causal_model_chooses_between_a_and_b(chat, tmp_path):
    made = tokenizer(template=LLAMA_TEMPLATE, limit=512)
    language_model("llama", 3).save_pretrained(tmp_path)
    made.save_pretrained(tmp_path)
    model = load_reward_model(f"pair:{tmp_path}?{QUERY}&chat={chat}")
    assert model.signal == "preference"
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    choices = [made.encode(word, add_special_tokens=False)[0] for word in "AB"]
    expected = []
    for pair in PAIRS:
        if chat == "no":
            ids = made(text_of(pair))["input_ids"]
        else:
            turns = [{"role": "user", "content": text_of(pair)}]
            ids = made.apply_chat_template(turns, add_generation_prompt=chat == "ask")["input_ids"]
        with torch.inference_mode():
            logits = loaded(torch.tensor([ids])).logits[0, -1, choices].double()
        expected.append(float(logits.softmax(-1)[0]))
    np.testing.assert_allclose(model.forward(model.encode(PAIRS)), expected, atol=1e-5, rtol=0)
    assert np.ptp(expected) > 1e-3


@pytest.mark.parametrize(("heads", "head"), [(1, None), (2, 0), (2, 1)])
def test_a_classifier_says_how_probable_the_first_is(heads, head, tmp_path):
    folder = save(tmp_path, "roberta", heads=heads)
    model = load_reward_model(f"pair:{folder}?{QUERY}", head=head)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    made = transformers.AutoTokenizer.from_pretrained(folder)
    for pair in PAIRS:
        with torch.inference_mode():
            logits = loaded(**made(text_of(pair), return_tensors="pt")).logits[0].double()
        wanted = logits.sigmoid()[0] if heads == 1 else logits.softmax(-1)[head or 0]
        given = model.forward(model.encode([pair]))
        assert given[0] == pytest.approx(float(wanted), abs=1e-5)


def test_audits_of_pairs_run_in_both_orders_and_those_of_a_scalar_say_why_not(tmp_path):
    folder = save(tmp_path / "m", "roberta")
    spec = f"pair:{folder}?{QUERY}"
    rows = [
        {"prompt": f"question {i}?", "chosen": f"yes {i} yes", "rejected": f"{i * 7} no"}
        for i in range(12)
    ]
    report = rma.audit(spec, eval=rows, only=["preference", "calibration", "length"], cache=False)
    model = load_reward_model(spec)
    both = [
        model.forward(model.encode([Text(r["prompt"], r[a], other=r[b]) for r in rows]))
        for a, b in (("chosen", "rejected"), ("rejected", "chosen"))
    ]
    accuracy = np.mean(np.where(both[0] == both[1], 0.5, both[0] > both[1]))
    assert report["preference.accuracy"].value == pytest.approx(accuracy)
    for audit in ("calibration", "length"):
        assert report.audits[audit].status == "not_run"
        assert "it gives preferences between two responses" in str(report.audits[audit].reason)


def test_a_long_comparison_loses_the_beginning_of_its_prompt(tmp_path):
    folder = save(tmp_path, "roberta")
    model = load_reward_model(f"pair:{folder}?format={{prompt}}|{{a}}|{{b}}", max_length=14)
    long, longer = model.encode(
        [Text("abcdefghijk", "xy", other="z"), Text("q", "x" * 20, other="z")]
    )
    assert model.tokenizer.decode(long.payload) == "<s>efghijk|xy|z</s>"
    assert (long.truncated, long.output_truncated, long.tokens) == (True, False, 14)
    assert (longer.truncated, longer.output_truncated, longer.tokens) == (True, True, 14)


@pytest.mark.parametrize(
    ("query", "options", "said"),
    [
        ("", {}, r"say how its text is made"),
        ("format={prompt}{a}", {}, r"with each of \{prompt\}, \{a\} and \{b\} once"),
        ("shape=x", {}, "say NAME=VALUE with one of format, chat, a, b"),
        (f"{QUERY}&chat=maybe", {}, "say no, yes, ask"),
        (f"{QUERY}&chat=yes", {}, "there is no chat template"),
        (QUERY, {}, r"has 3 labels; .*--head N"),
        (QUERY, {"format": "{prompt}{output}"}, "--format has no effect on a pair model"),
        (QUERY, {"pool": "last"}, "--pool has no effect on a pair model"),
    ],
)
def test_what_is_open_is_asked(query, options, said, tmp_path):
    folder = save(tmp_path, "roberta", heads=3)
    with pytest.raises(UsageError, match=said):
        load_reward_model(f"pair:{folder}?{query}", **options)


def test_a_class_of_pairs_that_nobody_has_is_named_with_what_to_do(tmp_path):
    folder = save(tmp_path, "deberta-v2")
    edit(folder, architectures=["DebertaV2PairRM"])
    with pytest.raises(RewardModelError, match=r"DebertaV2PairRM.*responses_a, responses_b"):
        load_reward_model(folder)
