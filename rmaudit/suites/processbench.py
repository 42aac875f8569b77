"""ProcessBench: find the first wrong step, or say that there is none."""

from __future__ import annotations

from collections.abc import Sequence

from rmaudit.suites.base import Suite, register_suite
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.scored import NO_ROWS, Number, Official, Scored, combined, mean_of
from rmaudit.suites.steps import all_good, good, prefixes, threshold, threshold_note
from rmaudit.typing import Float

NONE_WRONG = -1
CONFIGS = ("gsm8k", "math", "olympiadbench", "omnimath")


@register_suite
class ProcessBench(Suite):
    """ProcessBench."""

    name, title, order = "processbench", "ProcessBench", 80
    question = "Is the first wrong step of a solution found, and none where none is wrong?"
    rule = (
        "By config: accuracy on solutions with a wrong step (its exact index), accuracy on those "
        "without, F1 = their harmonic mean. The score is the plain mean over the configs present. "
        "A reward model's prediction is the first step whose reward is not above a threshold."
    )
    quirks = (
        "No number where both accuracies are 0, or a config lacks one kind of solution.",
        "A correct final answer after a wrong step counts as wrong.",
        "Thresholds are the models' own, often fitted on gsm8k: they belong into the report.",
    )
    source = "Zheng et al. 2024, ProcessBench (arXiv 2412.06559); QwenLM/ProcessBench"
    download = "Qwen/ProcessBench, one file per config (gsm8k, math, ...), as Parquet or JSON Lines"
    recorded = "prediction: 0-based index of the first wrong step, -1 for none, or null"
    headlines = ("f1", "gsm8k.f1", "math.f1", "olympiadbench.f1", "omnimath.f1")
    columns = (("steps", "label"), ("prediction", "label"))
    steps = True

    def item(self, entry: Entry) -> Item:
        """One solution."""
        label = entry.value("label")
        if not isinstance(label, int) or isinstance(label, bool) or label < NONE_WRONG:
            raise entry.fault(f"label {label!r:.40} is no index of a step, nor -1")
        key = entry.text("id")
        config = key.rpartition("-")[0]
        if config not in CONFIGS:
            raise entry.fault(f"id {key!r:.40} does not start with {', '.join(CONFIGS)}")
        texts = "steps" in entry.row
        steps = entry.texts("steps") if texts else ()
        if texts and label >= len(steps):
            raise entry.fault(f"label {label} is beyond the last of {len(steps)} steps")
        return Item(
            id=key,
            cluster=f"problem\t{entry.text('problem')}" if "problem" in entry.row else key,
            subset=config,
            prompt=entry.prompt("problem") if texts else "",
            responses=prefixes(steps),
            facts={
                "label": label,
                "recorded": "prediction" in entry.row,
                "prediction": _recorded(entry),
            },
        )

    def verdicts(self, item: Item) -> bool:
        """Whether there is a prediction, even if it is null."""
        return bool(item.facts["recorded"])

    def blind(self, items: Sequence[Item]) -> dict[str, list[Float]]:
        """Every step is good."""
        return all_good(items)

    def notes(self, scored: Scored) -> list[str]:
        """The threshold."""
        return threshold_note(scored)

    def official(self, scored: Scored) -> Official:
        """Two accuracies and F1 by config, and the mean of the F1."""
        cut = threshold(scored)
        numbers: dict[str, Number] = {}
        configs = scored.by(lambda item: item.subset)
        for config, places in configs.items():
            wrong = [i for i in places if scored.items[i].facts["label"] != NONE_WRONG]
            none = [i for i in places if scored.items[i].facts["label"] == NONE_WRONG]
            error, correct = _accuracy(scored, wrong, cut), _accuracy(scored, none, cut)
            numbers[f"{config}.error_accuracy"] = error
            numbers[f"{config}.correct_accuracy"] = correct
            numbers[f"{config}.f1"] = harmonic_mean(error, correct)
        return {**numbers, "f1": mean_of([numbers[f"{config}.f1"] for config in configs])}


def harmonic_mean(a: Number, b: Number) -> Number:
    """2ab / (a + b); its terms are weighted by the partial derivatives, which give it back."""
    if not (a.defined and b.defined):
        return Number.none("solutions with a wrong step, or without, are lacking")
    if a.value + b.value == 0:
        return Number.none("both accuracies are 0")
    total = (a.value + b.value) ** 2
    return combined([(2 * b.value**2 / total, a), (2 * a.value**2 / total, b)])


def _accuracy(scored: Scored, places: Sequence[int], cut: float) -> Number:
    if not places:
        return Number.none(NO_ROWS)
    hits = [_prediction(scored, i, cut) == scored.items[i].facts["label"] for i in places]
    return scored.mean(places, [float(hit) for hit in hits])


def _recorded(entry: Entry) -> int | None:
    """The index that a file records; null, for an answer that could not be read, is never right."""
    prediction = entry.row.get("prediction")
    if isinstance(prediction, list) and len(prediction) == 1:
        prediction = prediction[0]
    if isinstance(prediction, float) and prediction.is_integer():
        prediction = int(prediction)
    if prediction is None or (isinstance(prediction, int) and not isinstance(prediction, bool)):
        return prediction
    raise entry.fault(f"prediction {prediction!r:.40} is no index of a step, -1 or null")


def _prediction(scored: Scored, place: int, cut: float) -> object:
    """The index that was recorded, or that of the first step that is not good."""
    if scored.recorded:
        return scored.items[place].facts["prediction"]
    steps = good(scored.rewards[place].tolist(), cut)
    return steps.index(False) if False in steps else NONE_WRONG
