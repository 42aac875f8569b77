"""OpenRLHF's remote reward model: `{"query": [...]}` in, `{"rewards": [...]}` out."""

from __future__ import annotations

from collections.abc import Sequence

from rmaudit.data.types import prompt_text
from rmaudit.rewards.base import Text
from rmaudit.rewards.local.rendering import FormatRenderer, sound
from rmaudit.rewards.served.client import JsonClient
from rmaudit.rewards.served.wire import Ask, WireFormat, register_protocol, rewards, unexpected

_FORMAT = "{prompt}{output}"


@register_protocol
class OpenRlhf(WireFormat):
    """What OpenRLHF's trainers ask of ``--remote_rm_url``.

    A query is prompt and response as one text (``{prompt}{output}`` unless a format is given: there
    they are decoded tokens, the chat template's among them); prompts and labels go beside it.
    The answer's ``rewards`` are read, else ``scores``.
    Source: OpenRLHF/OpenRLHF, openrlhf/utils/agent.py (`_fetch_rewards_via_http`) and
    openrlhf/cli/serve_rm.py (3c3be62).
    """

    name = "openrlhf"
    takes = frozenset({"format"})

    def __init__(self, format: str | None) -> None:
        self._renderer = FormatRenderer(_FORMAT if format is None else format)
        self.recipe = f"openrlhf {format or _FORMAT}"

    @classmethod
    def of(cls, ask: Ask) -> OpenRlhf:
        """See `WireFormat.of`."""
        return cls(ask.format)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        answer = client.post(
            {
                "query": [each.text for each in self._renderer.render(texts)],
                "prompts": [sound(prompt_text(text.prompt)) for text in texts],
                "labels": [""] * len(texts),
            }
        )
        for key in ("rewards", "scores"):
            if isinstance(answer, dict) and key in answer:
                return rewards(client, answer[key], len(texts))
        raise unexpected(client, answer, 'an object with a list "rewards"')
