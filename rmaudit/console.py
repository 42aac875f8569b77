"""What the commands say, and how: prose on stderr, JSON lines, or nothing.

Results go to stdout, everything about the run to stderr. Progress is drawn only on a terminal;
NO_COLOR is honoured by rich.
"""

from __future__ import annotations

import json
import logging
import sys
import textwrap
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from rmaudit.scoring.progress import Progress
    from rmaudit.training.reward.settings import OnProgress, TrainingProgress

ROOM = 0.75  # of the terminal, for the longest words of a table: the rest is for wrapping


class Console:
    """One a command."""

    def __init__(
        self, *, quiet: bool = False, json_logs: bool = False, debug: bool = False
    ) -> None:
        self.quiet = quiet
        self.json_logs = json_logs
        self.debug = debug
        self._rich: RichConsole | None = None
        route = _Route(self)
        # What the library logs (rows set aside, columns not used) is said as all else is.
        log = logging.getLogger("rmaudit")
        log.handlers = [each for each in log.handlers if not isinstance(each, _Route)] + [route]

    @property
    def rich(self) -> RichConsole:
        """The terminal on stderr."""
        if self._rich is None:
            from rich.console import Console as RichConsole

            self._rich = RichConsole(stderr=True, soft_wrap=True, highlight=False, emoji=False)
        return self._rich

    def progress(self) -> Progress:
        """Where a scoring pass says how far it is."""
        from rmaudit.scoring.progress import LineProgress, SilentProgress, TerminalProgress

        if self.quiet:
            return SilentProgress()
        return LineProgress(self.say) if self.json_logs else TerminalProgress(self.rich)

    @contextmanager
    def training(self) -> Iterator[OnProgress]:
        """Where a training run says how far it is: a bar on a terminal, else nothing."""
        if self.quiet or self.json_logs or not self.rich.is_terminal:
            yield lambda progress: None
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.rich, transient=True) as bar:
            task = bar.add_task("training")

            def update(progress: TrainingProgress) -> None:
                bar.update(
                    task,
                    description=f"member {progress.member + 1} of {progress.members}, "
                    f"loss {progress.loss:.3f}, {progress.pairs_per_second:.0f} pairs/s",
                    total=progress.members * progress.steps,
                    completed=progress.member * progress.steps + progress.step,
                )

            yield update

    def say(self, message: str, **fields: Any) -> None:
        """A line about the run; `fields` are what a log wants to hold."""
        if self.json_logs:
            self._log("info", message, fields)
        elif not self.quiet:
            self.rich.print(printable(message), markup=False)

    def warn(self, message: str, **fields: Any) -> None:
        """A line the user should not miss."""
        if self.json_logs:
            self._log("warning", message, fields)
        elif not self.quiet:
            self.rich.print(f"warning: {printable(message)}", markup=False, style="yellow")

    def error(self, message: str) -> None:
        """Why the command ends; printed even when quiet."""
        if self.json_logs:
            self._log("error", message, {})
        else:
            self.rich.print(f"error: {printable(message)}", markup=False, style="bold red")

    def result(self, message: str, **fields: Any) -> None:
        """A sentence of the result, on stdout; nothing if only errors are wanted."""
        if self.json_logs:
            self._log("result", message, fields)
        elif not self.quiet:
            sys.stdout.write(f"{printable(message)}\n")

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A result, on stdout; nothing if only errors are wanted."""
        from rich.console import Console as RichConsole
        from rich.table import Table
        from rich.text import Text

        if self.json_logs:
            records = [dict(zip(columns, row, strict=True)) for row in rows]
            self._log("result", title, {"rows": records})
            return
        if self.quiet:
            return
        title, columns = printable(title), [printable(column) for column in columns]
        # Cells may hold untrusted text: control characters must not reach the terminal.
        cells = [[printable(cell) for cell in row] for row in rows]
        terminal = RichConsole(emoji=False)
        widths = [_longest_word(column) for column in zip(columns, *cells, strict=True)]
        if sum(widths) + 3 * (len(widths) - 1) > ROOM * terminal.width:
            # No id breaks within a word, however narrow the terminal: a row becomes a few lines.
            terminal.print(Text("\n".join([title, *_stacked(columns, cells, terminal.width)])))
            return
        table = Table(title=title, title_justify="left", show_edge=False, pad_edge=False)
        for column, width in zip(columns, widths, strict=True):
            table.add_column(column, min_width=width, overflow="fold")
        for row in cells:
            table.add_row(*map(Text, row))
        terminal.print(table)

    def _log(self, level: str, message: str, fields: dict[str, Any]) -> None:
        record = {"time": time.time(), "level": level, "message": message, **fields}
        sys.stderr.write(json.dumps(record, default=str) + "\n")


class _Route(logging.Handler):
    """Hands the library's warnings to the console of the command that runs."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.WARNING)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Say it as a warning."""
        self._console.warn(record.getMessage())


def printable(cell: str) -> str:
    """Text that may be shown: control characters of others must not reach the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in cell)


def _longest_word(cells: Sequence[str]) -> int:
    """Characters of the longest word, at least 1."""
    return max((len(word) for cell in cells for word in cell.split()), default=1)


def _stacked(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> Iterator[str]:
    """Each row as its first cell, then the others by name, wrapped between words."""
    for row in rows:
        yield row[0]
        rest = zip(columns[1:], row[1:], strict=True)
        line = "; ".join(f"{name}: {cell}" for name, cell in rest if cell.strip() not in ("", "-"))
        yield from textwrap.wrap(
            line,
            max(width, 20),
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
