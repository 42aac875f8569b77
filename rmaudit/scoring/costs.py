"""What each audit costs: texts, tokens and searches, known before the first forward pass."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rmaudit.rewards.base import RewardModel
from rmaudit.scoring.batches import ModelPass
from rmaudit.scoring.requests import AuditCost, Cost
from rmaudit.scoring.store_types import Cards

FEWEST_TEXTS = 50  # of a pass, from which its speed is kept


def by_audit(passes: Sequence[ModelPass], searches: Mapping[str, int]) -> list[AuditCost]:
    """The cost of each audit, in the order in which they ask.

    Parameters
    ----------
    passes
        As planned, before anything is scored.
    searches
        By audit, the most texts that it may ask for after the pass.
    """
    costs: dict[str, AuditCost] = {}
    for each in passes:
        audits, scored = each.asked_by(), each.missing_by()
        characters = max(sum(scored_of for _, scored_of in scored.values()), 1)
        per_character = each.estimate() / characters
        for audit, texts in audits.items():
            count, length = scored.get(audit, (0, 0))
            old = costs.get(audit, AuditCost(audit, 0, 0, 0))
            costs[audit] = replace(
                old,
                texts=old.texts + texts,
                to_score=old.to_score + count,
                tokens=old.tokens + round(per_character * length),
            )
    missing = sum(cost.to_score for cost in costs.values())
    mean = sum(cost.tokens for cost in costs.values()) / max(missing, 1)
    for audit, most in searches.items():
        if most:  # texts of a search are as long as the others
            old = costs.get(audit, AuditCost(audit, 0, 0, 0))
            tokens = old.tokens + round(mean * most)
            costs[audit] = replace(old, searches=most, tokens=tokens)
    return list(costs.values())


def keep_speed(model: RewardModel, cost: Cost, store: Cards) -> None:
    """Keep how fast a pass was on this machine, so that the next audit's time can be told."""
    if cost.texts_scored >= FEWEST_TEXTS and cost.seconds > 0 and model.fingerprint:
        store.keep_card(_speed_key(model), {"per_second": cost.tokens / cost.seconds})


def speed_of(model: RewardModel, store: Cards) -> float | None:
    """Tokens (or characters) per second of this model's last pass here; None if none is known."""
    kept = (store.card(_speed_key(model)) or {}).get("per_second")
    return float(kept) if isinstance(kept, int | float) and kept > 0 else None


def _speed_key(model: RewardModel) -> str:
    return f"speed:{model.fingerprint}:{platform.node()}"
