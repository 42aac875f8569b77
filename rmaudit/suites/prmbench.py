"""PRMBench: which steps of a solution are valid, over nine classes of faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rmaudit.suites.base import Suite, register_suite
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.scored import Number, Official, Scored, combined, mean_of
from rmaudit.suites.steps import all_good, good, prefixes, threshold, threshold_note
from rmaudit.typing import Float

GROUPS = {
    "simplicity": ("redundency", "circular"),  # spelt so in the data
    "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
    "sensitivity": ("missing_condition", "deception", "multi_solutions"),
}
CLASSES = tuple(name for names in GROUPS.values() for name in names)
_ONE_SIDED = "multi_solutions"  # has no wrong step: its score is F1 alone
_VALID, _REDUNDANT = "step_level_validity_labels", "step_level_redundancy_labels"
_QUIRK = "the official code's precision and recall of nothing are -1"
Labels = tuple[object, ...]


class _Counts(NamedTuple):
    """Steps of one item by what they are and what they are called; positive: without error."""

    tp: int
    fp: int
    tn: int
    fn: int


@register_suite
class PRMBench(Suite):
    """PRMBench."""

    name, title, order = "prmbench", "PRMBench", 90
    question = "Is each step of a solution called valid where it is, and faulty where it is not?"
    rule = (
        "F1 of the valid steps and F1 of the faulty ones, over all steps of a class; a class's "
        "score is their mean (multi_solutions: F1 alone), below 0 counts 0. prmscore is the same "
        "over all steps of the nine classes together; simplicity, soundness and sensitivity are "
        "means of classes. A reward model calls a step valid if its reward is above a threshold."
    )
    quirks = (
        "prmscore is no mean of classes: classes with many steps dominate.",
        "Precision or recall of nothing is -1 in the official code, and F1 is computed from that.",
        "Items with validity false are left out, not counted as wrong; repeated items count once.",
        "100 rows name a faulty step beyond the last one: ignored.",
    )
    source = "Song et al. 2025, PRMBench (arXiv 2501.03124); ssmisya/PRMBench"
    download = "the folder mr_eval/tasks/prmtest_classified/data of github.com/ssmisya/PRMBench"
    recorded = f"scores.{_VALID}, scores.{_REDUNDANT}, validity"
    headlines = ("prmscore",)
    columns = (("error_steps", "classification", "modified_process"), ("error_steps", "scores"))
    steps = True

    def item(self, entry: Entry) -> Item:
        """One solution with its faulty steps."""
        class_ = entry.text("classification")
        if class_ not in CLASSES:
            raise entry.fault(f"classification {class_!r:.40} is none of {', '.join(CLASSES)}")
        errors = entry.value("error_steps")
        if not isinstance(errors, list) or not all(
            isinstance(step, int) and step >= 1 for step in errors
        ):
            raise entry.fault("column 'error_steps' must be a list of places that count from 1")
        texts = "modified_process" in entry.row
        number = entry.text("idx")
        return Item(
            id=f"{class_}/{number}",
            cluster=number,  # the same problem in several classes
            subset=class_,
            prompt=entry.prompt("modified_question") if texts else "",
            responses=prefixes(entry.texts("modified_process")) if texts else (),
            facts={
                "errors": frozenset(step - 1 for step in errors),
                "recorded": "scores" in entry.row,
                "labels": _labels(entry, class_),
            },
        )

    def items(self, entries: Sequence[Entry]) -> list[Item]:
        """Items, each once."""
        distinct: dict[str, Item] = {}
        for entry in entries:
            item = self.item(entry)
            distinct.setdefault(item.id, item)
        return list(distinct.values())

    def verdicts(self, item: Item) -> bool:
        """Whether there are labels of steps."""
        return bool(item.facts["recorded"])

    def blind(self, items: Sequence[Item]) -> dict[str, list[Float]]:
        """Every step is valid."""
        return all_good(items)

    def notes(self, scored: Scored) -> list[str]:
        """The threshold, and what was left out."""
        left_out = [i for i in scored.items if scored.recorded and i.facts["labels"] is None]
        told = f"{len(left_out)} items without valid labels are left out, as by the official code."
        return [*threshold_note(scored), *([told] if left_out else [])]

    def official(self, scored: Scored) -> Official:
        """F1 and score by class, by group of classes, and of all steps together."""
        cut = threshold(scored)
        counts = [_counted(item, _called(scored, i, cut)) for i, item in enumerate(scored.items)]
        numbers: dict[str, Number] = {}
        for class_, places in scored.by(lambda item: item.subset).items():
            positive, negative = _f1(scored, places, counts), _f1(scored, places, counts, True)
            numbers[f"{class_}.f1"], numbers[f"{class_}.negative_f1"] = positive, negative
            whole = positive if class_ == _ONE_SIDED else _half(positive, negative)
            numbers[f"{class_}.prmscore"] = _at_least_zero(whole)
        everything = range(len(scored.items))
        total, negative = _f1(scored, everything, counts), _f1(scored, everything, counts, True)
        absent = Number.none("not all of its classes are in the data")
        groups = {
            group: mean_of([numbers.get(f"{name}.prmscore", absent) for name in names])
            for group, names in GROUPS.items()
        }
        return {
            **numbers,
            **groups,
            "total.f1": total,
            "total.negative_f1": negative,
            "prmscore": _at_least_zero(_half(total, negative)),
        }


def _labels(entry: Entry, class_: str) -> Labels | None:
    """Which steps are called valid; None where the item is left out."""
    scores = entry.row.get("scores")
    if scores is None or not entry.row.get("validity", True):
        return None
    if not isinstance(scores, dict):
        raise entry.fault("column 'scores' must be an object with labels of steps")
    redundant = scores.get(_REDUNDANT)
    if class_ in GROUPS["simplicity"] and redundant is not None:
        return tuple(not label for label in _listed(entry, redundant))
    valid = scores.get(_VALID)
    return None if valid is None else tuple(_listed(entry, valid))


def _listed(entry: Entry, labels: Any) -> list[Any]:
    if not isinstance(labels, list) or any(label not in (0, 1, None) for label in labels):
        raise entry.fault(f"labels of steps must be a list of true and false, not {labels!r:.40}")
    return labels


def _called(scored: Scored, place: int, cut: float) -> Sequence[object] | None:
    if scored.recorded:
        labels: Labels | None = scored.items[place].facts["labels"]
        return labels
    return good(scored.rewards[place].tolist(), cut)


def _counted(item: Item, called: Sequence[object] | None) -> _Counts:
    kinds = [
        (step not in item.facts["errors"], label == 1) for step, label in enumerate(called or ())
    ]
    return _Counts(
        kinds.count((True, True)),
        kinds.count((False, True)),
        kinds.count((False, False)),
        kinds.count((True, False)),
    )


def _f1(
    scored: Scored, places: Sequence[int], counts: Sequence[_Counts], negative: bool = False
) -> Number:
    """F1 of the valid steps, or of the faulty ones."""
    here = [counts[place] for place in places]
    if negative:
        here = [_Counts(c.tn, c.fn, c.tp, c.fp) for c in here]
    tp, fp, fn = (sum(c[k] for c in here) for k in (0, 1, 3))
    precision = tp / (tp + fp) if tp + fp else -1.0
    recall = tp / (tp + fn) if tp + fn else -1.0
    total = precision + recall
    value = 2 * precision * recall / total if total else -1.0
    ratio = scored.ratio(
        places, [2.0 * c.tp for c in here], [2.0 * c.tp + c.fp + c.fn for c in here]
    )
    if ratio.defined and abs(ratio.value - value) < 1e-12:
        return Number(value, ratio.terms, ratio.n)
    return Number(value, n=len(here), reason=_QUIRK)


def _half(positive: Number, negative: Number) -> Number:
    return combined([(0.5, positive), (0.5, negative)])


def _at_least_zero(number: Number) -> Number:
    return number if number.value > 0 else Number(0.0, n=number.n, reason=number.reason)
