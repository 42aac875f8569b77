"""Published preference data."""

from __future__ import annotations

from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Fields, Ranked
from rmaudit.data.layouts.steps import Choices, Replies, Tree

_ASK = {"role": "user", "content": "What is 2 plus 2?"}
_GOOD = {"role": "assistant", "content": "4"}
_BAD = {"role": "assistant", "content": "5"}

for _layout in (
    Layout(
        "hh",
        "Anthropic's helpful and harmless pairs, and all in their form",
        ("chosen", "rejected"),
        Fields("preference", {"chosen": "chosen", "rejected": "rejected"}),
        "anthropics/hh-rlhf harmless-base/test.jsonl.gz @354e5c3",
        "file",
        {
            "chosen": "\n\nHuman: What is 2 plus 2?\n\nAssistant: 4",
            "rejected": "\n\nHuman: What is 2 plus 2?\n\nAssistant: 5",
        },
        without=(
            "prompt",
            "system",
            "system_prompt",
            "instruction",
            "question",
            "messages",
            "conversations",
            "input",
            "context",
            "query",
            "history",
        ),
        when=lambda row: str(row.get("chosen", "")).lstrip().startswith("Human:"),
    ),
    Layout(
        "ultrafeedback",
        "UltraFeedback as its authors published it: four completions with scores",
        ("instruction", "completions[].response", "completions[].overall_score"),
        Ranked(
            "completions[].response",
            score="completions[].overall_score",
            columns={"prompt": "instruction"},
        ),
        "OpenBMB/UltraFeedback README.md",
        "documentation",
        {
            "source": "sums",
            "instruction": "What is 2 plus 2?",
            "models": ["m", "n"],
            "completions": [
                {"model": "m", "response": "4", "overall_score": 9.0},
                {"model": "n", "response": "5", "overall_score": 2.0},
            ],
        },
    ),
    Layout(
        "ultrafeedback-binarized",
        "UltraFeedback Binarized: conversations with GPT-4's scores",
        ("prompt", "prompt_id", "chosen", "rejected", "score_chosen", "score_rejected"),
        Fields(
            "preference",
            {
                "prompt": "prompt",
                "chosen": "chosen",
                "rejected": "rejected",
                "chosen_reward": "score_chosen",
                "rejected_reward": "score_rejected",
            },
        ),
        "huggingface.co/datasets/rajammanabrolu/ultrafeedback_binarized README.md, a copy",
        "documentation",
        {
            "prompt": "What is 2 plus 2?",
            "prompt_id": "x",
            "chosen": [_ASK, _GOOD],
            "rejected": [_ASK, _BAD],
            "messages": [_ASK, _GOOD],
            "score_chosen": 9.0,
            "score_rejected": 2.0,
        },
    ),
    Layout(
        "ultrafeedback-argilla",
        "Argilla's cleaned UltraFeedback pairs and their followers, with ratings",
        ("prompt", "chosen", "rejected", "chosen-rating", "rejected-rating"),
        Fields(
            "preference",
            {
                "prompt": "prompt",
                "chosen": "chosen",
                "rejected": "rejected",
                "chosen_reward": "chosen-rating",
                "rejected_reward": "rejected-rating",
            },
        ),
        "huggingface.co/datasets/csarron/argilla-ultrafeedback-binarized-preferences-cleaned "
        "README.md @ab51c6b",
        "documentation",
        {
            "source": "sums",
            "prompt": "What is 2 plus 2?",
            "chosen": [_ASK, _GOOD],
            "chosen-rating": 5.0,
            "chosen-model": "m",
            "rejected": [_ASK, _BAD],
            "rejected-rating": 1.0,
            "rejected-model": "n",
        },
    ),
    Layout(
        "orca-dpo",
        "Intel's Orca pairs, Axolotl's chatml.intel",
        ("system", "question", "chosen", "rejected"),
        Fields(
            "preference",
            {"system": "system", "prompt": "question", "chosen": "chosen", "rejected": "rejected"},
        ),
        "hiyouga/LLaMA-Factory data/dataset_info.json @ff6d4d1; axolotl-ai-cloud/axolotl "
        "src/axolotl/prompt_strategies/dpo/chatml.py @067b021",
        "documentation",
        {"system": "Be brief.", "question": "What is 2 plus 2?", "chosen": "4", "rejected": "5"},
        without=("prompt", "context", "input", "messages", "history", "instruction"),
    ),
    Layout(
        "helpsteer",
        "HelpSteer and HelpSteer2: one response a row with five attributes; rated by helpfulness",
        (
            "prompt",
            "response",
            "helpfulness",
            "correctness",
            "coherence",
            "complexity",
            "verbosity",
        ),
        Fields("rating", {"prompt": "prompt", "output": "response", "rating": "helpfulness"}),
        "allenai/open-instruct scripts/data/preferences/helpsteer2.py @03461ff",
        "documentation",
        {
            "prompt": "What is 2 plus 2?",
            "response": "4",
            "helpfulness": 4,
            "correctness": 4,
            "coherence": 4,
            "complexity": 1,
            "verbosity": 1,
        },
    ),
    Layout(
        "nectar",
        "Nectar: seven answers with GPT-4's ranks",
        ("prompt", "answers[].answer", "answers[].rank"),
        Ranked("answers[].answer", rank="answers[].rank", columns={"prompt": "prompt"}),
        "allenai/open-instruct scripts/data/preferences/nectar.py @1a70317",
        "documentation",
        {
            "prompt": "\n\nHuman: What is 2 plus 2?\n\nAssistant: ",
            "answers": [
                {"answer": "4", "model": "m", "rank": 1.0},
                {"answer": "5", "model": "n", "rank": 2.0},
            ],
        },
    ),
    Layout(
        "summarize-axis",
        "OpenAI's summarize-from-feedback ratings, overall axis",
        ("info", "summary.text", "summary.axes.overall"),
        Fields(
            "rating",
            {
                "prompt": ("info.title", "info.post", "info.article"),
                "output": "summary.text",
                "rating": "summary.axes.overall",
            },
        ),
        "LAION-AI/Open-Assistant model/model_training/custom_datasets/rank_datasets.py @f1e6ed9",
        "documentation",
        {
            "info": {"id": "t", "post": "What is 2 plus 2?", "title": "A sum"},
            "summary": {"text": "4", "policy": "p", "axes": {"overall": 7, "accuracy": 6}},
        },
    ),
    Layout(
        "oasst-trees",
        "OpenAssistant's message trees: replies to one turn by rank (0 is best)",
        ("message_tree_id", "prompt.text", "prompt.replies"),
        Tree("prompt"),
        "LAION-AI/Open-Assistant oasst-data/oasst_data/schemas.py @f1e6ed9",
        "documentation",
        {
            "message_tree_id": "t",
            "prompt": {
                "text": "What is 2 plus 2?",
                "role": "prompter",
                "replies": [
                    {"text": "4", "role": "assistant", "rank": 0, "replies": []},
                    {"text": "5", "role": "assistant", "rank": 1, "replies": []},
                ],
            },
        },
    ),
    Layout(
        "oasst-messages",
        "OpenAssistant's messages, one per row: replies to one turn by rank (0 is best)",
        ("message_id", "parent_id", "text", "role", "rank"),
        Replies(),
        "LAION-AI/Open-Assistant oasst-data/oasst_data/schemas.py and "
        "notebooks/openassistant-oasst1/getting-started.ipynb @f1e6ed9",
        "documentation",
        {
            "message_id": "r1",
            "parent_id": "t",
            "message_tree_id": "t",
            "text": "4",
            "role": "assistant",
            "rank": 0,
        },
    ),
    Layout(
        "prm800k",
        "PRM800K: steps whose continuations are rated -1, 0 or 1",
        ("question.problem", "label.steps"),
        Choices("label.steps", columns={"prompt": "question.problem"}),
        "openai/prm800k README.md @7ecc794",
        "documentation",
        {
            "question": {"problem": "What is 2 plus 2?", "ground_truth_answer": "4"},
            "label": {
                "steps": [
                    {
                        "completions": [
                            {"text": "2 and 2 make 4.", "rating": 1},
                            {"text": "2 and 2 make 5.", "rating": -1},
                        ],
                        "human_completion": None,
                        "chosen_completion": 0,
                    }
                ]
            },
        },
    ),
):
    register_layout(_layout)
