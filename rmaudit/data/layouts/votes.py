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
        "NVIDIA/NeMo-Aligner examples/nlp/data/steerlm/preprocess_helpsteer2_data.py @262f7ee; the "
        "sign: loaders in public code",
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
        "NVIDIA-NeMo/RL nemo_rl/data/datasets/preference_datasets/helpsteer3.py @7ea279a",
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
        "loaders of PKU-Alignment/PKU-SafeRLHF in public code",
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
        "DagsHub/open-source-ml-datasets stanfordnlp-SHP/README.md @6d08203",
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
        "allenai/open-instruct scripts/data/preferences/webgpt.py @0847290",
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
        "LAION-AI/Open-Assistant model/model_training/custom_datasets/rank_datasets.py @f1e6ed9",
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
            called=("model_a", "model_b"),
            turns="turn",
            columns={"group": "question_id"},
        ),
        "lm-sys/FastChat fastchat/serve/monitor/clean_battle_data.py @0e6d3e4",
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
        "arena-55k",
        "Chatbot Arena's Kaggle table: lists of turns and of both models' answers, and the winner",
        ("prompt", "response_a", "response_b", "winner_model_a", "winner_model_b"),
        Vote(
            "response_a",
            "response_b",
            flags=("winner_model_a", "winner_model_b", "winner_tie"),
            asked="prompt",
            columns={"id": "id"},
        ),
        "tascj/kaggle-lmsys-chatbot-arena human_pref/data/processors.py @ce897bd",
        "documentation",
        {
            "id": 0,
            "model_a": "m",
            "model_b": "n",
            "prompt": '["What is 2 plus 2?"]',
            "response_a": '["4"]',
            "response_b": '["5"]',
            "winner_model_a": 1,
            "winner_model_b": 0,
            "winner_tie": 0,
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
        "loaders of allenai/multipref in public code",
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
    Layout(
        "auto-j",
        "Auto-J's pairs: label 0 prefers response 1, 1 response 2, 2 neither",
        ("prompt", "response 1", "response 2", "label"),
        Vote(
            "response 1",
            "response 2",
            verdict="label",
            says={"0": "a", "1": "b", "2": "tie"},
            columns={"prompt": "prompt", "subset": "scenario"},
        ),
        "GAIR-NLP/auto-j data/test/testdata_pairwise.jsonl @2ae17a3",
        "file",
        {
            "scenario": "sums",
            "label": 0,
            "prompt": "What is 2 plus 2?",
            "response 1": "4",
            "response 2": "5",
        },
    ),
    Layout(
        "pandalm",
        "PandaLM's test set: three annotators, 1 prefers response 1, 2 response 2, 0 neither",
        ("instruction", "response1", "response2", "annotator1", "annotator2", "annotator3"),
        Vote(
            "response1",
            "response2",
            votes=("annotator1", "annotator2", "annotator3"),
            says={"1": "a", "2": "b", "0": "tie"},
            columns={"prompt": ("instruction", "input")},
        ),
        "WeOpenML/PandaLM data/testset-v1.json @3871806",
        "file",
        {
            "idx": 0,
            "instruction": "What is 2 plus 2?",
            "input": "",
            "response1": "4",
            "response2": "5",
            "annotator1": 1,
            "annotator2": 1,
            "annotator3": 0,
        },
    ),
):
    register_layout(_layout)
