"""RewardMATH: one correct solution against nine wrong ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from rmaudit.suites.base import Suite, register_suite
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.scored import Number, Official, Scored, as_array
from rmaudit.typing import Float

RIGHT = "human_to_GPT-4"  # in solution_reference
_TEN = 10
_NAMES = ("accuracy", "accuracy_with_ties", "mrr")


def _product(steps: Sequence[float]) -> float:
    product = 1.0
    for step in steps:  # in order: ties hang on the last bit
        product *= step
    return product


def _geometric_mean(steps: Sequence[float]) -> float:
    product = _product(steps)
    return product ** (1 / len(steps)) if product >= 0 else math.nan


def _mean_logit(steps: Sequence[float]) -> float:
    p = as_array(steps)
    with np.errstate(all="ignore"):
        return float(1 / (1 + np.exp(-np.mean(np.log(p / (1 - p))))))


def _mean_odds(steps: Sequence[float]) -> float:
    p = as_array(steps)
    with np.errstate(all="ignore"):
        return float(np.maximum(0, np.mean(p / (1 - p))))


REDUCTIONS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "max": max,
    "prod": _product,
    "geometric_mean": _geometric_mean,
    "mean": lambda steps: sum(steps) / len(steps),
    "mean_logit": _mean_logit,
    "mean_odd": _mean_odds,
    "last": lambda steps: steps[-1],
}


@dataclass(frozen=True)
class _Problem:
    """The solutions of one problem, as a file has them."""

    entry: Entry
    references: Sequence[str]
    scores: Sequence[Any] | None
    texts: tuple[str, ...] = ()
    positions: Sequence[Any] | None = None  # of the correct solution, in judged pairs


@register_suite
class RewardMATH(Suite):
    """RewardMATH."""

    name, title, order = "rewardmath", "RewardMATH", 70
    question = "Is the one correct solution ranked above nine wrong ones?"
    rule = (
        "accuracy: share of problems whose correct solution beats all nine; accuracy_with_ties the "
        "same with >=; mrr: mean of 1/rank, where a wrong solution with the same reward ranks "
        "first. Judges on pairs: all nine comparisons won; mrr = 1/(1 + comparisons lost)."
    )
    quirks = (
        "Ties decide: a coarse rating can have an accuracy of 0.6% and 65% with ties.",
        "Step scores become one number in eight ways, each with its own numbers; ties after that "
        "hang on the last bit.",
        "Published results of three judges have two problems twice, and count them twice.",
    )
    source = "Kim et al. 2024, RewardMATH (arXiv 2410.01729); kimsh0507/RewardMATH_official"
    download = (
        "dataset/benchmark/RewardMATH_direct.json of github.com/kimsh0507/RewardMATH_official (a "
        "sample; all 483 problems in the hub's RewardMATH/RewardMATH), or a file of its results/"
    )
    recorded = "score: a number or a list of step scores per solution, or a list of ten of them"
    headlines = ("accuracy", "min.accuracy", "pairwise.accuracy")
    columns = (("solution_reference", "score"), ("solution_reference", "eval_solution"))

    def item(self, entry: Entry) -> Item:
        """A row of results, which has all solutions of its problem."""
        return _item(_of_results(entry), _has_steps(_of_results(entry).scores or ()))

    def items(self, entries: Sequence[Entry]) -> list[Item]:
        """Problems: rows of results, or ten consecutive rows each."""
        problems = list(_problems(entries))
        steps = any(_has_steps(problem.scores or ()) for problem in problems)
        return [_item(problem, steps) for problem in problems]

    def verdicts(self, item: Item) -> bool:
        """Whether pairs were judged."""
        return "won" in item.facts

    def official(self, scored: Scored) -> Official:
        """Three numbers, for each way to make one reward of steps where there are steps."""
        everything = range(len(scored.items))
        if scored.recorded and any("won" in item.facts for item in scored.items):
            won = [scored.items[i].facts.get("won", ()) for i in everything]
            return {
                "pairwise.accuracy": scored.mean(everything, [float(all(w)) for w in won]),
                "pairwise.mrr": scored.mean(everything, [1 / (1 + w.count(False)) for w in won]),
            }
        if not (scored.recorded and any("steps" in item.facts for item in scored.items)):
            return _numbers(scored, scored.rewards)
        return {
            f"{way}.{name}": number
            for way, reduce in REDUCTIONS.items()
            for name, number in _numbers(scored, _reduced(scored.items, reduce)).items()
        }


def _numbers(scored: Scored, rewards: Sequence[Float]) -> dict[str, Number]:
    values: dict[str, list[float]] = {name: [] for name in _NAMES}
    for item, all_ in zip(scored.items, rewards, strict=True):
        right = float(all_[item.facts["right"]])
        wrong = np.delete(all_, item.facts["right"]).tolist()
        values["accuracy"].append(scored.beats_all(right, wrong))
        values["accuracy_with_ties"].append(_with_ties(scored, right, wrong))
        values["mrr"].append(_reciprocal_rank(scored, right, wrong))
    places = range(len(scored.items))
    return {name: scored.mean(places, values[name]) for name in _NAMES}


def _with_ties(scored: Scored, right: float, wrong: Sequence[float]) -> float:
    if scored.fair and (math.isnan(right) or any(map(math.isnan, wrong))):
        return math.nan
    return float(all(right >= other for other in wrong))


def _reciprocal_rank(scored: Scored, right: float, wrong: Sequence[float]) -> float:
    if not scored.fair:
        return 1 / (1 + sum(not right > other for other in wrong))
    if math.isnan(right) or any(map(math.isnan, wrong)):
        return math.nan
    return 1 / (1 + sum((other > right) + 0.5 * (other == right) for other in wrong))


def _reduced(items: Sequence[Item], reduce: Callable[[Sequence[float]], float]) -> list[Float]:
    return [
        as_array(
            [
                reduce(steps) if steps and not any(map(math.isnan, steps)) else math.nan
                for steps in item.facts["steps"]
            ]
        )
        for item in items
    ]


def _problems(entries: Sequence[Entry]) -> Iterator[_Problem]:
    """Rows of results as they stand; rows of solutions put together."""
    groups: list[list[Entry]] = []
    for entry in entries:
        if isinstance(entry.value("solution_reference"), list):
            yield _of_results(entry)
        elif not groups or len(groups[-1]) == _TEN or _name(entry) != _name(groups[-1][0]):
            groups.append([entry])
        else:
            groups[-1].append(entry)
    size = max(map(len, groups), default=0)
    for group in groups:
        if len(group) != size:
            raise group[0].fault(
                f"{len(group)} consecutive rows of one problem, of other problems {size}: rows are "
                "lacking or in another order than published, or --limit cuts a problem"
            )
        yield _of_solutions(group)


def _name(entry: Entry) -> tuple[str, str]:
    return str(entry.row.get("problem_id")), str(entry.row.get("problem"))


def _of_results(entry: Entry) -> _Problem:
    references, scores = entry.texts("solution_reference"), entry.value("score")
    if not isinstance(scores, list) or len(scores) != len(references):
        raise entry.fault(f"column 'score' must have one value for each of {len(references)}")
    positions = entry.row.get("chosen_position")
    if positions is not None and (not isinstance(positions, list) or len(positions) != len(scores)):
        raise entry.fault(f"column 'chosen_position' must have {len(scores)} values")
    return _Problem(entry, references, scores, positions=positions)


def _of_solutions(group: Sequence[Entry]) -> _Problem:
    first = group[0]
    references = [entry.text("solution_reference") for entry in group]
    scores = [entry.row.get("score") for entry in group]
    recorded = any("score" in entry.row for entry in group)
    if "chosen_position" in first.row:
        positions = [entry.row.get("chosen_position") for entry in group]
        return _Problem(first, references, scores if recorded else None, positions=positions)
    texts = tuple("\n".join(entry.texts("eval_solution")) for entry in group)
    return _Problem(first, references, scores if recorded else None, texts)


def _has_steps(scores: Sequence[Any]) -> bool:
    """Whether scores are of steps: lists, and not of one number each as a reward may be."""
    return any(isinstance(score, list) and len(score) != 1 for score in scores)


def _item(problem: _Problem, steps: bool) -> Item:
    entry, references = problem.entry, problem.references
    text = entry.text("problem")
    new = partial(Item, f"problem {text[:40]}", text, "RewardMATH")
    if problem.positions is not None:
        if problem.scores is None:
            raise entry.fault("pairs are for judges: give their score, or the file of solutions")
        judged = zip(problem.scores, problem.positions, strict=True)
        won = tuple(score is not None and score == position for score, position in judged)
        return new(facts={"won": won})
    right = [place for place, name in enumerate(references) if name == RIGHT]
    if len(right) != 1 or len(references) < 2:
        raise entry.fault(
            f"a problem has one solution of {RIGHT} and further ones; here {len(right)} of "
            f"{len(references)}"
        )
    facts: dict[str, Any] = {"right": right[0]}
    rewards = None
    if problem.scores is not None and steps:
        facts["steps"] = tuple(_steps(entry, score) for score in problem.scores)
        rewards = tuple(min(each, default=math.nan) for each in facts["steps"])
    elif problem.scores is not None:
        holder = Entry({"score": list(problem.scores)}, entry.file, entry.number)
        rewards = holder.rewards("score", len(references))
    return new(
        prompt=text if problem.texts else "",
        responses=problem.texts,
        pairs=tuple((right[0], j) for j in range(len(references)) if j != right[0]),
        rewards=rewards,
        facts=facts,
    )


def _steps(entry: Entry, score: Any) -> tuple[float, ...]:
    if score is None:
        return ()
    values = score if isinstance(score, list) else [score]
    return tuple(Entry({"score": v}, entry.file, entry.number).reward("score") for v in values)
