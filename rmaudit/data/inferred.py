"""The plan of a table in no published layout: by its columns' names or the user's mapping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rmaudit.data import names
from rmaudit.data.contexts import Assembly, assembly
from rmaudit.data.faults import Fault
from rmaudit.data.judged import verdicts_of
from rmaudit.data.layouts.shapes import Ranked, Row, Sets, Shape, Vote
from rmaudit.data.mapping import ColumnMap, said_of, vote
from rmaudit.data.messages import decoded, extract_prompt, holds_turn_mark
from rmaudit.data.paths import MISSING, get
from rmaudit.data.plan import Plan, Unclear, through, turn_notes
from rmaudit.data.profile import Profile
from rmaudit.data.rows import COLUMNS, ONE_OUTPUT, SHARED, check, infer_type
from rmaudit.data.suggestion import LONGEST, suggestion
from rmaudit.data.types import DataType
from rmaudit.data.verdicts import find_pick, find_vote

LEVELS = 11  # of a rating, 0 to 10; a column of more different numbers may be anything
_TEXTS = ("prompt", "chosen", "rejected", "output", "completion", "outputs", "prompt_rejected")


class Table:
    """A table in no published layout: its columns are told by their names."""

    def __init__(self, profile: Profile, asked: DataType | None, mapping: ColumnMap) -> None:
        self.profile = profile
        self.asked = asked
        self.mapping = mapping
        taken = mapping.reads | {*mapping.ignored}
        # By the name they are compared by; of two that differ in case alone, the first.
        self.free: dict[str, str] = {}
        for name in profile.values:
            if name not in taken:
                self.free.setdefault(names.plain(name), name)
        self.renames: dict[str, str] = {}
        self.shape: Shape | None = None
        self.context = Assembly()

    def plan(self) -> Plan:
        """The decision."""
        self._rename()
        self._find_shape()
        self.context = assembly(self.profile, self._unused(), self.has("prompt"))
        read = self._reader()
        kind = self.asked or self._kind(read)
        used = self._used(kind)
        self._refuse_idle_mapping(kind)
        self._refuse_unclear(kind, used, read)
        notes = turn_notes(self.profile, used)
        if self.context:
            notes = (f"the prompt is made of {self.context.described}", *notes)
        if isinstance(self.shape, Vote) and "label" in self.mapping.specs:
            notes += tuple(filter(None, (said_of(self.shape),)))
        if kind == "deployment" and self.asked is None and self._responses(kind):
            notes += self._of_possible_ratings(used)
        return Plan(kind, read, frozenset(used), "", notes)

    def has(self, name: str) -> bool:
        """Whether a canonical column is there, by its own name or under another."""
        return (
            name in self.profile.names
            or name in self.mapping.specs
            or (name in self.renames.values())
        )

    def _unused(self) -> dict[str, str]:
        reads = self.shape.reads if self.shape else set()
        return {
            known: name
            for known, name in self.free.items()
            if name not in reads and (name not in self.renames or self.renames[name] == "prompt")
        }

    def _rename(self) -> None:
        """Columns that only have another name than ours."""
        for pairs, targets in (
            (names.PAIRS, ("chosen", "rejected")),
            (names.REWARDS_OF_PAIRS, ("chosen_reward", "rejected_reward")),
        ):
            if any(map(self.has, targets)) and all(map(self.has, targets)):
                continue
            for pair in pairs:
                found = [self.free[name] for name in pair if name in self.free]
                if len(found) == 2 and not any(map(self.profile.flags, found)):
                    for name, target in zip(found, targets, strict=True):
                        self._as(name, target)
                    break
        if not self.has("chosen"):
            if not self.has("outputs"):
                self._first(names.MANY, "outputs", self.profile.lists)
            if not any(map(self.has, ("outputs", "output", "completion"))):
                self._first(names.ONE, "output", self._is_text)
                if not self.has("output") and not self.has("prompt"):
                    self._first(names.TURNS, "output", self.profile.answered)
        for candidates, target in (
            (names.RANKING, "ranking"),
            (names.RATING, "rating"),
            (names.LABEL, "label"),
            (names.REWARD[:2], "rewards"),
            (names.REWARD[2:], "proxy_rewards"),
            (names.GOLD, "gold_rewards"),
            (("prompt",), "prompt"),
        ):
            if not self.has(target):
                self._first(candidates, target, self.profile.filled)

    def _as(self, name: str, target: str) -> None:
        if name != target:
            self.renames[name] = target

    def _first(self, candidates: Sequence[str], target: str, fits: Callable[[str], bool]) -> None:
        for candidate in candidates:
            name = self.free.get(candidate)
            if name is not None and name not in self.renames and fits(name):
                self._as(name, target)
                return

    def _is_text(self, name: str) -> bool:
        return self.profile.text(name) or self.profile.turns(name)

    def _find_shape(self) -> None:
        """A vote on two responses, or lists of right and wrong ones."""
        specs = self.mapping.specs
        label = specs.get("label")
        if "chosen" in specs and "rejected" in specs and isinstance(label, str):
            values = [
                v for row in self.profile.rows if (v := get(row, label)) not in (MISSING, None)
            ]
            self.shape = vote(specs["chosen"], specs["rejected"], label, values, mapped=True)
            if self.shape is None:
                raise Unclear(
                    f"column {label!r} holds {_shown(values)}, which does not say which of "
                    f"{specs['chosen']!r} and {specs['rejected']!r} is preferred; needs words for "
                    "the two, 1 and 0 (1: the first), or numbers below 0 where the second is"
                )
            return
        if isinstance(specs.get("ratings"), str) and isinstance(specs.get("outputs"), str):
            self.shape = Ranked(str(specs["outputs"]), score=str(specs["ratings"]))
            return
        better, worse = (self._named(name) for name in ("chosen", "rejected"))
        if better and worse:
            if self.profile.lists(better) or self.profile.lists(worse):
                self.shape = Sets(better, worse)
            return
        if not specs and not self.has("outputs"):
            texts = [name for name in self.free.values() if self._is_text(name)]
            self._take(find_vote(self.profile, self.free, names.sides(texts)))
        elif not specs and not self.has("ranking"):
            self._take(find_pick(self.profile, self.free, self._named("outputs")))

    def _named(self, target: str) -> str | None:
        for name, renamed in self.renames.items():
            if renamed == target:
                return name
        return target if target in self.profile.names else None

    def _take(self, shape: Shape | None) -> None:
        if shape is not None:
            self.shape = shape
            self.renames = {n: t for n, t in self.renames.items() if n not in shape.reads}

    def _reader(self) -> Callable[[Row], list[Row]] | None:
        """What makes our columns of the table's; None if they are that."""
        renames, context, specs = self.renames, self.context, self.mapping.specs
        consumed = context.reads - {"prompt"}
        shape_reads = self.shape.reads if self.shape else set()
        mapped = self.mapping.reads
        decode = {
            name
            for name in self.profile.names
            if (renames.get(name, name) in _TEXTS and self.profile.written(name))
            or (name in shape_reads and self.profile.written(name))
        }
        lists = {n for n in self.profile.names if renames.get(n, n) == "outputs"}
        if self.shape is not None and self.shape.kind == "ranking":
            lists |= {name for name in shape_reads if self.profile.lists(name)}
        decode |= {n for n in lists if any(isinstance(v, str) for v in self.profile.values[n])}
        ignored = {*self.mapping.ignored}
        if not (renames or context or specs or self.shape or decode or ignored):
            return None

        def prepare(record: Row) -> Row:
            row: Row = {}
            for name, value in record.items():
                if name in decode and isinstance(value, str):
                    value = decoded(value)
                if name in shape_reads:
                    row[name] = value
                elif name not in consumed and name not in ignored and name not in mapped:
                    row[renames.get(name, name)] = value
            for name, spec in specs.items():
                if (value := get(record, spec)) is not MISSING and not (
                    self.shape and name in ("chosen", "rejected", "label", "outputs", "ratings")
                ):
                    row[_target(name)] = value
            if context:
                source = {**record, "prompt": row.get("prompt")} if "prompt" in row else record
                row["prompt"] = context.prompt(source)
            return row

        return through(self.shape, prepare) if self.shape else lambda record: [prepare(record)]

    def _kind(self, read: Callable[[Row], list[Row]] | None) -> DataType | None:
        """The type that most rows have: a broken first row must not decide."""
        if self.shape is not None:
            return self.shape.kind
        kinds: Counter[DataType] = Counter()
        for record in self.profile.rows:
            try:
                rows = read(dict(record)) if read else [record]
            except Fault:
                continue
            if (kind := infer_type(rows[0])) is not None:
                kinds[kind] += 1
        return kinds.most_common(1)[0][0] if kinds else None

    def _used(self, kind: DataType | None) -> set[str]:
        known = {*COLUMNS.get(kind or "deployment", ()), *SHARED, *self.profile.shared}
        if kind in ONE_OUTPUT:
            known |= {"output", "completion"}
        used = {n for n in self.profile.names if self.renames.get(n, n) in known}
        if kind == "preference":
            used |= {name for name in names.STRENGTH if self.profile.numbers(name)}
        used |= self.context.reads | self.mapping.reads | {*self.mapping.ignored}
        if self.shape is not None:
            used |= self.shape.reads
        if self._published() and self._responses(kind):
            used.add("scores")
        return used & self.profile.names

    def _published(self) -> bool:
        """Whether a column ``scores`` holds what models gave, by their names."""
        return any(isinstance(value, dict) for value in self.profile.values.get("scores", ()))

    def _responses(self, kind: DataType | None) -> bool:
        """Whether there are responses, or rewards in their place."""
        own = any(map(self.has, ("output", "outputs", "completion")))
        return own or kind not in ("deployment", None)

    def _of_possible_ratings(self, used: set[str]) -> tuple[str, ...]:
        """What to say where responses have no label, and columns of few numbers may be one."""
        few = [
            name
            for name, values in self.profile.values.items()
            if name not in used and self.profile.numbers(name) and 1 < len(set(values)) <= LEVELS
        ]
        if not few:
            return ()
        return (
            f"no column is read as a label; where {_columns(few)} "
            f"{'rate' if len(few) > 1 else 'rates'} the responses, say --columns rating={few[0]}",
        )

    def _refuse_idle_mapping(self, kind: DataType | None) -> None:
        """What the user mapped and rows of this type have no place for."""
        if kind is None:
            return
        known = {*COLUMNS[kind], *SHARED, "system", "tools", "scores"}
        if kind in ONE_OUTPUT:
            known.add("output")
        if self.shape is not None:  # the columns that it was made of
            known |= {"chosen", "rejected", "label", "outputs", "ratings"}
        idle = [name for name in self.mapping.specs if _target(name) not in known]
        if idle:
            raise Unclear(
                f"--columns {idle[0]}=... has no place in what the other columns make "
                f"({kind} data); a label or rating goes with output, a label with chosen and "
                "rejected, a ranking or ratings with outputs"
            )

    def _refuse_unclear(
        self, kind: DataType | None, used: set[str], read: Callable[[Row], list[Row]] | None
    ) -> None:
        """What would be scored or measured as something that it is not."""
        if self.asked is not None:
            return
        left = [n for n in self.profile.values if n not in used and self.profile.filled(n)]
        if self._published():  # without responses they are of something else, and named as unused
            left = [name for name in left if name != "scores"]
        looks = {name: kind_ for name in left if (kind_ := names.looks_like(name)) is not None}
        responses = any(map(self.has, ("output", "outputs", "completion")))
        labels = [
            name
            for name, like in looks.items()
            if like != "context" and not (responses and name.lower() in names.REFERENCES)
        ]
        if kind in ("deployment", None) and labels:
            raise Unclear(
                f"how labels and responses belong together is not known ({_columns(labels)}); "
                f"{suggestion(self.profile)}"
            )
        texts = [name for name, like in looks.items() if like == "response"]
        if kind == "samples" and not (self.has("outputs") or self.has("output")) and texts:
            raise Unclear(
                f"there are rewards, and {_columns(texts)} may hold what they are of; "
                f"{suggestion(self.profile)}"
            )
        if kind in ("deployment", "samples") and not self.mapping.specs:
            self._refuse_judged(kind, read)
        if kind == "preference" and not self.has("prompt") and not self.context:
            self._refuse_lost_context(left, read)

    def _refuse_judged(self, kind: DataType, read: Callable[[Row], list[Row]] | None) -> None:
        rows = []
        for record in self.profile.rows:
            try:
                row = check((read(dict(record)) if read else [record])[0], kind)
            except Fault:
                continue
            rows += [(row["prompt"], text) for text in row.get("outputs", ())]
        verdicts = verdicts_of(rows)
        if verdicts is not None:
            raise Unclear(
                f"the responses ({_shown(verdicts)}) are verdicts on two responses that stand in "
                "the prompts, as a judge is trained on; give the two in columns of their own, as "
                "prompt, chosen and rejected (a judge's own prompts: --columns "
                "prompt=...,output=...)"
            )

    def _refuse_lost_context(
        self, left: list[str], read: Callable[[Row], list[Row]] | None
    ) -> None:
        candidates = [
            name
            for name in left
            if self.profile.sentences(name)
            or self.profile.turns(name)
            or names.looks_like(name) == "context"
        ]
        if not candidates or _carries_context(self.profile.rows, read, candidates):
            return
        # Likely ones first: conversations, then texts.
        candidates.sort(key=lambda n: (not self.profile.turns(n), not self.profile.sentences(n)))
        shown = [names.short(name, LONGEST) for name in candidates[:60]]
        raise Unclear(
            f"chosen and rejected come without a prompt, and {_columns(candidates)} may be one: "
            f"say --columns prompt={shown[0]}, or --columns ignore={'+'.join(shown)} if "
            "it is none"
        )


def _target(name: str) -> str:
    return {"reward": "rewards", "completions": "outputs"}.get(name, name)


def _carries_context(
    rows: Sequence[Mapping[str, Any]],
    read: Callable[[Row], list[Row]] | None,
    candidates: Sequence[str],
) -> bool:
    """Whether the responses hold their own context: earlier turns, or what a candidate says.

    That both begin with the same words alone shows nothing: so do two answers to one question.
    """
    own = 0
    for record in rows:
        try:
            row = read(dict(record))[0] if read else record
        except Fault:
            continue
        chosen, rejected = row.get("chosen"), row.get("rejected")
        if isinstance(chosen, list) and len(chosen) > 1:
            own += 1
        elif isinstance(chosen, str) and isinstance(rejected, str):
            before = extract_prompt(chosen, rejected)[0]
            asked = [text for name in candidates for text in _texts(record.get(name))]
            own += holds_turn_mark(before) or any(text in before for text in asked)
    return 2 * own > len(rows)


def _texts(value: Any) -> list[str]:
    """What a candidate says: its text, or the text of its last turn."""
    value = decoded(value) if isinstance(value, str) else value
    if isinstance(value, list) and value:
        value = value[-1]
    if isinstance(value, Mapping):
        value = value.get("content", value.get("value"))
    return [value.strip()] if isinstance(value, str) and value.strip() else []


def _columns(found: Sequence[str]) -> str:
    shown = ", ".join(repr(names.short(name)) for name in found[:60])
    return f"column {shown}" if len(found) == 1 else f"columns {shown}"


def _shown(values: Sequence[Any]) -> str:
    distinct = list(dict.fromkeys(str(value)[:20] for value in values))
    return ", ".join(map(repr, distinct[:5])) + (", ..." if len(distinct) > 5 else "")
