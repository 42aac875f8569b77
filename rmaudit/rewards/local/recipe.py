"""How a model's texts are made: asked for, declared by its folder, or the usual way of its kind.

A model has one recipe: chat template, format or pair encoding, what stands in front and behind, and
the date that its template writes. Whatever an option asks for has its effect or is refused.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rmaudit.errors import RewardModelError, UsageError
from rmaudit.files import read_bytes, read_text
from rmaudit.rewards.local.rendering import DEFAULT_FORMAT
from rmaudit.settings import ModelSettings

Ends = Literal["as-trained", "add", "none"]
"""The usual special tokens of the model's kind; exactly one; none."""

_TRL_FORMAT = "{prompt}{output}"
_DATE = re.compile(r"\bstrftime_now\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user asks for; None: as the model's folder or kind has it.

    Parameters
    ----------
    format
        One text of ``{prompt}`` and ``{output}``, in place of a chat template too.
    template
        A file with a chat template (Jinja), or "none": the tokenizer's own is not used.
    pair
        Whether prompt and response are encoded as two segments, as cross-encoders read them.
    bos, eos
        Beginning and end of sequence; see `Ends`.
    date
        The day that a template writes, YYYY-MM-DD; None: today.
    """

    format: str | None = None
    template: str | None = None
    pair: bool = False
    bos: Ends = "as-trained"
    eos: Ends = "as-trained"
    date: str | None = None

    @classmethod
    def of(cls, settings: ModelSettings) -> Asked:
        """What settings say of a model's texts."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})


USUAL = Asked()
"""Nothing asked for: the usual way of the model."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a model's folder says about its texts."""

    pool: str | None = None  # "last": the head reads the last token, whatever it is
    format: str | None = None
    pair: bool | None = None
    eos: Ends | None = None
    source: str = ""  # who says so


@dataclass(frozen=True, slots=True)
class Recipe:
    """How texts are made; `facts` are what a fingerprint needs to know."""

    template: str | None = None  # Jinja source
    format: str | None = DEFAULT_FORMAT
    pair: bool = False
    bos: Ends = "as-trained"
    eos: Ends = "as-trained"
    date: datetime.date | None = None
    source: str = field(default="the default format", compare=False)

    @property
    def facts(self) -> tuple[object, ...]:
        """Whatever decides about the text."""
        return (self.template, self.format, self.pair, self.bos, self.eos, str(self.date))

    @property
    def notices(self) -> tuple[str, ...]:
        """What the user should know of the texts, a sentence each."""
        if self.date is None:
            return ()
        return (
            f"its chat template writes the date: {self.date.isoformat()} in every text of this "
            "run; --date fixes it",
        )

    @property
    def day(self) -> dict[str, str]:
        """The day in the texts as a fact for the report; empty where they have none."""
        return {} if self.date is None else {"date": self.date.isoformat()}

    @property
    def shown(self) -> str:
        """The recipe in a few words."""
        if self.pair:
            return "pair of segments (prompt, response)"
        return "chat template" if self.template is not None else repr(self.format)


def declared(folder: Path) -> Declared:
    """What `rmaudit train reward`, TRL's RewardTrainer or sentence-transformers left in a folder.

    Notes
    -----
    TRL writes its trainer's name among the tags of ``README.md`` and, in ``training_args.bin``, the
    name of its settings' class; that file is searched for the name and never unpickled. Without a
    chat template its RewardTrainer joins prompt and response and appends the end of sequence.
    """
    path = folder / "config.json"
    try:
        config = json.loads(read_text(path)) if path.is_file() else {}
    except (OSError, ValueError, RecursionError):  # said where the model is loaded
        config = {}
    if _by_trl(folder):  # the last to train it: an entry below may be its base's
        source = "TRL's RewardTrainer, as the folder shows"
        return Declared(format=_TRL_FORMAT, pair=False, eos="add", source=source)
    own = config.get("rmaudit") if isinstance(config, dict) else None
    if isinstance(own, Mapping):
        return Declared(
            pool="last" if own.get("pool") == "last" else None,
            format=own.get("format") if isinstance(own.get("format"), str) else None,
            pair=bool(own["pair"]) if "pair" in own else None,
            source="rmaudit's trainer",
        )
    if isinstance(config, dict) and "sentence_transformers" in config:
        return Declared(pair=True, source="sentence-transformers, as config.json shows")
    return _by_sentence_transformers(folder)


def _by_sentence_transformers(folder: Path) -> Declared:
    """What a CrossEncoder of release 6 says in ``config_sentence_transformers.json``.

    Raises
    ------
    RewardModelError
        If it does more than the model itself: further modules, a prompt before every text.
    """
    settings = _json(folder / "config_sentence_transformers.json")
    if not isinstance(settings, dict) or settings.get("model_type") != "CrossEncoder":
        return Declared()
    modules = _json(folder / "modules.json")
    kinds = [str(each.get("type")) for each in modules] if isinstance(modules, list) else []
    prompt = settings.get("default_prompt_name")
    if len(kinds) > 1 or prompt is not None:
        what = f"the modules {', '.join(kinds)}" if len(kinds) > 1 else f"the prompt {prompt!r}"
        raise RewardModelError(
            f"{folder}: is a CrossEncoder of sentence-transformers with {what}, which are not run "
            "here, so the rewards would not be its own; wrap it in a function: --model "
            "python:module:callable"
        )
    source = "sentence-transformers, as config_sentence_transformers.json shows"
    return Declared(pair=True, source=source)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_text(path)) if path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return None


def _by_trl(folder: Path) -> bool:
    card, settings = folder / "README.md", folder / "training_args.bin"
    if card.is_file():
        head = read_bytes(card).decode("utf-8", "replace").split("\n---", 1)[0]
        if re.search(r"^\s*-\s*(reward-trainer|prm-trainer|prm)\s*$", head, re.MULTILINE):
            return True
    if not settings.is_file():
        return False
    content = read_bytes(settings)
    return b"trl." in content and any(name in content for name in (b"RewardConfig", b"PRMConfig"))


def resolve(
    asked: Asked, tokenizer: Any, told: Declared | None = None, *, decoder: bool = True
) -> Recipe:
    """The recipe of a model.

    Parameters
    ----------
    asked
        What the user asks for; it comes first.
    tokenizer
        The model's tokenizer.
    told
        What the folder declares.
    decoder
        False for encoders: one whose tokenizer numbers its segments is read in pairs.

    Raises
    ------
    UsageError
        If options contradict one another, or one would have no effect.
    """
    _refuse_contradictions(asked)
    told = told or Declared()
    template = getattr(tokenizer, "chat_template", None)
    ends: dict[str, Any] = {"bos": asked.bos, "eos": asked.eos}
    _need_tokens(asked, tokenizer)
    if asked.format is not None:
        return _dated(asked, Recipe(None, asked.format, **ends, source="--format"))
    if asked.pair:
        return _dated(asked, Recipe(None, None, pair=True, **ends, source="--pair"))
    if asked.template not in (None, "none"):
        text = _read(Path(str(asked.template)))
        return _dated(asked, Recipe(text, None, **ends, source=f"--template {asked.template}"))
    if template and asked.template is None:
        text = template if isinstance(template, str) else tokenizer.get_chat_template()
        return _dated(asked, Recipe(text, None, **ends, source="the tokenizer's chat template"))
    if told.eos is not None and asked.eos == "as-trained":
        ends["eos"] = told.eos if getattr(tokenizer, "eos_token", None) else "as-trained"
    if told.format is not None:
        return _dated(asked, Recipe(None, told.format, **ends, source=told.source))
    pair = told.pair if told.pair is not None else not decoder and numbers_segments(tokenizer)
    if pair:
        source = told.source or "an encoder whose tokenizer numbers its segments"
        return _dated(asked, Recipe(None, None, pair=True, **ends, source=source))
    return _dated(asked, Recipe(None, told.format or DEFAULT_FORMAT, **ends))


def numbers_segments(tokenizer: Any) -> bool:
    """Whether the model is told by token types which of two texts a token belongs to."""
    if "token_type_ids" not in getattr(tokenizer, "model_input_names", ()):
        return False
    types = tokenizer("a", "b").get("token_type_ids")
    return bool(types) and len(set(types)) > 1


def _refuse_contradictions(asked: Asked) -> None:
    template = asked.template not in (None, "none")
    ways = [
        name
        for name, given in (
            ("--template FILE", template),
            ("--format", asked.format is not None),
            ("--pair", asked.pair),
        )
        if given
    ]
    if len(ways) > 1:
        raise UsageError(f"{' and '.join(ways)}: a text is made in one way; say one of them")


def _need_tokens(asked: Asked, tokenizer: Any) -> None:
    for name, wanted in (("bos", asked.bos), ("eos", asked.eos)):
        if wanted == "add" and getattr(tokenizer, f"{name}_token", None) is None:
            raise UsageError(f"--{name} add: the tokenizer has no {name} token; leave it out")


def _dated(asked: Asked, recipe: Recipe) -> Recipe:
    """The recipe with the day that its template writes, if it writes one."""
    uses = recipe.template is not None and _DATE.search(recipe.template) is not None
    if asked.date is not None and not uses:
        raise UsageError("--date: the model's texts hold no date (no strftime_now); leave it out")
    if not uses:
        return recipe
    try:
        day = (
            datetime.date.fromisoformat(asked.date)
            if asked.date
            else datetime.datetime.now().astimezone().date()
        )
    except ValueError:
        raise UsageError(f"--date {asked.date}: say a day as YYYY-MM-DD") from None
    return Recipe(recipe.template, None, recipe.pair, recipe.bos, recipe.eos, day, recipe.source)


def _read(path: Path) -> str:
    try:
        text = read_text(path.expanduser())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--template {path}: cannot be read as UTF-8 text ({error})") from None
    if "messages" not in text:
        raise RewardModelError(
            f"{path}: is no chat template (Jinja that reads `messages`); say --template none to "
            "use --format"
        )
    return text
