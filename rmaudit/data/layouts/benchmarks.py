"""Published benchmarks of reward models, as data to audit on.

Their own scoring is `rmaudit bench`; here their rows become preferences, rankings and labels.
"""

from __future__ import annotations

from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Fields, Ranked, Sets, Styles, Vote
from rmaudit.data.layouts.steps import Steps

_ASK = {"role": "user", "content": "What is 2 plus 2?"}
_STYLES = ("concise", "detailed_plain", "detailed_markdown")
_PPE = tuple(f"response_{i}" for i in range(1, 33))

for _layout in (
    Layout(
        "rewardbench",
        "RewardBench and M-RewardBench",
        ("prompt", "chosen", "rejected", "subset", "chosen_model", "rejected_model"),
        Fields(
            "preference",
            {
                "prompt": "prompt",
                "chosen": "chosen",
                "rejected": "rejected",
                "subset": "subset",
                "id": "id",
            },
        ),
        "allenai/reward-bench @05a9005",
        "documentation",
        {
            "prompt": "What is 2 plus 2?",
            "chosen": "4",
            "chosen_model": "m",
            "rejected": "5",
            "rejected_model": "n",
            "subset": "math-prm",
            "id": 0,
        },
    ),
    Layout(
        "rewardbench-results",
        "Result files of RewardBench: both texts with their rewards",
        ("text_chosen", "text_rejected", "scores_chosen", "scores_rejected"),
        Fields(
            "preference",
            {
                "chosen": "text_chosen",
                "rejected": "text_rejected",
                "chosen_reward": "scores_chosen",
                "rejected_reward": "scores_rejected",
                "subset": "subset",
                "id": "id",
            },
        ),
        "allenai/reward-bench scripts/run_rm.py @05a9005",
        "documentation",
        {
            "text_chosen": "User: What is 2 plus 2?\n\nAssistant: 4",
            "text_rejected": "User: What is 2 plus 2?\n\nAssistant: 5",
            "scores_chosen": 1.5,
            "scores_rejected": -0.5,
            "subset": "math-prm",
            "id": 0,
        },
    ),
    Layout(
        "rewardbench2",
        "RewardBench 2: right responses above wrong ones, equals tied",
        ("prompt", "chosen", "rejected", "num_correct"),
        Sets(columns={"prompt": "prompt", "id": "id", "subset": "subset", "rewards": "scores"}),
        "allenai/reward-bench scripts/run_v2.py @05a9005",
        "documentation",
        {
            "id": "0",
            "prompt": "What is 2 plus 2?",
            "chosen": ["4"],
            "rejected": ["5", "6", "7"],
            "num_correct": 1,
            "num_incorrect": 3,
            "subset": "Math",
        },
    ),
    Layout(
        "rm-bench",
        "RM-Bench: three styles a side, all nine pairs, in one group",
        ("prompt", "chosen[2]", "rejected[2]"),
        Styles(
            _STYLES,
            rewards=("score_chosen", "score_rejected"),
            columns={"prompt": "prompt", "id": "id", "subset": "domain"},
        ),
        "THU-KEG/RM-Bench data/chat_filtered.json @73c52d7",
        "file",
        {
            "id": 0,
            "prompt": "What is 2 plus 2?",
            "chosen": ["4", "The sum is 4.", "- The sum is **4**."],
            "rejected": ["5", "The sum is 5.", "- The sum is **5**."],
            "domain": "math",
        },
        without=("num_correct",),
        when=lambda row: all(
            isinstance(row.get(side), list)
            and len(row[side]) == len(_STYLES)
            and all(isinstance(each, str) for each in row[side])
            for side in ("chosen", "rejected")
        ),
    ),
    Layout(
        "rmb-pairs",
        "RMB's pairs",
        ("conversation_input", "chosen.answer", "reject.answer"),
        Fields(
            "preference",
            {
                "prompt": "conversation_input",
                "chosen": "chosen.answer",
                "rejected": "reject.answer",
                "subset": "category_path",
                "id": "pair_uid",
            },
        ),
        "Zhou-Zoey/RMB-Reward-Model-Benchmark RMB_dataset @2be3180",
        "file",
        {
            "pair_uid": "p",
            "conversation_input": [_ASK],
            "chosen": {"llm_name": "m", "answer": "4"},
            "reject": {"llm_name": "n", "answer": "5"},
            "category_path": "Pairwise_set/Helpfulness/Sums",
        },
    ),
    Layout(
        "rmb-best-of-n",
        "RMB's best-of-n: one winner, several losers",
        ("conversation_input", "bon_best.answer", "loser_list[].answer"),
        Sets(
            "bon_best.answer",
            "loser_list[].answer",
            columns={
                "prompt": "conversation_input",
                "subset": "category_path",
                "id": "bon_uid",
                "rewards": "scores",
            },
        ),
        "Zhou-Zoey/RMB-Reward-Model-Benchmark RMB_dataset @2be3180",
        "file",
        {
            "bon_uid": "b",
            "conversation_input": [_ASK],
            "bon_best": {"llm_name": "m", "answer": "4"},
            "loser_list": [{"llm_name": "n", "answer": "5"}, {"llm_name": "o", "answer": "6"}],
            "category_path": "BoN_set/Helpfulness/Sums",
        },
    ),
    Layout(
        "ppe-human",
        "PPE's human preferences, and votes of two responses in its form",
        ("prompt", "response_1", "response_2", "winner", "model_a", "model_b"),
        Vote(
            "response_1",
            "response_2",
            verdict="winner",
            says={"model_a": "a", "model_b": "b", "response_1": "a", "response_2": "b"},
            called=("model_a", "model_b"),
            columns={"prompt": "prompt", "group": "question_id"},
        ),
        "huggingface.co/datasets/lmarena-ai/PPE-Human-Preference-V1",
        "documentation",
        {
            "question_id": "q",
            "prompt": "What is 2 plus 2?",
            "response_1": "4",
            "response_2": "5",
            "winner": "model_a",
            "model_a": "m",
            "model_b": "n",
        },
    ),
    Layout(
        "ppe-correctness",
        "PPE's correctness: 32 responses, right or wrong",
        ("prompt", "response_1", "response_32", "scores"),
        Ranked(_PPE, score="scores", columns={"prompt": "prompt", "id": "question_id"}),
        "huggingface.co/datasets/lmarena-ai/PPE-MATH-Best-of-K",
        "documentation",
        {
            "question_id": "q",
            "prompt": "What is 2 plus 2?",
            **{name: str(4 + i % 2) for i, name in enumerate(_PPE)},
            "scores": [i % 2 == 0 for i in range(32)],
        },
    ),
    Layout(
        "judgebench",
        "JudgeBench: pairs with the label A>B or B>A",
        ("question", "response_A", "response_B", "label"),
        Vote(
            "response_A",
            "response_B",
            verdict="label",
            says={"a>b": "a", "b>a": "b", "a": "a", "b": "b"},
            columns={"prompt": "question", "id": "pair_id", "subset": "source"},
        ),
        "ScalerLab/JudgeBench data/*.jsonl @e2c52c2",
        "file",
        {
            "pair_id": "x",
            "source": "sums",
            "question": "What is 2 plus 2?",
            "response_model": "m",
            "response_A": "4",
            "response_B": "5",
            "label": "A>B",
        },
    ),
    Layout(
        "processbench",
        "ProcessBench: steps, and the place of the first wrong one",
        ("problem", "steps", "label", "final_answer_correct"),
        Steps(
            "steps",
            first_wrong="label",
            separator="\n\n",
            columns={"prompt": "problem", "id": "id"},
        ),
        "QwenLM/ProcessBench README.md @e802463",
        "documentation",
        {
            "id": "sums-0",
            "problem": "What is 2 plus 2?",
            "steps": ["2 and 2.", "So 5."],
            "final_answer_correct": False,
            "label": 1,
        },
    ),
    Layout(
        "prmbench",
        "PRMBench: changed solutions with their wrong steps",
        ("modified_question", "modified_process", "error_steps"),
        Steps(
            "modified_process",
            wrong="error_steps",
            columns={"prompt": "modified_question", "id": "idx", "subset": "classification"},
        ),
        "ssmisya/PRMBench mr_eval/tasks/prmtest_classified/data @a1ae4ea",
        "file",
        {
            "idx": "0",
            "modified_question": "What is 2 plus 2?",
            "modified_process": ["2 and 2.", "So 5."],
            "error_steps": [2],
            "classification": "confidence",
        },
    ),
    Layout(
        "rewardmath",
        "RewardMATH: one solution a row, ten a problem, one right",
        ("problem", "eval_solution", "solution_type"),
        Fields(
            "unpaired",
            {
                "prompt": "problem",
                "output": "eval_solution",
                "label": "solution_type",
                "group": "problem_id",
                "id": "id",
            },
            joined=("output",),
        ),
        "kimsh0507/RewardMATH_official dataset/benchmark/RewardMATH_direct.json @cde06ab",
        "file",
        {
            "id": "0",
            "problem": "What is 2 plus 2?",
            "eval_solution": ["2 and 2.", "So 4."],
            "solution_type": "chosen",
            "problem_id": "p",
        },
    ),
):
    register_layout(_layout)
