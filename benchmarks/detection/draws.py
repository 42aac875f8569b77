"""Texts, sound scores and labels of one draw of a world.

The sound score is in log-odds and the labels are Bradley-Terry draws from it, so that the sound
reward ranks right as often as its margins claim, and no surface attribute is paid for but through
what the labels prefer too. On two prompts in five it hardly tells the outputs apart: there an
honest ensemble disagrees.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from stress import plain

import rmaudit as rma
from rmaudit.data.types import prompt_text
from rmaudit.worlds.clinic.world import ClinicWorld

Floats = NDArray[np.float64]
SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
FILES = (
    "hh_rlhf/train.jsonl.gz",
    "hh_rlhf/test.jsonl.gz",
    "rmb/pairs_helpfulness.jsonl.gz",
    "rmb/pairs_harmlessness.jsonl.gz",
)
LONGEST = 1_500  # characters of an output
LARGEST = 2_000  # evaluation pairs that leave enough for the feedback
EASY, HARD = 3.0, 0.2  # what the score of a prompt is multiplied with
SAMPLES = 8  # a prompt, of a policy


@dataclass(frozen=True)
class Draw:
    """Pairs with labels, and what a sound reward gives each of their outputs."""

    pairs: pd.DataFrame  # prompt, chosen, rejected, subset
    quality: dict[tuple[str, str], float]  # by prompt and output, log-odds

    @property
    def sd(self) -> float:
        """Of the sound score within a prompt, pooled."""
        margins = [
            self.quality[prompt, chosen] - self.quality[prompt, rejected]
            for prompt, chosen, rejected in self.keys()
        ]
        return float(np.sqrt(np.mean(np.square(margins)) / 2))

    def keys(self) -> list[tuple[str, str, str]]:
        """Prompt as text, chosen and rejected, by row."""
        columns = (self.pairs["prompt"].map(prompt_text), self.pairs["chosen"])
        return list(zip(*columns, self.pairs["rejected"], strict=True))


@lru_cache(maxsize=4)
def draw(world: str, pairs: int, seed: int, part: str, data: Path = SHARED) -> Draw:
    """Evaluation data (part "eval"), or other rows of the same world ("feedback", ...)."""
    rng = np.random.default_rng([seed, zlib.crc32(part.encode())])
    if world == "clinic":
        return clinic(pairs, rng)
    every = real_pairs(data)
    order = np.random.default_rng(seed).permutation(len(every))
    # One pair a prompt, from either end of one order: no prompt is in both.
    rows = order[:pairs] if part == "eval" else order[-min(pairs, len(every) - LARGEST) :]
    return labelled(every.iloc[rows].reset_index(drop=True), rng)


def clinic(pairs: int, rng: np.random.Generator) -> Draw:
    """Deployment contexts of the clinic; each output also names a number of minutes."""
    world = clinic_world()
    frame = world.draw_evaluation(pairs, rng)
    minutes = rng.integers(10, 90, size=(pairs, 2))
    for side, name in enumerate(("chosen", "rejected")):
        said = [f" It will take {m} minutes, from {m + 100} on." for m in minutes[:, side]]
        frame[name] = frame[name] + said
        frame[f"q_{name}"] = world.true_reward(
            frame["context"].to_numpy(), frame[f"{name}_output"].to_numpy()
        )
    return labelled(frame, rng)


@lru_cache(maxsize=1)
def clinic_world() -> ClinicWorld:
    """The clinic."""
    return ClinicWorld(0)


def labelled(frame: pd.DataFrame, rng: np.random.Generator) -> Draw:
    """Labels drawn from the sound scores, in columns q_chosen and q_rejected."""
    frame = frame.copy()
    factor = np.array([HARD if hard(prompt_text(p)) else EASY for p in frame["prompt"]])
    quality: dict[tuple[str, str], float] = {}
    prompts = frame["prompt"].map(prompt_text).tolist()
    for name in ("chosen", "rejected"):
        scores = (frame[f"q_{name}"].to_numpy() * factor).tolist()
        for prompt, output, score in zip(prompts, frame[name], scores, strict=True):
            quality.setdefault((prompt, output), score)
    sides = frame[["chosen", "rejected"]].to_numpy()
    scores = np.array(
        [[quality[p, text] for text in row] for p, row in zip(prompts, sides, strict=True)]
    )
    other = rng.random(len(frame)) < 1 / (1 + np.exp(scores[:, 0] - scores[:, 1]))
    sides[other] = sides[other][:, ::-1]
    frame["chosen"], frame["rejected"] = sides[:, 0], sides[:, 1]
    return Draw(frame[["prompt", "chosen", "rejected", "subset"]].reset_index(drop=True), quality)


def hard(prompt: str) -> bool:
    """Whether the outputs of a prompt are hard to tell apart: two prompts in five."""
    return zlib.crc32(prompt.encode("utf-8", "surrogatepass")) % 5 < 2


@lru_cache(maxsize=1)
def real_pairs(data: Path) -> pd.DataFrame:
    """HH-RLHF and RMB texts, and sound scores of them: taste in words, a little length, and luck.

    The labels of the sources are left aside: what is sound must be known.
    """
    parts = []
    for file in FILES:
        source, part = file.split("/")
        frame = rma.load(data / file).frame
        same = np.ones(len(frame), dtype=bool)
        if "prompt_rejected" in frame:
            own = frame["prompt"].map(prompt_text)
            same = (own == frame["prompt_rejected"].map(prompt_text)).to_numpy()
        if source == "rmb":
            frame["subset"] = part.removeprefix("pairs_").removesuffix(".jsonl.gz")
        frame["subset"] = f"{source} " + frame["subset"].astype(str)
        parts.append(frame.loc[same, ["prompt", "chosen", "rejected", "subset"]])
    frame = pd.concat(parts, ignore_index=True)
    sides = ("chosen", "rejected")
    kept = frame["prompt"].map(prompt_text).ne("")
    for side in sides:
        kept &= frame[side].str.len().le(LONGEST) & frame[side].str.split().str.len().ge(4)
    kept &= frame["chosen"].map(plain) != frame["rejected"].map(plain)
    frame = frame[kept].sample(frac=1, random_state=0)
    frame = frame[~frame["prompt"].map(prompt_text).duplicated()].reset_index(drop=True)
    texts = list(dict.fromkeys(frame["chosen"].tolist() + frame["rejected"].tolist()))
    score = dict(zip(texts, tastes(texts).tolist(), strict=True))
    for side in sides:
        frame[f"q_{side}"] = frame[side].map(score)
    return frame


def tastes(texts: list[str]) -> Floats:
    """One sound score a text, standard deviation 1.5; fixed by the texts."""
    words = [set(plain(text)) for text in texts]
    known = Counter(word for each in words for word in each)
    common = [word for word, count in known.items() if count >= len(texts) / 200]
    rng = np.random.default_rng(0)
    worth = {
        word: float(w) for word, w in zip(sorted(common), rng.normal(size=len(common)), strict=True)
    }
    taste = np.array([sum(worth.get(word, 0.0) for word in sorted(each)) for each in words])
    length = np.log2([len(text) for text in texts])
    luck = rng.normal(size=len(texts))
    parts = [part / part.std() for part in (taste - taste.mean(), length - length.mean(), luck)]
    score = parts[0] + 0.3 * parts[1] + 0.7 * parts[2]
    return np.asarray(1.5 * score / score.std())
