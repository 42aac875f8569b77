"""What training libraries read: TRL, OpenRLHF, Axolotl, LLaMA-Factory, ms-swift, OpenAI."""

from __future__ import annotations

from functools import partial

from rmaudit.data.layouts import Layout, register_layout
from rmaudit.data.layouts.shapes import Fields, Ranked
from rmaudit.data.layouts.steps import TAG, SignedTurns, Steps, Tagged, signed_turns
from rmaudit.data.values import NO, YES

_ASK = {"role": "user", "content": "What is 2 plus 2?"}
_GOOD = {"role": "assistant", "content": "4"}
_BAD = {"role": "assistant", "content": "5"}

for _layout in (
    Layout(
        "trl-stepwise",
        "TRL's stepwise supervision (PRMTrainer), also Axolotl's stepwise_supervised",
        ("prompt", "completions", "labels"),
        Steps("completions", "labels", columns={"prompt": "prompt"}),
        "huggingface/trl docs/source/dataset_formats.md",
        "documentation",
        {
            "prompt": "What is 2 plus 2?",
            "completions": ["2 and 2.", "So 5."],
            "labels": [True, False],
        },
        when=lambda row: isinstance(row.get("labels"), list),
    ),
    Layout(
        "openai-preference",
        "OpenAI's preference fine-tuning",
        ("input.messages", "preferred_output", "non_preferred_output"),
        Fields(
            "preference",
            {
                "prompt": "input.messages",
                "tools": "input.tools",
                "chosen": "preferred_output",
                "rejected": "non_preferred_output",
            },
        ),
        "microsoft-foundry/fine-tuning Sample_Datasets @de257fc",
        "file",
        {
            "input": {"messages": [_ASK]},
            "preferred_output": [_GOOD],
            "non_preferred_output": [_BAD],
        },
    ),
    Layout(
        "ms-swift-dpo",
        "ms-swift DPO and reward models: the chosen response ends the messages",
        ("messages", "rejected_response"),
        Fields(
            "preference",
            {
                "prompt": "messages[:user]",
                "system": "system",
                "tools": "tools",
                "chosen": "messages[user:]",
                "rejected": "rejected_response",
            },
        ),
        "modelscope/ms-swift docs/source_en/Customization/Custom-dataset.md @3602360",
        "documentation",
        {"messages": [_ASK, _GOOD], "rejected_response": "5"},
    ),
    Layout(
        "ms-swift-dpo-messages",
        "ms-swift DPO with a whole rejected conversation",
        ("messages", "rejected_messages"),
        Fields(
            "preference",
            {
                "chosen": "messages",
                "rejected": "rejected_messages",
                "system": "system",
                "tools": "tools",
            },
        ),
        "modelscope/ms-swift docs/source_en/Customization/Custom-dataset.md @3602360",
        "documentation",
        {"messages": [_ASK, _GOOD], "rejected_messages": [_ASK, _BAD]},
    ),
    Layout(
        "messages-kto",
        "ms-swift and Axolotl KTO: messages that end with the response, and its label",
        ("messages", "label"),
        Fields(
            "unpaired",
            {"output": "messages", "label": "label", "system": "system", "tools": "tools"},
        ),
        "hiyouga/LLaMA-Factory data/kto_en_demo.json @ff6d4d1",
        "file",
        {"messages": [_ASK, _GOOD], "label": True},
        without=("chosen", "completion", "output"),
    ),
    Layout(
        "llama-factory-kto",
        "LLaMA-Factory KTO in Alpaca form",
        ("instruction", "output", "kto_tag"),
        Fields(
            "unpaired",
            {
                "prompt": ("instruction", "input"),
                "system": "system",
                "output": "output",
                "label": "kto_tag",
            },
        ),
        "hiyouga/LLaMA-Factory data/README.md",
        "documentation",
        {"instruction": "Add the numbers.", "input": "2 and 2", "output": "4", "kto_tag": True},
    ),
    Layout(
        "llama-factory-kto-sharegpt",
        "LLaMA-Factory KTO in ShareGPT form",
        ("conversations", "kto_tag"),
        Fields("unpaired", {"output": "conversations", "system": "system", "label": "kto_tag"}),
        "hiyouga/LLaMA-Factory data/README.md",
        "documentation",
        {
            "conversations": [
                {"from": "human", "value": "What is 2 plus 2?"},
                {"from": "gpt", "value": "4"},
            ],
            "kto_tag": True,
        },
    ),
    Layout(
        "messages-kto-tag",
        "LLaMA-Factory KTO in OpenAI's message form",
        ("messages", "kto_tag"),
        Fields("unpaired", {"output": "messages", "label": "kto_tag"}),
        "hiyouga/LLaMA-Factory data/README.md",
        "documentation",
        {"messages": [_ASK, _GOOD], "kto_tag": True},
    ),
    Layout(
        "llama-factory-dpo",
        "LLaMA-Factory DPO in Alpaca form, also OpenRLHF's --input_key instruction",
        ("instruction", "chosen", "rejected"),
        Fields(
            "preference",
            {
                "prompt": ("instruction", "input"),
                "system": "system",
                "chosen": "chosen",
                "rejected": "rejected",
            },
        ),
        "hiyouga/LLaMA-Factory data/README.md",
        "documentation",
        {"instruction": "Add the numbers.", "input": "2 and 2", "chosen": "4", "rejected": "5"},
        without=("prompt", "messages", "conversations", "question", "context", "history"),
    ),
    Layout(
        "sharegpt-dpo",
        "ShareGPT turns with one chosen and one rejected turn (LLaMA-Factory DPO)",
        ("conversations", "chosen", "rejected"),
        Fields(
            "preference",
            {
                "prompt": "conversations",
                "system": "system",
                "tools": "tools",
                "chosen": "chosen",
                "rejected": "rejected",
            },
        ),
        "hiyouga/LLaMA-Factory data/dpo_en_demo.json @ff6d4d1",
        "file",
        {
            "conversations": [{"from": "human", "value": "What is 2 plus 2?"}],
            "chosen": {"from": "gpt", "value": "4"},
            "rejected": {"from": "gpt", "value": "5"},
        },
        without=("prompt",),
    ),
    Layout(
        "axolotl-messages",
        "Axolotl's chat_template DPO, ms-swift's RLHF messages: context, chosen and rejected turn",
        ("messages", "chosen", "rejected"),
        Fields(
            "preference",
            {
                "prompt": "messages",
                "system": "system",
                "tools": "tools",
                "chosen": "chosen",
                "rejected": "rejected",
            },
        ),
        "axolotl-ai-cloud/axolotl docs/rlhf.qmd",
        "documentation",
        {"messages": [_ASK], "chosen": _GOOD, "rejected": _BAD},
        without=("prompt",),
    ),
    Layout(
        "openrlhf-prompts",
        "OpenRLHF's prompts with a reference answer (--input_key input --label_key label)",
        ("input", "label"),
        Fields("deployment", {"prompt": "input"}),
        "OpenRLHF/OpenRLHF openrlhf/datasets/prompts_dataset.py @3c3be62",
        "documentation",
        {"input": "What is 2 plus 2?", "label": "4"},
        without=("prompt", "output", "response", "completion", "chosen", "answer", "messages"),
        when=lambda row: (
            isinstance(row.get("label"), str)
            and row["label"].strip().lower() not in YES | NO
            and TAG not in str(row.get("input"))
        ),
    ),
    Layout(
        "math-shepherd",
        "Math-Shepherd as its authors published it: a text with ки behind each step, its signs",
        ("input", "label"),
        Tagged("input", "label"),
        "huggingface/trl examples/datasets/math_shepherd.py",
        "documentation",
        {
            "input": "What is 2 plus 2? Step 1: 2 and 2. ки\nStep 2: So 5. ки",
            "label": "What is 2 plus 2? Step 1: 2 and 2. +\nStep 2: So 5. -",
            "task": "GSM8K",
        },
        when=lambda row: TAG in str(row.get("input")),
    ),
    *(
        Layout(
            f"signed-{name}",
            f"RLHFlow's process data ({name}): steps as the user's turns, answered by + or -",
            (name,),
            SignedTurns(name),
            "RLHFlow/RLHF-Reward-Modeling math/README.md @047e822",
            "documentation",
            {
                name: [
                    {"role": "user", "content": "What is 2 plus 2? Step 1: 2 and 2."},
                    {"role": "assistant", "content": "+"},
                    {"role": "user", "content": "Step 2: So 5."},
                    {"role": "assistant", "content": "-"},
                ]
            },
            when=partial(signed_turns, name),
        )
        for name in ("conversations", "messages")
    ),
    Layout(
        "nemo-rl",
        "NeMo RL's preferences: completions with ranks, the lowest is best",
        ("context", "completions[].rank", "completions[].completion"),
        Ranked(
            "completions[].completion",
            rank="completions[].rank",
            columns={"prompt": "context"},
        ),
        "docs.nvidia.com/nemo/rl nemo_rl.data.datasets.preference_datasets.preference_dataset",
        "documentation",
        {
            "context": [_ASK],
            "completions": [
                {"rank": 0, "completion": [_GOOD]},
                {"rank": 1, "completion": [_BAD]},
            ],
        },
    ),
    Layout(
        "axolotl-reward",
        "Axolotl's bradley_terry, Argilla's Orca pairs: system and input",
        ("input", "chosen", "rejected"),
        Fields(
            "preference",
            {"prompt": "input", "system": "system", "chosen": "chosen", "rejected": "rejected"},
        ),
        "axolotl-ai-cloud/axolotl docs/reward_modelling.qmd",
        "documentation",
        {"input": "What is 2 plus 2?", "chosen": "4", "rejected": "5"},
        without=(
            "prompt",
            "instruction",
            "question",
            "messages",
            "conversations",
            "context",
            "query",
            "history",
        ),
        when=lambda row: isinstance(row.get("input"), str),
    ),
):
    register_layout(_layout)
