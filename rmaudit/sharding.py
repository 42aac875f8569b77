"""One audit's scoring spread over machines: each scores a share, the stores are merged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmaudit.auditing import with_signal
from rmaudit.errors import UsageError
from rmaudit.running import Inputs, build_case, plans
from rmaudit.scoring import Cost, NullStore, ScoreStore, open_store, score_shard
from rmaudit.scoring.store import default_path

if TYPE_CHECKING:
    from rmaudit.config import AuditConfig
    from rmaudit.console import Console


@dataclass(frozen=True, slots=True)
class Shard:
    """Share `index` (from 1) of `count`."""

    index: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """``3/8`` is the third share of eight.

        Raises
        ------
        UsageError
            If it is not two whole numbers, the first from 1 to the second.
        """
        match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        index, count = map(int, match.groups()) if match else (0, 0)
        if not 1 <= index <= count:
            raise UsageError(f"--shard {text!r}: say I/N, such as 1/8 to 8/8")
        return cls(index, count)


def run_shard(settings: AuditConfig, shard: Shard, console: Console) -> Cost:
    """Score one share of every text that `rmaudit audit` with these settings would score.

    Parameters
    ----------
    settings
        Those of the audit. The rewards go to `settings.store`, which must be this share's own where
        machines do not share a disk (or share one that SQLite cannot lock).
    shard
        Which share.
    console
        Shows the progress.

    Returns
    -------
    Cost
        Of this share. What searches ask for on top is scored by the audit itself.
    """
    if settings.no_cache:
        raise UsageError("--shard keeps its rewards in the store: leave out --no-cache")
    if settings.engine != "local":
        raise UsageError("--shard is one machine's share: leave out --engine")
    case = build_case(settings, Inputs.named(settings))
    share = (shard.index, shard.count)
    with open_store(settings.store) as store:
        case, _ = with_signal(case, NullStore())  # alike on all machines, whatever they hold
        requests = [*case.data_requests]
        for plan in plans(settings, case):
            requests += plan.requests
        cost = score_shard(
            case.model,
            requests,
            share,
            datasets=case.inputs,
            ensemble=case.ensemble,
            store=store,
            progress=console.progress(),
        )
        if case.gold is not None and case.gold_requests:
            progress = console.progress()
            cost += score_shard(
                case.gold,
                case.gold_requests,
                share,
                datasets=case.inputs,
                store=store,
                progress=progress,
            )
    return cost


def merge_stores(parts: Sequence[Path], store: Path | None) -> int:
    """Gather the stores of all shares in one.

    Parameters
    ----------
    parts
        Their files; they stay as they are.
    store
        The file that gathers them; None: the store in the user's cache folder.

    Returns
    -------
    int
        Rewards in the parts.

    Raises
    ------
    StoreError
        If a part is missing or no score store; parts before it are merged.
    """
    with ScoreStore(default_path() if store is None else store) as target:
        return sum(target.merge(part) for part in parts)
