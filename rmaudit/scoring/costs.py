"""What each audit costs: texts, tokens and searches, known before the first forward pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rmaudit.scoring.batches import ModelPass


@dataclass(frozen=True, slots=True)
class AuditCost:
    """One audit's part of a pass, summed over the models that score.

    Parameters
    ----------
    audit
        Its name; "" for the data's own texts, which every audit needs.
    texts
        Distinct texts that none before it (the data, then audits in page order) asks for.
    to_score
        Those of them that the store does not hold.
    tokens
        Estimated, of the texts to score and of searches, in the model's unit of length.
    searches
        Most texts that its searches may ask for afterwards.
    """

    audit: str
    texts: int
    to_score: int
    tokens: int
    searches: int = 0

    @property
    def most(self) -> int:
        """Texts to score, searches included."""
        return self.to_score + self.searches


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
