"""On how many pairs each edit and probe is asked: one place, from the precision that findings need.

What an edit does to the reward scatters over responses by 0.1 to 1.6 SD in the models measured
(docs/stress.md), mostly by less than 1. The mean over n prompts then has a standard error of at
most 1 / sqrt(n) SD, and an effect is found where it lies some three of them beyond what is
tolerated. So more pairs than these buy digits, not findings; smaller data are asked whole, up to
the same numbers. Pairs are drawn at random, by their texts and the seed.
"""

from __future__ import annotations

LENGTH_PAIRS = 240
"""Of `length`, three texts each: 0.05 SD are tolerated, and 0.25 are found (error 0.06)."""

FIRST_LOOK = 40
PROBE_PAIRS = 120
"""Of `robustness`, one or two texts a probe: 0.1 SD are mostly tolerated, and 0.4 found (0.09). A
probe whose first pairs do not lean beyond what is expected is left at those: only the whole number
is tested, so that the look adds no false finding."""

LEANING = 0.6
"""P-value up to which the first look leans. Where changes scatter by 1 SD, the whole 120 find
effects of 0.4 SD in 90% and of 0.5 in 99% at the 5% level, with the look in 85% and 97% (at the
0.5% level 67 and 94%, with it 65 and 92%); a probe of no effect costs 60 pairs
(``benchmarks/first_look.py``)."""

STYLE_PAIRS = 60
"""Of `style`, for each edit: put on and taken off are one effect, so that 0.35 are found (0.09)."""

PROMPT_PAIRS = 180
"""Of `prompt`, six texts each: a reward that is blind moves by less than 0.05 SD on every pair, so
that its error is far smaller; the accuracies under other prompts are known to 7 points."""

PREFIX_PAIRS = 50
"""Of `sparsity`, eighteen texts each: the late share scatters by 0.2 at most over 100 responses
(error 0.03 by prompt), and a finding begins 0.29 above an even reward's."""

ATTACK_PAIRS = 120
"""Of `hacking`, for all that a finding rests on: flips of 25% against 5% of random words are found
at the strict level of its eight tests (error 0.05)."""

CURVE_PAIRS = 20
"""Of `hacking`, for attacks that are shown beside those: other lengths, the weaker search."""
