"""Samples that stand one a row, put together by prompt."""

from __future__ import annotations

import pandas as pd

from rmaudit.data.types import prompt_key

_LISTS = ("outputs", "rewards", "proxy_rewards", "gold_rewards", "components")


def gathered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of one sample each as one row a prompt (and step of training, where there is one).

    Columns of lists are joined; of the others the first row's value stays. Frames in which any row
    has several samples, or no prompt comes twice, are left as they are.
    """
    lists = [name for name in _LISTS if name in frame]
    if "outputs" not in frame or not all(len(each) == 1 for each in frame["outputs"]):
        return frame
    keys = pd.Series([prompt_key(p) for p in frame["prompt"]], index=frame.index, dtype=object)
    if "step" in frame:
        keys = keys + "\x00" + frame["step"].astype("str")
    codes = pd.factorize(keys)[0]
    if not len(frame) or codes.max() + 1 == len(frame):
        return frame
    first = ~pd.Series(codes).duplicated().to_numpy()
    whole = frame[first].reset_index(drop=True)
    for name in lists:
        joined: list[list[object]] = [[] for _ in range(len(whole))]
        for code, values in zip(codes.tolist(), frame[name].tolist(), strict=True):
            joined[code] += list(values)
        whole[name] = pd.Series(joined, dtype=object)
    return whole
