"""What a scoring pass tells its user: the cost before it starts, then how far it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import rich.console
    import rich.progress


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


class TerminalProgress:
    """The cost as one line; then, on a terminal, a bar: texts, tokens/s, time left."""

    def __init__(self, console: rich.console.Console | None = None) -> None:
        from rich.console import Console

        self._console = console or Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar: rich.progress.Progress | None = None
        self._task: rich.progress.TaskID | None = None
        self._unit = "tokens"
        self._start = 0.0
        self._tokens = 0

    def plan(self, texts: int, to_score: int, tokens: int, unit: str) -> None:
        """See `Progress.plan`."""
        self._console.print(cost_line(texts, to_score, tokens, unit), markup=False)
        if to_score and self._console.is_terminal:
            self._unit, self._tokens, self._start = unit, 0, time.monotonic()
            self._bar = _bar(self._console)
            self._task = self._bar.add_task("scoring", total=to_score, rate="")
            self._bar.start()

    def advance(self, texts: int, tokens: int) -> None:
        """See `Progress.advance`."""
        if self._bar is None or self._task is None:
            return
        self._tokens += tokens
        rate = self._tokens / max(time.monotonic() - self._start, 1e-9)
        self._bar.update(self._task, advance=texts, rate=f"{rate:,.0f} {self._unit}/s")

    def close(self) -> None:
        """See `Progress.close`."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def cost_line(texts: int, to_score: int, tokens: int, unit: str) -> str:
    """The cost in words, as `Progress.plan` is told it."""
    if not to_score:
        return f"{texts:,} texts, all scored before"
    known = f" ({texts - to_score:,} scored before)" if to_score < texts else ""
    return f"{texts:,} texts, {to_score:,} to score{known}, about {tokens:,} {unit}"


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
