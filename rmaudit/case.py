"""The inputs of one audit, checked and bound together."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rmaudit.data.fields import field_names
from rmaudit.data.types import Dataset
from rmaudit.rewards.base import RewardModel, Signal, leaves
from rmaudit.scoring.requests import Request, Scores, data_requests

NEW_TEXT = "a model that can score new text (--model recorded cannot)"
BEYOND_QUICK = "more texts than --profile quick allows (4 per pair)"


class FurtherScores(Protocol):
    """What scores texts after the pass."""

    def __call__(self, requests: Sequence[Request], model: RewardModel | None = None) -> Scores:
        """The columns of these requests; `model`: by another than the audited one."""


@dataclass(frozen=True)
class Case:
    """One audit's inputs. `model` is the audited one; `ensemble` are further members."""

    model: RewardModel
    eval: Dataset
    feedback: Dataset | None = None
    deployment: Dataset | None = None
    samples: Dataset | None = None
    ensemble: tuple[RewardModel, ...] = ()
    gold: RewardModel | None = None
    seed: int = 0
    resamples: int = 2000
    confidence: float = 0.95
    embedder: str = "tfidf"  # what the coverage audits embed texts with
    example_limit: int = 5
    probe_paths: tuple[Path, ...] = ()  # further folders of probe suites
    search_texts: int = 1000  # that a search for what fools the model may score; 0: no search
    reference: str | None = None  # the column with the reference answer, where it is named
    # What the model's rewards claim, where it is not what the model says of itself (see `signal`).
    told_signal: Signal | None = None
    # Scores texts after the pass, for searches (see `rmaudit.scoring.further`); None: cannot.
    score: FurtherScores | None = None
    frugal: bool = False  # no text beyond the data's own may be asked for (`--profile quick`)

    def rng(self, purpose: str) -> np.random.Generator:
        """Randomness of its own for each purpose, so that audits do not disturb one another."""
        return np.random.default_rng([self.seed, zlib.crc32(purpose.encode())])

    @property
    def signal(self) -> Signal:
        """The kind of the audited signal: declared, or inferred from the rewards."""
        return self.model.signal if self.told_signal is None else self.told_signal

    @property
    def new_text(self) -> bool:
        """Whether an audit may ask for rewards of texts beyond the evaluation data's own."""
        return self.model.scores_new_text and not self.frugal

    @property
    def new_text_needs(self) -> str:
        """What it takes to ask for them, where an audit may not."""
        return BEYOND_QUICK if self.frugal and self.model.scores_new_text else NEW_TEXT

    @property
    def inputs(self) -> dict[str, Dataset]:
        """The data sets that were given, by the name of their option."""
        given = {
            "eval": self.eval,
            "feedback": self.feedback,
            "deployment": self.deployment,
            "samples": self.samples,
        }
        return {name: data for name, data in given.items() if data is not None}

    @cached_property
    def reads_rows(self) -> bool:
        """Whether the model's rewards hang on further columns of the evaluation data.

        Such a model cannot reward texts that belong to no row of it.
        """
        names = field_names(self.eval)
        return any(leaf.columns(names) for leaf in leaves(self.model))

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Prompt (or group) codes of the evaluation rows, (n_rows,)."""
        return self.eval.clusters

    @cached_property
    def data_requests(self) -> tuple[Request, ...]:
        """The evaluation data's own texts, one column per side."""
        return tuple(data_requests(self.eval, "eval"))

    @property
    def gold_requests(self) -> list[Request]:
        """What the gold reward model is to score: the samples, if there is one."""
        if self.gold is None or self.samples is None:
            return []
        return data_requests(self.samples, "samples")
