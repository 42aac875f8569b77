"""`rmaudit verify`: a report, computed again from the stored rewards."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from rmaudit.api import audit_by
from rmaudit.config import AuditConfig
from rmaudit.errors import StoreError, UsageError
from rmaudit.report.document import Report
from rmaudit.toml import schema_error

if TYPE_CHECKING:
    from rmaudit.console import Console
    from rmaudit.report.schema import MetricRecord

TOLERANCE = 1e-9  # relative: what another machine's linear algebra may change
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

    @property
    def agrees(self) -> bool:
        """Whether every number of the report was found again, from the same inputs."""
        return not self.inputs and not self.differences


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
    folder: Path, console: Console, *, store: Path | None = None, rescore: bool = False
) -> Verification:
    """Audit again by the settings that the report keeps, and compare every number.

    Parameters
    ----------
    folder
        Of the report, or its report.json. Inputs are read from where they were.
    store
        The score store that holds the rewards; by default the user's.
    rescore
        Score again instead, with no store.

    Raises
    ------
    UsageError
        If the report was made from Python and so does not say how.
    StoreError
        If a reward is not in the store.
    """
    report = Report.load(folder)
    if "model" not in report.record.config or "eval" not in report.record.config:
        raise UsageError(
            f"{folder}: made from Python, so it does not name its model and inputs; "
            "only a report of `rmaudit audit` can be verified"
        )
    try:
        settings = AuditConfig.model_validate(
            {**report.record.config, "store": store, "no_cache": rescore}
        )
    except ValidationError as error:
        raise schema_error(error, f"{folder}: config") from None
    progress = console.progress() if rescore else StoredOnly()
    recomputed = audit_by(settings, console, progress=progress)
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
    )


def _numbers(report: Report) -> dict[Key, MetricRecord]:
    return {(metric.id, tuple(sorted(metric.slice.items()))): metric for metric in report.metrics()}


def _equal(one: MetricRecord | None, other: MetricRecord | None) -> bool:
    if one is None or other is None:
        return False
    pairs = zip((one.value, *one.ci), (other.value, *other.ci), strict=True)
    return one.n == other.n and all(
        a == b
        or (
            a is not None
            and b is not None
            and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        )
        for a, b in pairs
    )
