"""One place for every setting: its type, default and limits, its words, and who may give it.

A setting is a field made by `option`. From the fields come the options of the commands, the keys
of ``audit.toml`` and the file that ``rmaudit init`` writes, the keyword arguments of
`load_reward_model` and `rmaudit.audit`, and their checks. To add a setting, add a field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from rmaudit.errors import UsageError, nearest
from rmaudit.permissions import Permissions
from rmaudit.toml import schema_error

HttpFormat = Literal[
    "json", "vllm", "tei", "openai", "openai-pairs", "openrlhf", "sglang", "rerank", "nim"
]

# The groups of the help text and of audit.toml, in their order.
INPUTS = "Inputs"
MEASURING = "What is measured"
MODEL = "The reward model"
SERVER = "A model behind a URL"
TRUST = "Trust: only ever given on the command line"
SCORING = "Scoring and its store"
RESULTS = "Results"
PANELS = (INPUTS, MEASURING, MODEL, SERVER, TRUST, SCORING, RESULTS)
TRAINING = "Training"  # what follows is of other commands than audit
POLICY = "The policy"
MOST = 2**32 - 1  # of counts and seeds
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


@dataclass(frozen=True, slots=True)
class Option:
    """How one setting is offered and where it may come from."""

    help: str
    panel: str
    flag: str | None = None  # where it is not the field's name
    short: str | None = None  # -m
    metavar: str | None = None  # where the type does not say it: N, PATH, a|b
    unset: str | None = None  # what None means, in words
    example: Any = None  # for audit.toml, where the default is None
    grants: bool = False  # allows code, pickles or a secret: a file cannot give it
    recorded: bool = True  # kept in the report; False: no number hangs on it

    def notes(self, field: FieldInfo) -> str:
        """The default and the limits, in words: "default: 2000; at least 100"."""
        default = self.unset
        if default is None and isinstance(field.default, str | int | float):
            default = None if field.default is False else f"{field.default}"
        limits = [
            f"{words} {getattr(each, name)}"
            for each in field.metadata
            for name, words in _LIMITS.items()
            if hasattr(each, name) and getattr(each, name) != MOST
        ]
        return "; ".join(([f"default: {default}"] if default else []) + limits)


def option(default: Any, help: str, panel: str, *, limits: Any = None, **more: Any) -> Any:
    """A field of a settings model; `limits` are pydantic's (``{"ge": 1}``), `more` `Option`'s."""
    described = Option(help=help, panel=panel, **more)
    extra: Any = {"option": described}
    return Field(default, json_schema_extra=extra, **_closed(default, limits or {}))


def _closed(default: Any, limits: Mapping[str, Any]) -> Mapping[str, Any]:
    """Limits with an upper end where they have a lower one: no number is beyond what is reckoned.

    Counts and seeds end where NumPy's and scikit-learn's seeds do; other numbers are finite.
    """
    if limits.keys().isdisjoint({"ge", "gt"}) or not limits.keys().isdisjoint({"le", "lt"}):
        return limits
    return {**limits, **({"allow_inf_nan": False} if isinstance(default, float) else {"le": MOST})}


def option_of(field: FieldInfo) -> Option | None:
    """The option of a field; None for fields that are none, such as a schema's version."""
    extra = field.json_schema_extra
    described: Any = extra.get("option") if isinstance(extra, dict) else None
    return described if isinstance(described, Option) else None


def names_in(value: str | list[Any] | tuple[Any, ...]) -> list[Any]:
    """Names given as ``a,b,c``, as a list, or as both."""
    parts = [value] if isinstance(value, str) else list(value)
    if not all(isinstance(part, str) for part in parts):
        return parts
    return [name.strip() for part in parts for name in part.split(",") if name.strip()]


def was_said(value: object) -> bool:
    """Whether the command line gave an option: not None, nor a switch that is off."""
    return value is not None and value is not False and value != ()


class Settings(BaseModel):
    """Checked settings; unknown names are refused with the nearest known ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Every setting by its name, in the order of the panels."""
        described = {name: option_of(field) for name, field in cls.model_fields.items()}
        named = {name: each for name, each in described.items() if each is not None}
        place = {panel: i for i, panel in enumerate(PANELS)}
        return dict(sorted(named.items(), key=lambda pair: place.get(pair[1].panel, len(place))))

    @classmethod
    def checked(cls, values: Mapping[str, Any], where: str) -> Self:
        """Settings from values.

        Raises
        ------
        SchemaError
            On the first fault, naming `where` and the setting.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            raise schema_error(error, where, cls.model_fields) from None

    @classmethod
    def said(cls, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """What the command line gave of these settings, of options called ``prefix + name``."""
        named = {name: given.get(prefix + name) for name in cls.options()}
        return {name: value for name, value in named.items() if was_said(value)}

    def but(self, **changes: Any) -> Self:
        """The same settings with some changed, checked again."""
        return type(self)(**{**dict(self), **changes})


class CallSettings(Settings):
    """Settings made in Python or by one command, not read from a file.

    Raises
    ------
    UsageError
        If a value is outside its range, naming the setting.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _one_line(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(part for part in first["loc"] if isinstance(part, str))
            if first["type"] == "extra_forbidden":
                near = nearest(name, cls.model_fields)
                raise UsageError(f"no setting is named {name!r}; {near}") from None
            message = first["msg"].removeprefix("Value error, ")
            if name:
                message = message.replace("Input should", f"{name} must", 1)
                message = f"{message}, not {first['input']!r}"
            raise UsageError(message) from None


class ModelSettings(Settings):
    """How a reward model is loaded and run; the options of `load_reward_model`."""

    device: str = option("auto", "auto, cpu, cuda, cuda:N or mps.", MODEL, metavar="NAME")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto",
        "Number format of the forward pass; auto is float32, on an accelerator the checkpoint's.",
        MODEL,
    )
    attn: str | None = option(
        None,
        "Attention of transformers: eager, sdpa or flash_attention_2.",
        MODEL,
        metavar="NAME",
        unset="transformers' default",
        example="sdpa",
    )
    quantization: Literal["8bit", "4bit"] | None = option(
        None,
        "Hold the weights in fewer bits, by bitsandbytes on a CUDA device.",
        MODEL,
        unset="no",
        example="8bit",
    )
    device_map: Literal["auto"] | None = option(
        None,
        "Spread the layers over the devices there are, by accelerate.",
        MODEL,
        unset="one device",
        example="auto",
    )
    backend: Literal["torch", "openvino"] = option(
        "torch",
        "What runs the model; openvino is faster on many processors, and checked against torch.",
        MODEL,
    )
    head: int | None = option(
        None,
        "Which head is the reward, from 0, of a model that has several.",
        MODEL,
        limits={"ge": 0},
        unset="the only one",
        example=0,
    )
    head_weights: tuple[str, ...] = option(
        (),
        "How much each of several heads counts: 0.7,0.3 or LABEL=0.7,LABEL=0.3.",
        MODEL,
        metavar="WEIGHTS",
        example=["helpfulness=0.7", "safety=0.3"],
    )
    format: str | None = option(
        None,
        "How a text is made, also in place of a chat template.",
        MODEL,
        metavar="TEMPLATE",
        unset=r"the chat template, else {prompt}\n\n{output}",
        example="{prompt}\n\n{output}",
    )
    template: str | None = option(
        None,
        "File with a chat template (Jinja) in place of the tokenizer's; none: no chat template.",
        MODEL,
        metavar="PATH|none",
        unset="the tokenizer's own",
        example="chat_template.jinja",
    )
    pair: bool = option(
        False,
        "Encode prompt and response as two segments, as cross-encoders read them.",
        MODEL,
    )
    bos: Literal["as-trained", "add", "none"] = option(
        "as-trained", "Beginning of sequence in front of a text.", MODEL
    )
    eos: Literal["as-trained", "add", "none"] = option(
        "as-trained", "End of sequence behind a text; add is what TRL does to plain text.", MODEL
    )
    date: str | None = option(
        None,
        "Day that a chat template writes into its texts.",
        MODEL,
        metavar="YYYY-MM-DD",
        unset="today",
        example="2026-01-31",
    )
    pool: Literal["model", "last"] | None = option(
        None,
        "Token that the head is read at: as the model's own forward pass does, or a text's last.",
        MODEL,
        unset="model, or what its folder declares",
        example="model",
    )
    max_length: int | None = option(
        None,
        "Most tokens per text; longer texts lose their oldest prompt tokens.",
        MODEL,
        limits={"ge": 8},
        unset="what the model can read",
        example=4096,
    )
    token_budget: int | None = option(
        None,
        "Most padded tokens per batch; rmaudit doctor --model finds the machine's best.",
        MODEL,
        limits={"ge": 64},
        unset="4096, on an accelerator 16384",
        example=4096,
    )
    reference_model: str | None = option(
        None,
        "Makes the model a DPO policy: its implicit reward over this reference.",
        MODEL,
        metavar="MODEL",
        example="org/base",
    )
    beta: float = option(
        0.1, "KL weight of the DPO policy's implicit reward.", MODEL, limits={"gt": 0}
    )
    kind: Literal["logit", "score", "verdict", "preference"] | None = option(
        None,
        "What the rewards claim: logit (a margin is a log-odds), score (order), verdict (correct "
        "or not) or preference (of two responses).",
        MODEL,
        unset="what the model says, or its rewards show",
        example="verdict",
    )
    reference_column: str | None = option(
        None,
        "Column with the reference answer.",
        MODEL,
        metavar="NAME",
        unset="reference, answer, ground_truth, solution or reward_model.ground_truth",
        example="answer",
    )
    components: tuple[str, ...] = option(
        (),
        "Columns with named parts of recorded rewards: a,b,c.",
        MODEL,
        metavar="NAMES",
        example=["correct", "format"],
    )
    http_format: HttpFormat = option("json", "What the server speaks.", SERVER)
    http_model: str | None = option(
        None,
        "The model's name at the server.",
        SERVER,
        metavar="NAME",
        example="name-at-the-server",
    )
    rubric: Path | None = option(
        None, "Rubric of a judge, a text file.", SERVER, example="rubric.txt"
    )
    scale: str | None = option(
        None,
        "Scores that a judge may give.",
        SERVER,
        metavar="LOW-HIGH",
        unset="1-10",
        example="1-10",
    )
    activation: Literal["none", "sigmoid", "softmax"] | None = option(
        None,
        "What the server puts its logits through; sigmoid and softmax are undone.",
        SERVER,
        unset="nothing; rewards that look otherwise are refused",
        example="sigmoid",
    )
    timeout: float = option(
        60.0,
        "Seconds that a whole answer of the server, or a function, may take per text.",
        SERVER,
        limits={"gt": 0},
    )
    concurrency: int = option(
        8, "Most requests to the server at once.", SERVER, limits={"ge": 1, "le": 256}
    )
    api_key_env: str | None = option(
        None,
        "Environment variable that holds the server's key. Only on the command line.",
        SERVER,
        metavar="VARIABLE",
        grants=True,
    )
    trust_code: bool = option(
        False,
        "Run python: models that only a file names (audit.toml, ensemble.json, a mix).",
        TRUST,
        grants=True,
    )
    trust_remote_code: bool = option(
        False, "Run code that a model's folder carries.", TRUST, grants=True
    )
    allow_pickle: bool = option(
        False, "Load pickled weights, which can run code.", TRUST, grants=True
    )

    @field_validator("components", "head_weights", mode="before")
    @classmethod
    def _split_components(cls, value: object) -> object:
        return tuple(names_in(value)) if isinstance(value, str | list | tuple) else value

    @field_validator("format")
    @classmethod
    def _has_places(cls, value: str | None) -> str | None:
        if value is not None and "{output}" not in value:
            raise ValueError("must contain {output}")
        return value

    @field_validator("reference_model", "template", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    def permissions(self, named_by: str | None = None) -> Permissions:
        """What this command line allows for a model that `named_by` (None: itself) names."""
        return Permissions(self.trust_remote_code, self.allow_pickle, self.trust_code, named_by)

    def of_gold(self) -> Self:
        """The settings of a gold reward model: a reference model is the audited one's alone."""
        return self.model_copy(update={"reference_model": None})
