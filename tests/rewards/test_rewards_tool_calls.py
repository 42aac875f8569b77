"""Tool calls, tools and text that goes on: what of a conversation reaches the text that is read."""

from __future__ import annotations

import pytest

from rmaudit.data import load
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import FormatRenderer, TemplateRenderer

TEMPLATE = (
    "{% if tools %}[{{ tools | tojson }}]{% endif %}"
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for c in m.tool_calls or [] %}CALL {{ c.function.name }} "
    "{{ c.function.arguments.a }}{% endfor %}{% endfor %}"
)
PLAIN = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
CALL = {"type": "function", "function": {"name": "add", "arguments": '{"a": 7}'}}
ASK = {"role": "user", "content": "Add."}
TURN = {"role": "assistant", "content": None, "tool_calls": [CALL]}


class Tokenizer:
    """Renders a template as transformers does."""

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def apply_chat_template(self, messages, tools=None, **_):
        from transformers.utils.chat_template_utils import render_jinja_template

        texts, _ = render_jinja_template([messages], chat_template=self.chat_template, tools=tools)
        return texts[0]


def text_of(prompt, chosen, **columns):
    data = load([{"prompt": prompt, "chosen": chosen, "rejected": "no", **columns}])
    return Text(data.frame["prompt"][0], data.frame["chosen"][0])


def test_calls_and_tools_reach_the_chat_template():
    text = text_of([ASK, TURN, {"role": "tool", "content": "7"}], [TURN], tools=[{"name": "add"}])
    (got,) = TemplateRenderer(Tokenizer(TEMPLATE)).render([text])
    assert got.text == (
        '[[{"name": "add"}]]<user>Add.<assistant>CALL add 7<tool>7<assistant>CALL add 7'
    )
    assert got.text[got.start : got.end] == "CALL add 7"


def test_where_a_template_knows_no_calls_they_are_in_the_text():
    text = text_of([ASK, TURN, {"role": "tool", "content": "7"}], [TURN], tools=[{"name": "add"}])
    (got,) = TemplateRenderer(Tokenizer(PLAIN)).render([text])
    assert got.text.count('{"name": "add", "arguments": {"a": 7}}') == 2
    assert 'Tools: [{"name": "add"}]' in got.text


@pytest.mark.parametrize(
    ("prompt", "output", "whole"),
    [
        ("Q\n\nAssistant:", " A", "Q\n\nAssistant: A"),
        ("Q\n\nAssistant:", "A", "Q\n\nAssistant:A"),
        ("The sky is", " blue.", "The sky is blue."),
        ("Q", "A", "Q\n\nA"),
        ("", "A", "\n\nA"),
        ([ASK], " A", "User: Add.\n\n A"),
    ],
)
def test_what_goes_on_with_its_prompt_is_read_as_it_was(prompt, output, whole):
    (got,) = FormatRenderer().render([Text(prompt, output)])
    assert got.text == whole
    assert got.text[got.start : got.end] == output
    (other,) = FormatRenderer("Q: {prompt} A: {output}").render([Text("The sky is", " blue.")])
    assert other.text == "Q: The sky is A:  blue."
