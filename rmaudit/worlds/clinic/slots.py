"""A reward that reads a reply's slots and not its prompt, learnt from clinic preferences.

What a reward model can learn from narrow feedback, without a network in the way: fitted in
milliseconds, the same on every machine, and a table over all outputs, so that a policy tilted by it
is known exactly.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from rmaudit.errors import DataError
from rmaudit.stats.regression import preference_coefficients
from rmaudit.typing import Float
from rmaudit.worlds.clinic.world import ClinicWorld


def slot_reward(world: ClinicWorld, feedback: pd.DataFrame, *, precision: float = 1.0) -> Float:
    """Reward of every output: a weight for each slot's values, fitted under Bradley-Terry.

    The weights w maximise ``sum log sigmoid(x_chosen w - x_rejected w) - precision/2 |w|^2``, with
    x the indicators of each slot's values but the first (Eq. 11 of arXiv 2404.08555 with a normal
    prior). All contexts share them: what pays in one prompt pays in all.

    Parameters
    ----------
    world
        Whose outputs they are.
    feedback
        What `ClinicWorld.draw_feedback` or `ClinicWorld.label` returned (columns chosen_output and
        rejected_output).
    precision
        Of the prior, > 0; a value never seen has weight 0.

    Returns
    -------
    (n_outputs,), in log-odds, 0 for the output that says nothing; higher is preferred.

    Raises
    ------
    DataError
        If there is no feedback, or it does not tell one reward (precision 0).
    """
    if feedback.empty:
        raise DataError("a reward cannot be learnt from no feedback: draw at least one pair")
    shown = _indicators(world)  # (n_outputs, n_weights)
    chosen, rejected = (feedback[f"{side}_output"].to_numpy() for side in ("chosen", "rejected"))
    difference = shown[chosen] - shown[rejected]
    weights = preference_coefficients(difference, precision=precision)
    if weights is None:
        raise DataError("the feedback tells no single reward: give a precision above 0")
    return np.asarray(shown @ weights, dtype=np.float64)


def _indicators(world: ClinicWorld) -> Float:
    """1 where an output has a slot's value, for every value but the first of each slot."""
    columns = [
        world.features[slot.name].to_numpy() == value
        for slot in world.output_slots
        for value in range(1, len(slot.values))
    ]
    return np.stack(columns, axis=1).astype(np.float64)
