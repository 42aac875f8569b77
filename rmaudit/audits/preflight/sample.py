"""The texts of an audit, and the sample of them that preflight scores again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits.base import example
from rmaudit.audits.common.draw import sample_order
from rmaudit.case import Case
from rmaudit.data.types import Prompt, prompt_text
from rmaudit.scoring.requests import Column
from rmaudit.typing import Float

SAMPLE = 32  # texts that are scored again, alone and padded on the left
TINY = 1e-12  # a unit where all sampled rewards are equal: any change is large


@dataclass(frozen=True)
class Texts:
    """Every text of the evaluation data, side after side."""

    sides: list[str]
    ids: list[str]
    prompts: list[Prompt]
    outputs: list[str]
    rows: NDArray[np.int64]  # (n,) of the evaluation data

    @classmethod
    def of(cls, case: Case) -> Texts:
        """The texts of the data's own requests."""
        requests = case.data_requests
        row = {id_: i for i, id_ in enumerate(case.eval.frame["id"])}
        ids = [id_ for r in requests for id_ in r.ids]
        return cls(
            sides=[r.side for r in requests for _ in r.ids],
            ids=ids,
            prompts=[p for r in requests for p in r.prompts],
            outputs=[o for r in requests for o in r.outputs],
            rows=np.array([row[id_] for id_ in ids], dtype=np.int64),
        )

    def sample(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Places of at most `SAMPLE` texts of all lengths, the longest among them."""
        sizes = [
            len(prompt_text(p)) + len(o) for p, o in zip(self.prompts, self.outputs, strict=True)
        ]
        order = np.lexsort((np.argsort(sample_order(self.outputs, 0)), np.asarray(sizes)))
        strata = np.array_split(order[:-1], min(SAMPLE - 1, max(1, len(order) - 1)))
        return np.array([*(rng.choice(s) for s in strata if s.size), order[-1]], dtype=np.int64)

    def example(self, place: int, note: str) -> dict[str, Any]:
        """A text as a finding shows it."""
        shown = {"id": self.ids[place], "prompt": self.prompts[place]}
        return example({**shown, "output": self.outputs[place]}, note=note)


@dataclass(frozen=True)
class Rescored:
    """The sample's rewards as they were measured, and scored in other ways, (n,) each."""

    places: NDArray[np.int64]  # in `Texts`
    batched: Column
    others: Mapping[str, Float]  # by name of the check
    sd: float

    @property
    def differences(self) -> dict[str, Float]:
        """Absolute differences by check, in SD; infinite where only one of the two is finite.

        Where the data gives no unit, the SD of the sampled rewards stands in: a fault must show.
        """
        measured = self.batched.reward
        usable = np.isfinite(measured)
        unit = self.sd
        if not unit > 0:
            unit = float(np.std(measured[usable])) if usable.any() else 0.0
        unit = max(unit, TINY)
        found = {}
        for name, reward in self.others.items():
            finite = np.isfinite(reward)
            with np.errstate(invalid="ignore"):
                moved = np.abs(reward - measured) / unit
            found[name] = np.where(finite & usable, moved, np.where(finite == usable, 0, np.inf))
        return found
