"""Policies and verdicts: what a report must show before a model is used."""

from rmaudit.gating.policy import Policy, Rule
from rmaudit.gating.verdict import GateResult, RuleOutcome, gate

__all__ = ["GateResult", "Policy", "Rule", "RuleOutcome", "gate"]
