"""Statistics on plain arrays: intervals, resampling, ranking, calibration. No models here.

The modules: `intervals` (means, ratios and their differences), `bootstrap` (everything else),
`deviations` (sizes that noise can only add to), `rank`, `regression`, `scale` (the unit of reward),
`calibration`, `binning` and `reliability`. Each name is to be had from its module; the common ones
from here, loaded on use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    "auroc": "rank",
    "binned_calibration": "binning",
    "brier_score": "calibration",
    "cluster_bootstrap": "bootstrap",
    "cluster_mean": "intervals",
    "cluster_ratio": "intervals",
    "cluster_ratios": "intervals",
    "fixed_effects_slope": "regression",
    "kendall_tau_b": "rank",
    "negative_log_likelihood": "calibration",
    "overconfidence": "calibration",
    "reliability_diagram": "reliability",
    "spearman": "rank",
    "temperature": "calibration",
    "within_prompt_sd": "scale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOME)
