"""What a scoring pass tells its user: the cost before it starts, then how far it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import rich.console
    import rich.progress
    import rich.status

    from rmaudit.scoring.requests import AuditCost

EVERY = 30.0  # seconds between two lines where no bar can be drawn


class Progress(Protocol):
    """Told of a pass by `rmaudit.scoring.score`; library users may pass their own."""

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """The cost, before the first forward pass.

        Parameters
        ----------
        texts
            Distinct texts, summed over the models that score them.
        to_score
            Those of them that the store does not hold.
        tokens
            What the forward passes will process, in `unit`; estimated from a sample of the texts
            where there are many.
        unit
            "tokens" or "characters".
        """

    def advance(self, texts: int, tokens: int) -> None:
        """A batch was scored and stored."""

    def close(self) -> None:
        """The pass ended, well or not; called once after `plan`."""


class SilentProgress:
    """Says nothing."""

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """See `Progress.plan`."""

    def advance(self, texts: int, tokens: int) -> None:
        """See `Progress.advance`."""

    def close(self) -> None:
        """See `Progress.close`."""


@runtime_checkable
class FurtherProgress(Progress, Protocol):
    """A progress that is also told what each audit costs, and what happens after the pass."""

    def by_audit(self, costs: Sequence[AuditCost]) -> None:
        """Which audit asks for how many texts; called after `plan`."""

    def stage(self, words: str | None) -> None:
        """What is being done now, such as "measuring length (5 of 21)"; None: nothing."""


class LineProgress:
    """The cost as lines; then a line every 30 s: texts, rate and time left, or what is measured.

    Parameters
    ----------
    say
        Takes a line and, by keyword, its numbers.
    every
        Seconds between two lines.
    """

    def __init__(self, say: Callable[..., Any], every: float = EVERY) -> None:
        self._say, self._every = say, every
        self._total = self._texts = self._tokens = 0
        self._unit = "tokens"
        self._start = 0.0
        self._stage: str | None = None
        self._ended: threading.Event | None = None

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """See `Progress.plan`."""
        self._say(cost_line(texts, to_score, tokens, unit), texts=texts, to_score=to_score)
        self._total, self._unit, self._texts, self._tokens = to_score, unit, 0, 0
        if to_score:
            self._begin()

    def by_audit(self, costs: Sequence[AuditCost]) -> None:
        """See `FurtherProgress.by_audit`."""
        if line := audits_line(costs):
            self._say(line)

    def advance(self, texts: int, tokens: int) -> None:
        """See `Progress.advance`."""
        self._texts += texts
        self._tokens += tokens

    def close(self) -> None:
        """See `Progress.close`."""
        self._end()

    def stage(self, words: str | None) -> None:
        """See `FurtherProgress.stage`."""
        self._stage, self._start = words, time.monotonic()
        if words is None:
            self._end()
        elif self._ended is None:
            self._begin()

    def _begin(self) -> None:
        self._start, self._ended = time.monotonic(), threading.Event()
        threading.Thread(target=self._beat, args=(self._ended,), daemon=True).start()

    def _end(self) -> None:
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    def _beat(self, ended: threading.Event) -> None:
        while not ended.wait(self._every):
            passed = time.monotonic() - self._start
            if self._stage is not None:
                self._say(f"{self._stage}, {duration(passed)} so far", seconds=passed)
            else:
                self._say(self._scored(passed), texts=self._texts, to_score=self._total)

    def _scored(self, passed: float) -> str:
        done = f"scored {self._texts:,} of {self._total:,} texts"
        if not self._texts:
            return f"{done} in {duration(passed)}"
        rate = self._tokens / passed
        left = passed / self._texts * (self._total - self._texts)
        return f"{done}, {rate:,.0f} {self._unit}/s, about {duration(left)} left"


class TerminalProgress:
    """The cost as lines; then, on a terminal, a bar: texts, tokens/s, time left; else lines."""

    def __init__(
        self, console: rich.console.Console | None = None, *, every: float = EVERY
    ) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._lines = LineProgress(self._say, every)
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._status: rich.status.Status | None = None
        self._unit = "tokens"
        self._start = 0.0
        self._tokens = 0

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """See `Progress.plan`."""
        if not self._console.is_terminal:
            self._lines.plan(texts, to_score, tokens, unit)
            return
        self._say(cost_line(texts, to_score, tokens, unit))
        if to_score:
            self._unit, self._tokens, self._start = unit, 0, time.monotonic()
            self._bar = _bar(self._console)
            self._task = self._bar.add_task("scoring", total=to_score, rate="")
            self._bar.start()

    def by_audit(self, costs: Sequence[AuditCost]) -> None:
        """See `FurtherProgress.by_audit`."""
        self._lines.by_audit(costs)

    def advance(self, texts: int, tokens: int) -> None:
        """See `Progress.advance`."""
        if self._bar is None or self._task is None:
            self._lines.advance(texts, tokens)
            return
        self._tokens += tokens
        rate = self._tokens / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(self._task, advance=texts, rate=f"{rate:,.0f} {self._unit}/s")

    def close(self) -> None:
        """See `Progress.close`."""
        self._lines.close()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def stage(self, words: str | None) -> None:
        """See `FurtherProgress.stage`."""
        if not self._console.is_terminal:
            self._lines.stage(words)
        elif words is None:
            if self._status is not None:
                self._status.stop()
            self._status = None
        elif self._status is None:
            self._status = self._console.status(words)
            self._status.start()
        else:
            self._status.update(words)

    def _say(self, line: str, **numbers: Any) -> None:
        self._console.print(line, markup=False)


def cost_line(texts: int, to_score: int, tokens: int, unit: str) -> str:
    """The cost in words, as `Progress.plan` is told it."""
    if not to_score:
        return f"{texts:,} texts, all scored before" if texts else "no text was scored"
    known = f" ({texts - to_score:,} scored before)" if to_score < texts else ""
    return f"{texts:,} texts, {to_score:,} to score{known}, about {tokens:,} {unit}"


def audits_line(costs: Sequence[AuditCost]) -> str:
    """What each audit has scored on top of the data's own texts, most first; "" for nothing."""
    asked = sorted((c for c in costs if c.to_score or c.searches), key=lambda c: -c.most)
    parts = [
        f"{cost.audit or 'the data'} {cost.to_score:,}"
        + (f" and up to {cost.searches:,} of its search" if cost.searches else "")
        for cost in asked
    ]
    return f"to score, by audit: {', '.join(parts)}" if len(parts) > 1 else ""


def duration(seconds: float) -> str:
    """A time for people: 8 s, 3 min, 2.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _bar(console: rich.console.Console) -> rich.progress.Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("texts · {task.fields[rate]} ·"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
    )
