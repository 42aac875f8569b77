"""The settings of one audit: flags, `audit.toml`, or both (flags win)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from rmaudit.errors import UsageError
from rmaudit.rewards.served.client import is_url, shown_url
from rmaudit.rewards.served.model import HttpFormat, ServerOptions
from rmaudit.toml import read_toml, schema_error

# Settings of where texts are scored and results go: no number hangs on them.
WHERE = {"out", "store", "no_cache", "shard", "engine", "workers", "gpus_per_worker"}


class AuditConfig(BaseModel):
    """Every setting of `rmaudit audit`, checked. The resolved values are stored in the report."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    model: str
    eval: str
    feedback: str | None = None
    deployment: str | None = None
    samples: str | None = None
    ensemble: tuple[str, ...] = ()
    gold: str | None = None
    only: tuple[str, ...] | None = None
    out: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)
    resamples: int = Field(default=2000, ge=100)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    embedder: str = "tfidf"
    probe_paths: tuple[Path, ...] = ()
    search_texts: int = Field(default=1000, ge=0)
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    backend: Literal["torch", "openvino"] = "torch"
    head: int | None = Field(default=None, ge=0)
    format: str | None = None
    max_length: int | None = Field(default=None, ge=8)
    token_budget: int | None = Field(default=None, ge=64)
    trust_remote_code: bool = False
    allow_pickle: bool = False
    reference_model: str | None = None
    beta: float = Field(default=0.1, gt=0)
    http_format: HttpFormat = "json"
    http_model: str | None = None
    api_key_env: str | None = None  # the name of the variable, never the key
    rubric: Path | None = None
    timeout: float = Field(default=60.0, gt=0)
    concurrency: int = Field(default=8, ge=1, le=256)
    store: Path | None = None
    no_cache: bool = False
    shard: str | None = None
    engine: Literal["local", "ray"] = "local"
    workers: int | None = Field(default=None, ge=1)
    gpus_per_worker: float | None = Field(default=None, ge=0)

    @field_validator("only", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("format")
    @classmethod
    def _has_places(cls, value: str | None) -> str | None:
        if value is not None and "{output}" not in value:
            raise ValueError("must contain {output}")
        return value

    @classmethod
    def resolve(cls, flags: Mapping[str, Any], file: Path | None) -> AuditConfig:
        """Flags over the file over the defaults; `SchemaError` or `UsageError` on what is wrong."""
        values = _as_flags(read_toml(file)) if file else {}
        values.update({k: v for k, v in flags.items() if v is not None and v is not False})
        for name, example in (("model", "--model MODEL"), ("eval", "--eval prefs.jsonl")):
            if name not in values:
                raise UsageError(f"no {name} given: say {example}")
        try:
            return cls(**values)
        except ValidationError as error:
            raise schema_error(error, str(file or "command line"), cls.model_fields) from None

    def recorded(self) -> dict[str, Any]:
        """The resolved settings as the report keeps them.

        Without where texts were scored and results went, and without the query of a server's URL.
        """
        values = self.model_dump(mode="json", exclude=WHERE)
        for name in ("model", "gold"):
            if is_url(values[name]):
                values[name] = shown_url(values[name])
        values["ensemble"] = [shown_url(m) if is_url(m) else m for m in values["ensemble"]]
        return values

    def model_options(self) -> dict[str, Any]:
        """The options of `load_reward_model`."""
        how = ("device", "dtype", "backend", "head", "format", "max_length", "token_budget")
        what = ("reference_model", "beta", "trust_remote_code", "allow_pickle")
        server = ServerOptions(
            http_format=self.http_format,
            http_model=self.http_model,
            api_key_env=self.api_key_env,
            rubric=self.rubric,
            timeout=self.timeout,
            concurrency=self.concurrency,
        )
        return {name: getattr(self, name) for name in how + what} | {"server": server}


def _as_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """A file's names as the command line's: ``no-cache`` is ``no_cache``."""
    named = {name.replace("-", "_"): value for name, value in values.items()}
    if "probe_path" in named:  # a flag that may be repeated, so the settings have many
        paths = named.pop("probe_path")
        named.setdefault("probe_paths", [paths] if isinstance(paths, str) else paths)
    return named
