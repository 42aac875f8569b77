"""Logs of RL runs: what a trainer wrote, as one table of series joined by step."""

from rmaudit.overoptimization.logs.reading import Log, read_log
from rmaudit.overoptimization.logs.trainers import TRAINERS, Kl, Trainer

__all__ = ["TRAINERS", "Kl", "Log", "Trainer", "read_log"]
