"""Two audits paired by prompt, and many in a league table."""

from rmaudit.comparison.compare import Comparison, Difference, compare
from rmaudit.comparison.league import Board, League, Standing, league
from rmaudit.comparison.letters import letters
from rmaudit.comparison.trend import Trend

__all__ = [
    "Board",
    "Comparison",
    "Difference",
    "League",
    "Standing",
    "Trend",
    "compare",
    "league",
    "letters",
]
