"""Valid rows of the published benchmarks, with rewards, and of trainers' logs."""

from __future__ import annotations

from typing import Any

Rows = list[dict[str, Any]]
N = 8


def _sums(i: int, k: int = 0) -> float:
    """A reward that is the same in every run."""
    return round(((7 * i + 3 * k) % 11) / 4 - 1.0, 3)


def _pairs(names: tuple[str, ...]) -> Rows:
    return [
        {"id": i, "prompt": f"q {i}", "chosen": "a longer answer", "rejected": "an answer",
         "subset": names[i % len(names)], "scores_chosen": _sums(i), "scores_rejected": _sums(i, 1)}
        for i in range(N)
    ]  # fmt: skip


def _judgebench() -> Rows:
    return [
        {"pair_id": f"p{i}", "source": ("mmlu-pro-law", "livebench-math")[i % 2],
         "question": f"q {i}", "response_A": "this is A", "response_B": "B",
         "label": ("A>B", "B>A")[i % 2],
         "judgments": [{"judgment": {"judge_model": "j"}, "decision": ("A>B", "B>A")[i % 3 == 0]}
                       for _ in range(2)]}
        for i in range(N)
    ]  # fmt: skip


def _ppe() -> Rows:
    human: Rows = [
        {"question_id": f"h{i}", "model_a": "a", "model_b": "b", "prompt": f"q {i}",
         "winner": ("model_a", "model_b", "tie")[i % 3], "response_1": "one",
         "response_2": "another", "score_1": _sums(i), "score_2": _sums(i, 1)}
        for i in range(N)
    ]  # fmt: skip
    right = [k % 3 == 0 for k in range(32)]
    for i in range(3):
        row = {"question_id": f"c{i}", "prompt": f"p {i}", "answer_index": 0, "scores": right}
        row |= {f"response_{k}": f"r{k}" for k in range(1, 33)}
        row |= {f"score_{k}": _sums(i, k) for k in range(1, 33)}
        human.append(row | {"sampled_conflict_pairs": [[0, 1], [4, 3]]})
    return human


def _rmb() -> Rows:
    pairs: Rows = [
        {"pair_uid": str(i), "conversation_input": [{"role": "user", "content": f"q {i}"}],
         "chosen": {"llm_name": "x", "answer": "good"}, "reject": {"llm_name": "y", "answer": "no"},
         "category_path": "Pairwise_set/Helpfulness/Chat/A", "chosen_reward": _sums(i),
         "reject_reward": _sums(i, 1)}
        for i in range(N)
    ]  # fmt: skip
    return pairs + [
        {"bon_uid": str(i), "conversation_input": [{"role": "user", "content": f"b {i}"}],
         "bon_best": {"llm_name": "x", "answer": "best"},
         "loser_list": [{"llm_name": "y", "answer": f"loser {k}"} for k in range(2)],
         "category_path": "BoN_set/Harmlessness/S1", "scores": [_sums(i, k) for k in range(3)]}
        for i in range(4)
    ]  # fmt: skip


PUBLISHED: dict[str, Rows] = {
    "rewardbench": _pairs(("alpacaeval-easy", "llmbar-natural", "math-prm", "donotanswer")),
    "rewardbench2": [
        {"id": f"{'ref' if i % 2 else 'tied'}:{i // 2}" if i < 4 else str(i), "prompt": f"q {i}",
         "chosen": ["a 0"], "rejected": ["a 1", "a 2", "a 3"], "num_correct": 1,
         "subset": "Ties" if i < 4 else ("Math", "Safety")[i % 2],
         "scores": [_sums(i, k) for k in range(4)]}
        for i in range(N)
    ],
    "m-rewardbench": [
        {**{k: v for k, v in row.items() if k != "subset"}, "source": row["subset"],
         "language": ("deu_Latn", "kor_Hang")[row["id"] % 2]}
        for row in _pairs(("alpacaeval-easy", "math-prm"))
    ],
    "rm-bench": [
        {"id": i, "prompt": f"q {i}", "chosen": ["plain", "a detailed one", "**a marked one**"],
         "rejected": ["wrong", "a wrong one", "**wrong**"],
         "domain": ("chat", "math", "code", "safety-refuse")[i % 4],
         "score_chosen": [_sums(i, k) for k in range(3)],
         "score_rejected": [_sums(i, k + 3) for k in range(3)]}
        for i in range(N)
    ],
    "rmb": _rmb(),
    "ppe": _ppe(),
    "judgebench": _judgebench(),
    "rewardmath": [
        {"problem": f"p {i}", "solution_reference": ["human_to_GPT-4", *"abcdefghi"],
         "score": [_sums(i, k) for k in range(10)]}
        for i in range(N)
    ],
    "processbench": [
        {"id": f"{('gsm8k', 'math')[i % 2]}-{i}", "problem": f"p {i}", "steps": ["a", "b", "c"],
         "label": i % 4 - 1, "prediction": (i + i // 3) % 4 - 1}
        for i in range(N)
    ],
    "prmbench": [
        {"classification": ("redundency", "circular", "confidence", "deception")[i % 4],
         "idx": f"i{i}", "modified_question": f"q {i}", "modified_process": ["s 0", "s 1"],
         "error_steps": [1 + i % 2], "scores": {"step_level_validity_labels": [True, i % 2 == 0]}}
        for i in range(N)
    ],
}  # fmt: skip
"""A suite -> rows of its published file, with rewards in it."""


def _run(**keys: float) -> Rows:
    """Twelve steps: each key grows at a pace of its own, a gold reward turns."""
    return [
        {"step": i}
        | {k.replace("__", "/"): v + 0.25 * i - 0.02 * i * i * ("gold" in k)
           for k, v in keys.items()}
        for i in range(12)
    ]  # fmt: skip


RUNS: dict[str, Rows] = {
    "trl": _run(kl=0.0, completions__mean_length=90.0, rewards__rm__mean=1.0, gold=0.5),
    "openrlhf": _run(kl=0.0, response_length=90.0, reward=1.0, gold_reward=0.5),
    "verl": _run(actor__kl_loss=0.0, critic__score__mean=1.0, response_length__mean=90.0, gold=0.1),
    "nemo-rl": _run(
        train__reward=1.0, train__kl_penalty=0.0, train__mean_gen_tokens_per_sample=9.0, gold=0.1
    ),
    "rmaudit": _run(rmaudit__kl=0.0, rmaudit__proxy=1.0, rmaudit__gold=0.5),
}
"""A trainer -> records of a run under its keys."""
