"""Language models as judges behind ``/chat/completions``: asking, and what is unread."""

from __future__ import annotations

import logging
import math
import re
import threading
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from rmaudit.errors import UsageError
from rmaudit.files import read_text
from rmaudit.rewards.base import Text
from rmaudit.rewards.served.client import JsonClient, RefusedError
from rmaudit.rewards.served.wire import WireFormat, unexpected

_ROOM = 4096  # tokens of a reply that has to think first
_COMPLETIONS = "/chat/completions"
_UNKNOWN = re.compile(r"support|recogni|unknown|unexpected|permitted|allowed", re.IGNORECASE)
_SIZE_LIMIT = 100_000  # characters; a rubric is read with every text
_log = logging.getLogger("rmaudit")


class ChatJudge(WireFormat):
    """An OpenAI-compatible ``/chat/completions`` endpoint that is asked about one item at a time.

    The rubric is the system message, the material the user's. A reply that cannot be read, or that
    is cut before its end, is NaN, and counted. A cut reply is asked for once more with room to
    think, and so are all from then on.

    Parameters not accepted by a server (``temperature``, ``logprobs``; ``max_tokens`` by its new
    name) are left out from then on.
    """

    texts_a_request = 1
    wanted: ClassVar[str] = "score"  # what is looked for in a reply

    def __init__(self, model: str | None, rubric: str) -> None:
        if model is None:
            raise UsageError(
                f"--http-format {self.name}: say which model judges with --http-model NAME"
            )
        self._rubric = rubric
        self._lock = threading.Lock()
        self._unread: Counter[str] = Counter()
        self._read = 0
        self._options: dict[str, Any] = {
            "model": model,
            "temperature": 0,
            "max_tokens": 16,
            "logprobs": True,
            "top_logprobs": 20,
        }

    @abstractmethod
    def _material(self, text: Text) -> str:
        """What the judge is asked about one item."""

    @abstractmethod
    def _reward(self, reply: str, positions: Sequence[Any]) -> float | str:
        """The reward that a whole reply says, or why it says none.

        `positions` is ``logprobs.content`` of the chat completion: a token each, with its
        ``top_logprobs``.
        """

    def _hint(self, reply: str) -> str:
        """What to say of a reply that cannot be read, beside why."""
        return ""

    @classmethod
    def address(cls, url: str) -> str:
        """See `WireFormat.address`."""
        return completions(url)

    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """See `WireFormat.ask`."""
        return [self._judge(client, text) for text in texts]

    def facts(self) -> dict[str, Any]:
        """How many replies could not be read, and why."""
        unread = sum(self._unread.values())
        facts: dict[str, Any] = {"unreadable_replies": f"{unread} of {unread + self._read}"}
        if unread:
            facts["unreadable_because"] = "; ".join(
                f"{n}: {why}" for why, n in self._unread.most_common(3)
            )
        return facts

    @property
    def model(self) -> str:
        """The name of the model that judges."""
        return str(self._options["model"])

    def _judge(self, client: JsonClient, text: Text) -> float:
        messages = [
            {"role": "system", "content": self._rubric},
            {"role": "user", "content": self._material(text)},
        ]
        reply, positions, cut = self._reply(client, messages)
        if cut and self._more_room():
            reply, positions, cut = self._reply(client, messages)
        reward = "it is cut before its end" if cut else self._reward(reply, positions)
        with self._lock:
            if isinstance(reward, str):
                first = not self._unread
                self._unread[reward] += 1
            else:
                self._read += 1
        if not isinstance(reward, str):
            return reward
        if first:
            _log.warning(
                "%s: a reply has no readable %s, so its reward is NaN: %s (%r); such replies "
                "are counted",
                client.shown,
                self.wanted,
                reward + self._hint(reply),
                client.scrub(reply),
            )
        return math.nan

    def _reply(self, client: JsonClient, messages: list[Any]) -> tuple[str, list[Any], bool]:
        """What the judge wrote, the log-probabilities, and whether it was cut."""
        while True:
            options = dict(self._options)
            try:
                answer = client.post({**options, "messages": messages})
                break
            except RefusedError as refusal:
                if not self._without(refusal.said, options):
                    raise
        try:
            choice = answer["choices"][0]
            reply = _written(choice["message"])
            positions = (choice.get("logprobs") or {}).get("content") or []
        except (KeyError, IndexError, TypeError, AttributeError):
            raise unexpected(client, answer, "a chat completion") from None
        return reply, positions, choice.get("finish_reason") == "length"

    def _more_room(self) -> bool:
        """Whether a reply may be longer than it was allowed to be; from now on all may."""
        with self._lock:
            name = "max_tokens" if "max_tokens" in self._options else "max_completion_tokens"
            if self._options.get(name, _ROOM) >= _ROOM:
                return False
            self._options = self._options | {name: _ROOM}
            return True

    def _without(self, said: str, options: Mapping[str, Any]) -> bool:
        """Leave out the parameter that a refusal names; False if it names none."""
        with self._lock:
            if options != self._options:
                return True  # another thread has just left one out
            known = ("logprobs", "temperature", "max_tokens") if _UNKNOWN.search(said) else ()
            named = next((name for name in known if name in said), None)
            if named not in self._options:
                return False
            self._options = {k: v for k, v in options.items() if not k.endswith(str(named))}
            if named == "max_tokens":
                # Reasoning counts as output there: 16 tokens would end before the number.
                self._options["max_completion_tokens"] = _ROOM
            return True


def _written(message: Mapping[str, Any]) -> str:
    """The text of a message: of its content, or of the parts of it that are text; else a refusal.

    Raises
    ------
    KeyError
        If it has no content.
    """
    content = message["content"]
    if isinstance(content, list):
        content = "".join(str(field_of(part, "text") or "") for part in content)
    return str(content or message.get("refusal") or "")


def completions(url: str) -> str:
    """A base such as ``https://host/v1`` stands for its ``/chat/completions``."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    return parts._replace(
        path=path if path.endswith(_COMPLETIONS) else path + _COMPLETIONS
    ).geturl()


def positions_from(positions: Sequence[Any], reply: str, start: int) -> Sequence[Any]:
    """The positions from the token at place `start` on; none if tokens and reply differ."""
    if "".join(str(field_of(p, "token")) for p in positions) != reply:
        return ()
    end = 0
    for place, position in enumerate(positions):
        end += len(str(field_of(position, "token")))
        if end > start:
            return positions[place:]
    return ()


def likely(position: Any) -> dict[str, float]:
    """Probability of each of the most likely words, spaces aside, at a position."""
    chances: dict[str, float] = {}
    for each in field_of(position, "top_logprobs") or ():
        word, logprob = str(field_of(each, "token")).strip(), field_of(each, "logprob")
        if isinstance(logprob, int | float) and logprob <= 0:
            chances[word] = chances.get(word, 0.0) + math.exp(logprob)
    return chances


def field_of(value: Any, name: str) -> Any:
    """A field of a JSON object; None where it is no object or lacks it."""
    return value.get(name) if isinstance(value, dict) else None


def read_rubric(path: Path | None) -> str | None:
    """The rubric in a file; None if no file is named.

    Raises
    ------
    UsageError
        If it cannot be read, or is empty or longer than 100,000 characters.
    """
    if path is None:
        return None
    try:
        rubric = read_text(path, 4 * _SIZE_LIMIT).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--rubric {path}: cannot be read as UTF-8 text ({error})") from None
    if not rubric or len(rubric) > _SIZE_LIMIT:
        raise UsageError(
            f"--rubric {path}: {len(rubric):,} characters; it must have 1 to {_SIZE_LIMIT:,}"
        )
    return rubric
