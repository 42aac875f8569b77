"""What a reward server wants to be sent, and where in its answers the rewards are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.registry import Registry
from rmaudit.rewards.base import Signal, Text
from rmaudit.rewards.served.client import JsonClient, RetryPolicy
from rmaudit.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How a reward server is spoken to; see `rmaudit.rewards.load_reward_model`."""

    http_format: str = "json"
    http_model: str | None = None
    api_key_env: str | None = None
    rubric: Path | None = None
    timeout: float = 60.0
    concurrency: int = 8
    activation: str | None = None  # what the server put its logits through: see `activation`
    scale: str | None = None  # of a judge: "1-10"
    patience: RetryPolicy = field(default_factory=RetryPolicy)

    @classmethod
    def of(cls, settings: ModelSettings) -> ServerOptions:
        """What settings say of a server."""
        named = [each.name for each in fields(cls) if hasattr(settings, each.name)]
        return cls(**{name: getattr(settings, name) for name in named})


@dataclass(frozen=True, slots=True)
class Ask:
    """What a protocol is made of: the URL, the server's options, and those of every model."""

    url: str
    options: ServerOptions
    format: str | None = None
    head: int | None = None
    max_length: int | None = None


class WireFormat(ABC):
    """One kind of server: a request made of texts, and rewards made of its answer.

    A protocol is one file of this folder that registers a class; third parties list theirs under
    the entry-point group ``rmaudit.protocols``.
    """

    name: str
    recipe: str  # whatever decides about rewards beside URL and model: it enters the fingerprint
    texts_a_request: int = 16
    signal: Signal = "logit"
    judged_on: str = ""  # the scale of a judge that scores one response: "1 to 10"
    asks_for_logits: bool = False  # the server is told to leave out its activation
    takes: frozenset[str] = frozenset()  # of format, head, max_length, rubric, scale

    @classmethod
    @abstractmethod
    def of(cls, ask: Ask) -> WireFormat:
        """The protocol for a server, its options checked."""

    @abstractmethod
    def ask(self, client: JsonClient, texts: Sequence[Text]) -> list[float]:
        """Rewards of at most `texts_a_request` texts, in order; null and NaN become NaN."""

    @classmethod
    def address(cls, url: str) -> str:
        """Where requests go; the URL as given."""
        return url

    def facts(self) -> dict[str, Any]:
        """What the report is told beside the protocol's name."""
        return {}

    def reworded(self) -> Sequence[WireFormat]:
        """The same question in other words, where the protocol is one; none by default."""
        return ()


PROTOCOLS: Registry[type[WireFormat]] = Registry(
    "protocol of reward servers (--http-format)", "rmaudit.rewards.served", "rmaudit.protocols"
)
W = TypeVar("W", bound=type[WireFormat])


def register_protocol(protocol: W) -> W:
    """Make a protocol known under its name."""
    PROTOCOLS.add(protocol.name, protocol, protocol.__module__)
    return protocol


def refuse_unused(ask: Ask, protocol: type[WireFormat]) -> None:
    """An option that would have no effect on this protocol is an error.

    Raises
    ------
    UsageError
        Naming it.
    """
    given = {
        "format": ask.format,
        "head": ask.head,
        "max_length": ask.max_length,
        "rubric": ask.options.rubric,
        "scale": ask.options.scale,
    }
    for name, value in given.items():
        if value is None or name in protocol.takes:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name in ("rubric", "scale"):
            raise UsageError(
                f"{flag} is for a judge that scores one response: say --http-format openai"
                if name == "scale"
                else f"{flag} is for a judge: say --http-format openai, or openai-pairs"
            )
        why = {
            "max_length": "the server decides where texts are cut",
            "format": "the server makes texts of prompts and responses",
            "head": "the server answers one reward per text",
        }[name]
        raise UsageError(
            f"--http-format {protocol.name}: {flag} has no effect: {why}; leave it out"
        )


def rewards(client: JsonClient, values: Any, count: int) -> list[float]:
    """Numbers of an answer, (count,); null, which JSON has in place of NaN, becomes NaN.

    Raises
    ------
    RewardModelError
        If there are more or fewer, or something is no number: which text has which reward would
        be a guess.
    """
    if not isinstance(values, list):
        raise unexpected(client, values, f"a list of {count} rewards")
    if len(values) != count:
        raise RewardModelError(
            f"{client.shown}: {len(values)} rewards came back for {count} texts; the server must "
            "answer one per text, in their order"
        )
    return [number(client, value) for value in values]


def by_index(items: list[Any], place: Callable[[Any], Any]) -> list[Any]:
    """Items in the order of the texts, where each says whose it is; as they come where not."""
    places = [place(item) for item in items]
    if sorted(map(str, places)) != sorted(map(str, range(len(items)))):
        return items
    return [item for _, item in sorted(zip(places, items, strict=True), key=lambda p: p[0])]


def one_head(client: JsonClient, value: Any, head: int | None) -> Any:
    """The reward in a number, a list of heads, or a list (one per token) of lists of heads."""
    if isinstance(value, list) and value and isinstance(value[-1], list):
        value = value[-1]
    if not isinstance(value, list):
        return value
    if head is None and len(value) != 1:
        raise RewardModelError(
            f"{client.shown}: the model has {len(value)} heads; say which one is the reward "
            "with --head N"
        )
    head = head or 0
    if head >= len(value):
        raise RewardModelError(f"{client.shown}: there is no head {head}, only {len(value)}")
    return value[head]


def unexpected(client: JsonClient, answer: Any, wanted: str) -> RewardModelError:
    """An answer of another form."""
    return RewardModelError(
        f"{client.shown}: expected {wanted}, got {client.scrub(repr(answer))}; check the path and "
        "--http-format"
    )


def number(client: JsonClient, value: Any) -> float:
    """A value as float64; null is NaN, and a list of one number is that number."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None:
        return float("nan")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unexpected(client, value, "a number")
    try:
        return float(value)
    except OverflowError:  # JSON knows integers of any length
        raise unexpected(client, value, "a number that fits a float64") from None


def named(model: str | None) -> dict[str, Any]:
    """The model's name at the server, if it has one."""
    return {} if model is None else {"model": model}
