"""The cost is said first; a bar is drawn on a terminal only."""

from __future__ import annotations

import io
import threading
from dataclasses import replace

from rich.console import Console
from scoring_stub import StubModel, make_request

from rmaudit.scoring import TerminalProgress, score
from rmaudit.scoring.progress import LineProgress, audits_line, cost_line, duration
from rmaudit.scoring.requests import AuditCost


def run(*, terminal: bool) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None)
    score(StubModel(), [make_request(40)], progress=TerminalProgress(console))
    return out.getvalue()


def test_without_a_terminal_a_short_pass_says_its_cost_alone():
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
    assert cost_line(0, 0, 0, "tokens") == "no text was scored"
    assert (
        cost_line(2000, 1500, 123456, "tokens")
        == "2,000 texts, 1,500 to score (500 scored before), about 123,456 tokens"
    )
    assert cost_line(5, 5, 70, "characters") == "5 texts, 5 to score, about 70 characters"


def test_a_long_pass_says_a_line_from_time_to_time_until_it_ends():
    said, spoken = [], threading.Event()

    def say(line, **numbers):
        said.append((line, numbers))
        if len(said) == 3:
            spoken.set()

    progress = LineProgress(say, every=0.01)
    progress.plan(500, 400, 8000, "tokens")
    progress.advance(100, 2000)
    assert spoken.wait(30)
    line, numbers = said[2]
    assert line.startswith("scored 100 of 400 texts, ")
    assert line.endswith(" left")
    assert numbers == {"texts": 100, "to_score": 400}
    progress.close()
    spoken.clear()
    said.clear()
    progress.stage("measuring length (5 of 21)")
    assert spoken.wait(30)
    assert said[0][0] == "measuring length (5 of 21), 0 s so far"
    progress.stage(None)


def test_each_audit_costs_what_it_is_the_first_to_ask_for():
    class Heard(LineProgress):
        def by_audit(self, costs):
            self.costs = {cost.audit: cost for cost in costs}

    heard = Heard(lambda line, **numbers: None)
    data = make_request(40)
    again = replace(data, side="same", audit="first")
    other = make_request(40, "new", audit="second")
    score(StubModel(), [data, again, other], progress=heard, reserve={"second": 12})
    assert (heard.costs[""].texts, heard.costs["second"].texts) == (40, 40)
    assert "first" not in heard.costs  # asks for the data's own texts alone
    assert heard.costs["second"].searches == 12


def test_costs_and_times_in_words():
    costs = [AuditCost("", 80, 80, 900), AuditCost("hacking", 9, 9, 99, 500)]
    assert audits_line(costs) == (
        "to score, by audit: hacking 9 and up to 500 of its search, the data 80"
    )
    assert audits_line(costs[:1]) == ""
    assert [duration(s) for s in (8.4, 200, 9000)] == ["8 s", "3 min", "2.5 h"]
