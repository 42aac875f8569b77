"""`rmaudit doctor --model` of steps, pairs and policies: the example, and the forward pass."""

from __future__ import annotations

import re
from datetime import datetime

import numpy as np
import pytest
import torch
import transformers
from test_rewards_implicit import language_model, save_language_model, slow_log_likelihood
from test_rewards_pairs import QUERY
from test_rewards_process import save as save_process
from test_rewards_process import token_classifier
from tiny_models import LLAMA_TEMPLATE, save, tokenizer

from rmaudit.doctor import examine_model
from rmaudit.errors import UsageError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local.language_model import logits_of
from rmaudit.rewards.local.lengths import LengthRule

DYNAMIC = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0}
NO_BOS = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{{ eos_token }}{% endfor %}"


def apart(shown):
    found = re.fullmatch(r"\d texts alone: (\S+) from model\(\*\*inputs\) at most", shown)
    return float(found[1])


def of_kind(kind, folder):
    if kind == "classifier of pairs":
        return f"pair:{save(folder, 'roberta')}?{QUERY}", {}
    if kind == "steps":
        return f"prm:{save_process(folder, token_classifier())}", {}
    save_language_model(folder, "llama", 3, template=LLAMA_TEMPLATE)
    if kind == "policy":
        return folder, {"reference_model": str(save_language_model(folder / "r", "llama", 4))}
    return f"{'pair' if kind == 'pairs' else 'prm'}:{folder}{f'?{QUERY}' * (kind == 'pairs')}", {}


@pytest.mark.parametrize("kind", ["pairs", "classifier of pairs", "steps", "said steps", "policy"])
def test_the_screen_has_an_example_and_how_far_the_forward_pass_is(kind, tmp_path):
    spec, more = of_kind(kind, tmp_path)
    model = load_reward_model(spec, **more)
    shown = dict(model.screen())
    assert {"class", "reward", "signal", "text", "truncation", "number format"} <= shown.keys()
    assert apart(shown["forward pass"]) < 1e-5
    ids = [int(each) for each in re.findall(r"\d+", shown["token ids"].partition("(")[0])]
    assert repr(model.tokenizer.decode(ids[:10]))[1:-1] in shown["example"]
    # A model that scores a batch otherwise than its forward pass does is seen.
    right = model.forward
    model.forward = lambda batch: right(batch) + np.arange(len(batch)) / 8
    last = int(shown["forward pass"][0]) - 1
    assert apart(dict(model.screen())["forward pass"]) == pytest.approx(last / 8, rel=0.01)


def test_the_example_of_a_pair_is_its_text(tmp_path):
    spec, _ = of_kind("pairs", tmp_path)
    shown = dict(load_reward_model(spec).screen())
    text = "How do I bake bread?\n\nA: Mix flour and water.\nB: No.\nBetter:"
    assert shown["example"] == repr(f"<s>{text}")
    assert shown["first, last token"] == "'<s>', ':'"
    assert "(61 in all)" in shown["token ids"]  # 60 bytes and <s>
    turn = dict(load_reward_model(f"{spec}&chat=yes").screen())
    assert turn["example"] == repr(f"<s>[user]{text}</s>")


def test_the_example_of_steps_says_where_they_are_read(tmp_path):
    spec, _ = of_kind("steps", tmp_path)
    shown = dict(load_reward_model(spec).screen())
    text = "<s>How do I bake bread?\n\nMix flour and water.\nWait.\nUse a lidded pan.\n"
    assert shown["example"] == repr(text)
    loaded = transformers.AutoModelForTokenClassification.from_pretrained(tmp_path).eval()
    ids = tokenizer()(text, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        scores = loaded(torch.tensor([ids])).logits[0].softmax(-1)[:, 1]
    ends = [43, 49, 67]  # the breaks behind the steps
    assert [ids[end] for end in ends] == [ids[-1]] * 3
    wanted = ", ".join(f"'Ċ' ({end}) {float(scores[end]):.3g}" for end in ends)
    assert shown["steps read at"] == f"{wanted} (token, its place from 0, its score)"
    assert shown["signal"] == "score"


def test_the_example_of_a_policy_is_summed_over_its_response(tmp_path):
    spec, more = of_kind("policy", tmp_path)
    shown = dict(load_reward_model(spec, **more).screen())
    assert shown["example"] == repr("<s>[user]hi</s>[assistant]yes</s>")
    assert shown["summed over"] == "the last 4 of the example's 25 tokens"


@pytest.mark.parametrize("kind", ["pairs", "classifier of pairs"])
def test_doctor_tries_a_model_of_pairs_on_ten_pairs(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("RMAUDIT_STORE", str(tmp_path / "s.sqlite"))
    monkeypatch.setattr("rmaudit.doctor._PATIENCE", 0.0)
    checks = examine_model(lambda: load_reward_model(of_kind(kind, tmp_path)[0]))
    assert not [check for check in checks if check.status == "fail"]
    said = [check.said for check in checks if check.what == "preflight"]
    assert said[0].startswith("ten texts have rewards from 0.")


def test_a_template_of_steps_gets_no_beginning_that_it_does_not_write(tmp_path):
    save_process(tmp_path, token_classifier(), template=NO_BOS)
    text = Text("2 + 2?", "Four.")
    made = transformers.AutoTokenizer.from_pretrained(tmp_path)
    before = "[user]2 + 2?</s>[assistant]"
    plain = made(before, add_special_tokens=False)["input_ids"]
    for bos, front in (("as-trained", []), ("none", []), ("add", [made.bos_token_id])):
        (ids, _), *_ = (
            e.payload for e in load_reward_model(f"prm:{tmp_path}", bos=bos).encode([text])
        )
        assert ids[: len(front) + len(plain)] == [*front, *plain]
    fingerprints = {
        load_reward_model(f"prm:{tmp_path}", bos=b).fingerprint for b in ("none", "add")
    }
    assert len(fingerprints) == 2


def test_logits_of_long_texts_do_not_reach_those_beside_them():
    made = transformers.LlamaConfig(
        vocab_size=259, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=20,
        rope_parameters=DYNAMIC, pad_token_id=2,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = transformers.LlamaForCausalLM(made).eval()
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    texts = [list(range(5, 5 + n)) for n in (12, 60, 30, 9)]
    with torch.inference_mode():
        alone = []
        for ids in texts:
            LengthRule.of(model).reset(model)
            alone.append(model(torch.tensor([ids])).logits[0])
        beside = model(torch.tensor([texts[0] + [2] * 48, texts[1]])).logits[0, :12]
        given = list(logits_of(model, texts, 2))
    assert float((beside - alone[0]).abs().max()) > 0.1  # which is the fault
    for one, other in zip(given, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def test_the_loss_is_the_sum_of_the_tokens(tmp_path):
    spec, more = of_kind("policy", tmp_path)
    model = load_reward_model(spec, **more)
    (each,) = model.encode([Text("hi", "yes")])
    context, output = each.payload[: each.output_start], each.payload[each.output_start :]
    first, second = (
        slow_log_likelihood(language_model("llama", seed), context, output) for seed in (3, 4)
    )
    assert model._alone(each) == pytest.approx(0.1 * (first - second), abs=1e-5)


DATED = "{{ bos_token }}{{ strftime_now('%d %b %Y') }}" + LLAMA_TEMPLATE.replace(
    "{{ bos_token }}", ""
)


@pytest.mark.parametrize("kind", ["pairs", "steps", "policy"])
def test_the_day_in_a_text_is_fixed_told_and_in_the_fingerprint(kind, tmp_path, caplog):
    spec, more = of_kind(kind, tmp_path)
    tokenizer(template=DATED).save_pretrained(tmp_path)
    spec = f"{spec}&chat=yes" if kind == "pairs" else spec
    first, second, today = (
        load_reward_model(spec, date=day, **more) for day in ("2026-01-31", "2025-07-01", None)
    )
    assert [dict(m.screen())["example"][4:15] for m in (first, second)] == [
        "31 Jan 2026",
        "01 Jul 2025",
    ]
    assert len({m.fingerprint for m in (first, second, today)}) == 3
    assert first.describe()["date"] == "2026-01-31"
    assert today.describe()["date"] == datetime.now().astimezone().date().isoformat()
    assert "its chat template writes the date: 2026-01-31" in caplog.text
    text = Text("How?", "So.\nThus.", other="No.")
    assert abs(first.forward(first.encode([text])) - second.forward(second.encode([text]))) > 1e-4


@pytest.mark.parametrize("kind", ["pairs", "steps", "policy"])
def test_a_day_that_no_text_holds_is_refused(kind, tmp_path):
    spec, more = of_kind(kind, tmp_path)
    with pytest.raises(UsageError, match="--date: the model's texts hold no date"):
        load_reward_model(spec, date="2026-01-31", **more)


@pytest.mark.parametrize("kind", ["llama", "bert", "gpt2"])
def test_a_padding_token_that_is_the_unknown_one_is_read_as_the_model_reads_it(kind, tmp_path):
    folder = save(tmp_path, kind)
    made = transformers.AutoTokenizer.from_pretrained(folder)
    made.unk_token = made.pad_token
    made.save_pretrained(folder)
    texts = [Text("q", "x"), Text("q <pad> r", "an <pad> y"), Text("q", "at its end <pad><pad>")]
    model = load_reward_model(folder)
    encoded = model.encode(texts)
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    expected = []
    for text, each in zip(texts, encoded, strict=True):
        ids = made(f"{text.prompt}\n\n{text.output}")["input_ids"]
        assert list(each.payload) == ids
        with torch.inference_mode():
            expected.append(float(loaded(torch.tensor([ids])).logits[0, 0]))
    np.testing.assert_allclose(model.forward(encoded), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "bert"])
@pytest.mark.parametrize(("dtype", "number"), [("auto", "float32"), ("bfloat16", "bfloat16")])
def test_a_bfloat16_folder_scores_as_transformers_does_in_that_format(
    kind, dtype, number, tmp_path
):
    folder = save(tmp_path, kind)
    auto = transformers.AutoModelForSequenceClassification
    auto.from_pretrained(folder).to(torch.bfloat16).save_pretrained(folder)
    model = load_reward_model(folder, dtype=dtype)
    assert model.describe()["dtype"] == number
    loaded = auto.from_pretrained(folder, dtype=getattr(torch, number)).eval()
    encoded = model.encode([Text("hi", "yes"), Text("How do I bake bread?", "Mix flour.")])
    for each in encoded:
        with torch.inference_mode():
            expected = float(loaded(torch.tensor([each.payload])).logits[0, 0])
        assert model.forward([each])[0] == pytest.approx(expected, abs=1e-5)
