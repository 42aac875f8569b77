"""Rewards that the data already carries: `recorded`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.data.names import short
from rmaudit.data.recorded import with_scores
from rmaudit.data.types import Dataset
from rmaudit.errors import DataError, RewardModelError
from rmaudit.rewards.base import Encoded, RewardModel, Text

_COLUMNS = {"chosen": ("chosen_reward",), "rejected": ("rejected_reward",)}
# One value per row, or a list in the order of the outputs.
_OTHERS = ("rewards", "proxy_rewards", "reward")


class Recorded(RewardModel):
    """Rewards read from columns of the data; new text cannot be scored. Lengths in characters.

    Parameters
    ----------
    published
        Whose rewards, where the data holds those of several models in a column ``scores``
        (``recorded:NAME`` on the command line); None for the reward columns.
    components
        Columns with named parts of the rewards: a number per row, or a list of one per response;
        for pairs ``chosen_NAME`` and ``rejected_NAME``. Beside these, rewards given as objects have
        their parts in ``components`` (``chosen_components``, ``rejected_components``).
    """

    kind = "recorded"
    scores_new_text = False
    signal_is_declared = False
    length_unit = "characters"
    pads_left = False

    def __init__(self, published: str | None = None, *, components: Sequence[str] = ()) -> None:
        self.published = published
        self._components = tuple(components)
        self.name = "recorded" if published is None else f"recorded:{published}"
        self.fingerprint = self.name  # nothing is stored under it: the data holds the rewards
        self._opened: tuple[Dataset, Dataset] | None = None
        self._lists: dict[tuple[int, str], tuple[Dataset, _Lists]] = {}

    def recorded(self, dataset: Dataset, side: str) -> NDArray[np.float64]:
        """The rewards of one side of a data set.

        Parameters
        ----------
        dataset
            Checked data.
        side
            "chosen", "rejected", "output", or "output_0", "output_1", ...: for these, rows that
            have no such output are passed over, as in `rmaudit.case.data_requests`.

        Returns
        -------
        NDArray
            (n,), in the order of the rows; missing values are NaN.

        Raises
        ------
        DataError
            If the data has no column of rewards for that side, or too few values in a row.
        """
        dataset = self._with_rewards(dataset)
        frame, where = dataset.frame, dataset.source.path
        wanted = _COLUMNS.get(side, _OTHERS)
        column = next((name for name in wanted if name in frame), None)
        if column is None:
            raise DataError(
                f"{where}: no column {wanted[0]!r}, which --model recorded needs for the "
                f"{side.replace('_', ' ')} rewards; add it, or give a model that scores text"
            )
        if side.startswith("output_"):
            return self._of_output(dataset, column, side)
        if frame[column].dtype == np.float64:
            return frame[column].to_numpy(copy=True)
        first = [_first(value) for value in frame[column].tolist()]
        return np.array(first, dtype=np.float64)

    def recorded_components(self, data: Dataset, side: str) -> Mapping[str, NDArray[np.float64]]:
        """Named parts of the rewards of one side, (n,) each; NaN where a response has none.

        Raises
        ------
        DataError
            If a column named by `components` is not there.
        """
        parts = _of_objects(data, side)
        for name in self._components:
            column = f"{side}_{name}" if side in _COLUMNS else name
            if column not in data.frame:
                raise DataError(
                    f"{data.source.path}: no column {column!r}, which --components {name} needs"
                )
            parts[name] = self._component(data, column, side)
        return parts

    def _component(self, data: Dataset, column: str, side: str) -> NDArray[np.float64]:
        """One side of a column of components; lists are read once for all sides."""
        if not side.startswith("output_"):
            return _values(data, data.frame[column].tolist(), column, side)
        return self._of_output(data, column, side)

    def _of_output(self, data: Dataset, column: str, side: str) -> NDArray[np.float64]:
        """One response of every row that has it; a column of lists is read once for all of them."""
        key = (id(data), column)
        if key not in self._lists:
            self._lists[key] = (data, _lists(data, data.frame[column].tolist(), column))
        return self._lists[key][1].at(int(side.removeprefix("output_")))

    def _with_rewards(self, dataset: Dataset) -> Dataset:
        """The data with the published scores as its rewards; kept for the next side."""
        if self.published is None:
            return dataset
        if self._opened is None or self._opened[0] is not dataset:
            self._opened = (dataset, with_scores(dataset, self.published))
        return self._opened[1]

    def encode(self, texts: Sequence[Text]) -> list[Encoded]:
        """Always an error: there is nothing to score with."""
        raise _no_new_text()

    def forward(self, batch: Sequence[Encoded], *, pad_left: bool = False) -> NDArray[np.float64]:
        """Always an error: there is nothing to score with."""
        raise _no_new_text()


def _no_new_text() -> RewardModelError:
    return RewardModelError(
        "recorded rewards cannot score new text; give a model that can, with --model"
    )


@dataclass(frozen=True)
class _Lists:
    """Lists of one number per response, end to end; NaN where there is none."""

    numbers: NDArray[np.float64]  # (n_responses,)
    sizes: NDArray[np.int64]  # (n_rows,)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum(self.sizes) - self.sizes

    def at(self, place: int) -> NDArray[np.float64]:
        """The numbers at one place, of the rows that have it."""
        return self.numbers[self._starts[self.sizes > place] + place]


def _first(value: Any) -> float:
    """The reward of a row with one output, which may be written as a list of one."""
    return _number(value[0] if np.ndim(value) == 1 and len(value) else value)


def _number(value: Any) -> float:
    return float("nan") if value is None or value is pd.NA else float(value)


def _of_objects(data: Dataset, side: str) -> dict[str, NDArray[np.float64]]:
    """The parts of rewards that were given as objects."""
    column = f"{side}_components" if side in _COLUMNS else "components"
    if column not in data.frame:
        return {}
    given = _each(data, data.frame[column].tolist(), column, side)
    objects = [each if isinstance(each, Mapping) else {} for each in given]
    shapes = dict.fromkeys(map(tuple, objects))  # the names of each kind of object
    names = dict.fromkeys(name for shape in shapes for name in shape)
    names.pop("total", None)  # the reward itself
    where = f"{data.source.path}, column {column!r}"
    return {
        str(name): _numbers(
            [each.get(name) for each in objects], f"{where}, component {short(str(name))!r}"
        )
        for name in names
    }


def _numbers(values: list[Any], where: str) -> NDArray[np.float64]:
    """Values as numbers, (n,); NaN where one is missing."""
    try:
        quick = np.array(values, dtype=np.float64)
        if quick.shape == (len(values),):
            return quick
    except (TypeError, ValueError):  # a missing value of pandas, or what is no number
        pass
    try:
        return np.array([_number(value) for value in values], dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{where}: it must hold numbers") from None


def _lists(data: Dataset, values: list[Any], column: str) -> _Lists:
    """A column of lists, as long as the responses of their rows."""
    where, rows = data.source.path, data.frame["row"].tolist()
    sizes = np.array([len(outputs) for outputs in data.frame["outputs"]], dtype=np.int64)
    for row, value, size in zip(rows, values, sizes.tolist(), strict=True):
        if np.ndim(value) != 1 or len(value) != size:
            raise DataError(
                f"{where}, row {row}, column {column!r}: it must hold one number for each of the "
                f"{size} outputs"
            )
    try:
        numbers = [_number(number) for value in values for number in value]
    except (TypeError, ValueError):
        raise DataError(f"{where}, column {column!r}: it must hold numbers") from None
    return _Lists(np.array(numbers, dtype=np.float64), sizes)


def _values(data: Dataset, values: list[Any], column: str, side: str) -> NDArray[np.float64]:
    try:
        each = [_number(value) for value in _each(data, values, column, side)]
    except (TypeError, ValueError):
        raise DataError(f"{data.source.path}, column {column!r}: it must hold numbers") from None
    return np.array(each, dtype=np.float64)


def _each(data: Dataset, values: list[Any], column: str, side: str) -> list[Any]:
    """One value per response of a side: of a list, its place in it."""
    if not side.startswith("output_"):
        return [v[0] if isinstance(v, list) and len(v) == 1 else v for v in values]
    place, kept = int(side.removeprefix("output_")), []
    for row, outputs, value in zip(data.frame["row"], data.frame["outputs"], values, strict=True):
        if len(outputs) <= place:
            continue
        if np.ndim(value) == 0 or len(value) != len(outputs):
            raise DataError(
                f"{data.source.path}, row {row}, column {column!r}: it must hold one value for "
                f"each of the {len(outputs)} outputs"
            )
        kept.append(value[place])
    return kept
