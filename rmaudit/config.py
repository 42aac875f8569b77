"""The settings of one audit: flags, `audit.toml`, or both (flags win)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import PrivateAttr, field_validator, model_validator

from rmaudit.errors import SchemaError, UsageError
from rmaudit.settings import (
    INPUTS,
    MEASURING,
    RESULTS,
    SCORING,
    ModelSettings,
    Option,
    names_in,
    option,
    was_said,
)
from rmaudit.toml import read_toml

MODEL_HELP = (
    "Directory or hub id (org/name[@revision]), python:module:callable, a server's URL, prm:PATH "
    "or recorded."
)

# What a profile sets where nothing else is said. What quick leaves out: `rmaudit.auditing.planned`.
PROFILES: dict[str, dict[str, Any]] = {
    "quick": {"search_texts": 0},
    "full": {"search_texts": 5000, "resamples": 10_000},
}


class RunSettings(ModelSettings):
    """How an audit is done, whatever its inputs: the keyword arguments of `rmaudit.audit`."""

    only: tuple[str, ...] | None = option(
        None,
        "Audits to run: a,b,c.",
        MEASURING,
        metavar="NAMES",
        unset="all",
        example=["preference", "length"],
    )
    profile: Literal["quick", "standard", "full"] = option(
        "standard",
        "quick: at most 4 texts per pair, the rest is listed as not measured; full: longer "
        "searches, more resamples.",
        MEASURING,
    )
    limit: int | None = option(
        None,
        "Use the first N rows of each input only (feedback, deployment and samples too).",
        MEASURING,
        limits={"ge": 1},
        unset="all rows",
        example=1000,
    )
    columns: str | None = option(
        None,
        "Which column of the data holds what, where names do not tell: "
        "chosen=response_a,rejected=response_b,label=winner,ignore=notes.",
        INPUTS,
        metavar="NAME=COLUMN,...",
        unset="by the columns' names; rmaudit data formats lists the layouts",
        example="prompt=question,chosen=response_a,rejected=response_b,label=winner",
    )
    seed: int = option(0, "Seed of all randomness.", MEASURING, limits={"ge": 0})
    resamples: int = option(2000, "Bootstrap resamples.", MEASURING, limits={"ge": 100})
    confidence: float = option(
        0.95, "Two-sided level of the intervals.", MEASURING, limits={"gt": 0.5, "lt": 1}
    )
    embedder: str = option(
        "tfidf",
        "Embeddings of the coverage audits: tfidf, reward-model or a sentence-transformers id.",
        MEASURING,
        metavar="NAME",
    )
    probe_paths: tuple[Path, ...] = option(
        (),
        "A further folder of probe suites; may be repeated.",
        MEASURING,
        flag="probe-path",
        example=["probes"],
    )
    search_texts: int = option(
        1000,
        "Most texts that each search for reward hacks may score; 0: no search.",
        MEASURING,
        limits={"ge": 0},
    )
    store: Path | None = option(
        None,
        "Score store shared by all audits.",
        SCORING,
        recorded=False,
        unset="in the user's cache folder",
        example="scores.sqlite",
    )
    no_cache: bool = option(False, "Neither read nor write the store.", SCORING, recorded=False)
    engine: Literal["local", "ray"] = option(
        "local", "What scores: this process, or Ray's workers.", SCORING, recorded=False
    )
    workers: int | None = option(
        None,
        "Workers of Ray.",
        SCORING,
        recorded=False,
        limits={"ge": 1},
        unset="what the cluster has room for",
        example=4,
    )
    gpus_per_worker: float | None = option(
        None,
        "GPUs per worker of Ray, such as 0.5.",
        SCORING,
        recorded=False,
        limits={"ge": 0},
        unset="1 if there are any",
        example=0.5,
    )

    @model_validator(mode="before")
    @classmethod
    def _profiled(cls, values: Any) -> Any:
        """A profile's values where none is given."""
        if not isinstance(values, Mapping):
            return values
        return {**PROFILES.get(str(values.get("profile")), {}), **values}

    @field_validator("only", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(names_in(value)) if isinstance(value, str | list | tuple) else value

    def named_by(self, name: str) -> str | None:
        """The file that gave a setting; None: the command line, or Python."""
        return None

    def recorded(self) -> dict[str, Any]:
        """The resolved settings as a report keeps them: without where results went."""
        return self.model_dump(mode="json", exclude=WHERE)


class AuditConfig(RunSettings):
    """Every setting of `rmaudit audit`, checked. The resolved values are stored in the report."""

    schema_version: Literal[1] = 1
    model: str = option(..., MODEL_HELP, INPUTS, short="-m", metavar="MODEL")
    eval: str = option(
        ..., "Evaluation preferences: file, folder or org/name:split.", INPUTS, metavar="DATA"
    )
    feedback: str | None = option(
        None,
        "What the model was trained on: lets leakage, poison and generalization run; coverage with "
        "--deployment.",
        INPUTS,
        metavar="DATA",
        example="train.jsonl",
    )
    deployment: str | None = option(
        None,
        "Prompts that the model will meet: how many of them the feedback covers.",
        INPUTS,
        metavar="DATA",
        example="prompts.jsonl",
    )
    samples: str | None = option(
        None,
        "Responses of a policy, k per prompt: what optimising would lose.",
        INPUTS,
        metavar="DATA",
        example="samples.jsonl",
    )
    ensemble: tuple[str, ...] = option(
        (),
        "A further member, for disagreement; may be repeated.",
        INPUTS,
        metavar="MODEL",
        example=["other-seed"],
    )
    gold: str | None = option(
        None, "Gold reward model.", INPUTS, metavar="MODEL", example="org/gold-reward-model"
    )
    dry_run: bool = option(
        False,
        "Say what would be scored, by audit, and how long it may take; score nothing.",
        SCORING,
        recorded=False,
    )
    shard: str | None = option(
        None,
        "I/N: score share I of N into the store, and no more; see rmaudit merge.",
        SCORING,
        recorded=False,
        metavar="I/N",
        example="1/8",
    )
    out: Path | None = option(
        None,
        "Folder of the report.",
        RESULTS,
        recorded=False,
        unset="reports/<model>-<time>",
        example="reports/mine",
    )

    log_to: tuple[str, ...] = option(
        (),
        "A tracker that keeps numbers, intervals and pages too: mlflow:URI, wandb, "
        "tensorboard:DIR or trackio; may be repeated.",
        RESULTS,
        recorded=False,
        metavar="NAME[:PLACE]",
        example=["tensorboard:runs"],
    )

    _file: str | None = PrivateAttr(default=None)
    _from_file: frozenset[str] = PrivateAttr(default=frozenset())

    @classmethod
    def resolve(cls, flags: Mapping[str, Any], file: Path | None) -> Self:
        """Flags over the file over the defaults; `SchemaError` or `UsageError` on what is wrong."""
        return cls.of_file(flags, read_toml(file) if file else {}, str(file or "command line"))

    @classmethod
    def of_file(cls, flags: Mapping[str, Any], values: Mapping[str, Any], where: str) -> Self:
        """Flags over the values of a file called `where`, over the defaults.

        Raises
        ------
        UsageError
            If the model or the data is not named, or the file grants what only the command line
            can.
        SchemaError
            If a value is wrong.
        """
        given = {name: value for name, value in flags.items() if was_said(value)}
        named = _as_flags(values)
        for name, example in (("model", "--model MODEL"), ("eval", "--eval prefs.jsonl")):
            if name not in given and name not in named:
                raise UsageError(f"no {name} given: say {example}")
        settings = cls.checked({**named, **given}, where)
        for name, each in cls.options().items():
            if each.grants and name not in given and getattr(settings, name) not in (None, False):
                raise SchemaError(_no_grant(where, name, getattr(settings, name)))
        settings._file, settings._from_file = where, frozenset(named.keys() - given.keys())
        return settings

    def named_by(self, name: str) -> str | None:
        """See `RunSettings.named_by`."""
        return self._file if name in self._from_file else None

    def recorded(self) -> dict[str, Any]:
        """See `RunSettings.recorded`; also without the query of a server's URL."""
        from rmaudit.rewards.served.client import is_url, shown_url

        values = super().recorded()
        for name in ("model", "gold"):
            if is_url(values[name]):
                values[name] = shown_url(values[name])
        values["ensemble"] = [shown_url(m) if is_url(m) else m for m in values["ensemble"]]
        return values


# Settings of where texts are scored and results go: no number hangs on them.
WHERE = {name for name, each in AuditConfig.options().items() if not each.recorded}


def flag_of(name: str, described: Option) -> str:
    """The flag of a setting: ``--no-cache`` of ``no_cache``."""
    return "--" + (described.flag or name.replace("_", "-"))


def _no_grant(where: str, name: str, value: object) -> str:
    flag = flag_of(name, AuditConfig.options()[name])
    flag = flag if value is True else f"{flag} {value}"
    return (
        f"{where}: {name} is not a file's to give, which may come from elsewhere; say {flag} on "
        "the command line if you want it"
    )


def _as_flags(values: Mapping[str, Any]) -> dict[str, Any]:
    """A file's names as the settings': ``no-cache`` is ``no_cache``, ``probe-path`` its field."""
    flags = {flag_of(name, each)[2:]: name for name, each in AuditConfig.options().items()}
    named = {flags.get(key, key.replace("-", "_")): value for key, value in values.items()}
    named = {flags.get(key.replace("_", "-"), key): value for key, value in named.items()}
    for name in ("probe_paths", "ensemble", "log_to"):
        if isinstance(named.get(name), str):
            named[name] = [named[name]]
    return named
