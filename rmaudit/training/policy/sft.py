"""Supervised fine-tuning: maximum likelihood of demonstrations. What RL starts from, pi_pre."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.run import Measure, PolicyRun
from rmaudit.training.policy.settings import SftConfig
from rmaudit.typing import Integers


def train_sft(
    policy: CausalPolicy,
    prompts: Sequence[Tokens],
    outputs: Sequence[Tokens],
    config: SftConfig,
    out: Path,
    *,
    measure: Measure | None = None,
) -> Path:
    """Raise the likelihood of `outputs[i]` given `prompts[i]`; the policy is changed in place.

    Parameters
    ----------
    policy
        What is trained.
    prompts, outputs
        Demonstrations as ids; an output carries its end token, so that ending is learnt too.
    config
        Settings; `config.batch` demonstrations a step, drawn without replacement in each epoch.
    out
        The folder of the run; the same call resumes it.
    measure
        See `train_dpo`.

    Returns
    -------
    The log: step, loss (nats per token, of the outputs alone; lower is better), and what `measure`
    gives.
    """
    run = PolicyRun("sft", policy, config, out, [*prompts, *outputs])
    for step in run.steps():
        record = dict(measure(policy)) if measure is not None and run.is_measured(step) else {}
        if step == config.steps:
            if record:
                run.log(step, **record)
            continue
        rows = epoch_rows(len(prompts), config.batch, step, config.seed)
        own = run.parallel.part(rows)
        # The mean over tokens, not over sequences: a long demonstration counts for its length.
        tokens = sum(len(outputs[i]) for i in rows) / run.parallel.size
        losses = (
            -policy.log_probs(
                policy.pack([prompts[i] for i in own[cut]], [outputs[i] for i in own[cut]])
            ).sum()
            / tokens
            for cut in run.cuts(len(own))
        )
        run.log(step, **record, loss=run.update(losses))
    return run.log_path


@torch.inference_mode()
def negative_log_likelihood(
    policy: CausalPolicy, prompts: Sequence[Tokens], outputs: Sequence[Tokens], batch: int = 256
) -> float:
    """Nats a token of outputs given prompts; lower is better. Its rise over RL is alignment tax."""
    total, count = 0.0, 0
    for start in range(0, len(prompts), batch):
        part = policy.pack(prompts[start : start + batch], outputs[start : start + batch])
        total -= float(policy.log_probs(part).double().sum())
        count += int(part.mask.sum())
    return total / count


def epoch_rows(n: int, batch: int, step: int, seed: int) -> Integers:
    """Rows of a step: every row once an epoch, in an order that follows from the step."""
    steps_per_epoch = -(-n // batch)
    epoch, position = divmod(step, steps_per_epoch)
    order = np.random.default_rng([seed, epoch, 2]).permutation(n)
    return order[position * batch : (position + 1) * batch]
