"""What a benchmark's official number does not show of the rewards behind it."""

from __future__ import annotations

import numpy as np

from rmaudit.results import Finding
from rmaudit.rewards.base import does_not_apply
from rmaudit.suites.base import Suite
from rmaudit.suites.measures import Pairs
from rmaudit.suites.scored import Scored

MOST_TIES = 0.05  # of the pairs, beyond which the official rule decides more than the model


def findings(suite: Suite, scored: Scored) -> list[Finding]:
    """Missing rewards, rewards that do not apply, and ties: what the official number hides."""
    raised = []
    rewards = np.concatenate([r for r in scored.rewards if r.size] or [np.zeros(0)])
    broken = int((~np.isfinite(rewards) & ~does_not_apply(rewards)).sum())
    if broken:
        raised.append(
            Finding(
                "high",
                suite.key,
                f"{suite.key}.nonfinite_share",
                f"Non-finite rewards: {broken:,} of {rewards.size:,}",
                f"{broken:,} of {rewards.size:,} rewards are missing or not finite. The official "
                "rule counts what is compared with them as lost; accuracy leaves it out.",
            )
        )
    inapplicable = int(does_not_apply(rewards).sum())
    if inapplicable:
        raised.append(
            Finding(
                "medium",
                suite.key,
                f"{suite.key}.accuracy",
                f"The reward does not apply to {inapplicable:,} of {rewards.size:,} responses",
                "It is None for them. The official rule counts what is compared with them as lost; "
                "accuracy leaves it out.",
            )
        )
    pairs = Pairs.of(scored)
    known = pairs.known
    ties = float((pairs.better == pairs.worse)[known].mean()) if known.any() else 0.0
    if ties > MOST_TIES:
        raised.append(
            Finding(
                "medium",
                suite.key,
                f"{suite.key}.tie_rate",
                f"Ties: {ties:.1%} of the pairs get equal rewards",
                "The official rule counts them as lost, so that its number mixes coarse rewards "
                "with wrong ones; the averages with ties one half and the pairwise accuracy do "
                "not.",
            )
        )
    return raised
