"""Exports of annotation tools, and what policies wrote during training."""

from __future__ import annotations

from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Fields, Vote
from rmaudit.data.layouts.steps import Rollout

_LEFT = {
    "left": "a",
    "right": "b",
    "1": "a",
    "2": "b",
    "response1": "a",
    "response2": "b",
    "answer1": "a",
    "answer2": "b",
    "response-1": "a",
    "response-2": "b",
}

for _layout in (
    Layout(
        "label-studio",
        "Label Studio's JSON export of its pairwise comparison template",
        ("data.answer1", "data.answer2", "annotations[].result"),
        Vote(
            "data.answer1",
            "data.answer2",
            votes="annotations[].result[0].value.selected",
            voters="annotations[].completed_by",
            says=_LEFT,
            columns={"prompt": "data.prompt", "id": "id"},
        ),
        "HumanSignal/label-studio label_studio/annotation_templates/generative-ai/"
        "human-feedback-collection/config.yml @39ecf42; modelscope/data-juicer "
        "data_juicer/ops/mapper/annotation/human_preference_annotation_mapper.py @0e0b03d",
        "documentation",
        {
            "id": 0,
            "data": {"prompt": "What is 2 plus 2?", "answer1": "4", "answer2": "5"},
            "annotations": [{"completed_by": 1, "result": [{"value": {"selected": "left"}}]}],
        },
    ),
    Layout(
        "argilla",
        "Argilla 1's records: two responses and a question called preference",
        ("fields.prompt", "fields.response1", "fields.response2", "responses[].values"),
        Vote(
            "fields.response1",
            "fields.response2",
            votes="responses[].values.preference.value",
            voters="responses[].user_id",
            says=_LEFT,
            columns={"prompt": "fields.prompt", "id": "id"},
        ),
        "docs.argilla.io practical_guides/create_update_dataset/suggestions_and_responses",
        "documentation",
        {
            "id": "0",
            "fields": {"prompt": "What is 2 plus 2?", "response1": "4", "response2": "5"},
            "responses": [{"user_id": "u", "values": {"preference": {"value": 1}}}],
        },
    ),
    Layout(
        "argilla-2",
        "Argilla 2's records (to_json): two responses and a question called preference",
        ("fields.prompt", "fields.response1", "fields.response2", "responses.preference"),
        Vote(
            "fields.response1",
            "fields.response2",
            votes="responses.preference[].value",
            voters="responses.preference[].user_id",
            says=_LEFT,
            columns={"prompt": "fields.prompt", "id": "id"},
        ),
        "argilla-io/argilla argilla/src/argilla/records/_resource.py @0991739",
        "documentation",
        {
            "id": "0",
            "fields": {"prompt": "What is 2 plus 2?", "response1": "4", "response2": "5"},
            "responses": {"preference": [{"value": "response1", "user_id": "u"}]},
        },
    ),
    Layout(
        "participants",
        "Votes of one participant a row (Prolific, Qualtrics): rows of one pair are one group",
        ("participant_id", "prompt", "response_a", "response_b", "preference"),
        Vote(
            "response_a",
            "response_b",
            votes="preference",
            voters="participant_id",
            says={
                "a": "a",
                "b": "b",
                "response_a": "a",
                "response_b": "b",
                "response a": "a",
                "response b": "b",
                "left": "a",
                "right": "b",
            },
            columns={"prompt": "prompt"},
        ),
        "researcher-help.prolific.com, export of submissions joined with the study's answers",
        "unchecked",
        {
            "participant_id": "5f0",
            "prompt": "What is 2 plus 2?",
            "response_a": "4",
            "response_b": "5",
            "preference": "A",
        },
    ),
    Layout(
        "trl-completions",
        "TRL's completions Parquet (log_completions): one sample a row with its rewards",
        ("step", "prompt", "completion", "advantage"),
        Rollout("prompt", "completion", ("step", "advantage")),
        "huggingface/trl trl/trainer/grpo_trainer.py (log_completions)",
        "documentation",
        {
            "step": 1,
            "prompt": "What is 2 plus 2?",
            "completion": "4",
            "accuracy_reward": 1.0,
            "advantage": 0.7,
        },
    ),
    Layout(
        "verl-rollout",
        "verl's rollout JSONL (trainer.rollout_data_dir): one sample a row with its score",
        ("input", "output", "score", "step"),
        Fields("samples", {"prompt": "input", "output": "output", "rewards": "score"}),
        "volcengine/verl verl/trainer/ppo/ray_trainer.py (_dump_generations)",
        "documentation",
        {"input": "What is 2 plus 2?", "output": "4", "gts": "4", "score": 1.0, "step": 1},
    ),
):
    register_layout(_layout)
