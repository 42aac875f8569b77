"""What each row of samples says of its policy, as plain columns: part of `policy`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from rmaudit.audits.common.memoize import memoize
from rmaudit.audits.common.row_content import words_of
from rmaudit.audits.common.samples import sample_rewards, scored
from rmaudit.audits.common.support import Support, embedder, lacking, pair_support
from rmaudit.audits.policy.across import half_of, shared
from rmaudit.case import Case
from rmaudit.data.types import Dataset, prompt_key
from rmaudit.errors import DataError
from rmaudit.overoptimization.samples import POLICY, policies
from rmaudit.scoring.requests import Scores
from rmaudit.text.diversity import distinct_n, embedding_diversity, self_bleu
from rmaudit.text.embedding import embed
from rmaudit.typing import Float, Integers

Value = TypeVar("Value")

MOST_COMPARED = 16  # outputs of a row: pairs of texts grow with the square
LISTS = ("logprobs", "reference_logprobs", "tokens")  # one number per output
NUMBERS = ("heldout_nll", "task_score")  # one number per row


def policy_names(samples: Dataset) -> list[str]:
    """Policies in order of appearance: the first is the initial one."""
    if POLICY not in samples.frame:
        return []
    return list(dict.fromkeys(policies(samples)))


def policy_rows(case: Case, samples: Dataset, scores: Scores) -> pd.DataFrame:
    """One row a row of the samples whose prompt every policy answered; NaN where unknown.

    Columns: policy, cluster, and means over the row's outputs: distinct_2, self_bleu,
    embedding_diversity, length, kl (of summed log-probabilities, nats), entropy_sum and
    entropy_tokens, proxy, gold, outside (share outside the support), distances (to the feedback,
    an array, one per output; None without feedback), heldout_nll, task_score, shared_share
    (of the outputs that its policy gave to a prompt of the other half as well; NaN in that half).

    Raises
    ------
    DataError
        If a column of numbers holds something else.
    """
    frame = samples.frame
    names, codes = policies(samples), samples.clusters
    rewards = sample_rewards(case, scores)
    table = pd.DataFrame({"policy": names, "cluster": codes})
    table["proxy"] = row_mean(rewards.proxy)
    table["gold"] = row_mean(rewards.gold) if rewards.gold is not None else math.nan
    for name in NUMBERS:
        table[name] = _numbers(samples, name)
    lists = {name: _lists(samples, name) for name in LISTS}
    table["kl"] = [
        _mean_difference(a, b)
        for a, b in zip(lists["logprobs"], lists["reference_logprobs"], strict=True)
    ]
    outputs = frame["outputs"].tolist() if "outputs" in frame else [[]] * len(frame)
    lengths = _lengths(samples, scores) if scored(case) else [[len(o) for o in r] for r in outputs]
    table["length"] = [float(np.mean(row)) if len(row) else math.nan for row in lengths]
    tokens = lists["tokens"] if "tokens" in frame else lengths
    table["entropy_sum"], table["entropy_tokens"] = _entropy(lists["logprobs"], tokens)
    if "tokens" not in frame and (not scored(case) or scores.length_unit != "tokens"):
        table["entropy_sum"] = math.nan  # characters are no tokens
    for name, values in _diversity(case, outputs).items():
        table[name] = values
    where = samples_support(case)
    table["outside"], table["distances"] = math.nan, None
    if where is not None:
        sizes = [len(row) for row in outputs]
        table["outside"] = [
            float(part.mean()) if part.size else math.nan
            for part in _by_row(where.outside("samples"), sizes)
        ]
        table["distances"] = pd.Series(_by_row(where.distances["samples"], sizes), dtype=object)
    everywhere = table.groupby("cluster")["policy"].transform("nunique") == len(set(names))
    table["outputs"] = pd.Series(outputs, dtype=object)
    table["key"] = [prompt_key(prompt) for prompt in frame["prompt"].tolist()]
    table = table[everywhere].reset_index(drop=True)
    table["shared_share"] = _shared(table, case.seed)
    return table.drop(columns=["outputs", "key"])


def _shared(table: pd.DataFrame, seed: int) -> list[float]:
    """Share of each row's outputs that prompts of the other half get; a cluster is never cut."""
    least = table.groupby("cluster")["key"].transform("min")
    return shared(table, least.isin(half_of(least.tolist(), seed)).to_numpy(dtype=bool))


def row_mean(values: Float) -> Float:
    """Mean of the finite entries of each row, (n_rows,); NaN for none."""
    there = np.isfinite(values)
    total, counts = np.where(there, values, 0.0).sum(axis=1), there.sum(axis=1)
    means: Float = np.divide(total, counts, out=np.full(len(values), math.nan), where=counts > 0)
    return means


def _diversity(case: Case, outputs: list[list[str]]) -> dict[str, list[float]]:
    """Of the first outputs of each row, the same number of each: more outputs repeat more."""
    sizes = [len(row) for row in outputs if len(row) > 1 and any(row)]
    size = min(min(sizes, default=0), MOST_COMPARED)
    kept = [row[:size] if len(row) >= size and any(row) else [] for row in outputs]
    words = [[text.lower().split() for text in row] for row in kept]
    flat = [text for row in kept for text in row]
    how = case.embedder if isinstance(embedder(case), str) else "tfidf"
    vectors = embed(flat, embedder=how, seed=case.seed)[0]
    parts = np.split(vectors, np.cumsum([len(row) for row in kept])[:-1])
    return {
        "distinct_2": [distinct_n(row) for row in words],
        "self_bleu": [self_bleu(row) for row in words],
        "embedding_diversity": [embedding_diversity(part) for part in parts],
    }


@memoize
def samples_support(case: Case) -> Support | None:
    """Where the samples' outputs lie relative to the feedback's; None where either is missing."""
    samples = case.samples
    if samples is None or case.feedback is None or lacking(case) is not None:
        return None
    outputs = samples.frame["outputs"].tolist() if "outputs" in samples.frame else []
    if not any(map(any, outputs)):
        return None
    texts = [
        f"{words_of(prompt)}\n{words_of(text)}"
        for prompt, row in zip(samples.frame["prompt"].tolist(), outputs, strict=True)
        for text in row
    ]
    return pair_support(case, {"samples": texts}, "policy support")


def _by_row(values: Float, sizes: list[int]) -> list[Float]:
    """Values of outputs, in the parts of their rows."""
    return np.split(values, np.cumsum(sizes)[:-1])


def _lengths(samples: Dataset, scores: Scores) -> list[list[int]]:
    """Tokens of each output, as scored."""
    outputs = samples.frame["outputs"].tolist()
    lengths: list[list[int]] = [[] for _ in outputs]
    for j in range(max((len(row) for row in outputs), default=0)):
        rows = [i for i, row in enumerate(outputs) if len(row) > j]
        tokens = scores.column(f"output_{j}", data="samples").output_tokens
        for i, length in zip(rows, tokens.tolist(), strict=True):
            lengths[i].append(length)
    return lengths


def _entropy(
    log_probs: list[list[float]], tokens: Sequence[Sequence[float]]
) -> tuple[list[float], list[float]]:
    """Minus the log-probability and the tokens of each row: their ratio is entropy a token."""
    sums, counts = [], []
    for own, lengths in zip(log_probs, tokens, strict=True):
        known = len(own) == len(lengths) and len(own) > 0 and sum(lengths) > 0
        sums.append(-float(np.sum(own)) if known else math.nan)
        counts.append(float(np.sum(lengths)) if known else math.nan)
    return sums, counts


def _mean_difference(own: list[float], reference: list[float]) -> float:
    if not own or len(own) != len(reference):
        return math.nan
    return float(np.mean(np.array(own) - np.array(reference)))


def _numbers(samples: Dataset, name: str) -> list[float]:
    if name not in samples.frame:
        return [math.nan] * len(samples)
    return [
        _checked(samples, name, i, _number, value)
        for i, value in enumerate(samples.frame[name].tolist())
    ]


def _lists(samples: Dataset, name: str) -> list[list[float]]:
    if name not in samples.frame:
        return [[] for _ in range(len(samples))]
    return [
        _checked(samples, name, i, _floats, value)
        for i, value in enumerate(samples.frame[name].tolist())
    ]


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _floats(value: object) -> list[float]:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return []
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError("no list")
    return [math.nan if v is None else float(v) for v in value]


def _checked(
    samples: Dataset, name: str, i: int, read: Callable[[Any], Value], value: object
) -> Value:
    try:
        return read(value)
    except (TypeError, ValueError) as error:
        row = int(samples.frame["row"].iloc[i])
        kind = "a list of numbers, one per response" if name in LISTS else "a number"
        raise DataError(
            f"{samples.source.path}: row {row}, column {name!r}: must be {kind}"
        ) from error


def cluster_codes(clusters: Integers) -> Integers:
    """Codes from 0 without gaps, (n,)."""
    return np.unique(clusters, return_inverse=True)[1].astype(np.int64)
