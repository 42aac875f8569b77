"""The Python interface: load data and models, score, audit. The command line calls these."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from rmaudit.data import load
from rmaudit.errors import StoreError, UsageError
from rmaudit.files import check_writable
from rmaudit.opening import Model
from rmaudit.report.document import Report
from rmaudit.rewards import load_reward_model
from rmaudit.rewards.base import RewardModel, does_not_apply, failed
from rmaudit.rewards.kinds import refuse_without_effect
from rmaudit.rewards.served.client import is_url, shown_url
from rmaudit.running import Data, Inputs, as_data, run, with_responses
from rmaudit.scoring import (
    Progress,
    open_store,
    scores_frame,
    with_components,
    write_scores,
)
from rmaudit.scoring import score as run_requests
from rmaudit.scoring.requests import data_requests

if TYPE_CHECKING:
    from rmaudit.comparison import Comparison
    from rmaudit.config import AuditConfig
    from rmaudit.console import Console
    from rmaudit.gating import GateResult, Policy

__all__ = [
    "Data",
    "Model",
    "audit",
    "compare",
    "gate",
    "load",
    "load_reward_model",
    "run_audit",
    "run_score",
    "score",
]


def audit(
    model: Model,
    eval: Data,
    *,
    feedback: Data | None = None,
    deployment: Data | None = None,
    samples: Data | None = None,
    ensemble: Sequence[Model] = (),
    gold: Model | None = None,
    cache: bool = True,
    progress: Progress | None = None,
    debug: bool = False,
    **settings: Any,
) -> Report:
    """Audit one reward model.

    Parameters
    ----------
    model
        A loaded reward model, or whatever `load_reward_model` takes: a path, an id, a function.
    eval, feedback, deployment, samples
        Tables, or what `load` takes: paths, ids, frames, lists of rows. An audit that lacks one
        is listed as not run.
    ensemble, gold
        Further members; the gold reward model.
    cache
        Whether to use the score store at all.
    progress
        Told of the cost and of each batch; None: nobody is.
    debug
        Raise an audit's error instead of listing the audit as failed.
    settings
        Fields of `rmaudit.config.RunSettings`, the options of `rmaudit audit`: ``only``, ``limit``,
        ``seed``, ``resamples``, ``confidence``, ``probe_paths``, ``search_texts``, ``store``,
        ``engine``, and those of `load_reward_model`, for models that are not loaded yet.

    Raises
    ------
    RmauditError
        One line on what is wrong with the inputs and what to do.
    """
    from rmaudit.config import RunSettings

    if not cache:
        settings["no_cache"] = True
    chosen = RunSettings.checked(settings, "rmaudit.audit")
    inputs = Inputs(model, eval, feedback, deployment, samples, tuple(ensemble), gold)
    return run(chosen, inputs, progress=progress, debug=debug)


def score(
    model: Model,
    data: Data,
    *,
    limit: int | None = None,
    columns: str | None = None,
    store: Path | None = None,
    cache: bool = True,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Rewards of every text of a data set; `columns` says which column holds what (`load`).

    Returns one row a text: id, side, reward (float64), tokens, truncated, model, request, and a
    column for each named component of the rewards.
    """
    model = as_model(model)
    data = with_responses(as_data(data, limit, columns=columns, rewards=[model]), "--data")
    with open_store(store, cache=cache) as opened:
        scores = run_requests(
            model,
            data_requests(data, "eval"),
            datasets={"eval": data},
            store=opened,
            progress=progress,
        )
    return with_components(scores_frame(scores, model.name), scores)


def gate(
    report: Report | str | Path,
    policy: Policy | str | Path,
    baseline: Report | str | Path | None = None,
) -> GateResult:
    """Hold a report (or its folder) against a policy (or its file, or a shipped one's name).

    `baseline` is the report that rules with `max_regression` compare with, paired by prompt.

    Raises
    ------
    RmauditError
        If one of them cannot be read, or a rule names a metric or slice that is unknown.
    """
    from rmaudit.gating import Policy, gate

    return gate(
        _report(report),
        policy if isinstance(policy, Policy) else Policy.read(policy),
        None if baseline is None else _report(baseline),
    )


def compare(
    first: Report | str | Path, second: Report | str | Path, *, confidence: float = 0.95
) -> Comparison:
    """Hold two audits (or their folders), before and after, against each other.

    See `rmaudit.comparison.compare`.

    Raises
    ------
    RmauditError
        If one cannot be read, or the two share no prompt.
    """
    from rmaudit.comparison import compare

    return compare(_report(first), _report(second), confidence=confidence)


def run_audit(settings: AuditConfig, console: Console) -> tuple[Report, Path]:
    """What `rmaudit audit` does: audit by settings, save; the report and its folder."""
    folder = settings.out or Path("reports") / _folder_name(settings.model)
    check_writable(folder)
    report = audit_by(settings, console)
    report.save(folder)
    return report, folder


def audit_by(
    settings: AuditConfig, console: Console, *, progress: Progress | None = None
) -> Report:
    """Audit by settings; `progress` is the console's unless another is given."""
    return run(
        settings,
        Inputs.named(settings),
        progress=progress or console.progress(),
        debug=console.debug,
        ahead=console.progress,
    )


def run_score(settings: AuditConfig, out: Path, console: Console) -> pd.DataFrame:
    """What `rmaudit score` does: score, and write the Parquet file."""
    check_writable(out.parent)
    if out.is_dir():
        raise StoreError(f"{out} is a folder; name a Parquet file with --out")
    if out.suffix not in ("", ".parquet"):
        raise UsageError(f"--out {out}: scores are written as Parquet; name a file in .parquet")
    refuse_without_effect(settings, [settings.model])
    frame = score(
        load_reward_model(settings.model, settings, named_by=settings.named_by("model")),
        settings.eval,
        limit=settings.limit,
        columns=settings.columns,
        store=settings.store,
        cache=not settings.no_cache,
        progress=console.progress(),
    )
    _tell_missing(frame, console)
    write_scores(out, frame)
    return frame


def _tell_missing(frame: pd.DataFrame, console: Console) -> None:
    """Say how many texts have no reward, why, and which: three things that are not one another."""
    rewards = frame["reward"].to_numpy(dtype=float)
    left, broken = does_not_apply(rewards), failed(rewards)
    other = ~np.isfinite(rewards) & ~left & ~broken
    for which, words in (
        (left, "the reward does not apply (None)"),
        (broken, "the reward itself failed"),
        (other, "the reward is not finite (NaN or infinite)"),
    ):
        if count := int(which.sum()):
            rows = frame.loc[which, ["id", "side"]].head(3)
            first = ", ".join(f"{row.id} ({row.side})" for row in rows.itertuples())
            more = ", ..." if count > len(rows) else ""
            said = f"{count:,} of {rewards.size:,} texts: {words}: {first}{more}"
            console.warn(said, texts=count)
    if count := int(frame["truncated"].sum()):
        console.warn(
            f"{count:,} of {rewards.size:,} texts are longer than the model reads: cut, the oldest "
            "of the prompt first (--max-length; column truncated)",
            texts=count,
        )


def as_model(model: Model) -> RewardModel:
    """A loaded reward model, or what `load_reward_model` makes of it."""
    return model if isinstance(model, RewardModel) else load_reward_model(model)


def _report(report: Report | str | Path) -> Report:
    return report if isinstance(report, Report) else Report.load(report)


def _folder_name(model: str) -> str:
    """<model>-<time>, safe as a folder name."""
    model = shown_url(model) if is_url(model) else model
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(model).name or model).strip("-.") or "model"
    return f"{stem[:60]}-{time.strftime('%Y%m%d-%H%M%S')}"
