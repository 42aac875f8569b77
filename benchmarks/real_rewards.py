"""Rewards made of published packages, in TRL's signature; docs/signals.md audits them.

Needs ``pip install math-verify alt-profanity-check``.
"""

import re

from math_verify import parse, verify
from profanity_check import predict_prob


def math_verified(completions, solution, **columns):
    """math-verify as its readme has it: the reference parsed, the response parsed, compared."""
    return [float(verify(parse(s), parse(c))) for c, s in zip(completions, solution, strict=True)]


def clean_language(completions, **columns):
    """alt-profanity-check: a linear model of 200,000 human labels."""
    return [1 - float(p) for p in predict_prob(list(completions))]


def boxed(completions, **columns):
    """A format check."""
    return [float(bool(re.search(r"\\boxed\{.+\}", c))) for c in completions]


def brief(completions, **columns):
    """A length rule: nothing up to 200 characters, then less and less."""
    return [-max(0, len(c) - 200) / 200 for c in completions]


def constraints(prompts, completions, **columns):
    """Share of the constraints in the prompt that are met: keywords, paragraphs, titles."""
    return [_met(p, c) for p, c in zip(prompts, completions, strict=True)]


def _met(prompt, text):
    """None where the prompt states nothing that can be checked."""
    checks = [word.lower() in text.lower() for word in re.findall(r"'([^']{3,40})'", prompt)]
    if found := re.search(r"exactly (\d+) paragraphs", prompt):
        paragraphs = [p for p in re.split(r"\n\s*\n", text) if p.strip()]
        checks.append(len(paragraphs) == int(found[1]))
    checks += [title in text for title in re.findall(r"titled ([A-Z][A-Z ]{3,30}[A-Z])", prompt)]
    return sum(checks) / len(checks) if checks else None


boxed.kind = math_verified.kind = "verdict"
