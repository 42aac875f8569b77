"""Simulated texts for `intervals.py`: shares of rows, of support, and of a policy's samples.

Faults are put in with a known chance, which is the population value. A row that repeats another one
does so within its prompt, and what is compared with fixed data (the feedback) is compared with the
same data each time: a match by chance anywhere in the data would grow more likely with their size,
and have no population value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
import pandas as pd
from interval_draws import Draw, Group, Integers, Measured
from scipy.special import ndtr, ndtri

import rmaudit as rma
from rmaudit.audits.base import audits as registered_audits
from rmaudit.audits.common.support import Support
from rmaudit.audits.coverage.audit import deficit, seen_mass, share_of
from rmaudit.audits.policy.audit import outside_share
from rmaudit.case import Case
from rmaudit.results import Estimate, Metric
from rmaudit.rewards.base import NOT_APPLICABLE
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Scores
from rmaudit.support.conformal import (
    CALIBRATION_SHARE,
    FEWEST_CALIBRATION,
    LEVEL,
    Calibration,
    neighbour_distance,
    support_share,
)
from rmaudit.support.two_sample import told_apart
from rmaudit.typing import Mask, Vectors

FAULTS = {
    "duplicate": 0.1,
    "contradiction": 0.06,
    "identical_pair": 0.05,
    "cycle": 0.1,
    "leakage": 0.08,
    "near_leakage": 0.1,
}
CIRCULAR = 0.3  # of the prompts with three responses
WORDS = [f"{a}{b}" for a in ("ba", "ko", "li", "mu", "ne") for b in ("ra", "so", "ti", "wu", "za")]
OUTPUTS = 4  # samples of a prompt
STOCK = " ".join(WORDS[:12])
SHIFT = 0.8  # of the samples outside the feedback
AMONG_FEEDBACK = 400  # rows of the fixed feedback


class Tokens(Recorded):
    """Recorded rewards whose tokenizer was watched."""

    length_unit = "tokens"


def known(numbers: Mapping[str, tuple[Estimate, float]]) -> list[Measured]:
    """Metrics with their population values."""
    return [(Metric(id_, estimate), truth) for id_, (estimate, truth) in numbers.items()]


def alike(rng: np.random.Generator, of: Integers, chance: float, strength: float = 4.0) -> Mask:
    """True or false, (n,), of a chance that differs by prompt and is `chance` on average."""
    by_prompt = rng.beta(strength * chance, strength * (1 - chance), int(of.max()) + 1)
    return rng.random(len(of)) < by_prompt[of]


def of_preflight(draw: Draw) -> list[Measured]:
    """Flags of texts, more often on some prompts than on others."""
    rng = draw.rng(1)
    of = draw.prompt_of(rng)
    rows = [
        {"prompt": f"Question {p}", "chosen": f"Answer {i}", "rejected": f"Reply {i}"}
        for i, p in enumerate(of)
    ]
    case = Case(Tokens(), rma.load(rows, "preference"), seed=draw.seed)
    n = len(of)
    chances = {"truncated_share": 0.2, "output_truncated_share": 0.06, "double_bos_share": 0.5}
    chances |= {"nonfinite_share": 0.05, "not_applicable_share": 0.15}
    both = np.r_[of, of]
    flags = {name: alike(rng, both, chance) for name, chance in chances.items()}
    reward = rng.normal(size=2 * n)
    reward[flags["nonfinite_share"]] = np.inf
    reward[flags["not_applicable_share"]] = NOT_APPLICABLE
    chances["nonfinite_share"] *= 1 - chances["not_applicable_share"]  # drawn apart
    columns = {}
    for place, request in enumerate(case.data_requests):
        part = slice(place * n, (place + 1) * n)
        length = np.ones(n, dtype=np.int64)
        cut, cut_output, doubled = (
            flags[f"{name}_share"][part] for name in ("truncated", "output_truncated", "double_bos")
        )
        columns[request.key] = Column(reward[part], length, length, cut, cut_output, doubled)
    (audit,) = registered_audits(("preflight",))
    found = audit.measure(case, Scores([], columns)).metrics
    return [(m, chances[m.id.partition(".")[2]]) for m in found if m.estimate.defined]


def sentence(rng: np.random.Generator, n: int = 12) -> str:
    """So many words."""
    return " ".join(WORDS[i] for i in rng.integers(len(WORDS), size=n))


def of_data(draw: Draw) -> list[Measured]:
    """Rows with faults: repeated, contradicted, compared with themselves, in a circle, leaked.

    A group of rows is the cluster; every row has a prompt of its own but for the rows that a fault
    adds to it.
    """
    rng, feedback = draw.rng(2), _feedback()
    order = iter(np.resize(rng.permutation(len(feedback)), draw.prompts * 5).tolist())
    rows: list[dict[str, str]] = []
    for i, p in enumerate(draw.prompt_of(rng)):
        row = {"prompt": f"Question number {i}", "chosen": f"{i} c", "rejected": f"{i} r"}
        (fault,) = rng.choice([*FAULTS, ""], 1, p=[*FAULTS.values(), 1 - sum(FAULTS.values())])
        rows += [
            {**each, "group": f"{p}"} for each in _with_fault(row, fault, feedback, order, rng)
        ]
    total = 1 + FAULTS["duplicate"] + FAULTS["contradiction"] + 2 * FAULTS["cycle"]
    truth = {f"data.{name}_share": chance / total for name, chance in FAULTS.items()}
    truth["data.contradiction_share"] *= 2  # both rows
    truth["data.cycle_share"] = CIRCULAR  # of the prompts with three responses
    data = rma.load(rows, "preference")
    case = Case(Recorded(), data, feedback=rma.load(feedback, "preference"), seed=draw.seed)
    (audit,) = registered_audits(("data",))
    found = audit.measure(case, Scores([], {})).metrics
    return [(m, truth[m.id]) for m in found if m.id in truth and not m.slice]


def _with_fault(
    row: dict[str, str],
    fault: str,
    feedback: list[dict[str, str]],
    order: Iterator[int],
    rng: np.random.Generator,
) -> list[dict[str, str]]:
    """The row with its fault, and the rows that this takes."""
    if fault == "duplicate":
        return [row, row]
    if fault == "contradiction":
        return [row, {**row, "chosen": row["rejected"], "rejected": row["chosen"]}]
    if fault == "identical_pair":
        return [{**row, "rejected": row["chosen"]}]
    if fault == "cycle":
        a, b, c = (f"{row['chosen']} {name}" for name in "abc")
        last = (c, a) if rng.random() < CIRCULAR else (a, c)
        pairs = [(a, b), (b, c), last]
        return [{**row, "chosen": one, "rejected": other} for one, other in pairs]
    if fault:
        known_ = feedback[next(order)]
        row |= {"prompt": known_["prompt"], "chosen": known_["chosen"]}
    if fault == "near_leakage":
        row["chosen"] = " ".join([*row["chosen"].split()[:-1], "changed"])
    return [row]


def held_out(prompts: int) -> int:
    """Calibration prompts of so many prompts of feedback, as the audits hold them out."""
    return max(round(prompts * CALIBRATION_SHARE), FEWEST_CALIBRATION)


def of_coverage(draw: Draw) -> list[Measured]:
    """Distances of prompts and of responses to fixed neighbours; types; a classifier's one axis."""
    rng = draw.rng(3)
    level = 0.95
    m = held_out(draw.prompts)
    calibration = Calibration(np.exp(0.3 * rng.normal(size=m)), draw.prompts)
    end = 0.3 * float(ndtri(1 - LEVEL))  # log of the true 95 % point
    codes = np.arange(draw.prompts)
    distance = np.exp(0.1 + 0.35 * rng.normal(size=draw.prompts))
    kappa = support_share(distance, calibration, codes, confidence=level)
    inside = float(ndtr((end - 0.1) / 0.35))
    of = draw.prompt_of(rng)  # responses of each prompt
    far = 0.2 + 0.3 * rng.normal(size=draw.prompts)[of] + 0.3 * rng.normal(size=len(of))
    rho = support_share(np.exp(far), calibration, of, confidence=level)
    inside_pairs = float(ndtr((end - 0.2) / (0.3 * math.sqrt(2))))
    share = np.arange(1, 41) ** -1.0
    share /= share.sum()
    types = [rng.choice(40, p=share, size=size) for size in (60, draw.prompts, len(of))]
    seen = float(share[np.unique(types[0])].sum())
    shift = 0.6
    sides = [rng.normal(at, 1, (draw.prompts, 1)) for at in (0.0, shift)]
    names = [[f"{side} {i}" for i in range(draw.prompts)] for side in ("feedback", "deployment")]
    apart = told_apart((sides[0], names[0]), (sides[1], names[1]), rng, confidence=level)
    exact = (rng.random(draw.prompts) < 0.3).astype(np.float64)
    return known(
        {
            "coverage.kappa_exact": (share_of(exact, codes, level), 0.3),
            "coverage.rho_exact": (
                share_of(alike(rng, of, 0.1).astype(np.float64), of, level),
                0.1,
            ),
            "coverage.kappa": (kappa, inside),
            "coverage.kappa_deficit": (deficit(kappa), 1 - LEVEL - inside),
            "coverage.rho": (rho, inside_pairs),
            "coverage.rho_deficit": (deficit(rho), 1 - LEVEL - inside_pairs),
            "coverage.kappa_mass": (seen_mass(types[0], types[1], codes, level), seen),
            "coverage.rho_mass": (seen_mass(types[0], types[2], of, level), seen),
            "coverage.shift_auroc": (apart.auroc, float(ndtr(shift / math.sqrt(2)))),
        }
    )


def of_policy(draw: Draw) -> list[Measured]:
    """Samples of two policies: the second goes further, writes more, and repeats one response."""
    rng = draw.rng(4)
    rows = []
    of = draw.prompt_of(rng)
    repeats = rng.beta(0.8, 3.2, draw.prompts)  # 0.2 on average
    usual = rng.integers(-2, 3, draw.prompts)  # words more than others
    for policy, longer in (("initial", 0), ("tuned", 6)):
        for p in of.tolist():
            words = 12 + longer + usual[p] + rng.integers(-4, 5, OUTPUTS)
            outputs = [sentence(rng, n) for n in words]
            if longer:
                outputs = [STOCK if rng.random() < repeats[p] else o for o in outputs]
            tokens = np.array([len(text.split()) for text in outputs])
            own = -tokens * rng.gamma(3, 0.5, OUTPUTS)
            rows.append(
                {
                    "prompt": f"Question number {p}",
                    "policy": policy,
                    "outputs": outputs,
                    "tokens": tokens.tolist(),
                    "logprobs": own.tolist(),
                    "reference_logprobs": (own - rng.gamma(2, 1.5, OUTPUTS)).tolist(),
                    "heldout_nll": 2 + rng.normal(0.05 * (longer > 0), 0.1),
                    "proxy_rewards": rng.normal(size=OUTPUTS).tolist(),
                }
            )
    case = Case(
        Recorded(), rma.load(rows[:2], "samples"), samples=rma.load(rows, "samples"), seed=draw.seed
    )
    (audit,) = registered_audits(("policy",))
    characters = 5 * 18 - 1, 5 * 12 - 1  # words of four letters
    longer_share = (0.8 * characters[0] + 0.2 * characters[1]) / characters[1]
    truth = {
        "policy.kl": 3.0,
        "policy.token_entropy": 1.5,
        "policy.heldout_nll_change": 0.05,
        "policy.shared_share": 0.2,
        "policy.length_ratio": longer_share,
    }
    found = audit.measure(case, Scores([], {})).metrics
    return [(m, truth[m.id]) if m.id in truth else m for m in found if not m.slice]


def of_outside_share(draw: Draw) -> list[Measured]:
    """Samples that lie elsewhere than the feedback, of which the neighbours are the same ones."""
    rng = draw.rng(5)
    of = draw.prompt_of(rng)
    m = held_out(draw.prompts)
    near = _points(np.random.default_rng(0), draw.prompts - m)
    calibration = _points(rng, m)
    at = np.arange(draw.prompts)
    where = Support(
        np.concatenate([near, calibration]), {}, at[: len(near)], at[len(near) :], len(at)
    )
    samples = _points(rng, len(of) * OUTPUTS, SHIFT)
    distances = np.split(neighbour_distance(samples, near), len(of))
    own = pd.DataFrame({"cluster": of, "distances": pd.Series(distances, dtype=object)})
    found = outside_share(where, own, 0.95)
    return known({"policy.outside_support_share": (found, _true_outside(len(near)))})


def _points(rng: np.random.Generator, n: int, shift: float = 0.0) -> Vectors:
    """Directions in space, (n, 3), more often one way by a shift."""
    points = rng.normal(size=(n, 3)) + np.array([shift, 0.0, 0.0])
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


@lru_cache
def _true_outside(n_near: int) -> float:
    """Share of samples beyond the distance that 95 % of the feedback keeps; of 100,000 each."""
    near = _points(np.random.default_rng(0), n_near)
    feedback, samples = (
        neighbour_distance(_points(np.random.default_rng(seed), 100_000, shift), near)
        for seed, shift in ((1, 0.0), (2, SHIFT))
    )
    return float(np.mean(samples > np.quantile(feedback, 1 - LEVEL)))


@lru_cache
def _feedback() -> list[dict[str, str]]:
    """The same feedback each time."""
    rng = np.random.default_rng(0)
    return [
        {"prompt": sentence(rng), "chosen": sentence(rng), "rejected": sentence(rng)}
        for _ in range(AMONG_FEEDBACK)
    ]


GROUPS: dict[str, Group] = {
    "preflight": of_preflight,
    "data": of_data,
    "outside share": of_outside_share,
    "policy": of_policy,
    "coverage": of_coverage,
}
