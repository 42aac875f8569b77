"""What to label next: where deployment has mass, feedback has little, and members disagree."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rmaudit.audits.common.support import Support
from rmaudit.data.types import Dataset, prompt_text
from rmaudit.typing import Float, Integers, Mask, Vectors

SUGGESTED = 300


def label_next(
    deployment: Dataset,
    where: Support,
    families: list[str],
    ledger: pd.DataFrame,
    disagreement: dict[str, float],
    labelled: Mask,
) -> pd.DataFrame:
    """Rows to label, best first: id, prompt, family, p, score.

    The mass of a family is its share in deployment beyond its share in feedback (its share in
    deployment where no family has more). A row's weight is that mass, times its distance to the
    feedback, times the family's disagreement among members relative to the mean (one if unknown).
    Families take turns in proportion to their total weight (D'Hondt's rule); inside a family the
    next row is the one of largest weight times distance to the rows already taken, so no prompt
    comes twice. `score` is that product. Prompts that are `labelled` already are never among them.
    """
    distance, p = where.distances["deployment"], where.p("deployment")
    share = ledger.set_index("family")
    mass = (share["deployment_share"] - share["feedback_share"]).clip(lower=0)
    if not (mass > 0).any():
        mass = share["deployment_share"]
    names = np.array(families, dtype=object)
    total = {}
    weight = np.zeros(len(names))
    for name in share.index:
        rows = names == name
        if rows.any():
            spread = np.maximum(distance[rows], 1e-6) * disagreement.get(name, 1.0)
            weight[rows] = mass[name] * spread * ~labelled[rows]
            total[name] = float(mass[name] * spread.mean())
    order, scores = _turns(names, where.others["deployment"], weight, total)
    frame = deployment.frame.iloc[order]
    return pd.DataFrame(
        {
            "id": frame["id"].to_numpy(),
            "prompt": [prompt_text(prompt) for prompt in frame["prompt"]],
            "family": names[order],
            "p": p[order],
            "score": scores,
        }
    )


def _turns(
    names: np.ndarray, vectors: Vectors, weight: Float, total: dict[str, float]
) -> tuple[Integers, Float]:
    members = {name: np.flatnonzero(names == name) for name, t in total.items() if t > 0}
    apart = np.ones(len(names))  # distance to the family's rows taken so far
    taken = dict.fromkeys(members, 0)
    order: list[int] = []
    scores: list[float] = []
    while members and len(order) < SUGGESTED:
        name = max(members, key=lambda key: total[key] / (taken[key] + 1))
        rows = members[name]
        best = int(rows[np.argmax(weight[rows] * apart[rows])])
        score = float(weight[best] * apart[best])
        if score <= 0:  # all that is left has been taken, word for word
            del members[name]
            continue
        order.append(best)
        scores.append(score)
        taken[name] += 1
        square = 2 - 2 * (vectors[rows] @ vectors[best]).astype(np.float64)
        apart[rows] = np.minimum(apart[rows], np.sqrt(np.where(square < 1e-6, 0.0, square)))
    return np.array(order, dtype=np.int64), np.array(scores)
