"""Two audits, paired by prompt."""

from rmaudit.comparison.compare import Comparison, Difference, compare

__all__ = ["Comparison", "Difference", "compare"]
