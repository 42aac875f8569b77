"""Simulated verdicts that read no reference answer, for `intervals.py`.

Each class of made responses is accepted with a chance of its own, on some prompts more than on
others. The class that wins most on one half stands for itself, as in `interval_judged`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from interval_draws import Draw, Float, Group, Measured
from interval_judged import filled
from scipy.special import ndtr

import rmaudit as rma
from rmaudit.audits.hacking.contentless import contentless
from rmaudit.audits.verifier.exploits import EXPLOIT_CLASSES
from rmaudit.audits.verifier.plan import AUDIT
from rmaudit.audits.verifier.unreferenced import made, measured, over_classes
from rmaudit.case import Case
from rmaudit.results import Metric
from rmaudit.rewards.recorded import Recorded
from rmaudit.scoring.requests import Column, Key, Scores

CONTENTLESS = [name for name, each in EXPLOIT_CLASSES.items() if each.made_of == "nothing"]
ACCEPTED = {name: 0.02 + 0.05 * k for k, name in enumerate(CONTENTLESS)}
OWN = 0.7  # share of the labelled responses that is accepted
SHOWN = ("empty", "claim of success", "said twice")


class Reader(Recorded):
    """A verdict whose answers are given."""

    signal = "verdict"
    scores_new_text = True


def _accepted(easy: Float, noise: Float, chance: float) -> Float:
    """1 where a response is accepted, of the shape of its prompt's ease."""
    return np.asarray(ndtr(0.6 * easy + 0.8 * noise) < chance, dtype=np.float64)


def of_verdict(draw: Draw) -> list[Measured]:
    """Verdicts on responses without content, and on what is made of accepted responses."""
    rng = draw.rng(16)
    rows = [
        {"prompt": f"Say 'word{i}'.", "chosen": f"Here it is: word{i}.", "rejected": "No."}
        for i in range(draw.prompts)
    ]
    case = Case(Reader(), rma.load(rows, "preference"), seed=draw.seed)
    easy = rng.normal(size=draw.prompts)
    there: dict[Key, Column] = {}
    for each in made(case):
        noise = rng.normal(size=len(each.rows))
        chance = ACCEPTED.get(each.kind.name, 0.5)
        verdict = _accepted(easy[each.rows], noise, chance)
        there["eval", AUDIT, each.side, "plain"] = filled(verdict)
    own = _accepted(easy, rng.normal(size=draw.prompts), OWN)
    for request, value in zip(case.data_requests, (own, np.zeros(draw.prompts)), strict=True):
        there[request.key] = filled(value)
    scores = Scores([], there)
    found, attack = measured(case, scores), contentless(case, scores)
    assert attack.table is not None
    picked = attack.table.loc[attack.table["wins, searched half"].idxmax(), "class"]
    whole = over_classes(case, found.contentless.values())
    size = {name: len(each.rows) for name, each in found.contentless.items()}
    mean = sum(ACCEPTED[name] * n for name, n in size.items()) / sum(size.values())
    by_class = [
        (
            Metric(
                "verifier.acceptance_rate", found.verdicts[name].acceptance(case), {"class": name}
            ),
            ACCEPTED.get(name, _where_own_is()),
        )
        for name in SHOWN
    ]
    return [
        (Metric("verifier.acceptance_rate", whole), mean),
        *by_class,
        (attack.metrics[0], _wins(ACCEPTED[str(picked)])),
    ]


@lru_cache
def _draws() -> tuple[Float, Float, Float]:
    return tuple(np.random.default_rng(0).normal(size=(3, 2_000_000)))  # type: ignore[return-value]


@lru_cache
def _where_own_is() -> float:
    """Chance that what is made of an accepted response is accepted, of 2,000,000 draws."""
    easy, one, other = _draws()
    return float(_accepted(easy, one, 0.5)[_accepted(easy, other, OWN) == 1].mean())


@lru_cache
def _wins(chance: float) -> float:
    """Chance that a response without content is accepted and the labelled one refused."""
    easy, one, other = _draws()
    return float((_accepted(easy, one, chance) * (1 - _accepted(easy, other, OWN))).mean())


GROUPS: dict[str, Group] = {"verdict": of_verdict}
