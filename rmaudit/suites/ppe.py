"""PPE, Preference Proxy Evaluations: accuracy on human preferences and on correctness."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rmaudit.suites.base import Suite, register_suite
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item, Pair
from rmaudit.suites.scored import NO_ROWS, Number, Official, Scored, mean_of

_NUMBERED = re.compile(r"(response|score)_(\d+)")
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_WINNERS = {"model_a": (0, 1), "model_b": (1, 0)}
# A column that only one of the correctness sets has, from the set it was sampled from.
_SOURCES = {
    "instruction_id_list": "ifeval",
    "test_list": "mbpp-plus",
    "answer_index": "mmlu-pro",
    "Correct Answer": "gpqa",
    "level": "math",
}


@register_suite
class PPE(Suite):
    """PPE, as far as its rules are specified: accuracy."""

    name, title, order = "ppe", "PPE", 50
    question = "Does the reward agree with people's votes, and with which answer is correct?"
    rule = (
        "Human preference: share of rows whose winner has the larger reward; rows with a tie label "
        "are left out. Correctness: pooled share of the sampled pairs whose correct answer has the "
        "larger reward, averaged over sets."
    )
    quirks = (
        "What the official code does when two rewards tie is not known; here a tie is lost.",
        "The other official metrics (correlations, separability, best-of-k curves) are absent.",
    )
    source = "Frick et al. 2024, How to Evaluate Reward Models for RLHF (arXiv 2410.14872)"
    download = "the data sets lmarena-ai/PPE-..., as Parquet or JSON Lines, in one folder"
    recorded = "score_1, score_2, ..."
    headlines = ("human.accuracy", "correctness.accuracy")
    columns = (("winner", "model_a", "model_b"), ("sampled_conflict_pairs", "scores"))
    presented = True

    def item(self, entry: Entry) -> Item:
        """A row of either kind."""
        numbers = _numbers(entry)
        texts = f"response_{numbers[0]}" in entry.row
        recorded = any(f"score_{k}" in entry.row for k in numbers)
        human = "winner" in entry.row
        pairs = _voted(entry) if human else _sampled(entry, len(numbers))
        set_ = "human" if human else _set(entry)
        key = f"{set_}\t{entry.row.get('question_id', entry.number)}"
        return Item(
            id=key.replace("\t", "/"),
            cluster=key,
            subset=set_,
            prompt=entry.prompt("prompt") if texts else "",
            responses=tuple(entry.text(f"response_{k}") for k in numbers) if texts else (),
            pairs=pairs,
            rewards=tuple(entry.reward(f"score_{k}") for k in numbers) if recorded else None,
        )

    def official(self, scored: Scored) -> Official:
        """Two accuracies, and that of each correctness set."""
        groups = scored.by(lambda item: item.subset)
        human = _accuracy(scored, groups.pop("human", ()))
        sets = {name: _accuracy(scored, places) for name, places in groups.items()}
        return {
            "human.accuracy": human,
            "correctness.accuracy": mean_of(sets.values()),
            **{f"correctness.{name}": number for name, number in sets.items()},
        }


def _numbers(entry: Entry) -> list[int]:
    """The numbers of the responses, from their columns."""
    numbers = {int(m[2]) for name in entry.row if (m := _NUMBERED.fullmatch(str(name)))}
    if len(numbers) < 2:
        raise entry.fault("needs columns response_1, response_2, ... or score_1, score_2, ...")
    return sorted(numbers)


def _voted(entry: Entry) -> tuple[Pair, ...]:
    """The winner against the other; none where the label is a tie."""
    winner = str(entry.value("winner"))
    pair = _WINNERS.get(winner)
    if pair is None and not winner.startswith("tie"):
        raise entry.fault(f"winner {winner!r:.40} is neither model_a, model_b nor a tie")
    return () if pair is None else (pair,)


def _sampled(entry: Entry, size: int) -> tuple[Pair, ...]:
    """The sampled pairs, the correct answer first."""
    correct = entry.value("scores")
    pairs = entry.row.get("sampled_conflict_pairs") or ()
    if not isinstance(correct, list) or len(correct) != size:
        raise entry.fault(f"column 'scores' must say for each of {size} responses if it is correct")
    found = []
    for pair in pairs:
        if (
            not isinstance(pair, list)
            or len(pair) != 2
            or not all(_is_place(i, size) for i in pair)
        ):
            raise entry.fault(
                f"sampled_conflict_pairs holds {pair!r:.40}, no pair of its responses"
            )
        i, j = pair
        if bool(correct[i]) == bool(correct[j]):
            raise entry.fault(f"of the sampled pair {pair} not exactly one is correct")
        found.append((i, j) if correct[i] else (j, i))
    return tuple(found)


def _is_place(value: object, size: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < size


def _set(entry: Entry) -> str:
    """Which correctness set: the file, and the columns of what it was sampled from."""
    stem = _SHARD.sub("", entry.file.stem.partition(".")[0])
    source = next((name for column, name in _SOURCES.items() if column in entry.row), "")
    return f"{stem}/{source}".strip("/")


def _accuracy(scored: Scored, places: Sequence[int]) -> Number:
    """Pooled share of pairs won."""
    at, wins = [], []
    for place in places:
        rewards = scored.rewards[place]
        for better, worse in scored.items[place].pairs:
            at.append(place)
            wins.append(scored.win(rewards[better], rewards[worse]))
    return scored.mean(at, wins) if at else Number.none(NO_ROWS)
