r"""How far a reward can be optimised: fits, peak, safe budget, all resampled by prompt.

With :math:`d = \sqrt{KL}` and the gold gain in gold SDs, Gao et al. 2022 (arXiv 2210.10760, Eq. 1)
fit best of n by :math:`d (\alpha - \beta d)`, which peaks at :math:`d = \alpha / 2 \beta`, and RL
by :math:`d (\alpha - \beta \log d)`, which peaks at :math:`d = e^{\alpha / \beta - 1}`. Both are
linear in :math:`(\alpha, \beta)`, so a fit is weighted least squares in closed form, and all
resamples are fitted at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from rmaudit.overoptimization.curves import Curve
from rmaudit.results import Estimate
from rmaudit.stats.best_of_n import n_of_best_of_n
from rmaudit.stats.bootstrap import (
    cluster_sums,
    percentile_estimate,
    resample_weights,
    tail_probability,
)
from rmaudit.typing import Float

Form = Literal["bon", "rl"]
FORMS: tuple[Form, ...] = ("bon", "rl")
LEAST_POINTS = 3  # with a KL above zero, for two unknowns
LEAST_KL = 1e-4  # nats: nearer to the start a point says nothing but noise


@dataclass(frozen=True)
class Fit:
    """One functional form, fitted to the gold gain in gold SDs."""

    form: Form
    alpha: Estimate  # gold SD per sqrt(nat)
    beta: Estimate  # gold SD per nat ("bon"), per sqrt(nat) ("rl")
    peak_kl: Estimate  # nats; undefined where the fitted curve need not have one
    peak_n: Estimate  # the best of n of that KL, not always whole
    extrapolated: bool  # the peak lies beyond the largest KL measured
    residual: float  # root mean square of the fit at the points, gold SD
    lack_of_fit: float = math.nan  # p-value; under 0.05 the peak is undefined (runs of RL)
    intercept: float = 0.0  # gold of the form at KL 0, where that is fitted too (runs of RL)


@dataclass(frozen=True)
class Overoptimization:
    """What a curve says; see `overoptimization`. Gains are over the policy that was sampled."""

    fits: tuple[Fit, ...]  # one a form
    best_kl: Estimate  # KL of the highest gold gain measured, nats
    gain_at_peak: Estimate  # gold SD, at the highest point measured
    loss_after_peak: Estimate  # gold SD, from there to the strongest optimisation measured; >= 0
    proxy_gold_gap: Estimate  # proxy gain (proxy SD) less gold gain (gold SD) at the strongest
    safe_kl: Estimate  # nats
    safe_strength: Estimate  # n, beta or step
    measured_kl: float  # the largest, nats
    onset_step: Estimate | None = None  # of a run: the bracket of steps in which gold is highest

    def fit(self, form: Form) -> Fit:
        """The fit of one form."""
        return next(fit for fit in self.fits if fit.form == form)


def overoptimization(
    curve: Curve,
    rng: np.random.Generator,
    *,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Overoptimization:
    """Fits of both forms, peak, losses and safe budget of a curve, with intervals.

    Parameters
    ----------
    curve
        Of two prompts (or runs) or more. Points of too few effective samples take no part.
    rng, resamples, confidence
        Of the bootstrap over prompts.

    Returns
    -------
    Overoptimization
        The safe budget is the strongest optimisation up to which the one-sided lower bound, at
        `confidence`, of the mean gold gain still rises: never beyond what was measured, KL 0 where
        it falls at once. It rests on a bound already; its interval is what resampling adds.

    Notes
    -----
    Points are weighted by the inverse variance of their mean gain. `gain_at_peak` and
    `loss_after_peak` take the place of the highest point as given; `best_kl` does not. Where
    strength is in SDs of the proxy, a resample whose SD differs is read off at its own strength, to
    first order: along the slope of the mean curve.
    """
    sums = _Sums.of(curve, confidence)
    if sums.lacking is not None:
        return _nothing(sums, curve, confidence)
    n_clusters = len(sums.count)
    whole = sums.statistics(np.ones((1, n_clusters)))
    draws = [sums.statistics(w) for w in resample_weights(n_clusters, resamples, rng)]
    names = {
        name: (float(value[0]), np.concatenate([draw[name] for draw in draws]))
        for name, value in whole.items()
    }
    make = partial(
        percentile_estimate, n=len(curve.gold), n_clusters=n_clusters, confidence=confidence
    )
    estimates = {
        name: make(value, drawn)
        for name, (value, drawn) in names.items()
        if not name.startswith("peak")
    }
    fits = tuple(
        _fit(form, sums, estimates, names[f"peak_{form}"], confidence, len(curve.gold))
        for form in FORMS
    )
    return Overoptimization(
        fits,
        estimates["best_kl"],
        estimates["gain"],
        estimates["loss"],
        estimates["gap"],
        estimates["safe_kl"],
        _safe_strength(curve, estimates["safe_strength"], names["safe_strength"][0]),
        float(sums.measured),
    )


def form_terms(d: Float, form: Form) -> tuple[Float, Float]:
    """The regressors of alpha and beta: ``d`` and ``-d**2`` ("bon") or ``-d log d`` ("rl")."""
    return d, -(d**2 if form == "bon" else d * np.log(np.where(d > 0, d, 1.0)))


def fit_form(d: Float, gain: Float, weights: Float, form: Form) -> tuple[Float, Float]:
    """Weighted least squares of many curves at once.

    Parameters
    ----------
    d, gain
        (b, n_points): square root of KL, and gold gain.
    weights
        (n_points,), of the points.
    form
        "bon" or "rl".

    Returns
    -------
    alpha, beta
        (b,) each; NaN where the points do not tell the two apart.
    """
    x, z = form_terms(d, form)
    xx, xz, zz = (x * x) @ weights, (x * z) @ weights, (z * z) @ weights
    xy, zy = (x * gain) @ weights, (z * gain) @ weights
    determinant = xx * zz - xz**2
    with np.errstate(invalid="ignore", divide="ignore"):
        known = determinant > 1e-10 * xx * zz
        alpha = np.where(known, (xy * zz - zy * xz) / determinant, math.nan)
        beta = np.where(known, (zy * xx - xy * xz) / determinant, math.nan)
    return alpha, beta


def peak_of(alpha: Float, beta: Float, form: Form) -> Float:
    """KL of the peak, nats: 0 where gold falls at once, infinite where it never falls."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        if form == "bon":
            d = np.where(beta > 0, alpha / (2 * beta), math.inf)
            d = np.where(alpha <= 0, 0.0, d)
        else:
            d = np.where(beta > 0, np.exp(alpha / beta - 1), math.inf)
        return np.where(np.isfinite(alpha), d**2, math.nan)


@dataclass(frozen=True)
class _Sums:
    """Totals of each prompt: every statistic is a function of their weighted sums."""

    gain: Float  # (n_clusters, n_points) gold gain, usable points from the start on
    proxy: Float
    kl: Float
    count: Float  # (n_clusters,)
    unit: Float  # (n_clusters, 4): gold square, gold freedom, proxy square, proxy freedom
    slope: Float  # (3, n_points): of the mean gain, proxy gain and KL by the log of the proxy's SD
    strength: Float  # (n_points,)
    point_weight: Float  # (n_points,): inverse variance of the mean gain; zero near the start
    place: int  # of the highest mean gain
    quantile: float  # of the one-sided bound
    at_start: NDArray[np.bool_]  # (n_points,): the policy that was sampled, but for rounding
    standardized: bool  # strength moves with the proxy's SD
    lacking: str | None

    @classmethod
    def of(cls, curve: Curve, confidence: float) -> _Sums:
        used = np.flatnonzero(curve.usable)
        codes = curve.clusters
        count = np.bincount(codes).astype(np.float64)

        def sums(values: Float) -> Float:
            return cluster_sums(values[:, used], codes) if used.size else np.zeros((count.size, 0))

        gain = sums(curve.gold - curve.gold_start[:, None])
        proxy = sums(curve.proxy - curve.proxy_start[:, None])
        kl = sums(curve.kl)
        units = np.concatenate([curve.gold_unit, curve.proxy_unit], axis=1)
        unit = cluster_sums(units, codes)
        slope = _slopes(curve)[:, used]
        n_clusters = len(count)
        far = kl.sum(axis=0) > LEAST_KL * count.sum()
        gain[:, ~far] = 0.0  # not what rounding left
        mean = gain.sum(axis=0) / max(count.sum(), 1)
        variance = ((gain - mean * count[:, None]) ** 2).sum(axis=0)
        varies = far & (variance > 0)
        weight = np.zeros(used.size)
        np.divide(variance[varies].min(initial=np.inf), variance, out=weight, where=varies)
        lacking = None
        if n_clusters < 2:
            lacking = "one prompt: no interval"
        elif varies.sum() < LEAST_POINTS:
            lacking = "fewer than three points can be used: too few samples per prompt"
        elif not unit[:, 0].sum() > 0 or not unit[:, 2].sum() > 0:
            lacking = "a reward is the same for all samples of a prompt"
        quantile = float(stdtrit(max(n_clusters - 1, 1), confidence))
        place = int(np.argmax(mean)) if mean.size else 0
        strength = curve.strength[used]
        return cls(
            gain,
            proxy,
            kl,
            count,
            unit,
            slope,
            strength,
            weight,
            place,
            quantile,
            ~far,
            curve.standardized,
            lacking,
        )

    @property
    def measured(self) -> float:
        """The largest mean KL, nats."""
        total = self.kl.sum(axis=0) / max(self.count.sum(), 1)
        return float(total.max(initial=0.0))

    def statistics(self, weights: Float) -> dict[str, Float]:
        """Every statistic under prompt weights (b, n_clusters), (b,) each."""
        total = weights @ self.count  # (b,)
        unit = weights @ self.unit  # (b, 4)
        gold_sd, proxy_sd = np.sqrt(unit[:, 0] / unit[:, 1]), np.sqrt(unit[:, 2] / unit[:, 3])
        raw = (weights @ self.gain) / total[:, None]  # (b, n_points)
        square, freedom = self.unit[:, 2].sum(), self.unit[:, 3].sum()
        shift = np.log(proxy_sd) - math.log(square / freedom) / 2  # (b,)
        gain = (raw + np.outer(shift, self.slope[0])) / gold_sd[:, None]
        kl = (weights @ self.kl) / total[:, None] + np.outer(shift, self.slope[2])
        d = np.sqrt(np.maximum(kl, 0.0))
        numbers: dict[str, Float] = {}
        for form in FORMS:
            alpha, beta = fit_form(d, gain, self.point_weight, form)
            numbers |= {f"alpha_{form}": alpha, f"beta_{form}": beta}
            numbers[f"peak_{form}"] = peak_of(alpha, beta, form)
        rows = np.arange(len(weights))
        best = gain.argmax(axis=1)
        numbers["best_kl"] = np.where(gain[rows, best] > 0, kl[rows, best], 0.0)
        numbers["gain"] = gain[:, self.place]
        numbers["loss"] = gain[:, self.place] - gain[:, -1]
        proxy = (weights @ self.proxy[:, -1]) / total + shift * self.slope[1, -1]
        numbers["gap"] = proxy / proxy_sd - gain[:, -1]
        safe = self._safe(weights, raw, total)
        inside = safe >= 0
        numbers["safe_kl"] = np.where(inside, np.maximum(kl[rows, np.maximum(safe, 0)], 0), 0.0)
        strength = self.strength[np.maximum(safe, 0)] * (
            np.exp(shift) if self.standardized else 1.0
        )
        numbers["safe_strength"] = np.where(inside, strength, math.nan)
        return numbers

    def _safe(self, weights: Float, raw: Float, total: Float) -> NDArray[np.int64]:
        """Place of the last point up to which the lower bound of the gain rises, (b,); -1: none."""
        n = self.count[:, None]
        spread = (
            weights @ self.gain**2
            - 2 * raw * (weights @ (self.gain * n))
            + raw**2 * (weights @ n**2)
        )
        clusters = len(self.count)
        error = np.sqrt(np.maximum(spread, 0.0) * clusters / (clusters - 1)) / total[:, None]
        bound = raw - self.quantile * error  # (b, n_points)
        bound[:, self.at_start] = 0.0
        before = np.concatenate([np.zeros((len(raw), 1)), bound[:, :-1]], axis=1)
        rises = (bound > before) | self.at_start
        return np.asarray(np.cumprod(rises, axis=1).sum(axis=1) - 1, dtype=np.int64)


def _slopes(curve: Curve) -> Float:
    """Derivative of the mean gain, proxy gain and KL by the log of the proxy's SD, (3, n_points).

    Zero where strength is not in those SDs: it then stays where it is when the SD moves.
    """
    means = np.stack(
        [
            (curve.gold - curve.gold_start[:, None]).mean(axis=0),
            (curve.proxy - curve.proxy_start[:, None]).mean(axis=0),
            curve.kl.mean(axis=0),
        ]
    )
    if not curve.standardized:
        return np.zeros(means.shape)
    # By 1 / beta: gains are near to linear in it and the KL to quadratic, which this is exact for.
    inverse = 1 / curve.strength
    slopes: Float = np.gradient(means, inverse, axis=1, edge_order=2)
    return np.asarray(-inverse * slopes)


def _fit(
    form: Form,
    sums: _Sums,
    estimates: dict[str, Estimate],
    peak: tuple[float, Float],
    confidence: float,
    n: int,
) -> Fit:
    alpha, beta = estimates[f"alpha_{form}"], estimates[f"beta_{form}"]
    kl = peak_estimate(*peak, len(sums.count), n, confidence)
    beyond = kl.defined and kl.value > sums.measured
    if beyond:
        method = f"{kl.method}; extrapolated beyond the {sums.measured:.2f} nats measured"
        kl = Estimate(kl.value, kl.low, kl.high, confidence, method, n, kl.n_clusters)
    count = len(sums.count)
    totals = sums.count.sum()
    d = np.sqrt(np.maximum(sums.kl.sum(axis=0) / totals, 0.0))
    gold_sd = math.sqrt(sums.unit[:, 0].sum() / sums.unit[:, 1].sum())
    x, z = form_terms(d, form)
    off = alpha.value * x + beta.value * z - sums.gain.sum(axis=0) / totals / gold_sd
    in_n = kl
    if kl.defined:
        value, low, high = (n_of_best_of_n(v) for v in (kl.value, kl.low, kl.high))
        in_n = Estimate(value, low, high, confidence, kl.method, n, count)
    return Fit(form, alpha, beta, kl, in_n, beyond, float(np.sqrt(np.mean(off**2))))


def peak_estimate(
    value: float,
    draws: Float,
    n_clusters: int,
    n: int,
    confidence: float,
    *,
    method: str = "cluster-bootstrap",
) -> Estimate:
    """Percentiles that count "no peak" as infinitely far; undefined unless all are finite."""
    tail = tail_probability(n_clusters, confidence)
    known = draws[~np.isnan(draws)]
    reason = "the points do not determine the fit"
    if known.size and not math.isnan(value):
        low, high = np.quantile(known, [tail, 1 - tail], method="inverted_cdf")
        # Beyond 700 nats a best of n has no number any more: that is no peak.
        if max(value, high) < 700:
            return Estimate(value, float(low), float(high), confidence, method, n, n_clusters)
        reason = f"the fitted gold reward need not turn; if it does, at KL {low:.2g} or more"
    return Estimate.undefined(reason, n=n, n_clusters=n_clusters, confidence=confidence)


def _safe_strength(curve: Curve, estimate: Estimate, value: float) -> Estimate:
    if math.isnan(value):
        return Estimate.undefined(
            "the lower bound of the gold gain falls from the start",
            n=estimate.n,
            n_clusters=estimate.n_clusters,
            confidence=estimate.confidence,
        )
    return estimate


def _nothing(sums: _Sums, curve: Curve, confidence: float) -> Overoptimization:
    empty = Estimate.undefined(
        sums.lacking or "no points",
        n=len(curve.gold),
        n_clusters=len(sums.count),
        confidence=confidence,
    )
    fits = tuple(Fit(form, empty, empty, empty, empty, False, math.nan) for form in FORMS)
    return Overoptimization(fits, empty, empty, empty, empty, empty, empty, float(sums.measured))
