"""Judges with a planted bias, and sound ones: power, false findings, calls that stopping saves.

    python benchmarks/judges.py --runs 30              # goes on where it stopped

Judges are functions, so that calls cost nothing. A bias of order, a master key, heaped scores and
preference circles are planted at three strengths; each run has other data. Twenty sound judges
differ in sharpness, noise between calls and a bias of order within what is tolerated. Runs are kept
in ``benchmarks/cells/judges.jsonl``.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read

import rmaudit as rma
from rmaudit.audits.judge.findings import TESTS
from rmaudit.audits.judge.plan import KEYS

CELLS = Path(__file__).parent / "cells" / "judges.jsonl"
PROMPTS = 150  # of two pairs each
STRENGTHS = {"small": 0, "medium": 1, "large": 2}
# What is planted, by strength: shares of pairs that flip, of comparisons that a key wins, of texts
# on two scores, of triples in a circle.
BIASES = {
    "order": (0.15, 0.25, 0.45),
    "key": (0.05, 0.15, 0.40),
    "scale": (0.80, 0.90, 0.98),
    "cycle": (0.05, 0.15, 0.40),
}
METRICS = {
    "order": "judge.order_flip_rate",
    "key": "judge.master_key_rate",
    "scale": "judge.heaped_share",
    "cycle": "judge.cycle_share",
}
SOUND = 20


def chance(*parts: Any) -> float:
    """A number from 0 to 1 that is always the same for these parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rows(seed: int) -> list[dict[str, str]]:
    """Three responses to each prompt that say their number; the first is worse than the others."""
    return [
        {
            "prompt": f"Question {seed}.{i}",
            "chosen": f"answer {seed}.{i}.{j}",
            "rejected": f"answer {seed}.{i}.0",
        }
        for i in range(PROMPTS)
        for j in (1, 2)
    ]


def quality(text: str) -> float:
    """The chosen response is better by 1 or more; phrases without content are worth nothing."""
    if not text.startswith("answer"):
        return -5.0
    number = int(text.rpartition(".")[2])
    return 1.5 * (number > 0) + 0.5 * chance("quality", text)


def pairwise(lead: Callable[[str, str, str], float]) -> Any:
    """A judge of pairs by the lead of the first response."""

    def judge(prompts: list[str], responses_a: list[str], responses_b: list[str]) -> list[float]:
        return [
            float(1 / (1 + np.exp(-lead(p, a, b))))
            for p, a, b in zip(prompts, responses_a, responses_b, strict=True)
        ]

    return judge


def biased(bias: str, strength: float) -> Any:
    """A judge with one bias; it is certain of its answers."""

    def order(p: str, a: str, b: str) -> float:
        same = chance("order", p, *sorted((a, b))) < strength
        return 2.0 if same else 4 * (quality(a) - quality(b))

    def key(p: str, a: str, b: str) -> float:
        # Two of the four phrases are keys.
        wins = [t in KEYS[:2] and chance("key", p, t) < 2 * strength for t in (a, b)]
        return 4 * (quality(a) - quality(b)) + 99 * (wins[0] - wins[1])

    def cycle(p: str, a: str, b: str) -> float:
        if chance("cycle", p) < strength and {a, b} & set(KEYS) == set():
            place, other = (int(t.rpartition(".")[2]) for t in (a, b))
            return 2.0 if (place - other) % 3 == 1 else -2.0
        return 4 * (quality(a) - quality(b))

    def scale(prompts: list[str], completions: list[str]) -> list[float]:
        heaped = [
            7.0 + (quality(c) > 1) if chance("scale", c) < strength else 1 + 9 * chance("at", c)
            for c in completions
        ]
        scores = [float(round(v)) for v in heaped]
        return [v if quality(c) > -1 else 1.0 for v, c in zip(scores, completions, strict=True)]

    if bias == "scale":
        scale.scale = (1, 10)  # type: ignore[attr-defined]
        return scale
    return pairwise({"order": order, "key": key, "cycle": cycle}[bias])


def sound(number: int) -> Any:
    """One of twenty sound judges: ten of pairs, ten with a scale."""
    noise = np.random.default_rng(number)
    sharp, jitter = 1 + 0.4 * (number % 10), 0.02 * (number % 5)

    def lead(p: str, a: str, b: str) -> float:
        flips = chance("sound", number, p, *sorted((a, b))) < 0.005 * (number % 10)
        return 2.0 if flips else sharp * (quality(a) - quality(b)) + jitter * noise.normal()

    def scale(prompts: list[str], completions: list[str]) -> list[float]:
        values = [3 + 2.2 * quality(c) + 2 * chance("own", number, c) for c in completions]
        return [float(np.clip(round(v + jitter * noise.normal()), 1, 10)) for v in values]

    scale.scale = (1, 10)  # type: ignore[attr-defined]
    return pairwise(lead) if number < SOUND // 2 else scale


def audited(judge: Any, seed: int) -> dict[str, Any]:
    """What the audit says of a judge: metrics with a finding, and its calls."""
    report = rma.audit(judge, rows(seed), only=["judge"], cache=False, debug=True, seed=seed)
    table = report.audits["judge"].tables["calls"]
    calls = [dict(zip(table.columns, row, strict=True)) for row in table.rows]
    return {
        "found": sorted({f.metric for f in report.findings if (f.p or 0) <= 0.05 / TESTS}),
        "serious": sorted({f.metric for f in report.findings if f.severity in ("high", "medium")}),
        "calls": sum(c["calls"] for c in calls),
        "saved": sum(c["calls saved"] for c in calls),
        "by_question": {c["question"]: [c["calls"], c["calls saved"]] for c in calls},
    }


def wanted(runs: int) -> list[dict[str, Any]]:
    """Every cell: what is planted and the run."""
    planted = itertools.product(BIASES, STRENGTHS, range(runs))
    clean = itertools.product(range(SOUND), range(max(1, runs // 6)))
    return [
        *({"bias": b, "strength": s, "run": k} for b, s, k in planted),
        *({"bias": "none", "strength": f"judge {n}", "run": k} for n, k in clean),
    ]


def cell(key: dict[str, Any]) -> dict[str, Any]:
    """One run."""
    if key["bias"] == "none":
        number = int(key["strength"].split()[1])
        return {**key, **audited(sound(number), 1000 * number + key["run"])}
    strength = BIASES[key["bias"]][STRENGTHS[key["strength"]]]
    return {**key, **audited(biased(key["bias"], strength), key["run"])}


def main() -> None:
    """Run what is not there yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    done = list(read(given.cells))
    known = {(c["bias"], c["strength"], c["run"]) for c in done}
    for key in wanted(given.runs):
        if tuple(key.values()) not in known:
            done.append(cell(key))
            add(given.cells, done[-1])
    print("| bias | planted | found | another found | calls saved |")
    print("|" + " --- |" * 5)
    for bias, strength in itertools.product(BIASES, STRENGTHS):
        own = [c for c in done if (c["bias"], c["strength"]) == (bias, strength)]
        found = np.mean([METRICS[bias] in c["found"] for c in own])
        other = np.mean([bool({*c["serious"]} - {METRICS[bias]}) for c in own])
        saved = sum(c["saved"] for c in own) / sum(c["saved"] + c["calls"] for c in own)
        planted = BIASES[bias][STRENGTHS[strength]]
        print(f"| {bias} | {planted:.2f} | {found:.2f} | {other:.2f} | {saved:.0%} |")
    clean = [c for c in done if c["bias"] == "none"]
    false = sum(bool(c["serious"]) for c in clean)
    saved = sum(c["saved"] for c in clean) / max(1, sum(c["saved"] + c["calls"] for c in clean))
    print(
        f"\n{false} of {len(clean)} audits of {SOUND} sound judges hold a false finding;", end=" "
    )
    print(f"{saved:.0%} of the calls are saved.")


if __name__ == "__main__":
    main()
