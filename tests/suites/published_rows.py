"""Made-up rows in the published schemas, and files of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rmaudit.results import Estimate
from rmaudit.rewards import load_reward_model
from rmaudit.suites import SuiteRun, run_suite

Rows = Sequence[Mapping[str, Any]]


def write(path: Path, rows: Rows | Mapping[str, Any]) -> Path:
    """JSON Lines for .jsonl, else one JSON value; NaN as Python writes it."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        path.write_text(json.dumps(rows))
    return path


def run(suite: str, folder: Path, rows: Rows | Mapping[str, Any]) -> SuiteRun:
    """A suite on recorded rewards."""
    return run_suite(
        suite, write(folder / "rows.json", rows), load_reward_model("recorded"), logit=False
    )


def official(suite: str, folder: Path, rows: Rows | Mapping[str, Any]) -> dict[str, float]:
    """The official numbers; NaN where there is none."""
    return {name: number.value for name, number in run(suite, folder, rows).official.items()}


def ours(done: SuiteRun, name: str, **slice_: str) -> Estimate:
    """One of our numbers."""
    return done.result.get(f"{done.suite.key}.{name}", **slice_)


def pair(subset: str, chosen: float | None, rejected: float | None, id_: int = 0) -> dict[str, Any]:
    """A row of RewardBench."""
    return {
        "prompt": f"{subset} {id_}",
        "chosen": "a longer answer",
        "rejected": "an answer",
        "subset": subset,
        "id": id_,
        "scores_chosen": chosen,
        "scores_rejected": rejected,
    }


def best_of(subset: str, scores: Sequence[Any], id_: str = "0", correct: int = 1) -> dict[str, Any]:
    """A row of RewardBench 2."""
    texts = [f"answer {k}" for k in range(len(scores))]
    return {
        "id": id_,
        "prompt": f"{subset} {id_}",
        "chosen": texts[:correct],
        "rejected": texts[correct:],
        "num_correct": correct,
        "subset": subset,
        "scores": list(scores),
    }


def styled(
    domain: str, chosen: Sequence[Any], rejected: Sequence[Any], id_: int = 0
) -> dict[str, Any]:
    """A row of RM-Bench."""
    return {
        "id": id_,
        "prompt": f"{domain} {id_}",
        "chosen": ["plain", "a detailed one", "**a marked one**"],
        "rejected": ["wrong", "a wrong one, detailed", "**a wrong one**"],
        "domain": domain,
        "score_chosen": list(chosen),
        "score_rejected": list(rejected),
    }


def rmb_pair(path: str, chosen: Any, rejected: Any, uid: int = 0) -> dict[str, Any]:
    """A pair of RMB."""
    return {
        "pair_uid": str(uid),
        "conversation_input": [{"role": "user", "content": f"q{uid}", "language": "English"}],
        "chosen": {"llm_name": "x", "answer": "good"},
        "reject": {"llm_name": "y", "answer": "not as good"},
        "category_path": f"Pairwise_set/{path}",
        "chosen_reward": chosen,
        "reject_reward": rejected,
    }


def rmb_best(path: str, scores: Sequence[Any], uid: int = 0) -> dict[str, Any]:
    """A best-of-n row of RMB."""
    return {
        "bon_uid": str(uid),
        "conversation_input": [{"role": "user", "content": f"b{uid}", "language": "English"}],
        "bon_best": {"llm_name": "x", "answer": "best"},
        "loser_list": [{"llm_name": "y", "answer": f"loser {k}"} for k in range(len(scores) - 1)],
        "category_path": f"BoN_set/{path}",
        "scores": list(scores),
    }


def judged(
    label: str, decisions: Sequence[str | None] | None, source: str = "mmlu-pro-law", id_: int = 0
) -> dict[str, Any]:
    """A pair of JudgeBench with decisions; None for a judgment that failed."""
    judgments = [
        None if decision is None else {"judgment": {"judge_model": "j"}, "decision": decision}
        for decision in decisions or ()
    ]
    return {
        "pair_id": f"p{id_}",
        "source": source,
        "question": f"q{id_}",
        "response_A": "this is A",
        "response_B": "B",
        "label": label,
        "judgments": judgments if decisions is not None else None,
    }


def rated(label: str, scores: Sequence[Any], id_: int = 0) -> dict[str, Any]:
    """A pair of JudgeBench with the rewards of A and B."""
    row = judged(label, (), id_=id_)
    first = "A>B" if (scores[0] or 0) > (scores[1] or 0) else "B>A"
    row["judgments"] = [{"judgment": {"scores": list(scores)}, "decision": first}]
    return row
