"""Iterated RLHF: sample, label, retrain the reward, continue with the policy; again.

A reward model is only as good as its data, and the policy that it trains leaves that data behind.
Labels on what the policy now does bring the two together again (Bai et al. 2022, arXiv 2204.05862,
Section 4.5). Every round:

1. the policy as it stands answers prompts twice;
2. somebody says which answer is better;
3. a reward model is trained on the labels of all rounds so far, from the same base;
4. PPO goes on from the policy as it stands. The KL penalty is against the very first policy, so
   that rounds do not add up to an unbounded drift.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from rmaudit.data.types import Dataset, Prompt, Source
from rmaudit.errors import UsageError
from rmaudit.rewards import RewardModel, Text, load_reward_model
from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.ppo import train_ppo
from rmaudit.training.policy.reward import Decode, ModelReward, score
from rmaudit.training.policy.run import choose_prompts
from rmaudit.training.policy.settings import IterationConfig
from rmaudit.training.reward.train import train_reward_model

PAIRS = "pairs.jsonl"
ROUNDS = "rounds.jsonl"
LOGGED = ("kl_k1", "kl_k3", "proxy", "gold", "length", "entropy", "disagreement")
Label = Callable[[Sequence[Text], Sequence[Text], np.random.Generator], NDArray[np.bool_]]
"""Whoever prefers: first and second answers -> whether the first is better, (n,)."""


@dataclass(frozen=True)
class Prompts:
    """What is asked: as tokens, as texts, and how outputs become texts."""

    tokens: Sequence[Tokens]
    texts: Sequence[Prompt]
    decode: Decode


def bradley_terry_labels(gold: RewardModel) -> Label:
    """Labels drawn from Bradley-Terry on a gold reward model."""

    def label(
        first: Sequence[Text], second: Sequence[Text], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        margin = score(gold, first) - score(gold, second)
        return np.asarray(rng.logistic(size=len(margin)) < margin)

    return label


def iterate_rlhf(
    policy: CausalPolicy,
    prompts: Prompts,
    label: Label,
    base: str | Path,
    config: IterationConfig,
    out: str | Path,
    *,
    gold: RewardModel | None = None,
) -> Path:
    """Train a policy in place over several rounds; the same call, on the first weights, resumes.

    Parameters
    ----------
    policy
        The first policy, which is also what the KL is measured against in every round.
    prompts
        What is asked.
    label
        Who prefers.
    base
        What each round's reward model is trained from.
    config
        Settings.
    out
        Folder: `round_0`, `round_1`, ... each with `pairs.jsonl`, `reward/` and `policy/`.
    gold
        Logged beside the proxy, never optimised.

    Returns
    -------
    ``out/rounds.jsonl``, a record a round: round, pairs (in all), reward_accuracy (held out),
    stale_accuracy (of the round before's reward model on the labels of this round's samples: falls
    where the policy has left the data), and kl_k1, proxy, gold, length of the policy at its end.
    """
    out = Path(out)
    reference = policy.frozen()
    frames: list[pd.DataFrame] = []
    records: list[dict[str, Any]] = []
    reward: RewardModel | None = None
    for number in range(config.rounds):
        folder = out / f"round_{number}"
        pairs = _labelled(policy, prompts, label, config, number, folder)
        stale = None if reward is None else _accuracy(reward, pairs)
        frames.append(pairs)
        data = _dataset(frames, folder)
        done = train_reward_model(base, data, folder / "reward", config=config.reward)
        reward = load_reward_model(folder / "reward", device=config.reward.device)
        log = train_ppo(
            policy,
            ModelReward(reward, prompts.texts, prompts.decode, gold=gold),
            prompts.tokens,
            config.policy.but(seed=config.policy.seed + number),
            folder / "policy",
            reference=reference,
        )
        last = json.loads(log.read_text(encoding="utf-8").splitlines()[-1])
        accuracy = float(np.mean([member.held_out_accuracy for member in done.members]))
        record: dict[str, Any] = {"round": number, "pairs": len(data), "reward_accuracy": accuracy}
        record |= {"stale_accuracy": stale, **{key: last[key] for key in LOGGED if key in last}}
        records.append({key: value for key, value in record.items() if value is not None})
        lines = "".join(json.dumps(record) + "\n" for record in records)
        (out / ROUNDS).write_text(lines, encoding="utf-8")
    return out / ROUNDS


def _labelled(
    policy: CausalPolicy,
    prompts: Prompts,
    label: Label,
    config: IterationConfig,
    number: int,
    folder: Path,
) -> pd.DataFrame:
    """Two answers to each of some prompts, and who won: read back where they were drawn before.

    Two equal answers are no pair: they are drawn again a few times, and left out if they stay so.
    """
    path = folder / PAIRS
    if path.is_file():
        return pd.read_json(path, lines=True, orient="records", dtype=False)
    rng = np.random.default_rng([config.seed, number])
    generator = torch.Generator(policy.device).manual_seed(int(rng.integers(2**62)))
    chosen = choose_prompts(len(prompts.tokens), config.pairs, rng)
    sides = [_answers(policy, prompts, chosen, generator) for _ in range(2)]
    for _ in range(3):
        same = np.array([a == b for a, b in zip(*sides, strict=True)])
        again = _answers(policy, prompts, chosen[same], generator) if same.any() else []
        for row, text in zip(np.flatnonzero(same), again, strict=True):
            sides[1][row] = text
    differ = [a != b for a, b in zip(*sides, strict=True)]
    first, second = ([t for t, d in zip(side, differ, strict=True) if d] for side in sides)
    wins = label(first, second, rng)
    rows = [
        {
            "prompt": a.prompt,
            "chosen": (a if won else b).output,
            "rejected": (b if won else a).output,
        }
        for a, b, won in zip(first, second, wins, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "chosen", "rejected"])
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(PAIRS + ".new")
    frame.to_json(unfinished, orient="records", lines=True, force_ascii=False)
    unfinished.replace(path)
    return frame


def _answers(
    policy: CausalPolicy,
    prompts: Prompts,
    chosen: NDArray[np.int64],
    generator: torch.Generator,
    batch: int = 256,
) -> list[Text]:
    answers = []
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        rollout, _ = policy.sample([prompts.tokens[i] for i in part], generator)
        answers += [
            Text(prompts.texts[i], prompts.decode(int(i), ids))
            for i, ids in zip(part, rollout.outputs, strict=True)
        ]
    return answers


def _accuracy(reward: RewardModel, pairs: pd.DataFrame) -> float:
    """Share of pairs that a reward ranks as labelled; equal rewards count one half."""
    chosen, rejected = (
        score(reward, [Text(p, o) for p, o in zip(pairs["prompt"], pairs[side], strict=True)])
        for side in ("chosen", "rejected")
    )
    return float(((chosen > rejected) + 0.5 * (chosen == rejected)).mean())


def _dataset(frames: Sequence[pd.DataFrame], folder: Path) -> Dataset:
    """The labels of all rounds as preference data."""
    frame = pd.concat(frames, ignore_index=True)
    if not len(frame):
        raise UsageError(f"{folder}: the policy gave the same answer twice to every prompt")
    frame = frame.assign(
        id=[str(i) for i in range(len(frame))], row=np.arange(1, len(frame) + 1), tie=False
    )
    n = len(frame)
    return Dataset("preference", frame, Source(str(folder / PAIRS), "", n, n, 0))
