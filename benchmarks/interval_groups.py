"""What `intervals.py` simulates, group by group, and the metrics that no simulation can cover."""

from __future__ import annotations

from functools import partial

import interval_causes
import interval_judged
import interval_labels
import interval_shares
import interval_verdicts
from interval_draws import Draw, Group, Measured
from interval_sets import MEASURES, Measure, drawn

__all__ = ["GROUPS", "NO_POPULATION", "POPULATIONS", "Draw", "Group", "Measured"]


def _of_pairs(measure: Measure, draw: Draw) -> list[Measured]:
    return list(measure(drawn(draw)))


GROUPS: dict[str, Group] = {
    **interval_shares.GROUPS,
    **interval_causes.GROUPS,
    **interval_judged.GROUPS,
    **interval_verdicts.GROUPS,
    **interval_labels.GROUPS,
    **{name: partial(_of_pairs, measure) for name, measure in MEASURES.items()},
}

# Prompts of a data set that stands for the population, and how many such sets; "" of all others.
POPULATIONS = {
    "": (10_000, 2),
    "policy": (1_000, 20),
    "rubric": (2_000, 10),
    "ratings": (2_000, 20),
    "mix": (2_000, 60),  # slopes by words look at 2,000 prompts at most
}

NO_POPULATION = {
    "coverage.holes": "a number of families that are decided one by one, each by its own test; how "
    "often it errs is in the test of false holes",
    "coverage.shift_detectable": "a size of the plan: what so many prompts could find",
    "data.suspect_label_share": "a share among these rows, by a model that is fitted to them: with "
    "more rows it is another model",
    "data.trigger_ngrams": "a number of phrases that are decided one by one, each by its own test",
    "judge.calls_saved_share": "an account of the calls that were made",
    "mix.collapsed_advantage_share": "it grows with the number of prompts: the more there are, the "
    "more likely another one has the same advantages",
    "overoptimization.onset_step": "one run is one time series and no sample of prompts; "
    "`benchmarks/rl_logs.py` simulates logs of runs",
    "preflight.max_batch_discrepancy": "the largest of a fixed set of texts, measured exactly",
}
