"""Policies and verdicts: what a report must show before a model is used."""

from rmaudit.gate.policy import Policy, Rule
from rmaudit.gate.verdict import GateResult, RuleOutcome, gate

__all__ = ["GateResult", "Policy", "Rule", "RuleOutcome", "gate"]
