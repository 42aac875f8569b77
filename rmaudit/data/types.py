"""Preference data in memory: one table a file, its provenance, and the rows that were set aside."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal, NotRequired, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rmaudit.data.codes import text_codes
from rmaudit.data.names import STRENGTH


class Message(TypedDict):
    """One turn of a conversation, with what chat templates read beside its text.

    A turn of role ``tools`` at the start holds the tools of the row, a JSON list.
    """

    role: str
    content: str
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]
    name: NotRequired[str]
    reasoning_content: NotRequired[str]


Prompt = str | list[Message]
"""A context: plain text, or the turns before the output; empty (`""` or `[]`) if there is none."""

DataType = Literal["preference", "ranking", "rating", "unpaired", "deployment", "samples"]


def prompt_key(prompt: Prompt) -> str:
    """A string that is equal exactly when two prompts are equal."""
    if isinstance(prompt, str):
        return prompt
    return "\x00" + json.dumps(
        [
            [m["role"], m["content"]] if len(m) == 2 else [m["role"], m["content"], turn_extras(m)]
            for m in prompt
        ],
        ensure_ascii=False,
        separators=(",", ":"),
    )


def turn_extras(message: Message) -> dict[str, Any]:
    """What a turn holds beside role and content, by name."""
    return {key: message[key] for key in sorted(message) if key not in ("role", "content")}  # type: ignore[literal-required]


def prompt_text(prompt: Prompt) -> str:
    """The words of a prompt: what embedders, n-gram counts and readers see."""
    if isinstance(prompt, str):
        return prompt
    return "\n\n".join(f"{m['role'].capitalize()}: {turn_text(m)}" for m in prompt)


def turn_text(message: Message) -> str:
    """The text of a turn with its tool calls behind it, each as ``<tool_call>`` JSON."""
    calls = message.get("tool_calls")
    if not calls:
        return message["content"]
    parts = [message["content"]] if message["content"] else []
    for call in calls:
        function = json.dumps(call["function"], ensure_ascii=False)
        parts.append(f"<tool_call>\n{function}\n</tool_call>")
    return "\n".join(parts)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that could not be used. `row` counts from 1 (the line in JSONL)."""

    file: str
    row: int
    column: str | None
    reason: str  # short, the same words for the same fault: reasons are counted
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a table came from. rows_read = rows_used + rows_set_aside, always."""

    path: str
    sha256: str
    rows_read: int
    rows_used: int
    rows_set_aside: int
    reasons: Mapping[str, int] = field(default_factory=dict)

    @property
    def losses(self) -> str:
        """What could not be used and why, in a line; empty if all was."""
        if not self.rows_set_aside:
            return ""
        reasons = ", ".join(f"{reason} ({n:,})" for reason, n in self.reasons.items())
        return (
            f"{self.path}: {self.rows_set_aside:,} of {self.rows_read:,} rows set aside: "
            f"{reasons}; rmaudit validate lists them"
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """How the columns of a source were understood. `unused` are kept as metadata."""

    layout: str = ""  # the name of a published layout, "" for columns of our own names
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()  # those that look like labels or context first
    notes: tuple[str, ...] = ()

    def using(self, names: Collection[str]) -> Reading:
        """The same where something reads further columns; "COLUMN.FIELD" reads a column too."""
        read = {name for name in self.unused if name in names}
        read |= {name for name in self.unused if any(n.startswith(f"{name}.") for n in names)}
        used = tuple(name for name in self.unused if name in read)
        unused = tuple(name for name in self.unused if name not in read)
        return replace(self, used=self.used + used, unused=unused)


def notices(source: Source, reading: Reading) -> tuple[str, ...]:
    """What of a source is not used, and what a reader might not expect: a line each."""
    lines = [source.losses] if source.losses else []
    lines += [f"{source.path}: {note}" for note in reading.notes]
    if reading.unused:
        names = ", ".join(name[:60] for name in reading.unused)
        lines.append(f"{source.path}: not used (kept as metadata): {names}")
    return tuple(lines)


@dataclass(frozen=True)
class Side:
    """One column of responses as they are scored, (m,) each.

    `level` says how good a label says the response is: higher is better, within a row (preference,
    ranking) or a prompt (rating, label); NaN where nothing does. Tied pairs have one level.
    """

    name: str  # chosen, rejected, output, output_0, ...
    rows: NDArray[np.int64]  # places in the table
    prompts: Sequence[Prompt]
    texts: Sequence[str]
    level: NDArray[np.float64]


@dataclass(frozen=True)
class RowPairs:
    """A better and a worse response a row, (n_rows,) each; `tied` where neither is."""

    chosen: Sequence[str]
    rejected: Sequence[str]
    tied: NDArray[np.bool_]


@dataclass(frozen=True)
class Dataset:
    """A checked table of one data type.

    `frame` has a fresh RangeIndex and these columns beside the user's own, which are kept:

    - all: ``id`` (str, unique), ``prompt`` (`Prompt`), ``row`` (int, the source's row number);
      optional ``group``, ``subset``, ``family``, ``style`` (str).
    - preference: ``chosen``, ``rejected`` (str), ``tie`` (bool), optional ``chosen_reward``,
      ``rejected_reward`` (float64, NaN and infinities kept), ``prompt_rejected`` (`Prompt`; where
      the rejected output answers another context), ``annotator_votes`` and ``annotators`` (lists).
    - ranking: ``outputs`` (list of str), ``ranking`` (list of int, 1 = best), optional ``rewards``.
    - rating: ``output``, ``rating`` (float64). unpaired: ``output``, ``label`` (bool).
    - deployment: optional ``outputs``. samples: ``outputs`` and/or ``rewards``,
      ``proxy_rewards``, ``gold_rewards``, ``judge_rewards`` (lists of float).

    Outputs are plain text: message lists are reduced to their last assistant turn, and the turns
    before it go to the prompt. Where a row has rewards and no texts, its outputs are empty strings
    (one a reward). ``scores`` (published scores by model) stays as it is: see `with_scores`.
    A row that lacks an optional column which others have gets: its prompt as ``group``, "(none)"
    as ``subset``, ``family`` or ``style``, an empty list of votes, NaN as rewards.
    """

    type: DataType
    frame: pd.DataFrame
    source: Source
    set_aside: tuple[SetAside, ...] = ()
    reading: Reading = field(default_factory=Reading)

    @property
    def notices(self) -> tuple[str, ...]:
        """What of the source did not reach the data, and what was understood: a line each."""
        return notices(self.source, self.reading)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def rejected_prompt(self) -> str:
        """The column with the prompt of the rejected output: pairs may have one of its own.

        In data of another type a column of that name is metadata, and may hold anything.
        """
        own = self.type == "preference" and "prompt_rejected" in self.frame
        return "prompt_rejected" if own else "prompt"

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """The unit of resampling: codes 0..n_clusters-1 of ``group``, by default of the prompt.

        Codes follow the sorted names, so that a resample does not depend on the order of the rows.
        Rows without a prompt have no context in common: each is a cluster of its own.
        """
        return self._clusters[0]

    @cached_property
    def cluster_keys(self) -> NDArray[np.str_]:
        """What each cluster code stands for, (n_clusters,): a digest, equal across tables exactly
        where group (or prompt) is; a row without a prompt is equal only to itself.
        """
        return np.array(
            [
                blake2b(name.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
                for name in self._clusters[1]
            ],
            dtype=np.str_,
        )

    @cached_property
    def _clusters(self) -> tuple[NDArray[np.int64], list[str]]:
        return text_codes(self._cluster_names, sort=True)

    @property
    def _cluster_names(self) -> list[str]:
        """The name of each row's cluster, (n_rows,)."""
        if "group" in self.frame:
            return list(map(str, self.frame["group"].tolist()))
        return [
            prompt_key(prompt) if prompt else f"\x01{self.source.sha256} {position}"
            for position, prompt in enumerate(self.frame["prompt"].tolist())
        ]

    @property
    def tied(self) -> NDArray[np.bool_]:
        """Rows of pairs that are labelled a tie, (n_rows,); none in data of another type."""
        if self.type != "preference":
            return np.zeros(len(self), dtype=np.bool_)
        return self.frame["tie"].to_numpy(dtype=np.bool_)

    @cached_property
    def ids(self) -> list[str]:
        """The column ``id``."""
        ids: list[str] = self.frame["id"].tolist()
        return ids

    def outputs(self) -> tuple[Side, ...]:
        """The responses of a table by side: chosen, rejected; output; or output_0, output_1, ...

        Rows of rankings and samples may have responses of different number: row `i` takes part in
        ``output_j`` only if it has a `j`-th one.
        """
        return self._outputs

    @cached_property
    def _outputs(self) -> tuple[Side, ...]:
        """Kept, for a million texts of a column of Arrow's are a million new objects each time."""
        frame, every = self.frame, np.arange(len(self))
        prompts = frame["prompt"].tolist()
        if self.type == "preference":
            others = frame[self.rejected_prompt].tolist()
            better, worse = np.where(self.tied, 0.0, 1.0), np.zeros(len(self))
            return (
                Side("chosen", every, prompts, frame["chosen"].tolist(), better),
                Side("rejected", every, others, frame["rejected"].tolist(), worse),
            )
        label = {"rating": "rating", "unpaired": "label"}.get(self.type)
        if label is not None:
            level = frame[label].to_numpy(dtype=np.float64)
            return (Side("output", every, prompts, frame["output"].tolist(), level),)
        if "outputs" not in frame:
            return ()
        lists = frame["outputs"].tolist()
        ranks = frame["ranking"].tolist() if self.type == "ranking" else None
        longest = max(map(len, lists), default=0)
        having: list[list[int]] = [[] for _ in range(longest)]  # rows with a j-th response
        for i, each in enumerate(lists):
            for rows in having[: len(each)]:
                rows.append(i)
        sides = []
        for j, rows in enumerate(having):
            known = [np.nan] * len(rows) if ranks is None else [-float(ranks[i][j]) for i in rows]
            sides.append(
                Side(
                    f"output_{j}",
                    np.array(rows, dtype=np.int64),
                    [prompts[i] for i in rows],
                    [lists[i][j] for i in rows],
                    np.array(known, dtype=np.float64),
                )
            )
        return tuple(sides)

    def pairs(self) -> RowPairs | None:
        """The pair of a preference row, best and worst of a ranking; None for other data."""
        if self.type == "preference":
            chosen, rejected = (side.texts for side in self.outputs())
            return RowPairs(chosen, rejected, self.tied)
        if self.type != "ranking":
            return None
        frame = self.frame
        lists = list(zip(frame["outputs"].tolist(), frame["ranking"].tolist(), strict=True))
        return RowPairs(
            [texts[int(np.argmin(ranks))] for texts, ranks in lists],
            [texts[int(np.argmax(ranks))] for texts, ranks in lists],
            np.array([min(ranks) == max(ranks) for _, ranks in lists], dtype=np.bool_),
        )

    @cached_property
    def strength(self) -> NDArray[np.float64] | None:
        """How strongly the chosen response of each pair is preferred, (n_rows,): 0 or above.

        NaN where a row does not say; None where no column does, or its numbers have a sign.
        """
        for name in STRENGTH if self.type == "preference" else ():
            if name in self.frame and pd.api.types.is_numeric_dtype(self.frame[name]):
                values = self.frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
                if not (values < 0).any() and np.isfinite(values).any():
                    return np.where(np.isfinite(values), values, np.nan)
        return None

    def columns(self, *names: str) -> bool:
        """Whether all of these columns are there."""
        return all(name in self.frame for name in names)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.integer[Any]]) -> Dataset:
        """The same data on some rows (boolean mask or positions), in that order."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
        return replace(self, frame=self.frame.iloc[positions].reset_index(drop=True))
