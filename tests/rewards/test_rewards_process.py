"""Process rewards: where steps are scored, and what is made of the scores."""

from __future__ import annotations

import math

import pytest
import torch
import transformers
from test_rewards_implicit import language_model
from tiny_models import LLAMA_TEMPLATE, config, tokenizer

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local.process import Steps, aggregate_steps

TEXTS = [Text("2 + 2?", "Two and two.\nThat is four."), Text("", "One step only."), Text("q", "")]


def token_classifier(labels=2, kind="llama"):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = transformers.AutoModelForTokenClassification.from_config(config(kind, heads=labels))
        for parameter in made.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2)
    return made.eval()


def save(folder, model, **tokens):
    model.save_pretrained(folder)
    tokenizer(**tokens).save_pretrained(folder)
    return folder


def ids(text):
    return tokenizer()(text, add_special_tokens=False)["input_ids"]


def rewards(model, texts=TEXTS):
    return model.forward(model.encode(texts)).tolist()


@torch.no_grad()
def slow_scores(model, prefixes):
    """A step's probability from a pass over the text up to its tag, and no further."""
    scores = []
    for prefix in prefixes:
        last = model(torch.tensor([ids(prefix)])).logits[0, -1].double()
        scores.append(last)
    return scores


@pytest.mark.parametrize(
    ("how", "expected"), [("min", 0.5), ("mean", 0.7), ("last", 0.8), ("prod", 0.32)]
)
def test_aggregates_by_hand(how, expected):
    assert aggregate_steps([0.8, 0.5, 0.8], how) == pytest.approx(expected)
    assert math.isnan(aggregate_steps([], how))


@pytest.mark.parametrize("how", ["min", "mean", "last", "prod"])
def test_a_token_classifier_is_read_at_the_end_of_each_step(how, tmp_path):
    model = token_classifier()
    loaded = load_reward_model(f"prm:{save(tmp_path, model)}?aggregate={how}")
    expected = []
    for prefixes in (
        ["<s>2 + 2?\n\nTwo and two.\n", "<s>2 + 2?\n\nTwo and two.\nThat is four.\n"],
        ["<s>\n\nOne step only.\n"],
        ["<s>q\n\n\n"],
    ):
        steps = [float(each.softmax(0)[1]) for each in slow_scores(model, prefixes)]
        expected.append(aggregate_steps(steps, how))
    assert rewards(loaded) == pytest.approx(expected, abs=1e-5)


def test_one_label_is_a_sigmoid_and_a_head_may_be_named(tmp_path):
    one = token_classifier(labels=1)
    got = rewards(load_reward_model(f"prm:{save(tmp_path / 'one', one)}"), TEXTS[1:2])
    (logits,) = slow_scores(one, ["<s>\n\nOne step only.\n"])
    assert got == pytest.approx([float(logits.sigmoid()[0])], abs=1e-5)

    three = token_classifier(labels=3)
    folder = save(tmp_path / "three", three)
    with pytest.raises(UsageError, match=r"3 labels; say which .*--head N"):
        load_reward_model(f"prm:{folder}")
    with pytest.raises(UsageError, match="no head 3"):
        load_reward_model(f"prm:{folder}", head=3)
    (logits,) = slow_scores(three, ["<s>\n\nOne step only.\n"])
    got = rewards(load_reward_model(f"prm:{folder}", head=0), TEXTS[1:2])
    assert got == pytest.approx([float(logits.softmax(0)[0])], abs=1e-5)


def test_a_causal_model_chooses_between_plus_and_minus_at_the_tag(tmp_path):
    model = language_model("llama", 5)
    folder = save(tmp_path, model)
    loaded = load_reward_model(f"prm:{folder}?aggregate=last&split=\\n&tag=%23")  # %23 is "#"
    plus, minus = ids("+")[0], ids("-")[0]
    (logits,) = slow_scores(model, ["<s>2 + 2?\n\nTwo and two.#That is four.#"])
    good, bad = logits[plus].exp(), logits[minus].exp()
    assert rewards(loaded, TEXTS[:1]) == pytest.approx([float(good / (good + bad))], abs=1e-5)
    with pytest.raises(RewardModelError, match="does not tell 'x' from 'x'"):
        load_reward_model(f"prm:{folder}?good=x&bad=x")


def test_a_causal_model_is_called_as_math_shepherd_is(tmp_path):
    # question + " " + "step 1 ки\nstep 2 ки", as one text; scores at each tag
    model = language_model("llama", 5)
    loaded = load_reward_model(f"prm:{save(tmp_path, model)}")
    prefixes = ["<s>2 + 2? Two and two. ки", "<s>2 + 2? Two and two. ки\nThat is four. ки"]
    signs = [ids("-")[0], ids("+")[0]]
    expected = [float(each[signs].softmax(0)[1]) for each in slow_scores(model, prefixes)]
    (encoded,) = loaded.encode(TEXTS[:1])
    assert encoded.payload[0] == ids(prefixes[1])
    assert loaded.step_scores([encoded])[0] == pytest.approx(expected, abs=1e-5)
    assert encoded.output_start == len(ids("<s>2 + 2? "))


def test_the_chat_template_goes_before_the_steps(tmp_path):
    model = token_classifier()
    loaded = load_reward_model(f"prm:{save(tmp_path, model, template=LLAMA_TEMPLATE)}")
    steps = slow_scores(
        model,
        [
            "<s>[user]2 + 2?</s>[assistant]Two and two.\n",
            "<s>[user]2 + 2?</s>[assistant]Two and two.\nThat is four.\n",
        ],
    )
    expected = min(float(each.softmax(0)[1]) for each in steps)
    assert rewards(loaded, TEXTS[:1]) == pytest.approx([expected], abs=1e-5)


def test_texts_that_share_a_batch_do_not_touch_one_another(tmp_path):
    loaded = load_reward_model(f"prm:{save(tmp_path, token_classifier(kind='bert'), end=True)}")
    alone = [rewards(loaded, [text])[0] for text in TEXTS]
    assert rewards(loaded) == pytest.approx(alone, abs=1e-5)


def test_what_is_cut_off_is_said_and_lost_steps_have_no_score(tmp_path):
    folder = save(tmp_path, token_classifier())
    loaded = load_reward_model(f"prm:{folder}", max_length=20)
    long_prompt, long_output = loaded.encode(
        [Text("x" * 50, "a b\nc d"), Text("hi", "first\n" + "y" * 30 + "\nlast")]
    )
    assert (long_prompt.tokens, long_prompt.truncated) == (20, True)
    assert not long_prompt.output_truncated
    assert len(long_prompt.payload[1]) == 2
    assert long_output.output_truncated
    assert len(long_output.payload[1]) == 2  # of three: the first went with the oldest tokens
    assert long_output.payload[1][-1] == 19


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("aggregate=max", "aggregate=max: say min, mean, last, prod"),
        ("aggregat=min", "one of aggregate, split, tag, good, bad, unit"),
        ("split=", "say NAME=VALUE"),
    ],
)
def test_a_query_that_is_not_understood_is_said(query, said):
    with pytest.raises(UsageError, match=said):
        Steps.parse(query)


def test_a_query_is_read_with_its_escapes():
    assert Steps.parse("aggregate=mean&split=\\n\\n&tag=%20ки&good=+") == Steps(
        "mean", "\n\n", " ки", "+"
    )


def test_settings_enter_the_fingerprint(tmp_path):
    folder = save(tmp_path, token_classifier())
    specs = ["", "?aggregate=mean", "?split=\\n\\n", "?tag=%23"]
    prints = [load_reward_model(f"prm:{folder}{query}").fingerprint for query in specs]
    assert len(set(prints)) == len(specs)


@pytest.mark.parametrize("labels", [1, 2])
def test_every_turn_of_the_assistant_is_a_step_where_asked(labels, tmp_path):
    model = token_classifier(labels)
    folder = save(tmp_path, model, template=LLAMA_TEMPLATE, limit=512)
    talk = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello\nthere"},
        {"role": "user", "content": "and?"},
    ]
    said = "<s>[user]hi</s>[assistant]hello\nthere</s>"
    prefixes = [said, f"{said}[user]and?</s>[assistant]that is all</s>"]
    logits = slow_scores(model, prefixes)
    expected = [float(each.sigmoid()[0] if labels == 1 else each.softmax(-1)[1]) for each in logits]
    text = Text(talk, "that is all")
    for how in ("mean", "min", "last"):
        rewarder = load_reward_model(f"prm:{folder}?unit=turn&aggregate={how}")
        wanted = aggregate_steps(expected, how)
        assert rewards(rewarder, [text]) == [pytest.approx(wanted, abs=1e-5)]
    assert "turns of the assistant" in rewarder.describe()["steps"]
    (encoded,) = rewarder.encode([text])
    begun = encoded.payload[0][encoded.output_start :]
    assert rewarder.tokenizer.decode(begun[: encoded.output_tokens]).startswith("hat is all")
    short = load_reward_model(f"prm:{folder}?unit=turn&aggregate=last", max_length=30)
    assert len(short.encode([text])[0].payload[1]) == 1


def test_turns_need_a_template_that_does_not_rewrite_them(tmp_path):
    folder = save(tmp_path / "plain", token_classifier())
    with pytest.raises(UsageError, match="unit=turn needs a chat template"):
        load_reward_model(f"prm:{folder}?unit=turn")
    strips = "{% for m in messages %}{{ m['content'] if loop.last else '-' }}{% endfor %}"
    folder = save(tmp_path / "strips", token_classifier(), template=strips)
    rewarder = load_reward_model(f"prm:{folder}?unit=turn")
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    with pytest.raises(RewardModelError, match="otherwise when others follow"):
        rewarder.encode([Text([*talk, talk[0]], "c")])
    with pytest.raises(UsageError, match="say step, turn"):
        load_reward_model(f"prm:{folder}?unit=word")
