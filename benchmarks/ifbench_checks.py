"""IFBench's own constraint checks as a verifier, on its prompts and its example responses.

    git clone https://github.com/allenai/IFBench
    pip install nltk emoji syllapy langdetect immutabledict
    export PYTHONPATH=benchmarks:IFBench
    python benchmarks/ifbench_checks.py IFBench ifbench
    rmaudit audit --model python:ifbench_checks:met --eval ifbench/dots.jsonl --only preference
    rmaudit audit --model python:ifbench_checks:met --eval ifbench/others.jsonl --only preference

In ``dots.jsonl`` every example response is paired with the single character "."; in
``others.jsonl`` with the response to another prompt. Nothing is downloaded: prompts whose checks
need data of NLTK that are not on this machine are left out, and named by check.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

STEP, SHIFT = 37, 11  # the other prompt of each


@cache
def checks() -> dict[str, Any]:
    """IFBench's checks by name; they load without the downloads that importing them begins."""
    import nltk

    nltk.download = lambda *wanted, **how: False  # the checks themselves say what is missing
    from ifbench import instructions_registry

    known: dict[str, Any] = instructions_registry.INSTRUCTION_DICT
    return known


def met(
    prompts: list[str],
    completions: list[str],
    instruction_id_list: list[list[str]],
    kwargs: list[list[dict[str, Any]]],
) -> list[float]:
    """1 where all constraints of a prompt are met, as IFBench checks them (strict)."""
    verdicts = []
    for prompt, text, names, given in zip(
        prompts, completions, instruction_id_list, kwargs, strict=True
    ):
        met_all = bool(text.strip())
        for name, arguments in zip(names, given, strict=True):
            check = checks()[name](name)
            check.build_description(**{k: v for k, v in arguments.items() if v is not None})
            if "prompt" in (check.get_instruction_args() or {}):
                check.build_description(prompt=prompt)
            met_all = met_all and bool(check.check_following(text))
        verdicts.append(float(met_all))
    return verdicts


met.kind = "verdict"  # type: ignore[attr-defined]


def main(checkout: Path, folder: Path) -> None:
    """Write the two files of pairs."""
    read = lambda name: [json.loads(line) for line in (checkout / "data" / name).open()]  # noqa: E731
    responses = {row["prompt"]: row["response"] for row in read("sample_output.jsonl")}
    texts = list(responses.values())
    dots, others = [], []
    lacking: Counter[str] = Counter()
    for place, row in enumerate(read("IFBench_test.jsonl")):
        if row["prompt"] not in responses:
            continue
        chosen, other = responses[row["prompt"]], texts[(place * STEP + SHIFT) % len(texts)]
        columns = {name: row[name] for name in ("instruction_id_list", "kwargs")}
        try:
            met([row["prompt"]] * 2, [chosen, other], *([v] * 2 for v in columns.values()))
        except LookupError:  # the data that a check reads are not on this machine
            lacking.update(_failing(row, chosen))
            continue
        pair = {"id": row["key"], "prompt": row["prompt"], "chosen": chosen, **columns}
        dots.append({**pair, "rejected": "."})
        others.append({**pair, "rejected": other})
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("dots", dots), ("others", others)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    print(f"{len(dots)} prompts")
    if lacking:
        named = ", ".join(f"{name} ({n})" for name, n in lacking.most_common())
        print(f"left out, for NLTK's data are not on this machine: {named}")


def _failing(row: dict[str, Any], text: str) -> list[str]:
    """The checks of a prompt whose data are missing."""
    failing = []
    for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
        try:
            met([row["prompt"]], [text], [[name]], [[arguments]])
        except LookupError:
            failing.append(name)
    return failing


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
