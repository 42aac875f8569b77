"""Best of n on data: outputs of a policy with their rewards, in a file that `overopt` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rmaudit.data.types import Dataset, Prompt
from rmaudit.errors import UsageError
from rmaudit.rewards.base import RewardModel
from rmaudit.training.checkpoint import open_run
from rmaudit.training.policy.best_of_n import Pool, sample_pool
from rmaudit.training.policy.model import Tokens
from rmaudit.training.policy.reward import ModelReward
from rmaudit.training.policy.run import tokens_digest, weights_digest
from rmaudit.training.policy.text import TextPolicy
from rmaudit.training.policy.train import distinct_prompts

SAMPLES = "samples.jsonl"
SAMPLED_TOGETHER = 128  # outputs, of whole prompts, between two writes


def sample_policy(
    text_policy: TextPolicy,
    data: Dataset,
    out: str | Path,
    n: int,
    seed: int,
    *,
    reward: RewardModel,
    gold: RewardModel | None = None,
) -> Path:
    """Best of n: `n` outputs of every distinct prompt with their rewards, and the best of them.

    The same call goes on where a killed one stopped, to the same file.

    Returns
    -------
    ``out/samples.jsonl``, one prompt a line: prompt, outputs, proxy_rewards, gold_rewards (if
    there is a gold) and best, the position of the output that the proxy prefers.
    `rmaudit overopt --samples` draws the curve of it.

    Raises
    ------
    UsageError
        If `out` holds samples of another policy, for other prompts or with other settings, or n is
        not positive.
    RewardModelError
        If a proxy reward is not finite.
    """
    if n < 1:
        raise UsageError(f"n must be positive, not {n}")
    prompts = distinct_prompts(data)
    encoded = [text_policy.encode_prompt(prompt) for prompt in prompts]
    open_run(Path(out), _identity(text_policy, encoded, n, seed, reward, gold))
    path = Path(out) / SAMPLES
    together = max(SAMPLED_TOGETHER // n, 1)  # prompts
    lines = _whole_lines(path)
    if len(lines) < len(prompts):
        lines = lines[: len(lines) // together * together]
    path.write_text("".join(lines), encoding="utf-8")
    for start in range(len(lines), len(prompts), together):
        some = slice(start, start + together)
        generator = torch.Generator(text_policy.policy.device)
        generator.manual_seed(int(np.random.default_rng([seed, start]).integers(2**62)))
        rewards = ModelReward(reward, prompts[some], text_policy.decode, gold=gold)
        pool = sample_pool(text_policy.policy, rewards, encoded[some], n, generator)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(_records(prompts[some], pool, text_policy))
    return path


def _identity(
    text_policy: TextPolicy,
    encoded: Sequence[Tokens],
    n: int,
    seed: int,
    reward: RewardModel,
    gold: RewardModel | None,
) -> dict[str, Any]:
    policy = text_policy.policy
    settings = {
        "n": n,
        "seed": seed,
        "max_new_tokens": policy.max_new_tokens,
        "temperature": policy.temperature,
        "reward": reward.fingerprint,
        "gold": None if gold is None else gold.fingerprint,
    }
    weights = weights_digest(policy.model.parameters())
    return {
        "method": "bon",
        "settings": settings,
        "weights": weights,
        "data": tokens_digest(encoded),
    }


def _whole_lines(path: Path) -> list[str]:
    """Lines of a file, but the one that a kill left without its end."""
    if not path.is_file():
        return []
    return [line + "\n" for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def _records(prompts: Sequence[Prompt], pool: Pool, text_policy: TextPolicy) -> list[str]:
    lines = []
    for row, prompt in enumerate(prompts):
        record: dict[str, Any] = {
            "prompt": prompt,
            "outputs": [text_policy.decode(row, ids) for ids in pool.outputs[row]],
            "proxy_rewards": pool.proxy[row].tolist(),
            "best": int(pool.proxy[row].argmax()),
        }
        if pool.gold is not None:
            record["gold_rewards"] = pool.gold[row].tolist()
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    return lines
