"""`rmaudit verify`: a report, computed again from the stored rewards."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rmaudit.api import audit_by
from rmaudit.config import WHERE, AuditConfig
from rmaudit.errors import StoreError, UsageError
from rmaudit.report.document import Report
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel
from rmaudit.rewards.described import DescribedModel
from rmaudit.rewards.served.client import is_url
from rmaudit.running import Inputs, run
from rmaudit.scoring import open_store
from rmaudit.scoring.store_types import Cards

if TYPE_CHECKING:
    from rmaudit.console import Console
    from rmaudit.report.schema import MetricRecord

TOLERANCE = 1e-9  # relative: what another machine's linear algebra may change
# What a gate reads beside the value and its interval.
SAME = ("n", "n_prompts", "confidence", "bounds", "more_than", "better", "unit")
Key = tuple[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Difference:
    """One number that came out differently; None where a report lacks it."""

    id: str
    slice: dict[str, str]
    report: MetricRecord | None
    recomputed: MetricRecord | None


@dataclass(frozen=True)
class Verification:
    """What came out differently. `inputs` names those whose file has another hash now."""

    report: Report
    recomputed: Report
    metrics: int
    inputs: tuple[str, ...]
    differences: tuple[Difference, ...]
    findings: tuple[str, ...]  # those that only one of the two has, in words

    @property
    def agrees(self) -> bool:
        """Whether every number and finding was reproduced, from the same inputs."""
        return not (self.inputs or self.differences or self.findings)


class StoredOnly:
    """A progress that stops a pass before anything is scored; see `rmaudit.scoring.Progress`."""

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """Refuse new scoring."""
        if to_score:
            raise StoreError(
                f"{to_score:,} of {texts:,} rewards are not in the score store, so the report "
                "cannot be computed from it; give the store of that audit with --store, or "
                "--rescore to score again"
            )

    def advance(self, texts: int, tokens: int) -> None:
        """Never reached."""

    def close(self) -> None:
        """Nothing to end."""


def verify(
    folder: Path,
    console: Console,
    *,
    given: Mapping[str, Any] | None = None,
    rescore: bool = False,
) -> Verification:
    """Audit again by the settings that the report keeps, and compare every number.

    A report may come from elsewhere, and names data only. From the stored rewards no model is
    opened; with `rescore` those that the report names are, except code, pickles and servers, which
    this command line has to allow or name.

    Parameters
    ----------
    folder
        Of the report, or its report.json. Inputs are read from where they were.
    console
        Shows the progress.
    given
        What this command line says: models, permissions, the score store that holds the rewards.
    rescore
        Score again instead, with no store.

    Raises
    ------
    UsageError
        If the report was made from Python and so does not say how, or names what it must not.
    StoreError
        If a reward is not in the store.
    """
    report = Report.load(folder)
    if report.suite is not None:
        name = report.suite["name"]
        raise UsageError(
            f"{folder}: is a run of a benchmark; rmaudit bench {name} on the same file computes it "
            "again"
        )
    recomputed = _recompute(report, folder, console, dict(given or {}), rescore)
    before, after = _numbers(report), _numbers(recomputed)
    differences = [
        Difference(id_, dict(slice_), before.get((id_, slice_)), after.get((id_, slice_)))
        for id_, slice_ in sorted(before.keys() | after.keys())
        if not _equal(before.get((id_, slice_)), after.get((id_, slice_)))
    ]
    hashes = {name: source.sha256 for name, source in recomputed.record.inputs.items()}
    return Verification(
        report,
        recomputed,
        len(before),
        tuple(
            name
            for name, source in report.record.inputs.items()
            if hashes.get(name) != source.sha256
        ),
        tuple(differences),
        tuple(_other_findings(report, recomputed)),
    )


def _recompute(
    report: Report, folder: Path, console: Console, given: dict[str, Any], rescore: bool
) -> Report:
    """The report once more."""
    command = (report.record.provenance.command or "").split()
    if command[:2] == ["rmaudit", "demo"]:
        from rmaudit import demo

        with TemporaryDirectory() as place:
            train = "--synthetic" not in command
            return demo.run(Path(place), report.record.seed, console, train=train)
    config = dict(report.record.config)
    if "model" not in config or "eval" not in config:
        raise UsageError(
            f"{folder}: made from Python, so it does not name its model and inputs; "
            "only a report of `rmaudit audit` can be verified"
        )
    prints = config.pop("fingerprints", {})
    kept = {name: value for name, value in config.items() if name not in WHERE}
    where = f"{folder}: config"
    if rescore:
        settings = AuditConfig.of_file({**given, "no_cache": True}, kept, where)
        _refuse_servers(settings)
        return audit_by(settings, console, progress=console.progress())
    # Nothing is opened, so that nothing has to be allowed.
    free = {name for name, each in AuditConfig.options().items() if each.grants}
    kept = {name: value for name, value in kept.items() if name not in free}
    settings = AuditConfig.of_file(given, kept, where)
    with open_store(settings.store) as store:
        inputs = _described(report, settings, prints, store)
    return run(settings, inputs, progress=StoredOnly(), debug=console.debug, keep=False)


def _refuse_servers(settings: AuditConfig) -> None:
    """Texts go to a server only if this command line names it."""
    for name, flag in (("model", "--model"), ("ensemble", "--ensemble"), ("gold", "--gold")):
        value = getattr(settings, name)
        for spec in value if isinstance(value, tuple) else (value,):
            if is_url(spec) and settings.named_by(name):
                raise UsageError(
                    f"{settings.named_by(name)} names {spec}, to which the texts would be sent; "
                    f"files name data: say {flag} {spec} if you want that"
                )


def _described(report: Report, settings: AuditConfig, prints: Any, store: Cards) -> Inputs:
    """The inputs of the report, its models as the store describes them."""
    prints = prints if isinstance(prints, dict) else {}

    def model(spec: str, fingerprint: object) -> RewardModel:
        if spec == "recorded" or spec.startswith("recorded:"):
            return load_reward_model(spec)

        def refuse() -> RewardModel:
            raise StoreError(
                f"{spec}: rewards or facts that only the model can give are not in the score "
                "store, and verify opens no model that a report names; give the store of that "
                "audit with --store, or --rescore to score again"
            )

        facts = store.card(f"model:{fingerprint}")
        return refuse() if facts is None else DescribedModel(facts, refuse)

    members = prints.get("ensemble") or [None] * len(settings.ensemble)
    return replace(
        Inputs.named(settings),
        model=model(settings.model, report.record.model.fingerprint),
        ensemble=tuple(map(model, settings.ensemble, members)),
        gold=None if settings.gold is None else model(settings.gold, prints.get("gold")),
    )


def _numbers(report: Report) -> dict[Key, MetricRecord]:
    return {(metric.id, tuple(sorted(metric.slice.items()))): metric for metric in report.metrics()}


def _equal(one: MetricRecord | None, other: MetricRecord | None) -> bool:
    if one is None or other is None:
        return False
    if any(getattr(one, name) != getattr(other, name) for name in SAME):
        return False
    pairs = zip((one.value, *one.ci, one.df), (other.value, *other.ci, other.df), strict=True)
    return all(
        a == b
        or (
            a is not None
            and b is not None
            and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        )
        for a, b in pairs
    )


def _other_findings(report: Report, recomputed: Report) -> Iterator[str]:
    """The findings that one report has and the other lacks, by severity, audit and metric."""
    before, after = _findings(report), _findings(recomputed)
    for few, what in (
        (before - after, "is not reproduced"),
        (after - before, "is not in this report"),
    ):
        for (severity, audit, metric), count in few.items():
            many = f"{count} findings" if count > 1 else "a finding"
            yield f"{many} of {severity} severity on {metric} ({audit}) {what}"


def _findings(report: Report) -> Counter[tuple[str, str, str]]:
    return Counter((f.severity, f.audit, f.metric) for f in report.findings)
