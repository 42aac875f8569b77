"""Problems whose answers sympy knows, samples of a policy that is often wrong, and a mix.

python benchmarks/real_problems.py FOLDER          # then the commands of docs/signals.md
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import sympy

FRAME = "We work it out. The answer is $\\boxed{%s}$."
PARTS = (
    ("correct", "python:real_rewards:math_verified", 1.0),
    ("clean", "python:real_rewards:clean_language", 0.3),
    ("brief", "python:real_rewards:brief", 0.2),
    ("format", "python:real_rewards:boxed", 0.5),
)


def problem(i: int, rng: random.Random) -> tuple[str, str, str]:
    """Question, answer, and an answer of the same form that is wrong."""
    a, b = rng.randint(600, 4000), rng.randint(2, 9)
    if i % 3 == 0:
        return f"What is {a} plus {b * 100}?", str(a + b * 100), str(a + b * 100 + 10)
    if i % 3 == 1:
        right, wrong = (sympy.latex(sympy.Rational(n, 8)) for n in (a, a + 3))
        return f"What is {a} divided by 8?", right, wrong
    question = f"Which numbers solve x^2 = {b * b}x?"
    return question, f"\\{{0, {b * b}\\}}", f"\\{{1, {b * b + 2}\\}}"


def sample(answer: str, wrong: str, rng: random.Random) -> str:
    """A response of a policy: seldom correct, often boxed, of any length."""
    text = answer if rng.random() < 0.3 else wrong
    text = f"$\\boxed{{{text}}}$" if rng.random() < 0.6 else f"The answer is ${text}$."
    return "We work it out, step by step. " * rng.randint(0, 12) + text


def main(folder: Path) -> None:
    """Write problems.jsonl, samples.jsonl and mix.toml."""
    rng = random.Random(0)
    problems, samples = [], []
    for i in range(90):
        question, answer, wrong = problem(i, rng)
        row = {"id": f"m{i}", "prompt": question, "solution": answer}
        problems.append({**row, "chosen": FRAME % answer, "rejected": FRAME % wrong})
        samples.append({**row, "outputs": [sample(answer, wrong, rng) for _ in range(8)]})
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("problems", problems), ("samples", samples)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    parts = "".join(
        f'\n[[reward]]\nname = "{name}"\nmodel = "{model}"\nweight = {weight}\n'
        for name, model, weight in PARTS
    )
    (folder / "mix.toml").write_text(f'schema_version = 1\nscale = "group"\n{parts}')


if __name__ == "__main__":
    main(Path(sys.argv[1]))
