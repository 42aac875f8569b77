"""Which key of a log holds which quantity, and in which unit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from rmaudit.errors import DataError, nearest
from rmaudit.overoptimization.logs.trainers import TRAINERS, Kl, KlUnit, Trainer

Split = Literal["train", "eval"]
_RUN = re.compile(r"^.+ - (?=[\w/@.-]+$)")  # a chart of W&B: "name of the run - key"
_PREFIX = re.compile(r"^(?:(?P<eval>eval(?:uation)?[/_]|validation/)|(?:train|training|rollout)/)")
_SPREAD = re.compile(
    r"(?:^|[/_@.])(?:std|sd|var|variance|max|min|median|count)(?:@\d+)?$|__(?:MIN|MAX)$"
    r"|/(?:std|best|worst|maj)@\d+|^val-aux/|evidence"
)
_REWARD = re.compile(r"reward|score|gold|return|accuracy", re.IGNORECASE)
STEPS = ("step", "global_step", "_step", "iteration")
_NAMED = re.compile(r"gold", re.IGNORECASE)
NO_LENGTH = "none"  # what --log-length says of a KL that is one of sequences already


@dataclass(frozen=True)
class Key:
    """A key of a log, in the form that all trainers share."""

    raw: str
    bare: str  # without the name of the run and without train/, eval_ and the like
    split: Split
    run: str = ""  # in the name of which an export put it; "" where it names none


@dataclass(frozen=True)
class Keys:
    """What was found where; units are those of the keys."""

    step: str
    kl: str  # "" where none is logged
    unit: KlUnit
    proxy: str
    gold: str
    lengths: tuple[str, ...] = ()  # the product of these is the length
    length: float | None = None  # the same for every step
    spreads: Mapping[str, str] = field(default_factory=dict)  # "proxy", "gold": keys of their SDs
    components: Mapping[str, str] = field(default_factory=dict)  # name: key
    component_spreads: Mapping[str, str] = field(default_factory=dict)  # name: key of its SD
    trainer: str | None = None
    assumed: bool = False  # that the KL is one of sequences: nothing says so but the user's choice
    passed_over: tuple[str, ...] = ()  # other keys that name a gold reward


def parsed(raw: str) -> Key:
    """A key without what exports and loggers put in front of it."""
    bare = _RUN.sub("", raw)
    run = raw[: len(raw) - len(bare)].removesuffix(" - ")
    match = _PREFIX.match(bare)
    if match is None:
        return Key(raw, bare, "train", run)
    return Key(raw, bare[match.end() :], "eval" if match["eval"] else "train", run)


class Known:
    """The keys of one log, and who wrote them."""

    def __init__(self, raws: Iterable[str], file: Path, completions: bool = False) -> None:
        self.file = file
        self.completions = completions  # whether the run's folder holds what the policy wrote
        self.keys = [parsed(raw) for raw in dict.fromkeys(raws)]
        self.raws = {key.raw for key in self.keys}
        bare = {key.bare for key in self.keys}
        hits = {
            name: sum(any(key.startswith(mark) for key in bare) for mark in trainer.signature)
            for name, trainer in TRAINERS.items()
        }
        order = sorted(hits, key=lambda name: -hits[name])
        self.trainer = order[0] if hits[order[0]] else None
        self.trainers: list[Trainer] = [TRAINERS[name] for name in order]

    def of_one_run(self, named: Iterable[str | None]) -> Known:
        """The keys of one run, where an export holds several: that of the keys the user named.

        Raises
        ------
        DataError
            If the user named keys of none of them, or of several.
        """
        runs = [*dict.fromkeys(key.run for key in self.keys if key.run)]
        if len(runs) < 2:
            return self
        chosen = {parsed(name).run for name in named if name in self.raws} - {""}
        if len(chosen) != 1:
            shown = ", ".join(runs[:5])
            example = next(key.raw for key in self.keys if key.run == runs[0])
            raise DataError(
                f"{self.file}: holds {len(runs)} runs ({shown}); export one run, or name a key "
                f"with its run, as in {example!r}, with --log-gold"
            )
        kept = [key.raw for key in self.keys if key.run in ("", *chosen)]
        return Known(kept, self.file, self.completions)

    def first(self, wanted: Iterable[str]) -> str | None:
        """The first of these that is logged, of training before evaluation."""
        for name in wanted:
            keys = [key for key in self.keys if name in (key.bare, key.raw)]
            if keys:
                return min(keys, key=lambda key: (key.split == "eval", key.raw != name)).raw
        return None

    def named(self, name: str, what: str) -> str:
        """The key that the user named, with or without what stands in front of it."""
        if name in self.raws:
            return name
        key = self.first([name])
        if key is None:
            raise self.lacks(what, name)
        return key

    def lacks(self, what: str, name: str | None = None) -> DataError:
        """One line about a key that is not there; all keys are listed, those of rewards first."""
        option = f"; name its key with --log-{what}"
        if what == "gold" and self.completions and not name:
            option += ", or score the completions with --gold MODEL"
        wanted = f"key {name!r}" if name else what
        close = f" ({nearest(name, self.raws)})" if name and len(self.raws) < 200 else ""
        listed = sorted(self.raws, key=lambda raw: (not _REWARD.search(raw), raw))
        shown = ", ".join(listed)
        return DataError(
            f"{self.file}: no {wanted} in the log{option}{close} (there are: {shown[:4000]})"
        )


def find_keys(
    known: Known,
    *,
    kl: str | None = None,
    proxy: str | None = None,
    gold: str | None = None,
    length: str | None = None,
) -> Keys:
    """The key of each quantity; those that the user names come first.

    A log may hold no KL: then its key is "".

    Raises
    ------
    DataError
        If proxy or gold have no key, a KL per token no length, or there are several runs.
    """
    known = known.of_one_run((kl, proxy, gold, length))
    step = known.first(STEPS) or known.first(["Step"])
    others = [] if gold else _named_gold(known)
    gold = known.named(gold, "gold") if gold else _gold(known)
    components = _components(known, gold)
    proxy = known.named(proxy, "proxy") if proxy else _proxy(known, components)
    if proxy is None or gold is None:
        raise known.lacks("gold" if gold is None else "proxy")
    several = components if len(components) > 1 else {}
    found = _kl(known, kl)
    keys = Keys(
        step or "",
        *(found[:2] if found else ("", "sequence")),
        proxy,
        gold,
        trainer=known.trainer,
        spreads=_spreads(known, {"proxy": proxy, "gold": gold}),
        components=several,
        component_spreads=_spreads(known, several),
        assumed=bool(found and found[2]),
        passed_over=tuple(key for key in others if key not in (gold, proxy)),
    )
    return _with_length(known, keys, length, named=kl is not None) if found else keys


def _gold(known: Known) -> str | None:
    found = known.first(key for trainer in known.trainers for key in trainer.gold)
    return found or next(iter(_named_gold(known)), None)


def _named_gold(known: Known) -> list[str]:
    """Keys with "gold" in their names, the likeliest mean first."""
    named = [k for k in known.keys if _NAMED.search(k.bare) and not _SPREAD.search(k.bare)]
    named.sort(key=lambda key: (key.split == "eval", not key.bare.endswith("/mean")))
    return [key.raw for key in named]


def _components(known: Known, gold: str | None) -> dict[str, str]:
    """Component rewards by name, without the gold reward."""
    chosen: dict[str, str] = {}
    for pattern in dict.fromkeys(p for trainer in known.trainers for p in trainer.components):
        for key in known.keys:
            match = re.fullmatch(pattern, key.bare)
            if match is None or key.split == "eval" or key.raw == gold:
                continue
            if not _SPREAD.search(key.bare) and not _NAMED.search(key.bare):
                chosen.setdefault(match[1], key.raw)
    return chosen


def _proxy(known: Known, components: Mapping[str, str]) -> str | None:
    """What is optimised.

    TRL's own mean of the rewards holds the gold reward where that has a weight, and in RLOO is less
    the KL penalty: the reward's own mean comes first where there is only one beside the gold one.
    """
    own = known.first(["rmaudit/proxy", "proxy"])
    if own is not None or len(components) == 1:
        return own or next(iter(components.values()))
    return known.first(key for trainer in known.trainers for key in trainer.proxy)


def _kl(known: Known, name: str | None) -> tuple[str, KlUnit, bool] | None:
    """Key and unit of the KL, and whether the unit is but assumed; None where none is logged."""
    declared = [kl for trainer in known.trainers for kl in trainer.kl]
    if name is not None:
        raw = known.named(name, "kl")
        bare = parsed(raw).bare
        unit = next((kl.unit for kl in declared if kl.key in (bare, raw)), None)
        return raw, unit or "sequence", unit is None
    order: Sequence[Kl] = sorted(declared, key=lambda kl: kl.unit == "token")
    for kl in order:
        key = known.first([kl.key])
        if key is not None:
            return key, kl.unit, False
    return None


def _with_length(known: Known, keys: Keys, given: str | None, *, named: bool) -> Keys:
    """The keys, with those that make a KL per token one of sequences."""
    if given is not None and given.lower() == NO_LENGTH:
        return replace(keys, unit="sequence", assumed=False)
    if given is not None:
        try:
            return replace(keys, unit="token", length=float(given), assumed=False)
        except ValueError:
            lengths = (known.named(given, "length"),)
            return replace(keys, unit="token", lengths=lengths, assumed=False)
    if keys.unit != "token":
        return keys
    for factors in (f for trainer in known.trainers for f in trainer.length):
        found = [known.first([factor]) for factor in factors]
        if found[0] is not None:
            return replace(keys, lengths=tuple(key for key in found if key is not None))
    if named:
        return replace(keys, unit="sequence", assumed=True)
    raise DataError(
        f"{known.file}: {keys.kl!r} is a mean over tokens, and no response length is logged to "
        "make it one of sequences; give --log-length, a key or the mean number of tokens"
    )


def _spreads(known: Known, rewards: Mapping[str, str]) -> dict[str, str]:
    """Keys of the SDs of rewards, where they are logged."""
    values = {}
    pairs = [pair for trainer in known.trainers for pair in trainer.spreads]
    for what, key in rewards.items():
        for end, other in pairs:
            if key.endswith(end) and key.removesuffix(end) + other in known.raws:
                values[what] = key.removesuffix(end) + other
                break
    return values
