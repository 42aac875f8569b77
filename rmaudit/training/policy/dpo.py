r"""Direct preference optimisation: the tilted policy fitted to preferences, without a reward model.

Rafailov et al. 2023 (arXiv 2305.18290). The tilted policy of a reward determines that reward up to
a constant a prompt, :math:`\beta \log \pi/\pi_{ref}`: Bradley-Terry on this implicit reward trains
the policy. The implicit reward is a reward like any other and is audited as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from rmaudit.training.policy.log import sequence_log_ratio
from rmaudit.training.policy.model import CausalPolicy, Tokens
from rmaudit.training.policy.run import Measure, PolicyRun
from rmaudit.training.policy.settings import DpoConfig
from rmaudit.training.policy.sft import epoch_rows
from rmaudit.training.reward.losses import bradley_terry_smoothed
from rmaudit.typing import Integers


def train_dpo(
    policy: CausalPolicy,
    prompts: Sequence[Tokens],
    chosen: Sequence[Tokens],
    rejected: Sequence[Tokens],
    config: DpoConfig,
    out: Path,
    *,
    reference: CausalPolicy | None = None,
    measure: Measure | None = None,
) -> Path:
    """Fit the policy to preferences; it is changed in place.

    Parameters
    ----------
    policy
        What is trained.
    prompts, chosen, rejected
        Pairs, as ids; outputs carry their end tokens.
    config, out, reference, measure
        See `train_ppo`. A `rmaudit.training.policy.log.sampled` measure logs KL, rewards, length
        and entropy, for which DPO itself draws no samples.

    Returns
    -------
    The log: step, loss (nats per pair), accuracy (share of pairs whose implicit reward is right),
    margin (of implicit rewards), and what `measure` gives.
    """
    reference = reference or policy.frozen()
    run = PolicyRun("dpo", policy, config, out, [*prompts, *chosen, *rejected])
    for step in run.steps():
        record = dict(measure(policy)) if measure is not None and run.is_measured(step) else {}
        if step == config.steps:
            run.log(step, **record)
            continue
        rows = epoch_rows(len(prompts), config.batch, step, config.seed)
        own, pairs = run.parallel.part(rows), len(rows) / run.parallel.size
        totals = {"accuracy": 0.0, "margin": 0.0}

        def losses(own: Integers = own, pairs: float = pairs) -> Iterator[Tensor]:
            for cut in run.cuts(len(own)):
                both = policy.pack(
                    [prompts[i] for i in own[cut]] * 2,
                    [chosen[i] for i in own[cut]] + [rejected[i] for i in own[cut]],
                )
                with torch.no_grad():
                    reference_log_probs = reference.log_probs(both)
                ratio = sequence_log_ratio(policy.log_probs(both), reference_log_probs)
                good, bad = (config.beta * ratio).chunk(2)  # implicit rewards, one per pair
                margin = (good - bad).detach()
                correct = ((margin > 0) + 0.5 * (margin == 0)).double()
                totals["accuracy"] += float(correct.sum()) / pairs  # noqa: B023 - used at once
                totals["margin"] += float(margin.sum()) / pairs  # noqa: B023
                yield bradley_terry_smoothed(good, bad, config.label_smoothing).sum() / pairs

        value = run.update(losses())
        run.log(step, **record, loss=value, **totals)
    return run.log_path


@torch.inference_mode()
def implicit_reward(
    policy: CausalPolicy,
    reference: CausalPolicy,
    prompts: Sequence[Tokens],
    outputs: Sequence[Tokens],
    beta: float,
) -> Tensor:
    """``beta log pi/pi_ref`` of outputs, (n,): a reward up to a constant a prompt."""
    rollout = policy.pack(prompts, outputs)
    return beta * sequence_log_ratio(policy.log_probs(rollout), reference.log_probs(rollout))
