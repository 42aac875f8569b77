"""The cost is said first; a bar is drawn on a terminal only."""

from __future__ import annotations

import io

from rich.console import Console
from scoring_stub import StubModel, make_request

from rmaudit.scoring import TerminalProgress, score
from rmaudit.scoring.progress import cost_line


def run(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    score(StubModel(), [make_request(40)], progress=TerminalProgress(console))
    return out.getvalue()


def test_without_a_terminal_only_the_cost_is_said():
    said = run(terminal=False)
    assert said.startswith("40 texts, 40 to score, about ")
    assert said.endswith(" tokens\n")
    assert said.count("\n") == 1


def test_a_terminal_shows_texts_rate_and_time_left():
    said = run(terminal=True)
    assert said.index("40 to score") < said.index("scoring")
    assert "40/40" in said
    assert "tokens/s" in said
    assert "left" in said


def test_the_cost_in_words():
    assert cost_line(10, 0, 0, "tokens") == "10 texts, all scored before"
    assert (
        cost_line(2000, 1500, 123456, "tokens")
        == "2,000 texts, 1,500 to score (500 scored before), about 123,456 tokens"
    )
    assert cost_line(5, 5, 70, "characters") == "5 texts, 5 to score, about 70 characters"
