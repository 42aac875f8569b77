"""JudgeBench: pairs with an objectively correct response, for judges and reward models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rmaudit.suites.base import Suite, register_suite
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.scored import NO_ROWS, Number, Official, Scored

CATEGORIES = ("mmlu-pro", "livebench-reasoning", "livebench-math", "livecodebench")
LABELS = ("A>B", "B>A")
_TURNED = {"A>B": "B>A", "B>A": "A>B"}
_SECOND = "no judgment in the second order"
Decisions = tuple[str | None, ...]  # in the first and, where there is one, the second order


@register_suite
class JudgeBench(Suite):
    """JudgeBench."""

    name, title, order = "judgebench", "JudgeBench", 60
    question = "Is the correct response preferred, whichever is shown first?"
    rule = (
        "Two orders: each gives +1 if correct, -1 if wrong, 0 for a tie or no verdict; a pair is "
        "won if the sum is positive. Single order: won if the first decision equals the label. A "
        "scalar reward decides A>B if A's is larger, else B>A."
    )
    quirks = (
        "A pair that is judged correctly once and without verdict once is won.",
        "In the single order a tie or NaN of a scalar reward is won exactly when the label is "
        "B>A; in two orders it is never won.",
        "overall pools all pairs, those of other sources too.",
    )
    source = "Tan et al. 2024, JudgeBench (arXiv 2410.12784); ScalerLab/JudgeBench"
    download = "the files in data/ (or outputs/) of github.com/ScalerLab/JudgeBench"
    recorded = "judgments[].judgment.scores or judgments[].decision"
    columns = (
        ("response_A", "response_B", "label", "source"),
        ("judgments", "label", "source"),
    )
    headlines = ("both.overall", "single.overall")
    presented = True

    def item(self, entry: Entry) -> Item:
        """One pair, with what judges said of it."""
        label = entry.text("label")
        if label not in LABELS:
            raise entry.fault(f"label {label!r:.40} is neither A>B nor B>A")
        texts = "response_A" in entry.row
        judgments = _judgments(entry)
        rewards = _scores(entry, judgments)
        key = str(entry.row.get("pair_id", entry.number))
        return Item(
            id=key,
            cluster=key,
            subset=entry.text("source"),
            prompt=entry.text("question") if texts else "",
            responses=(entry.text("response_A"), entry.text("response_B")) if texts else (),
            pairs=((0, 1),) if label == "A>B" else ((1, 0),),
            rewards=rewards,
            facts={"label": label, "decisions": _decisions(judgments, rewards)},
        )

    def recorded_by(self, entry: Entry) -> str | None:
        """The judge model of a row's first judgment."""
        first = (_judgments(entry) or [None])[0]
        judgment = (first or {}).get("judgment")
        model = judgment.get("judge_model") if isinstance(judgment, dict) else None
        return model if isinstance(model, str) else None

    def verdicts(self, item: Item) -> bool:
        """Whether the pair was judged at all."""
        return item.facts["decisions"] is not None

    def notes(self, scored: Scored) -> list[str]:
        """What was recorded in place of a verdict."""
        recorded = [d for item in scored.items for d in item.facts["decisions"] or ()]
        others = [d for d in recorded if d is not None and d not in (*LABELS, "A=B")]
        if not (scored.recorded and others):
            return []
        return [
            f"{len(others):,} of {len(recorded):,} decisions are neither A>B, B>A nor A=B (first: "
            f"{others[0]!r:.40}): they count as no verdict."
        ]

    def official(self, scored: Scored) -> Official:
        """Both protocols, by category and overall."""
        groups: dict[str, list[int]] = {name: [] for name in CATEGORIES}
        for place, item in enumerate(scored.items):
            for name in CATEGORIES:
                if item.subset.startswith(name):
                    groups[name].append(place)
        groups["overall"] = list(range(len(scored.items)))
        decided = [_decided(scored, place) for place in groups["overall"]]
        numbers = {f"single.{name}": _single(scored, at, decided) for name, at in groups.items()}
        if not any(len(decisions) > 1 for decisions in decided):
            return numbers | {f"both.{name}": Number.none(_SECOND) for name in groups}
        return numbers | {f"both.{name}": _both(scored, at, decided) for name, at in groups.items()}


def _judgments(entry: Entry) -> list[dict[str, Any] | None] | None:
    values = entry.row.get("judgments")
    if values is None:
        return None
    if not isinstance(values, list) or not all(v is None or isinstance(v, dict) for v in values):
        raise entry.fault("column 'judgments' must be a list of objects, each of which may be null")
    return values


def _scores(
    entry: Entry, judgments: Sequence[dict[str, Any] | None] | None
) -> tuple[float, ...] | None:
    """The rewards of A and B, where the first judgment has them."""
    first = (judgments or [None])[0]
    judgment = (first or {}).get("judgment")
    scores = judgment.get("scores") if isinstance(judgment, dict) else None
    if scores is None:
        return None
    return Entry({"scores": scores}, entry.file, entry.number).rewards("scores", 2)


def _decisions(
    judgments: Sequence[dict[str, Any] | None] | None, rewards: Sequence[float] | None
) -> Decisions | None:
    """What was decided in each order, as recorded."""
    if judgments is None:
        return None
    decisions: list[str | None] = [
        None if judgment is None else judgment.get("decision") for judgment in judgments[:2]
    ]
    if rewards is not None:
        replayed = _of_rewards(*rewards)
        decisions = [decisions[0] or replayed[0], *(decisions[1:] or replayed[1:])]
    return tuple(decisions)


def _of_rewards(first: float, second: float) -> tuple[str, str]:
    """What a scalar reward decides when A is shown first, and when B is."""
    return ("A>B" if first > second else "B>A"), ("A>B" if second > first else "B>A")


def _of_preference(first_is_better: float) -> str | None:
    """What a judge decides who gives the first response this probability; one half is a tie."""
    if math.isnan(first_is_better):
        return None
    return "A>B" if first_is_better > 0.5 else "B>A" if first_is_better < 0.5 else "A=B"


def _decided(scored: Scored, place: int) -> Decisions:
    recorded = scored.items[place].facts["decisions"]
    if scored.shown_first is not None:
        return tuple(map(_of_preference, scored.shown_first[place]))
    if scored.recorded:
        return (None,) if recorded is None else tuple(recorded)
    return _of_rewards(*scored.rewards[place])


def _single(scored: Scored, places: Sequence[int], decided: Sequence[Decisions]) -> Number:
    if not places:
        return Number.none(NO_ROWS)
    return scored.mean(places, [_won(scored, i, decided[i][:1]) for i in places])


def _both(scored: Scored, places: Sequence[int], decided: Sequence[Decisions]) -> Number:
    if not places:
        return Number.none(NO_ROWS)
    return scored.mean(places, [_won(scored, i, decided[i]) for i in places])


def _won(scored: Scored, place: int, decisions: Decisions) -> float:
    """Whether the votes for the label outnumber those against it; a tie of votes is lost."""
    item, rewards = scored.items[place], scored.rewards[place]
    label = item.facts["label"]
    if scored.fair and rewards.size:
        better, worse = item.pairs[0]
        return scored.win(rewards[better], rewards[worse])
    votes = _votes(label, decisions)
    if scored.fair:
        return (
            math.nan if all(d is None for d in decisions) else (1 + (votes > 0) - (votes < 0)) / 2
        )
    return float(votes > 0)


def _votes(label: str, decisions: Decisions) -> int:
    first, second = (*decisions, None, None)[:2]
    turned = _TURNED.get(second, second) if second is not None else None
    return sum((d == label) - (d == _TURNED[label]) for d in (first, turned))
