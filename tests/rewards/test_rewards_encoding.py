"""One beginning of sequence, the output whole, the oldest prompt tokens dropped; worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import LLAMA_TEMPLATE, tokenizer

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.rewards import Text
from rmaudit.rewards.local.encoding import TextEncoder, maximum_length
from rmaudit.rewards.local.rendering import TemplateRenderer

BOS, EOS = 0, 1
STRICT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turns') }}{% endif %}"
    "{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] }}{% endfor %}<end>"
)


def encode(text: Text, *, max_length: int | None = None, format: str | None = None, **kind):
    if format is None and "template" not in kind:
        format = "{prompt}|{output}"
    encoder = TextEncoder(tokenizer(**kind), format=format, max_length=max_length)
    (encoded,) = encoder.encode([text])
    return encoded, encoder.tokenizer.decode(encoded.payload)


def test_a_format_puts_prompt_and_output_in_their_places():
    encoded, words = encode(Text("ab", "xyz"))
    assert words == "<s>ab|xyz"
    assert (encoded.tokens, encoded.output_tokens) == (7, 3)  # a token a byte, and <s>
    assert not encoded.truncated
    assert not encoded.output_truncated


def test_braces_in_the_texts_are_not_places():
    _, words = encode(Text("{output} {0}", "{prompt}"))
    assert words == "<s>{output} {0}|{prompt}"


def test_messages_become_named_turns_where_there_is_no_template():
    prompt = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
    _, words = encode(Text(prompt, "x"))
    assert words == "<s>User: hi\n\nAssistant: yo|x"


def test_a_template_makes_a_string_prompt_a_user_message():
    encoded, words = encode(Text("hi", " xyz\n"), template=LLAMA_TEMPLATE)
    assert words == "<s>[user]hi</s>[assistant]xyz</s>"
    assert encoded.output_tokens == 3  # the template strips the output


@pytest.mark.parametrize("prompt", ["", []])
def test_no_prompt_is_an_empty_user_message(prompt):
    _, words = encode(Text(prompt, "x"), template=LLAMA_TEMPLATE)
    assert words == "<s>[user]</s>[assistant]x</s>"


@pytest.mark.parametrize(
    ("kind", "prompt"),
    [
        ({"template": LLAMA_TEMPLATE}, "hi"),  # the template writes it, and so would the tokenizer
        ({}, "hi"),
        ({}, "<s>hi"),  # the text brings its own
        ({"end": True}, "hi"),
    ],
)
def test_there_is_exactly_one_beginning_of_sequence(kind, prompt):
    encoded, _ = encode(Text(prompt, "x"), **kind)
    assert encoded.payload[0] == BOS
    assert encoded.payload.count(BOS) == 1
    assert not encoded.double_bos


@pytest.mark.parametrize("template", [LLAMA_TEMPLATE, STRICT_TEMPLATE], ids=["bos", "no bos"])
@pytest.mark.parametrize("end", [False, True])
def test_a_template_is_tokenised_as_transformers_does(template, end):
    made = tokenizer(template=template, end=end)
    (encoded,) = TextEncoder(made).encode([Text("hi", "xyz")])
    turns = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "xyz"}]
    assert encoded.payload == made.apply_chat_template(turns, return_dict=True)["input_ids"]


def test_a_second_beginning_in_the_data_is_counted():
    encoded, _ = encode(Text("<s><s>hi", "x"))
    assert encoded.payload[:2] == [BOS, BOS]
    assert encoded.double_bos


def test_what_an_encoder_puts_behind_the_text_is_there_once():
    assert encode(Text("hi", "x"), end=True)[1] == "<s>hi|x</s>"
    assert encode(Text("hi", "x</s>"), end=True)[1] == "<s>hi|x</s>"


def test_turns_that_a_template_refuses_are_joined():
    prompt = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "a"},
        {"role": "user", "content": "b"},
    ]
    _, words = encode(Text(prompt, "x"), template=STRICT_TEMPLATE)
    assert words == "[user]S\n\na\n\nb[assistant]x<end>"


def test_a_template_that_refuses_everything_says_so():
    with pytest.raises(RewardModelError, match="refuses the messages: never"):
        encode(Text("a", "b"), template="{{ raise_exception('never') }}")


def test_a_template_that_rewrites_the_output_still_shows_where_it_is():
    template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] | upper }}{% endfor %}."
    encoded, words = encode(Text("hi", "xyz"), template=template)
    assert words == "[user]HI[assistant]XYZ."
    assert encoded.output_tokens == 3


def test_truncation_drops_the_oldest_prompt_tokens():
    # <s> a b c d | x y z  is 9 tokens: to fit 6, a b c go
    encoded, words = encode(Text("abcd", "xyz"), max_length=6)
    assert words == "<s>d|xyz"
    assert (encoded.tokens, encoded.output_tokens) == (6, 3)
    assert encoded.truncated
    assert not encoded.output_truncated
    assert encode(Text("abcd", "xyz"), max_length=9)[0].truncated is False


def test_truncation_keeps_what_begins_and_ends_the_text():
    encoded, words = encode(Text("abcd", "xyz"), max_length=6, end=True)
    assert words == "<s>|xyz</s>"
    assert not encoded.output_truncated
    encoded, words = encode(Text("hello", "xyz"), max_length=10, template=LLAMA_TEMPLATE)
    assert words == "<s>tant]xyz</s>"
    assert not encoded.output_truncated


def test_an_output_too_long_by_itself_keeps_its_end_and_is_counted():
    encoded, words = encode(Text("abcd", "uvwxyz"), max_length=5)
    assert words == "<s>wxyz"
    assert encoded.output_truncated
    assert encoded.truncated
    assert encoded.output_tokens == 4
    encoded, words = encode(Text("", "uvwxyz"), max_length=5, end=True)
    assert words == "<s>xyz</s>"
    assert encoded.output_truncated


def test_lengths_count_white_space_and_empty_outputs():
    assert encode(Text("ab", ""))[0].output_tokens == 0
    assert encode(Text("ab", "  "))[0].output_tokens == 2
    assert encode(Text("", ""))[0].tokens == 2  # <s> |


def test_output_tokens_agree_with_tokenising_the_output_alone():
    rng = np.random.default_rng(0)
    letters = np.array(list("ab \n é漢🙂<>|"))
    texts = [
        Text("".join(rng.choice(letters, 12)), "".join(rng.choice(letters, int(n))))
        for n in rng.integers(1, 30, size=50)
    ]
    encoder = TextEncoder(tokenizer(), format="{prompt}|{output}")
    for text, encoded in zip(texts, encoder.encode(texts), strict=True):
        assert encoded.output_tokens == len(text.output.encode())


def test_lone_surrogates_are_replaced():
    assert encode(Text("a\ud800", "\udfffb"))[1] == "<s>a\ufffd|\ufffdb"


@pytest.mark.parametrize("format", ["{prompt}", "{output} {prompt}", "{output}{output}"])
def test_a_format_in_which_the_output_is_not_last_is_refused(format):
    with pytest.raises(UsageError, match=r"once, after \{prompt\}"):
        encode(Text("a", "b"), format=format)


def test_the_smallest_limit_counts():
    unlimited, limited = tokenizer(limit=10**30), tokenizer(limit=100)
    assert maximum_length(unlimited, None, None) is None
    assert maximum_length(unlimited, 128, None) == 128
    assert maximum_length(limited, 128, None) == 100
    assert maximum_length(limited, 128, 50) == 50


class WithoutOffsets:
    """A tokenizer that cannot say which characters a token holds."""

    is_fast = False
    chat_template = None

    def __init__(self) -> None:
        self._fast = tokenizer()

    def __call__(self, texts, **options):
        if "add_special_tokens" not in options:
            return {"input_ids": self._fast(texts).input_ids}
        return {"input_ids": self._fast(texts, **options).input_ids}


def test_a_tokenizer_without_offsets_encodes_alike():
    texts = [Text("abcd", "xyz"), Text("", "  hello there "), Text("a", "")]
    slow = TextEncoder(WithoutOffsets(), format="{prompt}|{output}", max_length=9)
    fast = TextEncoder(tokenizer(), format="{prompt}|{output}", max_length=9)
    assert slow.encode(texts) == fast.encode(texts)


def test_a_template_that_writes_no_response_is_refused():
    for template in (
        "always the same",
        "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}",
    ):
        with pytest.raises(RewardModelError, match="writes nothing of the response"):
            TemplateRenderer(tokenizer(template=template))


def test_a_template_that_leaves_system_turns_out_says_so_once(caplog):
    template = "{% for m in messages if m.role != 'system' %}{{ m.content }}\n{% endfor %}"
    renderer = TemplateRenderer(tokenizer(template=template))
    renderer.render([Text("question", "answer")])
    assert not caplog.messages
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "question"}]
    for _ in range(2):
        (got,) = renderer.render([Text(turns, "answer")])
    assert got.text == "question\nanswer\n"
    assert caplog.messages == [
        "the chat template leaves system turns out: the model never sees them"
    ]
