"""Rows of feedback as token sequences and targets, whatever their type.

An example is a list of texts and a row of numbers: two texts and a probability for a preference,
k texts from the best to the worst for a ranking, one text for a rating or a label.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rmaudit.data.types import Dataset, DataType
from rmaudit.errors import DataError, UsageError
from rmaudit.rewards.base import Encoded, Text
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.typing import Float, Integers

Encode = Callable[[Sequence[Text]], list[Encoded]]

TRAINABLE: tuple[DataType, ...] = ("preference", "ranking", "rating", "unpaired")
MISSING = "missing"  # the column of a critique: a list of what the worst output of a row lacks


@dataclass(frozen=True, slots=True)
class Examples:
    """Encoded examples.

    Attributes
    ----------
    kind
        Which loss they have, see `rmaudit.training.reward.objectives`.
    texts
        Token ids: examples, their texts, the better before the worse.
    target
        (n, m). preference: probability that the first is better, and the margin it is known to
        have. ranking: for each place the first place of its ties. rating: one rating a head, NaN
        where not given. unpaired: 1 or 0.
    ratings
        Columns of the ratings; empty for other kinds.
    missing
        (n, n_attributes): 1 where a critique of the last text names the attribute.
    lengths
        Tokens of the longest text of each, (n,).
    """

    kind: DataType
    texts: list[list[list[int]]]
    target: Float
    missing: Float
    ratings: tuple[str, ...]
    attributes: tuple[str, ...]
    lengths: Integers
    outputs_truncated: int

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def most_texts(self) -> int:
        """Texts of the example that has most."""
        return max((len(texts) for texts in self.texts), default=1)

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the reward heads to train: one, or one a rating; then one an attribute."""
        first, *others = self.ratings or ("",)
        named = (f"reward ({first})", *others) if others else ("reward",)
        return (*named, *(f"missing: {name}" for name in self.attributes))

    def take(self, positions: Integers) -> Examples:
        """Some of the examples, in that order."""
        return Examples(
            self.kind,
            [self.texts[i] for i in positions],
            self.target[positions],
            self.missing[positions],
            self.ratings,
            self.attributes,
            self.lengths[positions],
            self.outputs_truncated,
        )


def encode_examples(data: Dataset, encode: Encode, config: RewardTrainingConfig) -> Examples:
    """Tokenise every text as scoring does, and read the targets.

    Raises
    ------
    DataError
        If a column that the settings name is not there.
    """
    texts, target = _READERS[data.type](data, config)
    sizes = [len(row) for row in texts]
    encoded = encode([text for row in texts for text in row])
    ends = np.cumsum(sizes)
    rows = [
        [list(text.payload) for text in encoded[end - size : end]]
        for end, size in zip(ends, sizes, strict=True)
    ]
    attributes, missing = _critiques(data)
    return Examples(
        data.type,
        rows,
        target,
        missing,
        config.rating_columns if data.type == "rating" else (),
        attributes,
        np.array([max(len(ids) for ids in row) for row in rows], dtype=np.int64),
        sum(text.output_truncated for text in encoded),
    )


def _preferences(data: Dataset, config: RewardTrainingConfig) -> tuple[list[list[Text]], Float]:
    frame = data.frame
    columns = ("prompt", "chosen", data.rejected_prompt, "rejected")
    sides = zip(*(frame[name].tolist() for name in columns), strict=True)
    texts = [[Text(p, chosen), Text(q, rejected)] for p, chosen, q, rejected in sides]
    probability = np.ones(len(frame))
    if config.soft_labels:
        probability = _vote_shares(_column(data, "annotator_votes"))
    probability = probability + config.label_smoothing * (1 - 2 * probability)
    margin = np.zeros(len(frame))
    if config.margin_column is not None:
        margin = _numbers(data, config.margin_column)
        if np.isnan(margin).any():
            row = int(data.frame["row"].iloc[int(np.isnan(margin).argmax())])
            raise DataError(
                f"{data.source.path}, row {row}, column {config.margin_column}: no margin; write 0 "
                "where only the order is known"
            )
    return texts, np.stack([probability, margin], axis=1)


def _rankings(data: Dataset, config: RewardTrainingConfig) -> tuple[list[list[Text]], Float]:
    texts: list[list[Text]] = []
    starts: list[Float] = []
    frame = data.frame
    for prompt, outputs, ranking in zip(
        frame["prompt"], frame["outputs"], frame["ranking"], strict=True
    ):
        order = np.argsort(ranking, kind="stable")
        texts.append([Text(prompt, outputs[i]) for i in order])
        ranks = np.asarray(ranking)[order]
        starts.append(np.searchsorted(ranks, ranks).astype(np.float64))
    target = np.zeros((len(texts), max(len(row) for row in texts)))
    for row, start in enumerate(starts):
        target[row, : len(start)] = start
    return texts, target


def _ratings(data: Dataset, config: RewardTrainingConfig) -> tuple[list[list[Text]], Float]:
    columns = [_numbers(data, name) for name in config.rating_columns]
    return _single(data), np.stack(columns, axis=1)


def _labels(data: Dataset, config: RewardTrainingConfig) -> tuple[list[list[Text]], Float]:
    label = data.frame["label"].to_numpy(dtype=np.float64)
    smoothed = label + config.label_smoothing * (1 - 2 * label)
    return _single(data), smoothed[:, None]


_READERS = {
    "preference": _preferences,
    "ranking": _rankings,
    "rating": _ratings,
    "unpaired": _labels,
}


def _single(data: Dataset) -> list[list[Text]]:
    pairs = zip(data.frame["prompt"], data.frame["output"], strict=True)
    return [[Text(prompt, output)] for prompt, output in pairs]


def _column(data: Dataset, name: str) -> pd.Series:
    if name not in data.frame:
        raise DataError(
            f"{data.source.path}: no column {name!r}, which the training settings ask for"
        )
    return data.frame[name]


def _numbers(data: Dataset, name: str) -> Float:
    """A column of numbers, NaN where there is none."""
    numbers = np.full(len(data), np.nan)
    for place, value in enumerate(_column(data, name)):
        try:
            numbers[place] = np.nan if value is None else float(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(
                f"{data.source.path}, row {data.frame['row'].iloc[place]}, column {name}: needs a "
                f"number, not {value!r}"
            ) from error
    return numbers


def _vote_shares(votes: pd.Series) -> Float:
    """Share of votes for the chosen output among those for either; 1 where there are none."""
    shares = np.ones(len(votes))
    for row, labels in enumerate(votes):
        chosen, rejected = (list(labels).count(side) for side in ("chosen", "rejected"))
        if chosen + rejected:
            shares[row] = chosen / (chosen + rejected)
    return shares


def _critiques(data: Dataset) -> tuple[tuple[str, ...], Float]:
    """Names of all that any critique found missing, in order, and which row lacks which."""
    if MISSING not in data.frame:
        return (), np.zeros((len(data), 0))
    rows = data.frame[MISSING].tolist()
    for row, names in zip(data.frame["row"], rows, strict=True):
        if not isinstance(names, list | tuple | np.ndarray):
            raise DataError(
                f"{data.source.path}, row {row}, column {MISSING}: needs a list of names, not "
                f"{type(names).__name__}"
            )
    attributes = tuple(sorted({str(name) for names in rows for name in names}))
    named = [[float(name in set(map(str, names))) for name in attributes] for names in rows]
    return attributes, np.array(named).reshape(len(rows), len(attributes))


def check_settings(data: Dataset, config: RewardTrainingConfig) -> None:
    """Refuse settings that mean nothing for the data's type, or beside the others.

    Raises
    ------
    UsageError
        Naming the setting and what it is for.
    """
    if config.averaged and (config.members < 2 or config.lora_rank):
        raise UsageError("averaged weights need several members (--seeds) and no adapters")
    wanted = {
        "soft_labels": ("preference",),
        "margin_column": ("preference",),
        "label_smoothing": ("preference", "unpaired"),
        "center": ("preference", "ranking"),
    }
    for name, kinds in wanted.items():
        if getattr(config, name) and data.type not in kinds:
            raise UsageError(f"{name} is for {' and '.join(kinds)} data, not for {data.type} data")
