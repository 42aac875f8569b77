"""What a suite's files may hold, checked by pydantic."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
Line = Annotated[str, Field(min_length=1, max_length=500)]
Long = Annotated[str, Field(min_length=1, max_length=20_000)]
Kind = Literal["invariance", "directional", "contrast"]

Expected = Literal["same", "not_higher", "not_lower", "lower", "higher"]
"""What the effect should be, in SDs, against the tolerance t: same (within -t and t), not_higher
(at most t), not_lower (at least -t), lower (under -t), higher (over t)."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ProbeEntry(_Strict):
    """A transform with its parameters, and what the reward should do."""

    name: Name
    meaning: Line
    transform: Name
    parameters: dict[str, Any] = Field(default_factory=dict)
    acts_on: Literal["output", "prompt"] = "output"
    expected: Literal["same", "not_higher", "lower"]
    tolerance: float = Field(default=0.1, ge=0, le=10)


class ContrastEntry(_Strict):
    """A set of fixed items: the better output should have the higher reward.

    ``higher``: the effect is the margin. ``same``: it is the margin too, of two outputs that are
    equally good. ``not_lower``: it is the change of the margin that the prompt brings against the
    item's neutral prompt.
    """

    name: Name
    meaning: Line
    expected: Literal["higher", "same", "not_lower"]
    tolerance: float = Field(default=0.0, ge=0, le=10)


class SuiteFile(_Strict):
    """`suite.yaml`."""

    schema_version: Literal[1]
    name: Name
    version: int = Field(ge=1)
    title: Line
    question: Line
    kind: Kind
    licence: Line
    sources: tuple[Line, ...] = Field(min_length=1, max_length=50)
    probes: tuple[ProbeEntry, ...] = Field(default=(), max_length=100)
    contrasts: tuple[ContrastEntry, ...] = Field(default=(), max_length=100)
    items: Line | None = None  # file name inside the suite's folder

    @model_validator(mode="after")
    def _complete(self) -> SuiteFile:
        if (self.kind == "contrast") != bool(self.contrasts) or (self.kind != "contrast") != bool(
            self.probes
        ):
            raise ValueError(
                "a suite of kind contrast has contrasts and no probes, any other kind the reverse"
            )
        if bool(self.contrasts) != (self.items is not None):
            raise ValueError("items (a JSONL file in this folder) goes with contrasts, and only so")
        names = [e.name for e in self.probes] + [e.name for e in self.contrasts]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two probes are named {twice[0]}: rename one")
        return self


class Item(_Strict):
    """A line of `items.jsonl`. Lines of one `item` are variants: one cluster."""

    probe: Name  # which of the suite's contrasts
    item: Name
    prompt: Long
    better: Long
    worse: Long
    neutral_prompt: Long | None = None
