"""What preflight says of a fault, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rmaudit.audits.base import grade
from rmaudit.audits.common.pairs import LARGEST
from rmaudit.audits.preflight.sample import Rescored, Texts
from rmaudit.case import Case
from rmaudit.results import Finding, Metric, Severity
from rmaudit.rewards.base import does_not_apply, failed
from rmaudit.scoring.requests import Scores
from rmaudit.typing import Float, Mask

DISCREPANCY = "preflight.max_batch_discrepancy"
NONFINITE = "preflight.nonfinite_share"
NOT_APPLICABLE = "preflight.not_applicable_share"

# In SD. Batching moved the rewards of a 22M-parameter encoder by 1e-5 in float32 and, with an
# untrained head, by 0.1 in bfloat16: noise of a tenth of the spread is a finding.
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.1}
_REASONS = 5  # of failures that a finding shows


def nonfinite(rewards: Float) -> Mask:
    """Which rewards, (n,), are no finite numbers, though the reward applies to their texts."""
    return ~(np.abs(rewards) < LARGEST) & ~does_not_apply(rewards)


def unusable_findings(case: Case, scores: Scores) -> list[Finding]:
    """Findings on rewards of the evaluation data's own texts that no number can be made of."""
    texts = Texts.of(case)
    rewards = np.concatenate(
        [np.empty(0), *(scores.column(r.side).reward for r in case.data_requests)]
    )
    return [
        *nonfinite_findings(rewards, texts, case),
        *failure_findings(rewards, scores, texts, case),
        *inapplicable_findings(rewards),
    ]


def nonfinite_findings(rewards: Float, texts: Texts, case: Case) -> list[Finding]:
    """The finding on rewards that are no finite numbers; those that failed have their own."""
    places = np.flatnonzero(nonfinite(rewards) & ~failed(rewards))
    if not places.size:
        return []
    shown = [texts.example(int(i), f"reward {rewards[i]}") for i in places[: case.example_limit]]
    detail = (
        f"{places.size:,} of {rewards.size:,} texts have a reward that is NaN, infinite, "
        "or too large to subtract. They are left out of every other number. Look for overflow "
        "(try --dtype float32), damaged weights, or gaps in recorded rewards."
    )
    title = f"Non-finite rewards: {places.size:,} of {rewards.size:,} texts"
    return [Finding("high", "preflight", NONFINITE, title, detail, tuple(shown))]


def inapplicable_findings(rewards: Float) -> list[Finding]:
    """The finding on a reward that applies to no text: nothing is measured then."""
    if not rewards.size or not does_not_apply(rewards).all():
        return []
    title = "The reward does not apply to any text: it is None for each"
    detail = (
        f"All {rewards.size:,} texts of --eval got None, so no number of this report can be made. "
        "Look whether the function reads the columns that the data has."
    )
    return [Finding("high", "preflight", NOT_APPLICABLE, title, detail)]


def failure_findings(rewards: Float, scores: Scores, texts: Texts, case: Case) -> list[Finding]:
    """The finding on texts on which the reward itself failed, those that audits made included."""
    places = np.flatnonzero(failed(rewards))
    everywhere = sum(int(failed(column.reward).sum()) for column in scores.by_request.values())
    if not everywhere:
        return []
    shown = [texts.example(int(i), "the reward failed") for i in places[: case.example_limit]]
    detail = (
        f"The function or server gave no reward for {places.size:,} of the {rewards.size:,} texts "
        f"of --eval and {everywhere - places.size:,} texts made by the audits. They are left out "
        "of every other number and tried again next time."
    )
    if scores.failures:
        more = len(scores.failures) - _REASONS
        detail += f" Reasons: {'; '.join(scores.failures[:_REASONS])}"
        detail += f"; and {more:,} more." if more > 0 else "."
    title = f"The reward failed on {everywhere:,} text{'s' * (everywhere > 1)}"
    severity: Severity = "high" if places.size else "medium"
    return [Finding(severity, "preflight", NONFINITE, title, detail, tuple(shown))]


def discrepancy_findings(rescored: Rescored | None, texts: Texts, case: Case) -> list[Finding]:
    """A finding for each way of scoring that gives other rewards."""
    if rescored is None:
        return []
    dtype = str(case.model.describe().get("dtype", "float32"))
    tolerance = TOLERANCE.get(dtype, TOLERANCE["float32"])
    findings = []
    for name, moved in rescored.differences.items():
        worst = np.argsort(-moved)
        worst = worst[moved[worst] > tolerance][: case.example_limit]
        if not worst.size:
            continue
        shown = [
            texts.example(
                int(rescored.places[i]),
                f"reward {rescored.batched.reward[i]:.6g} as measured, "
                f"{rescored.others[name][i]:.6g} {name}",
            )
            for i in worst
        ]
        largest = float(moved[worst[0]])
        by = f"by up to {largest:.2g} SD" if np.isfinite(largest) else "between finite and not"
        detail = (
            f"The same text gets different rewards in a batch and {name}; {tolerance:g} SD "
            f"is tolerated as rounding ({dtype}). Until this is repaired no number of this report "
            "is the model's own. Look for randomness, state kept between calls, padding that is "
            "not masked, a reward read at the wrong token, or a number format too coarse "
            "(try --dtype float32)."
        )
        title = f"The reward of a text changes {by} when it is scored {name}"
        findings.append(Finding("high", "preflight", DISCREPANCY, title, detail, tuple(shown)))
    return findings


# By metric: bounds for "medium" and "high", the title after the share, what to do.
_FAULTS: dict[str, tuple[float, float, str, str]] = {
    "preflight.output_truncated_share": (
        0.0,
        0.05,
        "of the responses are longer than the model can read",
        "Only their end is rewarded. Leave such responses out, or raise --max-length if the model "
        "can read more.",
    ),
    "preflight.double_bos_share": (
        0.0,
        0.01,
        "of the texts begin with two beginning-of-sequence tokens",
        "The model was not trained on such texts. Remove the token from the data: it is added "
        "when texts are made.",
    ),
    "preflight.truncated_share": (
        0.10,
        0.50,
        "of the texts lost the beginning of their prompt",
        "The model judges these responses without all of the prompt. Raise --max-length if the "
        "model can read more, or read its numbers on long prompts with care.",
    ),
}


def text_findings(
    metrics: Sequence[Metric], flags: Mapping[str, NDArray[np.bool_]], texts: Texts, case: Case
) -> list[Finding]:
    """Findings on how texts were made: cut, doubled tokens, padding token at the end."""
    overall = {m.id: m.estimate for m in metrics if not m.slice}
    findings = []
    for id_, (medium, high, title, detail) in _FAULTS.items():
        estimate = overall[id_]
        if not estimate.defined or estimate.value == 0:
            continue
        places = np.flatnonzero(flags[id_])[: case.example_limit]
        shown = tuple(texts.example(int(i), "") for i in places)
        share = f"{estimate.value:.1%}" if estimate.value >= 0.01 else f"{estimate.value:.2%}"
        severity, said = grade(estimate.low, medium, high), f"{share} {title}"
        findings.append(Finding(severity, "preflight", id_, said, detail, shown))
    readings = case.model.describe().get("two_readings")
    if readings:
        detail = (
            f"{readings[0].upper()}{readings[1:]}. Find out which token the model was trained to "
            "be read at: the one that transformers reads, if TRL trained it. Every number of this "
            "report is about the reading that was taken."
        )
        title = "Texts end in the model's padding token"
        findings.append(Finding("medium", "preflight", DISCREPANCY, title, detail))
    return findings
