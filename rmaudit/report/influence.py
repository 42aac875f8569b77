"""`influence.parquet`: what each prompt contributes to each number, for comparisons by prompt.

An estimate made from clusters carries its linearisation: the contribution of each prompt to the
value's error, scaled so that the squared standard error is the sum of squares (`Estimate`). Two
audits of the same prompts differ by the sum of the differences, so from these few numbers any
two reports can be compared in pairs, without the data and without scoring again
(`rmaudit.comparison`). Only contributions other than zero are written: a slice costs no more than
the prompts in it.

An estimate whose method has no linearisation (a step function of ranks, a conformal share over
other prompts) has no rows here: it is compared as if the two audits were independent.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from rmaudit.results import Metric

FIXED_ITEM = "item "  # begins the key of a probe's own item; a prompt's is a digest


def slice_key(slice_: Mapping[str, str]) -> str:
    """A slice as text, equal exactly where slices are: JSON with sorted keys."""
    return json.dumps(dict(slice_), sort_keys=True, ensure_ascii=False, default=str)


def influence_frame(metrics: Iterable[Metric], prompts: Sequence[str]) -> pd.DataFrame:
    """One row a metric, slice and prompt.

    Parameters
    ----------
    metrics
        Those without an influence add no rows.
    prompts
        The key of each cluster code, `Dataset.cluster_keys`. Codes beyond them are fixed items of
        probes, which are none of the data's prompts: they are named by their place.

    Returns
    -------
    DataFrame
        ``metric``, ``slice`` (`slice_key`), ``prompt`` (all categorical), ``value`` (float64).
    """
    found = [
        (metric, metric.estimate.influence)
        for metric in metrics
        if metric.estimate.defined and metric.estimate.influence is not None
    ]
    counts = [int(np.count_nonzero(influence)) for _, influence in found]
    # Filled in place: with a million prompts and a hundred metrics, this is where memory peaks.
    codes, values = np.empty(sum(counts), np.int32), np.empty(sum(counts))
    end = 0
    for (_, influence), count in zip(found, counts, strict=True):
        start, end = end, end + count
        codes[start:end] = np.flatnonzero(influence)
        values[start:end] = influence[codes[start:end]]
    most = max((influence.size for _, influence in found), default=0)
    names = [*prompts, *(f"{FIXED_ITEM}{i}" for i in range(most - len(prompts)))]
    return pd.DataFrame(
        {
            "metric": _repeated([metric.id for metric, _ in found], counts),
            "slice": _repeated([slice_key(metric.slice) for metric, _ in found], counts),
            "prompt": pd.Categorical.from_codes(codes, categories=pd.Index(names, dtype=object)),
            "value": values,
        },
        copy=False,
    )


def _repeated(names: Sequence[str], counts: Sequence[int]) -> pd.Categorical[str]:
    distinct = pd.Index(sorted(set(names)), dtype=object)
    places = distinct.get_indexer(pd.Index(names, dtype=object))
    codes = np.repeat(places.astype(np.min_scalar_type(-len(distinct) - 1)), counts)
    return pd.Categorical.from_codes(codes, categories=distinct)
