"""One curve with what was found on it, as a table, as the rows of curve.csv, and as a figure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from rmaudit.overoptimization.curves import Curve
from rmaudit.overoptimization.fits import (
    Form,
    Overoptimization,
    form_terms,
    overoptimization,
)
from rmaudit.overoptimization.rl_curve import RlCurve
from rmaudit.overoptimization.rl_findings import Mover, movers, rl_overoptimization
from rmaudit.results import Estimate, Figure
from rmaudit.rewards.ensemble import AGGREGATE_NAMES

COLUMNS = (
    "method",
    "n",
    "beta",
    "step",
    "kl",
    "proxy",
    "proxy_low",
    "proxy_high",
    "gold",
    "gold_low",
    "gold_high",
    "ess",
    "run",
)
"""The columns of curve.csv: rewards are raw means, empty where a column does not apply."""
_STRENGTH = {"bon": "n", "tilted": "beta", "poisson": "n", "rl": "step"}
METHOD_NAMES = {"bon": "best of n", "tilted": "tilted", "poisson": "best of Poisson n", "rl": "RL"}
MOST_TOLD = 8  # curves of one figure that its caption tells of
FORM_OF: dict[str, Form] = {"bon": "bon", "tilted": "bon", "poisson": "bon", "rl": "rl"}
"""The form of a method's fit. The tilted policy's gain starts linear in sqrt(KL), as best of n's
does, where that of the RL form starts with an infinite slope."""


@dataclass(frozen=True)
class Study:
    """One reward model (or run) under one method."""

    run: str  # the name of the reward model or of the run
    curve: Curve | RlCurve
    found: Overoptimization
    movers: tuple[Mover, ...] = ()  # components of a run's proxy, in the order in which they moved

    @property
    def form(self) -> Form:
        """The functional form that fits this method; both are in `fit_frame`."""
        return FORM_OF[self.curve.method]


class Studies(Protocol):
    """Several studies and the level of their intervals: `Overopt`, as its figures read it."""

    @property
    def studies(self) -> Sequence[Study]:
        """One a curve."""

    @property
    def confidence(self) -> float:
        """Two-sided level of the intervals."""

    @property
    def steps(self) -> pd.DataFrame | None:
        """The rows of steps.csv."""


def study(
    run: str,
    curve: Curve | RlCurve,
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Study:
    """Fits, peak and safe budget of a curve; see `overoptimization`, `rl_overoptimization`."""
    if isinstance(curve, RlCurve):
        fits = rl_overoptimization(curve, rng, confidence=confidence)
        return Study(run, curve, fits, tuple(movers(curve, rng, confidence=confidence)))
    return Study(
        run, curve, overoptimization(curve, rng, resamples=resamples, confidence=confidence)
    )


def curve_frame(studies: Sequence[Study], confidence: float = 0.95) -> pd.DataFrame:
    """The rows of curve.csv: one a point, raw means with intervals."""
    rows: list[dict[str, Any]] = []
    for one in studies:
        curve = one.curve
        proxy, gold = (curve.means(which, confidence) for which in ("proxy", "gold"))
        raw = {"proxy": curve.raw("proxy"), "gold": curve.raw("gold")}
        for k, strength in enumerate(curve.strength):
            row: dict[str, Any] = dict.fromkeys(COLUMNS)
            whole = strength if curve.method == "tilted" else int(strength)
            row |= {"method": curve.method, _STRENGTH[curve.method]: whole, "run": one.run}
            row |= {"kl": _number(curve.kl_at[k]), "ess": _number(curve.ess[k])}
            for name, estimate in (("proxy", proxy[k]), ("gold", gold[k])):
                row |= {name: _number(raw[name][k])}
                row |= {f"{name}_low": _number(estimate.low)}
                row |= {f"{name}_high": _number(estimate.high)}
            rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.astype({"n": "Int64", "step": "Int64"})


def fit_frame(studies: Sequence[Study]) -> pd.DataFrame:
    """One row a run, method and form: alpha, beta, peak, what is lost, safe budget, intervals."""
    rows = []
    for one in studies:
        for fit in one.found.fits:
            row: dict[str, Any] = {
                "run": one.run,
                "method": one.curve.method,
                "form": fit.form,
                "prompts": one.curve.sample,
                "measured_kl": one.found.measured_kl,
            }
            for name, estimate in (
                ("alpha", fit.alpha),
                ("beta", fit.beta),
                ("peak_kl", fit.peak_kl),
                ("peak_n", fit.peak_n),
                ("best_kl", one.found.best_kl),
                ("gain_at_peak", one.found.gain_at_peak),
                ("loss_after_peak", one.found.loss_after_peak),
                ("proxy_gold_gap", one.found.proxy_gold_gap),
                ("safe_kl", one.found.safe_kl),
                ("safe_strength", one.found.safe_strength),
                *([("onset_step", one.found.onset_step)] if one.found.onset_step else []),
            ):
                row |= _spread(name, estimate)
            row["extrapolated"] = fit.extrapolated
            row["residual"] = fit.residual
            row["lack_of_fit"] = fit.lack_of_fit
            row["reason"] = fit.alpha.undefined_reason or fit.peak_kl.undefined_reason
            rows.append(row)
    return pd.DataFrame(rows)


def gain_figure(
    studies: Sequence[Study],
    name: str,
    title: str,
    *,
    confidence: float = 0.95,
    with_proxy: bool = True,
    with_fit: bool = True,
) -> Figure:
    """Gains against KL: gold with its interval and its fit, and the proxy.

    Points of too few effective samples are grey; the fits do not use them.
    """
    series = []
    unit = "SD" if all(one.curve.standard for one in studies) else "own units"
    by_step = not all(has_kl(one.curve) for one in studies)
    methods = len({one.curve.method for one in studies})
    for place, one in enumerate(studies):
        parts = [_run_name(one)] if len(studies) > methods or methods == 1 < len(studies) else []
        parts += [METHOD_NAMES[one.curve.method]] if methods > 1 else []
        label = ", ".join(parts)
        alone = len(studies) == 1
        gold = {"color": place, "line": 0 if with_proxy else place + place // 6}
        named = _name(label, "gold", with_proxy)
        series.append(_series(one, "gold", named, confidence, by_step) | gold)
        if with_fit and not by_step and one.found.fit(one.form).alpha.defined:
            series.append(
                _fit_series(one, _name(label, "gold, fitted")) | {"color": place, "line": 3}
            )
        if with_proxy:
            shown = _series(one, "proxy", _name(label, "proxy"), confidence, by_step)
            series.append(shown | {"color": 1 if alone else place, "line": 1})
        if not one.curve.usable.all():
            series.append(_weak_series(one, _name(label, "gold, too few effective samples")))
    return Figure(
        name,
        "curves",
        title,
        _caption(studies),
        {
            "series": series,
            "xlabel": "training step" if by_step else "KL from the initial policy (nats)",
            "ylabel": f"{'gain' if with_proxy else 'gold gain'} ({unit})",
            "xscale": "linear",
            "diagonal": False,
            "reference_y": 0.0,
            "reference_x": None,
        },
    )


def _name(label: str, what: str, shown: bool = True) -> str:
    return f"{label}: {what}" if label and shown else label or what


def has_kl(curve: Curve | RlCurve) -> bool:
    """Whether the KL of the points is known: of samples always, of a run where it logs one."""
    return not isinstance(curve, RlCurve) or curve.has_kl


def _series(one: Study, which: Any, name: str, confidence: float, by_step: bool) -> dict[str, Any]:
    measured = np.isfinite(one.curve.raw(which))
    used = np.flatnonzero(one.curve.usable & measured)
    every = one.curve.gains(which, confidence)
    gains = [every[k] for k in used]
    at = one.curve.strength if by_step else one.curve.kl_at
    return {
        "name": name,
        "x": at[used].tolist(),
        "y": [_number(e.value) for e in gains],
        "low": [_number(e.low) for e in gains],
        "high": [_number(e.high) for e in gains],
        "style": "line",
    }


def _weak_series(one: Study, name: str) -> dict[str, Any]:
    """The gold gain at the points that rest on too few effective samples; in grey, no interval."""
    weak = np.flatnonzero(~one.curve.usable)
    gains = one.curve.gains("gold")
    return {
        "name": name,
        "x": one.curve.kl_at[weak].tolist(),
        "y": [_number(gains[k].value) for k in weak],
        "low": None,
        "high": None,
        "style": "line",
        "color": "muted",
        "line": 4,
    }


def fit_line(one: Study) -> tuple[list[float], list[float]]:
    """KL and gain along the fitted form, from the start to the largest KL measured."""
    fit = one.found.fit(one.form)
    start, shift = 0.0, 0.0
    if isinstance(one.curve, RlCurve):  # gains are from the first window, not from KL 0
        start = one.curve.kl_start
        shift = fit.intercept - one.curve.raw("gold")[one.curve.gold_windows.place[0]] / (
            one.curve.gold_sd
        )
    d = np.sqrt(np.linspace(start, one.found.measured_kl, 41))
    x, z = form_terms(d, fit.form)
    return (d**2).tolist(), (shift + fit.alpha.value * x + fit.beta.value * z).tolist()


def _fit_series(one: Study, name: str) -> dict[str, Any]:
    kl, gain = fit_line(one)
    none: dict[str, Any] = {"low": None, "high": None}
    return {"name": name, "x": kl, "y": gain, "style": "line", **none}


def _caption(studies: Sequence[Study]) -> str:
    """A sentence per curve; of several with one method and range, these are said once."""
    reaches = {(one.curve.method, _reach(one)) for one in studies}
    if len(studies) == 1 or len(reaches) > 1:
        return " ".join(_sentence(one) for one in studies[:MOST_TOLD])
    ((method, reach),) = reaches
    told = [f"{_run_name(one)} {_peak(one)}" for one in studies[:MOST_TOLD]]
    if len(studies) > MOST_TOLD:
        told.append(f"{len(studies) - MOST_TOLD} more in the table")
    how = METHOD_NAMES[method]
    return f"{how[:1].upper()}{how[1:]}{reach}. Highest gold gain of each: {'; '.join(told)}."


def _run_name(one: Study) -> str:
    return AGGREGATE_NAMES.get(one.run, one.run)


def _reach(one: Study) -> str:
    return f", up to KL {one.found.measured_kl:.2f}" if has_kl(one.curve) else ""


def _peak(one: Study) -> str:
    """The highest gold gain, where it is, and the safe KL, in a few words."""
    found = one.found
    if not found.gain_at_peak.defined:
        return f"undefined ({found.gain_at_peak.undefined_reason})"
    words = f"{found.gain_at_peak.value:.2f}{' SD' if one.curve.standard else ''}"
    if has_kl(one.curve):
        words += f" at KL {found.best_kl.value:.2f}"
    return f"{words}, safe KL {found.safe_kl.value:.2f}" if found.safe_kl.defined else words


def _sentence(one: Study) -> str:
    found, how = one.found, METHOD_NAMES[one.curve.method]
    if not found.gain_at_peak.defined:
        return f"{_run_name(one)}, {how}: {found.gain_at_peak.undefined_reason}."
    unit = " SD" if one.curve.standard else ""
    turn = (
        f"and is {found.loss_after_peak.value:.2f}{unit} lower at the end"
        if found.loss_after_peak.value > 0
        else "and has not turned by the end"
    )
    safe = ""
    if found.safe_kl.defined:
        safe = f"; its lower bound rises up to KL {found.safe_kl.value:.2f}"
        if found.safe_kl.value == 0:
            safe = "; its lower bound never rises (safe KL 0)"
    at = f" at KL {found.best_kl.value:.2f}" if has_kl(one.curve) else ""
    gain = f"{found.gain_at_peak.value:.2f}{unit}{at}"
    return f"{_run_name(one)}, {how}{_reach(one)}: the gold reward gains {gain} {turn}{safe}."


def _spread(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
