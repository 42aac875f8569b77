"""Sets of one item in several styles, crossed: does style beat substance?

Liu et al. 2024, RM-Bench (arXiv 2410.16184), Section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.audits.common.pairs import Margins, optional
from rmaudit.case import Case
from rmaudit.results import Estimate, Figure
from rmaudit.stats.intervals import cluster_ratios
from rmaudit.typing import Integers, Mask

MOST_ROWS = 24  # of one item; more are not a style set, and crossing grows with the square
MOST_STYLES = 8
LEVELS = ("concise", "plain", "markdown")  # from the plainest to the fanciest
DIFFICULTIES = ("easy", "normal", "hard")


@dataclass(frozen=True)
class StyleMatrix:
    """Every preferred output against every other of its item, (n,) each."""

    styles: tuple[str, ...]  # plainest first, where they are the three levels
    graded: bool  # whether they are
    crossed: Margins
    chosen: Integers  # codes of styles
    rejected: Integers

    def on_rows(self, rows: Mask) -> StyleMatrix:
        """The items of some evaluation rows."""
        keep = rows[self.crossed.row]
        return replace(
            self,
            crossed=self.crossed.take(keep),
            chosen=self.chosen[keep],
            rejected=self.rejected[keep],
        )

    def cell(self, chosen: int, rejected: int, confidence: float) -> Estimate:
        """Accuracy of preferred outputs in one style against others in another."""
        return self._mean([(chosen, rejected)], confidence)

    def difficulty(self, name: str, confidence: float) -> Estimate:
        """Mean of the cells whose preferred output is fancier (easy), as fancy, plainer (hard)."""
        sign = {"easy": 1, "normal": 0, "hard": -1}[name]
        places = range(len(self.styles))
        cells = [(i, j) for i in places for j in places if np.sign(i - j) == sign]
        return self._mean(cells, confidence)

    def _mean(self, cells: list[tuple[int, int]], confidence: float) -> Estimate:
        terms = []
        for i, j in cells:
            here = ((self.chosen == i) & (self.rejected == j)).astype(np.float64)
            terms.append((1 / len(cells), self.crossed.correct * here, here))
        clusters = self.crossed.cluster
        return cluster_ratios(terms, clusters, confidence=confidence, bounds=(0, 1))


def style_matrix(case: Case, decided: Margins) -> StyleMatrix | str:
    """Cross the styles of each item, or say what is missing for it.

    Rows of one `group` and prompt are one item: its preferred outputs are all right and its other
    outputs all wrong, whatever row they stand in.
    """
    if case.eval.type != "preference" or not case.eval.columns("group", "style"):
        return "pairs with columns group (the item) and style in --eval"
    names = case.eval.frame["style"].to_numpy(dtype=object)[decided.row]
    if pd.isna(names).any() or not len(names):
        return "a style in every row"
    if "style_rejected" in case.eval.frame:
        return _as_given(case, decided)
    styles, codes = _ordered(names.astype(str))
    prompts = decided.outputs.prompt[decided.better]
    item = np.unique(np.stack([decided.cluster, prompts]), axis=1, return_inverse=True)[1].ravel()
    counts = np.bincount(item)
    if not 2 <= len(styles) <= MOST_STYLES or counts.max() < 2 or counts.max() > MOST_ROWS:
        return f"items with two to {MOST_STYLES} styles, at most {MOST_ROWS} rows per item"
    first, second = _crossed(item, counts)
    graded = len(styles) == len(LEVELS) and all(_level(s) == i for i, s in enumerate(styles))
    crossed = replace(
        decided,
        better=decided.better[first],
        worse=decided.worse[second],
        tied=decided.tied[first],
    )
    return StyleMatrix(styles, graded, crossed, codes[first], codes[second])


def _as_given(case: Case, decided: Margins) -> StyleMatrix | str:
    """The cells of data whose rows are pairs of two styles: nothing is left to cross."""
    columns = [
        case.eval.frame[name].to_numpy(dtype=object)[decided.row].astype(str)
        for name in ("style", "style_rejected")
    ]
    styles, codes = _ordered(np.concatenate(columns))
    if not 2 <= len(styles) <= MOST_STYLES:
        return f"items with two to {MOST_STYLES} styles"
    graded = len(styles) == len(LEVELS) and all(_level(s) == i for i, s in enumerate(styles))
    chosen, rejected = np.split(codes, 2)
    return StyleMatrix(styles, graded, decided, chosen, rejected)


def style_table(matrix: StyleMatrix, confidence: float) -> pd.DataFrame:
    """One row a cell."""
    rows = []
    for i, chosen in enumerate(matrix.styles):
        for j, rejected in enumerate(matrix.styles):
            found = matrix.cell(i, j, confidence)
            rows.append(
                {
                    "chosen_style": chosen,
                    "rejected_style": rejected,
                    "accuracy": found.value,
                    "low": found.low,
                    "high": found.high,
                    "comparisons": found.n,
                    "prompts": found.n_clusters,
                }
            )
    return pd.DataFrame(rows)


def style_figure(cells: pd.DataFrame, styles: tuple[str, ...]) -> Figure:
    """Accuracy by style of the preferred (rows) and of the other output (columns)."""
    accuracy = cells["accuracy"].to_numpy(dtype=np.float64).reshape(len(styles), -1)
    alt = "No cell of the style matrix is defined."
    if np.isfinite(accuracy).any():
        i, j = np.unravel_index(np.nanargmin(accuracy), accuracy.shape)
        alt = (
            f"Accuracy is lowest, {accuracy[i, j]:.1%}, where the chosen response is "
            f"{styles[i]} and the other {styles[j]}."
        )
    return Figure(
        "style_matrix",
        "heatmap",
        "Accuracy by style of both responses",
        alt,
        {
            "rows": list(styles),
            "columns": list(styles),
            "values": [[optional(value) for value in line] for line in accuracy],
            "unit": "probability",
            "center": 0.5,
            "xlabel": "style of the other response",
            "ylabel": "style of the chosen response",
        },
    )


def _level(style: str) -> int | None:
    """Place among the three levels: concise, detailed plain text, detailed markdown."""
    words = style.lower()
    if "markdown" in words:
        return 2
    if "plain" in words or "detailed" in words:
        return 1
    return 0 if "concise" in words else None


def _ordered(names: NDArray[np.str_]) -> tuple[tuple[str, ...], Integers]:
    """The styles, plainest first where known, and the code of each row."""
    found = [str(name) for name in np.unique(names)]
    styles = sorted(found, key=lambda s: (level if (level := _level(s)) is not None else 3, s))
    place = np.array([styles.index(name) for name in found], dtype=np.int64)
    return tuple(styles), place[np.searchsorted(found, names)]


def _crossed(item: Integers, counts: Integers) -> tuple[Integers, Integers]:
    """All ordered pairs of rows of one item, a row with itself included."""
    order = np.argsort(item, kind="stable")
    starts = np.cumsum(counts) - counts
    firsts, seconds = [], []
    for size in np.unique(counts):
        members = order[starts[counts == size][:, None] + np.arange(size)]  # (items, size)
        shape = (len(members), size, size)
        firsts.append(np.broadcast_to(members[:, :, None], shape).ravel())
        seconds.append(np.broadcast_to(members[:, None, :], shape).ravel())
    return np.concatenate(firsts), np.concatenate(seconds)
