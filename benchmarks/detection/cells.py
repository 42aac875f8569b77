"""One cell: plant a flaw, audit, note the findings. Cells are kept as lines of JSON."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rows import digest

import rmaudit as rma
from detection.draws import SHARED, Draw, draw
from detection.flaws import CLEAN, FEEDBACK, FLAWS, leaked, poisoned, turned
from detection.reward import Reward, samples

MEMBERS = 2  # of the ensemble, beside the audited model
RESAMPLES = 200  # of each bootstrap


@dataclass(frozen=True)
class Cell:
    """What was planted, where, and by which seed; strength 0 is the clean twin."""

    world: str
    pairs: int
    flaw: str
    strength: float
    seed: int

    @property
    def key(self) -> tuple[str, int, str, float, int]:
        """What tells it from others."""
        return (self.world, self.pairs, self.flaw, self.strength, self.seed)


def run(cell: Cell, others: int = 0, data: Path = SHARED) -> dict[str, Any]:
    """The cell, its findings as (audit, metric, severity, title), and the seconds it took.

    Seeds under `others` run the other audits too where the flaw is of medium strength.
    """
    start = time.monotonic()
    flaw = FLAWS.get(cell.flaw)
    drawn = draw(cell.world, cell.pairs, cell.seed, "eval", data)
    pairs = drawn.pairs
    if cell.flaw == "label noise":
        pairs = turned(pairs, cell.strength, cell.seed)
    audits = CLEAN if flaw is None else flaw.audits(cell.strength, cell.seed < others)
    # The phrase is in the feedback: what the reward pays for it is half an SD at any share.
    strength = 0.5 if cell.flaw == "trigger" else cell.strength

    def reward(member: int = 0) -> Reward:
        return Reward(drawn, cell.flaw, strength, seed=cell.seed, member=member)

    inputs: dict[str, Any] = {}
    if "disagreement" in audits:
        inputs["ensemble"] = [reward(k + 1) for k in range(MEMBERS)]
    if "tails" in audits:
        inputs["samples"] = samples(drawn)
    if "data" in audits:
        inputs["feedback"] = feedback(cell, drawn, data).to_dict("records")
    if "coverage" in audits:
        inputs["deployment"] = pairs[["prompt"]].to_dict("records")
    report = rma.audit(
        reward(),
        pairs.to_dict("records"),
        only=audits,
        seed=cell.seed,
        resamples=RESAMPLES,
        cache=False,
        debug=True,
        **inputs,
    )
    found = [(f.audit, f.metric, f.severity, f.title) for f in report.findings]
    return {
        **asdict(cell),
        "audits": audits,
        "findings": found,
        "p": [(f.p, f.p_adjusted) for f in report.findings],
        "seconds": round(time.monotonic() - start, 2),
        "tree": digest(),
    }


def feedback(cell: Cell, drawn: Draw, data: Path) -> pd.DataFrame:
    """Other pairs of the same world; the flaws that are about them are planted."""
    pairs = draw(cell.world, FEEDBACK, cell.seed, "feedback", data).pairs
    if cell.flaw == "trigger":
        return poisoned(pairs, cell.strength, cell.seed)
    if cell.flaw == "leaked evaluation rows":
        return leaked(pairs, drawn, cell.strength, cell.seed)
    return pairs


def raised(row: Mapping[str, Any]) -> bool:
    """Whether the finding that a cell's flaw must raise is there."""
    return any(
        audit == wanted and metric.startswith(start) and words in title
        for audit, metric, _, title in row["findings"]
        for wanted, start, words in FLAWS[row["flaw"]].raises
    )


def key_of(row: Mapping[str, Any]) -> tuple[str, int, str, float, int]:
    """The key of the cell that a row is of."""
    return (row["world"], row["pairs"], row["flaw"], row["strength"], row["seed"])
