"""Cases with known rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from known_rewards import FunctionModel, Reward, score_case, table

from rmaudit.audits.base import Audit
from rmaudit.case import Case
from rmaudit.data.types import DataType
from rmaudit.results import AuditResult
from rmaudit.scoring.requests import Scores


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """``make_case(rows, reward=..., kind="preference", new_text=True, **fields of Case)``.

    `rows`: a frame or a list of rows. The reward is the number of words by default.
    """

    def make(
        rows: Any,
        reward: Reward = lambda prompt, output: float(len(output.split())),
        *,
        kind: DataType = "preference",
        new_text: bool = True,
        **fields: Any,
    ) -> Case:
        fields.setdefault("resamples", 400)
        model = FunctionModel(reward, new_text=new_text)
        return Case(model=model, eval=table(rows, kind), **fields)

    return make


@pytest.fixture
def run_audit() -> Callable[..., AuditResult]:
    """``run_audit(audit, case, rewards=None, lengths=None)``: see `score_case`."""

    def run(audit: Audit, case: Case, **given: Any) -> AuditResult:
        return audit.measure(case, score_case(case, [audit], **given))

    return run


@pytest.fixture
def score_with() -> Callable[..., Scores]:
    """``score_with(case, audits)``: see `score_case`."""
    return score_case
