"""`gate.toml`: what a report must show, as a checked schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from rmaudit.errors import UsageError
from rmaudit.toml import read_toml, schema_error


class Rule(BaseModel):
    """One demand on one metric: at least one of `min`, `max` and `max_regression`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str
    slice: dict[str, str] | Literal["*"] | None = None
    min: float | None = Field(default=None, strict=True, allow_inf_nan=False)
    max: float | None = Field(default=None, strict=True, allow_inf_nan=False)
    # How much worse than the baseline it may be: growth of -value (better: higher), value (lower),
    # |value| (zero) or |log value| (one), paired by prompt.
    max_regression: float | None = Field(default=None, ge=0, strict=True, allow_inf_nan=False)
    level: Literal["fail", "warn"] = "fail"
    reason: str | None = None  # why this threshold; shown beside the verdict

    @property
    def bounded(self) -> bool:
        """Whether it demands something of the value itself."""
        return self.min is not None or self.max is not None

    @model_validator(mode="after")
    def _demands_something(self) -> Rule:
        if self.min is None and self.max is None and self.max_regression is None:
            raise ValueError(f"the rule on {self.metric!r} needs min or max or max_regression")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"the rule on {self.metric!r} has min above max")
        return self


class Policy(BaseModel):
    """A gate: rules, the one-sided confidence of each, and what inconclusive means."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    schema_version: Literal[1]
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    on_inconclusive: Literal["report", "fail", "pass"] = "report"
    rules: tuple[Rule, ...] = Field(alias="rule", min_length=1)

    @classmethod
    def parse(cls, values: dict[str, Any], where: str) -> Policy:
        """A policy from plain values; `SchemaError` names the place and the fault."""
        try:
            return cls(**values)
        except ValidationError as error:
            raise schema_error(error, where) from None

    @classmethod
    def read(cls, source: str | Path) -> Policy:
        """A policy from a file, or a shipped one by name: default, strict, pre-rlhf."""
        shipped = Path(__file__).parent / "policies"
        path = Path(source)
        if not path.exists() and (shipped / f"{source}.toml").is_file():
            path = shipped / f"{source}.toml"
        if not path.exists():
            names = ", ".join(sorted(p.stem for p in shipped.glob("*.toml")))
            raise UsageError(f"{source}: no such policy file; shipped policies: {names}")
        return cls.parse(read_toml(path), str(source))
