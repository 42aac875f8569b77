"""Curves of over-optimisation with what was found on them, and how they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from rmaudit.data.types import Source
from rmaudit.overoptimization.rl_findings import FITS_AT
from rmaudit.overoptimization.sentences import plain, run_sentences, with_ends
from rmaudit.overoptimization.study import METHOD_NAMES, Study, curve_frame, fit_frame, has_kl
from rmaudit.results import Estimate, Metric


@dataclass(frozen=True)
class Overopt:
    """Curves of one or several reward models or runs."""

    studies: tuple[Study, ...]
    notes: tuple[str, ...] = ()  # what was left out, and what a number does not say
    confidence: float = 0.95
    sources: Mapping[str, Source] = field(default_factory=dict)  # of runs: what was read, by run
    steps: pd.DataFrame | None = None  # rows of steps.csv: of runs whose completions are at hand

    @property
    def curve(self) -> pd.DataFrame:
        """One row a point: the columns of curve.csv, rewards as raw means."""
        return curve_frame(self.studies, self.confidence)

    @property
    def fits(self) -> pd.DataFrame:
        """One row a curve and functional form: fit, peak, losses, safe budget, with intervals."""
        return fit_frame(self.studies)

    @property
    def unit_words(self) -> str:
        """The unit of the gains, in words."""
        standard = {one.curve.standard for one in self.studies}
        if standard == {True}:
            return "gains in gold SDs"
        return "gains in the rewards' own units" if standard == {False} else "gains: see the notes"

    def sentences(self) -> list[str]:
        """What the runs show, in words: where the gold reward turns, which component moved."""
        return [line for one in self.studies for line in run_sentences(one)]

    def metrics(self) -> list[Metric]:
        """The steps between which each run's gold reward is highest, by run."""
        return [
            Metric("overoptimization.onset_step", one.found.onset_step, {"run": one.run})
            for one in self.studies
            if one.found.onset_step is not None
        ]

    def summary(self) -> list[list[str]]:
        """One row a curve: run, method, measured KL, peak, loss after it, safe KL and strength."""
        rows = []
        for one in self.studies:
            found, fit = one.found, one.found.fit(one.form)
            peak = _shown(fit.peak_kl) + (" (extrapolated)" if fit.extrapolated else "")
            if fit.lack_of_fit < FITS_AT:
                peak = "- (does not fit)"
            names = {"bon": "n", "tilted": "beta", "poisson": "mean n", "rl": "step"}
            safe = found.safe_strength
            strength = (
                f"{names[one.curve.method]} {_shown(safe, ends=False)}" if safe.defined else ""
            )
            rows.append(
                [
                    one.run,
                    METHOD_NAMES[one.curve.method],
                    plain(found.measured_kl) if has_kl(one.curve) else "-",
                    _shown(found.gain_at_peak),
                    _shown(found.loss_after_peak),
                    peak,
                    _budget(found.safe_kl, strength),
                ]
            )
        return rows

    def save(
        self,
        folder: str | Path,
        venues: tuple[str, ...] | None = None,
        xs: tuple[str, ...] = ("kl",),
    ) -> list[Path]:
        """Write curve.csv, fits.csv, the figures and the script behind them; see `save_figures`."""
        from rmaudit.overoptimization.paper import VENUES, save_figures

        return save_figures(self, folder, VENUES if venues is None else venues, xs)


SUMMARY = ("run", "method", "KL measured", "gold gain", "loss after", "fitted peak KL", "safe KL")
"""The columns of `Overopt.summary`; gains in the unit of `Overopt.unit_words`."""


def _budget(kl: Estimate, strength: str) -> str:
    """The safe KL with its step or n; either may be missing."""
    if not kl.defined:
        return strength or "-"
    return _shown(kl, ends=False) + (f" ({strength})" if strength else "")


def _shown(estimate: Estimate, *, ends: bool = True) -> str:
    if not estimate.defined:
        return "-"
    if ends:
        return with_ends(estimate)
    return f"{estimate.value:.0f}" if abs(estimate.value) >= 100 else f"{estimate.value:.3g}"
