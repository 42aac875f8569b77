r"""What the curve of a run says: gains, where the gold reward turns, how far it is safe to go.

All of it rests on the joint law of the window means, so the start is an estimate like any other
point, and what is picked (the highest point) is not tested as if it had been named before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtrc

from rmaudit.overoptimization.fits import (
    FORMS,
    LEAST_POINTS,
    Fit,
    Form,
    Overoptimization,
    form_terms,
    peak_estimate,
    peak_of,
)
from rmaudit.overoptimization.rl_curve import RlCurve
from rmaudit.results import Estimate
from rmaudit.stats.best_of_n import n_of_best_of_n
from rmaudit.stats.series import Points, argmax_set, highest_over
from rmaudit.typing import Float

NEAR_END = 0.8  # of the KL measured: gold that rose so far and did not fall is safe up to there
MANY = 3  # runs or prompts a point, from which on their joint error is inverted
NO_KL = "no KL is logged"
FITS_AT = 0.05  # p-value of the lack-of-fit test, below which a form's peak is not given


@dataclass(frozen=True)
class Mover:
    """How a component of the proxy reward changed over a run, in its own units."""

    name: str
    change: Estimate  # from the first window to the last
    first_step: float  # the first step at which it differs from its start beyond noise; NaN: none


def rl_overoptimization(
    curve: RlCurve, rng: np.random.Generator, *, confidence: float = 0.95
) -> Overoptimization:
    """Fits, peak, losses, onset and safe budget of a run; see `overoptimization`.

    Returns
    -------
    Overoptimization
        ``onset_step`` is a bracket: the steps between which the gold reward is highest, wide where
        gold values are few or noisy; its end is infinite where no fall is shown. The safe budget is
        the start of that bracket: up to it the gold reward was still rising.
    """
    windows = curve.gold_windows
    points = _scaled(windows.points, curve.gold_sd)
    measured = float(np.maximum(np.max(curve.kl_at), 0.0))  # NaN where none is logged
    if not np.isfinite(points.covariance).all():
        reason = f"undecided: of {points.n} gold values no error is known; three are needed"
        return _nothing(reason, curve, measured, confidence)
    gain = highest_over(points, 0, rng, confidence=confidence)
    last = points.value.size - 1
    loss = highest_over(points, last, rng, confidence=confidence)
    inside = argmax_set(points, rng, confidence=confidence)
    onset = _onset(curve, points, inside, confidence)
    safe_kl, safe_step = _safe(curve, points, inside, onset, confidence)
    best = int(np.argmax(points.value))
    kls = np.maximum(windows.kl, 0.0)
    best_kl = points.undefined(NO_KL, confidence)
    if curve.has_kl:
        ends = float(kls[inside].min()), float(kls[inside].max())
        best_kl = points.estimate(float(kls[best]), *ends, confidence)
    fits = tuple(_fit(form, curve, points, rng, confidence) for form in FORMS)
    return Overoptimization(
        fits, best_kl, gain, loss, _gap(curve, points, confidence), safe_kl, safe_step,
        measured, onset,
    )  # fmt: skip


def movers(curve: RlCurve, rng: np.random.Generator, *, confidence: float = 0.95) -> list[Mover]:
    """Components of the proxy in the order in which they moved."""
    found = []
    for name, windows in curve.components.items():
        points = windows.points
        if not np.isfinite(points.covariance).all():
            continue
        p = points.value.size
        contrast = (np.eye(p) - np.eye(p)[0])[1:]
        errors = np.array([points.error(row) for row in contrast])
        change = contrast @ points.value
        drawn = np.abs(points.draws(rng) @ contrast.T) / np.where(errors > 0, errors, np.inf)
        critical = float(np.quantile(drawn.max(axis=1), confidence))
        moved = np.flatnonzero((np.abs(change) > critical * errors) & (errors > 0))
        first = float(windows.first[1:][moved[0]]) if moved.size else math.nan
        reach = points.quantile((1 + confidence) / 2) * errors[-1]
        total = float(change[-1])
        moved_by = points.estimate(total, total - reach, total + reach, confidence)
        found.append(Mover(name, moved_by, first))
    return sorted(found, key=lambda m: (math.isnan(m.first_step), m.first_step, m.name))


def _scaled(points: Points, sd: float) -> Points:
    return replace(points, value=points.value / sd, covariance=points.covariance / sd**2)


def _onset(
    curve: RlCurve, points: Points, inside: NDArray[np.bool_], confidence: float
) -> Estimate:
    """The step at which gold is highest, between the neighbours of what may be the highest."""
    windows = curve.gold_windows
    places = np.flatnonzero(inside)
    first, last = int(places[0]), int(places[-1])
    best = int(np.argmax(points.value))
    # Between two points the truth may be higher than at both: the bracket reaches the neighbours.
    low = windows.step[first - 1] if first else min(curve.proxy_windows.first[0], windows.first[0])
    turned = last < points.value.size - 1
    high = float(windows.step[last + 1]) if turned else math.inf
    note = "bracket" if turned else "bracket; no fall shown by the end"
    return points.estimate(float(round(windows.step[best])), float(low), high, confidence, note)


def _safe(
    curve: RlCurve, points: Points, inside: NDArray[np.bool_], onset: Estimate, confidence: float
) -> tuple[Estimate, Estimate]:
    """KL and step up to which the gold reward is shown to have risen."""
    windows = curve.gold_windows
    far = windows.kl if curve.has_kl else windows.step
    first = int(np.flatnonzero(inside)[0])

    def undecided(reason: str) -> tuple[Estimate, Estimate]:
        return points.undefined(reason, confidence), points.undefined(reason, confidence)

    kl, step = max(float(windows.kl[first]), 0.0), float(round(windows.step[first]))
    if first > 0 and (math.isfinite(onset.high) or far[first] >= NEAR_END * far.max()):
        made = points.estimate(step, step, step, confidence, "one-sided bound of the turn")
        if not curve.has_kl:
            return points.undefined(NO_KL, confidence), made
        return replace(made, value=kl, low=kl, high=kl), made
    if first > 0:
        where = f"KL {kl:.2f} (step {step:.0f})" if curve.has_kl else f"step {step:.0f}"
        return undecided(
            f"undecided: gold rises up to {where}; from there to the end "
            "neither a rise nor a fall is more than noise"
        )
    if int(np.argmax(points.value)) == 0 and math.isfinite(onset.high):
        at_start = points.undefined("the gold reward is highest at the start", confidence)
        if not curve.has_kl:
            return at_start, at_start
        made = points.estimate(0.0, 0.0, kl, confidence, "one-sided bound of the turn")
        return made, at_start
    return undecided(
        f"undecided: with {points.n} gold values and their noise no rise over the start is shown "
        "to be more than noise"
    )


def _gap(curve: RlCurve, gold: Points, confidence: float) -> Estimate:
    """Proxy gain less gold gain at the end; errors of the two are added, as if independent."""
    proxy = _scaled(curve.proxy_windows.points, curve.proxy_sd)
    if not curve.standard:
        reason = "the SDs of the rewards are not logged: gains are in different units"
        return gold.undefined(reason, confidence)
    value, square = 0.0, 0.0
    for points, sign in ((proxy, 1), (gold, -1)):
        along = np.zeros(points.value.size)
        along[-1], along[0] = 1.0, -1.0
        value += sign * float(along @ points.value)
        square += points.error(along) ** 2
    reach = min(proxy, gold, key=lambda p: p.freedom).quantile((1 + confidence) / 2)
    error = reach * math.sqrt(square)
    return gold.estimate(value, value - error, value + error, confidence)


def _fit(
    form: Form, curve: RlCurve, points: Points, rng: np.random.Generator, confidence: float
) -> Fit:
    """Generalised least squares of intercept, alpha and beta, and its lack of fit."""
    kl = np.maximum(curve.gold_windows.kl, 0.0)
    x, z = form_terms(np.sqrt(kl), form)
    p = points.value.size
    if p < LEAST_POINTS + 1 or not curve.has_kl:
        reason = f"{p} gold points: {LEAST_POINTS + 1} are needed for a fit"
        reason = reason if curve.has_kl else NO_KL
        empty = points.undefined(reason, confidence)
        return Fit(form, empty, empty, empty, empty, False, math.nan)
    design = np.stack([np.ones(p), x, z], axis=1)
    inverse: Any
    independent = points.clusters if points.prompts or points.runs > 1 else 0
    if 0 < independent < MANY * p:  # of few runs or prompts: their covariance cannot be inverted
        inverse = np.diag(1 / np.maximum(np.diag(points.covariance), 1e-300))
    else:
        inverse = np.linalg.pinv(points.covariance, hermitian=True)
    solve = np.linalg.pinv(design.T @ inverse @ design, hermitian=True) @ design.T @ inverse
    theta = solve @ points.value
    off = points.value - design @ theta
    draws = points.draws(rng)
    p_value, lack = math.nan, float(off @ inverse @ off)
    if independent and p > 3:  # the same of what noise alone leaves
        left = draws - draws @ (design @ solve).T
        p_value = float(np.mean(np.einsum("bi,ij,bj->b", left, inverse, left) >= lack))
    elif p > 3:
        p_value = float(fdtrc(p - 3, points.freedom, lack / (p - 3)))
    reach = points.quantile((1 + confidence) / 2)
    alpha, beta = (
        points.estimate(value, value - reach * error, value + reach * error, confidence)
        for value, error in zip(theta[1:].tolist(), map(points.error, solve[1:]), strict=True)
    )
    drawn = theta + draws @ solve.T
    peak = _peak(form, theta, drawn, p_value, alpha)
    in_n = peak
    if peak.defined:
        value, low, high = (n_of_best_of_n(v) for v in (peak.value, peak.low, peak.high))
        in_n = replace(peak, value=value, low=low, high=high)
    beyond = peak.defined and peak.value > float(kl.max())
    root = float(np.sqrt(np.mean(off**2)))
    return Fit(form, alpha, beta, peak, in_n, beyond, root, p_value, float(theta[0]))


def _peak(form: Form, theta: Float, drawn: Float, p_value: float, like: Estimate) -> Estimate:
    """The KL of the fitted peak; undefined where the form does not fit."""
    size = {"n": like.n, "n_clusters": like.n_clusters}
    if p_value < FITS_AT:
        reason = f"the form does not fit (lack of fit, p = {p_value:.2g})"
        return Estimate.undefined(reason, confidence=like.confidence, **size)
    value = float(peak_of(theta[1:2], theta[2:3], form)[0])
    draws = peak_of(drawn[:, 1], drawn[:, 2], form)
    return peak_estimate(value, draws, like.n_clusters, like.n, like.confidence, method=like.method)


def _nothing(reason: str, curve: RlCurve, measured: float, confidence: float) -> Overoptimization:
    points = curve.gold_windows.points
    empty = points.undefined(reason, confidence)
    fits = tuple(Fit(form, empty, empty, empty, empty, False, math.nan) for form in FORMS)
    windows = curve.gold_windows
    best = float(round(windows.step[int(np.argmax(points.value))]))
    note = "bracket; no fall shown by the end"
    wide = points.estimate(best, float(windows.first[0]), math.inf, confidence, note)
    return Overoptimization(fits, empty, empty, empty, empty, empty, empty, measured, wide)
