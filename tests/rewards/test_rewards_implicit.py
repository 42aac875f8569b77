"""The implicit reward of a policy, against a loop over single tokens."""

from __future__ import annotations

import json

import pytest
import torch
import transformers
from tiny_models import LLAMA_TEMPLATE, TEXTS, config, save, tokenizer

from rmaudit.errors import RewardModelError, SchemaError, UsageError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.scoring import Request, score

END = 1  # </s>


def language_model(kind, seed, std=0.2):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = transformers.AutoModelForCausalLM.from_config(config(kind))
        for parameter in made.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=std)
    return made.eval()


def save_language_model(folder, kind, seed, **tokens):
    language_model(kind, seed).save_pretrained(folder)
    tokenizer(**tokens).save_pretrained(folder)
    return folder


@torch.no_grad()
def slow_log_likelihood(model, context, output):
    """Token by token, each from a forward pass of its own on what stands before it."""
    total = 0.0
    for place, token in enumerate(output):
        before = torch.tensor([[*context, *output[:place]]])
        total += float(model(before).logits[0, -1].double().log_softmax(0)[token])
    return total


def by_hand(text, template):
    """Bytes of context and output, the special tokens written out."""
    tokens = tokenizer(template=template)
    prompt, output = text.prompt, text.output
    if template is None:
        context = prompt if isinstance(prompt, str) else "User: a\n\nAssistant: b"
        context = "<s>" + context + "\n\n"
    else:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        context = "<s>" + "".join(f"[{t['role']}]{t['content']}</s>" for t in turns)
        context += "[assistant]"
    ids = [tokens(part, add_special_tokens=False)["input_ids"] for part in (context, output)]
    return ids[0], [*ids[1], END]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return [save_language_model(root / name, "llama", seed) for name, seed in (("p", 1), ("r", 2))]


@pytest.mark.parametrize("template", [None, LLAMA_TEMPLATE], ids=["format", "template"])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen2"])
def test_the_reward_is_beta_times_the_gain_in_log_likelihood(kind, template, tmp_path):
    paths = [
        save_language_model(tmp_path / name, kind, seed, template=template)
        for name, seed in (("p", 1), ("r", 2))
    ]
    model = load_reward_model(paths[0], reference_model=paths[1], beta=0.25)
    got = model.forward(model.encode(TEXTS))
    models = [language_model(kind, seed) for seed in (1, 2)]
    for text, reward in zip(TEXTS, got, strict=True):
        context, output = by_hand(text, template)
        policy, reference = (slow_log_likelihood(m, context, output) for m in models)
        assert reward == pytest.approx(0.25 * (policy - reference), rel=1e-4, abs=1e-4)
    assert len({round(float(reward), 3) for reward in got}) == len(TEXTS)


def test_only_the_end_is_counted_of_an_empty_output(folders):
    model = load_reward_model(folders[0], reference_model=folders[1])
    context, output = by_hand(Text("hi", ""), None)
    assert output == [END]
    likelihoods = [slow_log_likelihood(language_model("llama", s), context, output) for s in (1, 2)]
    got = model.forward(model.encode([Text("hi", "")]))
    assert got[0] == pytest.approx(0.1 * (likelihoods[0] - likelihoods[1]), abs=1e-5)


def test_a_policy_that_is_its_reference_has_reward_zero(folders):
    model = load_reward_model(folders[0], reference_model=folders[0])
    assert model.forward(model.encode(TEXTS)).tolist() == [0.0] * len(TEXTS)


def test_a_long_prompt_loses_its_oldest_tokens_and_the_end_of_sequence_stays(folders):
    model = load_reward_model(folders[0], reference_model=folders[1], max_length=40)
    long, short = Text("x" * 100, "answer"), Text("x" * (40 - 1 - 1 - 2 - 6), "answer")
    encoded = model.encode([long, short])
    assert [e.tokens for e in encoded] == [40, 40]
    assert [e.truncated for e in encoded] == [True, False]
    assert encoded[0].payload == encoded[1].payload
    assert encoded[0].payload[-1] == END
    assert encoded[0].output_tokens == len("answer")


def test_it_goes_through_the_scoring_pass(folders):
    model = load_reward_model(folders[0], reference_model=folders[1])
    request = Request("output", list("abcd"), [t.prompt for t in TEXTS], [t.output for t in TEXTS])
    got = score(model, [request]).reward("output")
    assert got == pytest.approx(model.forward(model.encode(TEXTS)), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft's call
def test_a_policy_may_be_an_adapter_over_its_reference(tmp_path):
    peft = pytest.importorskip("peft")
    base = save_language_model(tmp_path / "base", "llama", 2)
    adapted = peft.get_peft_model(
        language_model("llama", 2), peft.LoraConfig(task_type="CAUSAL_LM", r=2)
    )
    with torch.no_grad():  # LoRA starts at no change at all
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.1)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(tmp_path / "adapter")
    model = load_reward_model(tmp_path / "adapter", reference_model=base)
    context, output = by_hand(TEXTS[1], None)
    policy, reference = (
        slow_log_likelihood(each, context, output)
        for each in (adapted.eval(), language_model("llama", 2))
    )
    assert abs(policy - reference) > 0.1
    got = model.forward(model.encode(TEXTS[1:2]))
    assert got[0] == pytest.approx(0.1 * (policy - reference), abs=1e-4)


def test_the_fingerprint_knows_both_models_and_beta(folders):
    one, other = folders
    prints = [
        load_reward_model(one, reference_model=other).fingerprint,
        load_reward_model(other, reference_model=one).fingerprint,
        load_reward_model(one, reference_model=one).fingerprint,
        load_reward_model(one, reference_model=other, beta=0.2).fingerprint,
    ]
    assert len(set(prints)) == 4
    assert load_reward_model(one, reference_model=other).fingerprint == prints[0]


def test_what_cannot_be_compared_is_refused(folders, tmp_path):
    classifier = save(tmp_path / "classifier", "gpt2")
    with pytest.raises(RewardModelError, match=r"is a GPT2ForSequenceClassification; name a lang"):
        load_reward_model(classifier, reference_model=folders[1])
    other = save_language_model(tmp_path / "other", "llama", 3)
    vocabulary = json.loads((other / "tokenizer.json").read_text())
    table = vocabulary["model"]["vocab"]
    table["a"], table["b"] = table["b"], table["a"]
    (other / "tokenizer.json").write_text(json.dumps(vocabulary))
    with pytest.raises(RewardModelError, match="policy and reference have different tokenizers"):
        load_reward_model(folders[0], reference_model=other)
    with pytest.raises(SchemaError, match="beta: Input should be greater"):
        load_reward_model(folders[0], reference_model=folders[1], beta=0)
    with pytest.raises(UsageError, match="--head has no effect on an implicit reward"):
        load_reward_model(folders[0], reference_model=folders[1], head=1)
    with pytest.raises(UsageError, match="no reward model 'nowhere'"):
        load_reward_model(folders[0], reference_model="nowhere")
