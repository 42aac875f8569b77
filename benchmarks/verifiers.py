"""Verifiers with known error rates: whether the intervals hold them; exact ones: silence; time.

    python benchmarks/verifiers.py                     # goes on where it stopped

Twelve verifiers, from the loosest to the strictest, accept each class of made responses with a
chance of its own, fixed by the response: every rate is known. `held` is the share of classes whose
interval holds its rate. Twenty exact verifiers compare the last stated answer by value, each in
another way: none may get a finding of medium or high severity. Kept in
``benchmarks/cells/verifiers.jsonl``.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from rows import add, read

import rmaudit as rma
from rmaudit.audits.verifier.cases import BARE, EQUIVALENTS, EXPLOITS
from rmaudit.audits.verifier.plan import planned
from rmaudit.case import Case
from rmaudit.data import load
from rmaudit.rewards.functions.function import given_function

CELLS = Path(__file__).parent / "cells" / "verifiers.jsonl"
PLANTED, EXACT, PROMPTS = 12, 20, 120
_UNITS = ("", "", "", " cm", " kg", " min")


def rows(seed: int) -> list[dict[str, Any]]:
    """Sums whose answers are whole numbers, decimals and fractions, some with a unit."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(PROMPTS):
        a, b = (int(n) for n in rng.integers(600, 4000, 2))
        form = i % 3
        answer = (
            str(a + b) if form == 0 else f"{(a + b) / 4:.2f}" if form == 1 else f"{a % 90 + 1}/8"
        )
        answer += _UNITS[i % 6] if form != 2 else ""
        other = ("2" if answer[0] == "1" else "1") + answer[1:]
        made.append(
            {
                "prompt": f"Question {seed}.{i}: how much is it?",
                "chosen": f"Worked out for item {i}. So it is \\boxed{{{answer}}}.",
                "rejected": f"Worked out for item {i}. So it is \\boxed{{{other}}}.",
                "solution": answer,
            }
        )
    return made


def chance(*parts: Any) -> float:
    """A number from 0 to 1 that is always the same for these parts."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def rates(number: int) -> dict[str, float]:
    """How often each class is accepted by a planted verifier; 0 is the loosest."""
    loose = 1 - number / (PLANTED - 1)
    accepted = {}
    for kind in (*EXPLOITS, BARE):
        accepted[kind.name] = 0.02 + 0.9 * loose * (0.3 + 0.7 * chance(number, kind.name))
    for kind in EQUIVALENTS:
        accepted[kind.name] = 0.98 - 0.9 * (1 - loose) * (0.3 + 0.7 * chance(number, kind.name))
    return accepted


def planted(number: int, run: int) -> dict[str, Any]:
    """How many of the classes' intervals hold the known rates."""
    data = rows(1000 * run + number)
    case = Case(given_function(_silent(), None), load(data), told_signal="verdict", seed=run)
    kind_of = {
        (data[row]["prompt"], response): cases.kind.name
        for cases in planned(case)
        for row, response in zip(cases.rows.tolist(), cases.responses, strict=True)
    }
    known, right = rates(number), {row["chosen"] for row in data}

    def verifier(prompts: list[str], completions: list[str], solution: list[str]) -> list[float]:
        found = []
        for prompt, text in zip(prompts, completions, strict=True):
            kind = kind_of.get((prompt, text))
            rate = known[kind] if kind else float(text in right)  # what has no content is refused
            found.append(float(chance(run, number, prompt, kind) < rate))
        return found

    verifier.kind = "verdict"  # type: ignore[attr-defined]
    report = rma.audit(verifier, data, only=["verifier"], cache=False, debug=True, seed=run)
    held, judged = 0, 0
    wrong = {kind.name for kind in EXPLOITS}
    for metric in report.audits["verifier"].metrics:
        name = metric.slice.get("class")
        if name not in known or metric.value is None:
            continue
        rate = known[name] if name in wrong else 1 - known[name]
        judged += 1
        held += metric.ci[0] <= rate <= metric.ci[1]
    raised = [f.metric for f in report.findings if f.severity in ("high", "medium")]
    return {
        "planted": number,
        "run": run,
        "classes": judged,
        "held": held,
        "false positives": raised.count("verifier.false_positive_rate"),
        "false negatives": raised.count("verifier.false_negative_rate"),
        "signal_left": report["verifier.signal_left"].value,
    }


def _silent() -> Any:
    def verifier(prompts: list[str], completions: list[str], solution: list[str]) -> list[float]:
        return [0.0] * len(completions)

    verifier.kind = "verdict"  # type: ignore[attr-defined]
    return verifier


_BOXED = re.compile(r"\\boxed\{([^}]*)\}")
_WORDS = {"centimeters": "cm", "kilograms": "kg", "minutes": "min", "percent": "%"}


def value(text: str) -> tuple[Fraction, str] | None:
    """A number with its unit, whatever it is written as; None if it is anything else."""
    text = text.strip().replace(",", "").replace("\\dfrac", "\\frac")
    text = re.sub(r"\\frac\{(-?\d+)\}\{(\d+)\}", r"\1/\2", text)
    match = re.fullmatch(r"(-?\d*\.?\d+(?:/\d+)?)\s*([A-Za-z%]*)", text)
    if not match:
        return None
    try:
        return Fraction(match[1]), _WORDS.get(match[2], match[2])
    except (ValueError, ZeroDivisionError):
        return None


def exact(number: int) -> Any:
    """One of twenty exact verifiers: they differ in what they take and how they say yes."""
    strict: Callable[[str, str], bool] = lambda said, wanted: said == wanted  # noqa: E731
    by_value: Callable[[str, str], bool] = lambda a, b: value(a) == value(b) is not None  # noqa: E731
    stripped: Callable[[str, str], bool] = lambda a, b: a.strip() == b.strip()  # noqa: E731
    bare: Callable[[str, str], bool] = lambda a, b: a.replace(" ", "") == b.replace(" ", "")  # noqa: E731
    rule = (by_value, stripped, bare, by_value, strict)[number % 5]
    levels = ((0.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 2.0))[number // 5]

    def verifier(prompts: list[str], completions: list[str], solution: list[str]) -> list[float]:
        found = []
        for text, wanted in zip(completions, solution, strict=True):
            boxed = _BOXED.findall(text)
            found.append(levels[bool(boxed) and rule(boxed[-1], wanted)])
        return found

    verifier.kind = "verdict"  # type: ignore[attr-defined]
    return verifier


def sound(number: int) -> dict[str, Any]:
    """The findings on an exact verifier, over all audits."""
    report = rma.audit(exact(number), rows(7000 + number), cache=False, debug=True, seed=number)
    found = [[f.severity, f.audit, f.title] for f in report.findings]
    return {"exact": number, "findings": found}


def cost() -> dict[str, Any]:
    """Seconds of 10,000 verifier cases, and those of the verifier itself."""
    own = [0.0, 0]

    def verifier(prompts: list[str], completions: list[str], solution: list[str]) -> list[float]:
        start = time.perf_counter()
        found = [float(s in c) for c, s in zip(completions, solution, strict=True)]
        own[0] += time.perf_counter() - start
        own[1] += len(completions)
        return found

    verifier.kind = "verdict"  # type: ignore[attr-defined]
    data = [row for seed in range(8) for row in rows(seed)]
    start = time.perf_counter()
    reports = [
        rma.audit(verifier, data[k : k + 300], only=["verifier"], cache=False)
        for k in (0, 300, 600)
    ]
    seconds = time.perf_counter() - start
    assert all(r.audits["verifier"].status == "ok" for r in reports)
    return {"cost": own[1], "seconds": seconds, "own": own[0]}


def main() -> None:
    """Run what is not there yet, and print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--cells", type=Path, default=CELLS, help="where numbers are kept")
    given = parser.parse_args()
    done = list(read(given.cells))
    known = {(row.get("planted"), row.get("run"), row.get("exact")) for row in done}
    wanted: list[tuple[Callable[[], dict[str, Any]], tuple[Any, ...]]] = [
        (lambda n=n: sound(n), (None, None, n))
        for n in range(EXACT)  # type: ignore[misc]
    ]
    wanted += [
        (lambda n=n, k=k: planted(n, k), (n, k, None))  # type: ignore[misc]
        for k in range(given.runs)
        for n in range(PLANTED)
    ]
    for run, key in wanted:
        if key not in known:
            done.append(run())
            add(given.cells, done[-1])
    print("| verifier | signal left | accepts wrong classes | rejects correct ones | held |")
    print("|" + " --- |" * 5)
    for number in range(PLANTED):
        own = [row for row in done if row.get("planted") == number]
        mean = {k: np.mean([row[k] for row in own]) for k in own[0] if k != "run"}
        held = sum(row["held"] for row in own) / sum(row["classes"] for row in own)
        print(
            f"| {number + 1} | {mean['signal_left']:.2f} | {mean['false positives']:.1f} | "
            f"{mean['false negatives']:.1f} | {held:.1%} |"
        )
    own = [row for row in done if "planted" in row]
    held, classes = (sum(row[k] for row in own) for k in ("held", "classes"))
    error = (held / classes * (1 - held / classes) / classes) ** 0.5
    print(
        f"\n{held / classes:.1%} of {classes} intervals hold the rate (standard error {error:.1%})"
    )
    exact_ones = [row for row in done if "exact" in row]
    false = [r for r in exact_ones if any(f[0] in ("high", "medium") for f in r["findings"])]
    print(f"{len(false)} of {len(exact_ones)} exact verifiers get a high or medium finding")
    spent = cost()
    print(f"{spent['cost']:,} cases: {spent['seconds'] - spent['own']:.1f} s beyond its own")


if __name__ == "__main__":
    main()
