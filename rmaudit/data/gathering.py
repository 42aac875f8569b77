"""Samples that stand one per row, put together by prompt."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rmaudit.data.codes import text_codes
from rmaudit.data.types import prompt_key

_LISTS = ("outputs", "rewards", "proxy_rewards", "gold_rewards", "judge_rewards", "components")


def gathered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of one sample each as one row a prompt (and step of training, where there is one).

    Columns of lists are joined; of the others the first row's value stays. Frames in which any row
    has several samples, or no prompt comes twice, are left as they are.
    """
    lists = [name for name in _LISTS if name in frame]
    if "outputs" not in frame or not all(len(each) == 1 for each in frame["outputs"]):
        return frame
    keys = [prompt_key(prompt) for prompt in frame["prompt"]]
    if "step" in frame:
        keys = [f"{step} {key}" for step, key in zip(frame["step"].tolist(), keys, strict=True)]
    return joined(frame, keys, lists)


def joined(frame: pd.DataFrame, keys: Sequence[str], lists: Sequence[str]) -> pd.DataFrame:
    """One row a key: columns of lists are joined, of the others the first row's value stays."""
    codes = text_codes(keys)[0]
    if not len(frame) or codes.max() + 1 == len(frame):
        return frame
    first = ~pd.Series(codes).duplicated().to_numpy()
    whole = frame[first].reset_index(drop=True)
    for name in lists:
        values_of: list[list[object]] = [[] for _ in range(len(whole))]
        for code, values in zip(codes.tolist(), frame[name].tolist(), strict=True):
            values_of[code] += list(values)
        whole[name] = pd.Series(values_of, dtype=object)
    return whole
