"""The user's own mapping: ``chosen=response_a,rejected=response_b,label=winner,ignore=notes``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rmaudit.data import names
from rmaudit.data.layouts.shapes import Vote, word
from rmaudit.data.paths import Spec, columns
from rmaudit.errors import UsageError, nearest

TARGETS = (
    *("prompt", "system", "tools", "chosen", "rejected", "output", "outputs", "completions"),
    *("label", "labels", "rating", "ratings", "ranking", "reward", "rewards", "chosen_reward"),
    *("rejected_reward", "proxy_rewards", "gold_rewards", "judge_rewards", "tie", "id", "group"),
    *("subset", "family", "style", "annotator_votes", "annotators", "prompt_rejected", "scores"),
)


@dataclass(frozen=True)
class ColumnMap:
    """Which column holds what; `ignored` are left out on purpose, and not named again."""

    specs: Mapping[str, Spec] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    optional: bool = False  # for a table that has none of its columns, there is no mapping

    def where_it_fits(self) -> ColumnMap:
        """The same for tables that may have our names already."""
        return replace(self, optional=True)

    def __bool__(self) -> bool:
        return bool(self.specs or self.ignored)

    @property
    def paths(self) -> set[str]:
        """What is mapped, in the user's own words."""
        specs = self.specs.values()
        return {path for spec in specs for path in ((spec,) if isinstance(spec, str) else spec)}

    @property
    def reads(self) -> set[str]:
        """The columns that are mapped."""
        return set().union(*map(columns, self.specs.values()))


def parse_columns(text: str | Mapping[str, str] | ColumnMap | None) -> ColumnMap:
    """A mapping from its text, ``NAME=COLUMN[+COLUMN],...``.

    Raises
    ------
    UsageError
        If it has another form, or names what no data has.
    """
    if isinstance(text, ColumnMap):
        return text
    if text is None:
        return ColumnMap()
    parts = (
        [part.partition("=")[::2] for part in text.split(",") if part.strip()]
        if isinstance(text, str)
        else list(text.items())
    )
    specs: dict[str, Spec] = {}
    ignored: tuple[str, ...] = ()
    for name, value in parts:
        name, sources = name.strip(), tuple(s.strip() for s in value.split("+") if s.strip())
        if not sources:
            raise UsageError(
                f"columns {name!r}: say NAME=COLUMN, such as prompt=question,chosen=response_a"
            )
        if name == "ignore":
            ignored += sources
        elif name not in TARGETS:
            raise UsageError(f"columns: nothing is called {name!r}; {nearest(name, TARGETS)}")
        elif name in specs:
            raise UsageError(f"columns: {name!r} is given twice")
        else:
            specs[name] = sources[0] if len(sources) == 1 else sources
    return ColumnMap(specs, ignored)


def verdict_words(a: str, b: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What a verdict on two columns may say, by how the columns are called: ``{"a": "a", ...}``."""
    known: dict[str, str] = {a.lower(): "a", b.lower(): "b"}
    one, other = names.ending(a.lower(), b.lower())
    pairs = [(one, other)] if one else []
    # Only numbers may mean two things: 1 is the first of 1 and 2, the second of 0 and 1.
    pairs += [("a", "b"), ("left", "right"), ("first", "second")]
    if (one, other) in (("a", "b"), ("1", "2")) or not one:
        pairs += [("model_a", "model_b"), ("response_a", "response_b"), ("model_1", "model_2")]
    for first, second in pairs:
        known |= {first: "a", second: "b"}
        for stem in ("model", "response", "answer", "output", "completion", "assistant", "option"):
            for joint in ("_", " ", ""):
                known |= {f"{stem}{joint}{first}": "a", f"{stem}{joint}{second}": "b"}
        known |= {f"{first}>{second}": "a", f"{second}>{first}": "b", f"{first}<{second}": "b"}
        known |= {f"[[{first}]]": "a", f"[[{second}]]": "b"}
    return known


def vote(a: Spec, b: Spec, verdict: str, values: Sequence[Any], *, mapped: bool) -> Vote | None:
    """The vote that a verdict column holds, or None where its values do not tell.

    Words are those of `verdict_words`. Where a user mapped the columns, true, 1 and positive
    strengths mean the one called chosen, false, 0 and negative ones the other; numbers none of
    which is negative are no strengths.
    """
    first, second = (spec if isinstance(spec, str) else spec[0] for spec in (a, b))
    says = verdict_words(first, second, ())
    words = {word(value) for value in values}
    shape = Vote(a, b, verdict=verdict, says=says)
    if words and all(each in says or each in names.TIE for each in words):
        return shape if words & says.keys() or mapped else None
    unknown = sum(word(value) not in says and word(value) not in names.TIE for value in values)
    if words & says.keys() and 5 * unknown <= len(values):  # a few rows that are set aside
        return shape
    if not mapped:
        return None
    if words <= {"true", "false", "1", "0"}:
        return Vote(a, b, verdict=verdict, says={"true": "a", "1": "a", "false": "b", "0": "b"})
    if _are_signed(words):
        return Vote(a, b, strength=verdict, positive="a")
    return None


def said_of(shape: Vote) -> str | None:
    """How numbers that a user mapped as the label are read, since they could mean the reverse."""
    first, second = (s if isinstance(s, str) else s[0] for s in (shape.a, shape.b))
    if shape.strength is not None:
        return f"{shape.strength}: above 0 is read as {first!r} preferred, below 0 as {second!r}"
    if shape.says is not None and set(shape.says) == {"true", "false", "1", "0"}:
        return (
            f"{shape.verdict}: 1 or true is read as {first!r} preferred, 0 or false as {second!r}; "
            "if it is the reverse, exchange chosen and rejected in --columns"
        )
    return None


def _are_signed(words: set[str]) -> bool:
    """Whether all are numbers, some below 0: the middle of 1 to 7, or of a share, is elsewhere."""
    try:
        numbers = [float(text) for text in words]
    except ValueError:
        return False
    return any(number < 0 for number in numbers)
