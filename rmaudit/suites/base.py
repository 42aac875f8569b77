"""What a published benchmark declares: its schema, its groups, its rule, and where it is from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar

from rmaudit.registry import Registry
from rmaudit.suites.entries import Entry
from rmaudit.suites.item import Item
from rmaudit.suites.scored import Official, Scored
from rmaudit.typing import Float


class Suite(ABC):
    """One published benchmark; one file. Register a subclass with `@register_suite`.

    `official` is the benchmark's own rule on given rewards: no rounding, no repair. What it gives
    no number for is `Number.none` with the reason.
    """

    name: ClassVar[str]  # as on the command line: "rm-bench"
    title: ClassVar[str]
    question: ClassVar[str]  # what it asks of a reward model, in one sentence
    rule: ClassVar[str]  # how rewards become the official number, in two or three sentences
    quirks: ClassVar[tuple[str, ...]] = ()  # where the rule surprises
    source: ClassVar[str]  # paper or repository
    download: ClassVar[str]  # what to download, in a line
    hub: ClassVar[str | None] = None  # org/dataset:split, where one split holds all
    recorded: ClassVar[str]  # the fields that recorded rewards are read from
    columns: ClassVar[tuple[tuple[str, ...], ...]]  # a row with all of one of these is its own
    headlines: ClassVar[tuple[str, ...]] = ("score",)  # the first that is defined stands for all
    order: ClassVar[int] = 100
    presented: ClassVar[bool] = False  # whether the first response is as often the worse one
    steps: ClassVar[bool] = False  # whether rewards are of steps, held against a threshold

    @abstractmethod
    def item(self, entry: Entry) -> Item:
        """One row as an item."""

    @abstractmethod
    def official(self, scored: Scored) -> Official:
        """The official numbers by their names."""

    def items(self, entries: Sequence[Entry]) -> list[Item]:
        """All rows as items."""
        return [self.item(entry) for entry in entries]

    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether a row is one of this benchmark, by its columns."""
        return any(all(name in row for name in names) for names in self.columns)

    def verdicts(self, item: Item) -> bool:
        """Whether an item has what the file records in place of rewards."""
        return False

    def recorded_by(self, entry: Entry) -> str | None:
        """Whose rewards a row records, where it says so."""
        model = entry.row.get("model")
        return model if isinstance(model, str) else None

    def notes(self, scored: Scored) -> list[str]:
        """What a reader must know of this run beside its numbers."""
        return []

    def blind(self, items: Sequence[Item]) -> dict[str, list[Float]]:
        """Rewards of rules that do not read what a response says, by name, one array an item."""
        from rmaudit.suites.blind import rewards

        return rewards(items, first=self.presented)

    @property
    def key(self) -> str:
        """The first part of its metric ids: "rm_bench"."""
        return self.name.replace("-", "_")


SuiteClass = TypeVar("SuiteClass", bound=type[Suite])
SUITES: Registry[type[Suite]] = Registry("suite", "rmaudit.suites", "rmaudit.suites")


def register_suite(cls: SuiteClass) -> SuiteClass:
    """Class decorator: makes a suite known by its `name`."""
    SUITES.add(cls.name, cls, cls.__module__)
    return cls


def suites() -> list[Suite]:
    """All suites, in the order in which they are listed."""
    return sorted((cls() for cls in SUITES.values()), key=lambda suite: (suite.order, suite.name))


def uncounted(names: Iterable[str], counted: Iterable[str], what: str) -> list[str]:
    """A note on rows of subsets that the rule does not know, if there are any."""
    known = set(counted)
    others = Counter(name for name in names if name not in known)
    if not others:
        return []
    shown = ", ".join(f"{name} ({n:,})" for name, n in others.most_common(6))
    return [f"Rows of subsets that are in no {what}, and do not count in the score: {shown}."]


def stable_keys(entries: Iterable[Entry], group: str, name: str) -> list[str]:
    """A key for each row that is the same in every file: its group and its id within that.

    Where ids are missing or repeat within a group, as in published result files, the place within
    the group stands for them (the ids of such groups are running numbers).
    """
    named = [(str(entry.row.get(group)), entry.row.get(name)) for entry in entries]
    counts = Counter((of, str(value)) for of, value in named)
    broken = {of for of, value in named if value is None or counts[of, str(value)] > 1}
    places: Counter[str] = Counter()
    keys = []
    for of, value in named:
        keys.append(f"{of}\t{places[of] if of in broken else value}")
        places[of] += 1
    return keys
