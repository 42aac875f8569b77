"""Statistics on plain arrays: intervals, resampling, ranking, calibration. No models here.

The modules: `intervals` (means, ratios and their differences), `bootstrap` (everything else),
`deviations` (sizes that noise can only add to), `rank`, `regression`, `scale` (the unit of reward),
`calibration`, `binning` and `reliability`, `strata` (a part of the data at equal margins),
`best_of_n`, `tilting`, `tails`. The curves of gold and proxy reward against KL and their fits live
in `rmaudit.overoptimization`. Each name can be had from its module; the common ones from here,
loaded on use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmaudit.stats.best_of_n import best_of_n_kl as best_of_n_kl
    from rmaudit.stats.best_of_n import best_of_n_mean as best_of_n_mean
    from rmaudit.stats.binning import binned_calibration as binned_calibration
    from rmaudit.stats.bootstrap import cluster_bootstrap as cluster_bootstrap
    from rmaudit.stats.calibration import brier_score as brier_score
    from rmaudit.stats.calibration import negative_log_likelihood as negative_log_likelihood
    from rmaudit.stats.calibration import overconfidence as overconfidence
    from rmaudit.stats.calibration import temperature as temperature
    from rmaudit.stats.intervals import cluster_mean as cluster_mean
    from rmaudit.stats.intervals import cluster_ratio as cluster_ratio
    from rmaudit.stats.intervals import cluster_ratios as cluster_ratios
    from rmaudit.stats.rank import auroc as auroc
    from rmaudit.stats.rank import kendall_tau_b as kendall_tau_b
    from rmaudit.stats.rank import spearman as spearman
    from rmaudit.stats.regression import fixed_effects_slope as fixed_effects_slope
    from rmaudit.stats.reliability import reliability_diagram as reliability_diagram
    from rmaudit.stats.scale import within_prompt_sd as within_prompt_sd

_HOME = {
    "Pool": "rmaudit.overoptimization.curves",
    "auroc": "rmaudit.stats.rank",
    "best_of_n_curve": "rmaudit.overoptimization.curves",
    "best_of_n_kl": "rmaudit.stats.best_of_n",
    "best_of_n_mean": "rmaudit.stats.best_of_n",
    "binned_calibration": "rmaudit.stats.binning",
    "brier_score": "rmaudit.stats.calibration",
    "cluster_bootstrap": "rmaudit.stats.bootstrap",
    "cluster_mean": "rmaudit.stats.intervals",
    "cluster_ratio": "rmaudit.stats.intervals",
    "cluster_ratios": "rmaudit.stats.intervals",
    "fixed_effects_slope": "rmaudit.stats.regression",
    "kendall_tau_b": "rmaudit.stats.rank",
    "negative_log_likelihood": "rmaudit.stats.calibration",
    "overconfidence": "rmaudit.stats.calibration",
    "overoptimization": "rmaudit.overoptimization.fits",
    "reliability_diagram": "rmaudit.stats.reliability",
    "spearman": "rmaudit.stats.rank",
    "temperature": "rmaudit.stats.calibration",
    "tilted_curve": "rmaudit.overoptimization.curves",
    "within_prompt_sd": "rmaudit.stats.scale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
