"""Published votes on two responses."""

from __future__ import annotations

from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Vote

_ASK = {"role": "user", "content": "What is 2 plus 2?"}
_GOOD = {"role": "assistant", "content": "4"}
_BAD = {"role": "assistant", "content": "5"}
_STRENGTHS = {**{str(-n): "a" for n in (1, 2, 3)}, "0": "tie", **{str(n): "b" for n in (1, 2, 3)}}
_ARENA = {"model_a": "a", "model_b": "b"}

for _layout in (
    Layout(
        "helpsteer2-preference",
        "HelpSteer2's preferences: strengths from -3 (response 1) to 3 (response 2)",
        ("prompt", "response_1", "response_2", "preference_strength"),
        Vote(
            "response_1",
            "response_2",
            strength="preference_strength",
            positive="b",
            columns={"prompt": "prompt"},
        ),
        "huggingface.co/datasets/nvidia/HelpSteer2 (preference)",
        "documentation",
        {
            "split": "train",
            "prompt": "What is 2 plus 2?",
            "response_1": "4",
            "response_2": "5",
            "preference_strength": -2,
        },
    ),
    Layout(
        "helpsteer3-preference",
        "HelpSteer3's preferences: strengths from -3 (response 1) to 3 (response 2), with votes",
        ("context", "response1", "response2", "overall_preference"),
        Vote(
            "response1",
            "response2",
            strength="overall_preference",
            positive="b",
            votes="individual_preference[].score",
            says=_STRENGTHS,
            columns={"prompt": "context", "subset": "domain"},
        ),
        "huggingface.co/datasets/nvidia/HelpSteer3 (preference)",
        "documentation",
        {
            "domain": "stem",
            "language": "english",
            "context": [_ASK],
            "response1": "4",
            "response2": "5",
            "overall_preference": -2,
            "individual_preference": [{"score": -2, "reasoning": "."}, {"score": -1}],
        },
    ),
    Layout(
        "pku-saferlhf",
        "PKU-SafeRLHF: the more helpful of two responses (the safer one is kept beside it)",
        ("prompt", "response_0", "response_1", "better_response_id"),
        Vote(
            "response_0",
            "response_1",
            verdict="better_response_id",
            says={"0": "a", "1": "b"},
            columns={"prompt": "prompt"},
        ),
        "PKU-Alignment/safe-rlhf README.md",
        "documentation",
        {
            "prompt": "What is 2 plus 2?",
            "response_0": "4",
            "response_1": "5",
            "better_response_id": 0,
            "safer_response_id": 0,
        },
    ),
    Layout(
        "shp",
        "Stanford Human Preferences: labels 1 prefers A, 0 prefers B",
        ("history", "human_ref_A", "human_ref_B", "labels"),
        Vote(
            "human_ref_A",
            "human_ref_B",
            verdict="labels",
            says={"1": "a", "0": "b"},
            columns={"prompt": "history", "subset": "domain", "group": "post_id"},
        ),
        "huggingface.co/datasets/stanfordnlp/SHP",
        "documentation",
        {
            "post_id": "p",
            "domain": "asksums",
            "history": "What is 2 plus 2?",
            "human_ref_A": "4",
            "human_ref_B": "5",
            "labels": 1,
        },
    ),
    Layout(
        "webgpt",
        "WebGPT comparisons: the answer with the higher score, equal scores tie",
        ("question.full_text", "answer_0", "answer_1", "score_0", "score_1"),
        Vote(
            "answer_0",
            "answer_1",
            scores=("score_0", "score_1"),
            columns={"prompt": "question.full_text"},
        ),
        "huggingface.co/datasets/openai/webgpt_comparisons",
        "documentation",
        {
            "question": {"dataset": "sums", "full_text": "What is 2 plus 2?"},
            "answer_0": "4",
            "answer_1": "5",
            "score_0": 1.0,
            "score_1": -1.0,
        },
    ),
    Layout(
        "summarize-comparisons",
        "OpenAI's summarize-from-feedback comparisons (TL;DR posts and CNN articles)",
        ("info", "summaries[].text", "choice"),
        Vote(
            "summaries[0].text",
            "summaries[1].text",
            verdict="choice",
            says={"0": "a", "1": "b"},
            columns={
                "prompt": ("info.title", "info.post", "info.article"),
                "group": "info.id",
            },
        ),
        "openai/summarize-from-feedback README.md",
        "documentation",
        {
            "info": {"id": "t", "post": "What is 2 plus 2?", "title": "A sum", "subreddit": "sums"},
            "summaries": [{"text": "4", "policy": "p"}, {"text": "5", "policy": "p"}],
            "choice": 0,
            "worker": "w",
        },
    ),
    Layout(
        "arena",
        "Chatbot Arena and MT-bench votes: two conversations and a winner",
        ("conversation_a", "conversation_b", "winner"),
        Vote(
            "conversation_a",
            "conversation_b",
            verdict="winner",
            says=_ARENA,
            turns="turn",
            columns={"group": "question_id"},
        ),
        "huggingface.co/datasets/lmsys/chatbot_arena_conversations, lmsys/mt_bench_human_judgments",
        "documentation",
        {
            "question_id": "q",
            "model_a": "m",
            "model_b": "n",
            "winner": "model_a",
            "judge": "user_0",
            "conversation_a": [_ASK, _GOOD],
            "conversation_b": [_ASK, _BAD],
            "turn": 1,
        },
    ),
    Layout(
        "multipref",
        "MultiPref: votes of crowd and expert annotators",
        ("text", "completion_a", "completion_b", "normal_worker_annotations"),
        Vote(
            "completion_a",
            "completion_b",
            votes=(
                "normal_worker_annotations[].overall_pref",
                "expert_worker_annotations[].overall_pref",
            ),
            voters=(
                "normal_worker_annotations[].evaluator",
                "expert_worker_annotations[].evaluator",
            ),
            says={
                f"{side}-is-{strength}-better": side
                for side in ("a", "b")
                for strength in ("clearly", "slightly")
            },
            columns={"prompt": "text", "group": "prompt_id"},
        ),
        "huggingface.co/datasets/allenai/multipref",
        "documentation",
        {
            "comparison_id": "c",
            "prompt_id": "p",
            "text": "What is 2 plus 2?",
            "completion_a": "4",
            "completion_b": "5",
            "normal_worker_annotations": [
                {"evaluator": "n-1", "overall_pref": "A-is-clearly-better"},
                {"evaluator": "n-2", "overall_pref": "Tie"},
            ],
        },
    ),
):
    register_layout(_layout)
