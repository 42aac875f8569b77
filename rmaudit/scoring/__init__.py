"""Requests, batches, the score store: every text any audit wants, scored in one pass."""

from rmaudit.scoring.engine import score, score_shard
from rmaudit.scoring.progress import Progress, SilentProgress, TerminalProgress
from rmaudit.scoring.requests import Column, Cost, Request, Scores
from rmaudit.scoring.search import FurtherScoring
from rmaudit.scoring.store import ScoreStore, open_store
from rmaudit.scoring.store_types import NullStore
from rmaudit.scoring.table import scores_frame, with_components, write_scores

__all__ = [
    "Column",
    "Cost",
    "FurtherScoring",
    "NullStore",
    "Progress",
    "Request",
    "ScoreStore",
    "Scores",
    "SilentProgress",
    "TerminalProgress",
    "open_store",
    "score",
    "score_shard",
    "scores_frame",
    "with_components",
    "write_scores",
]
