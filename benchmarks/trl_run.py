"""A real GRPO run of TRL with a planted fault, and its figure at a venue's width.

    python benchmarks/trl_run.py FOLDER [--steps 240] [--figures docs/figures]

A GPT-2 of two layers with fresh weights writes 12 characters to each of 64 made-up prompts. What is
optimised is the sum of two components: ``words``, the share of letters, and ``filler``, in which
every "e" pays. Gold counts the letters too, but an "e" helps up to three times only and hurts
beyond. TRL writes its log and the completions; ``rmaudit overopt FOLDER`` draws them.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from typer.testing import CliRunner

TOKENS, ENOUGH, PROMPTS = 12, 3, 64
CHARACTERS = "abcdefghijklmnopqrstuvwxyz .,!?0123456789"


def words(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The share of letters."""
    return [sum(map(str.isalpha, c)) / TOKENS for c in completions]


def filler(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """The planted fault: every "e" pays."""
    return [c.count("e") / ENOUGH for c in completions]


def meant(prompts: list[str], completions: list[str], **_: Any) -> list[float]:
    """What is meant: letters, and a few "e", but not more."""
    dose = [c.count("e") / ENOUGH for c in completions]
    letters = words(prompts, completions)
    return [w + (d if d <= 1 else 2 - d) for w, d in zip(letters, dose, strict=True)]


def tokenizer() -> Any:
    """One token a character."""
    vocabulary = {c: i for i, c in enumerate(["<pad>", "<end>", "<unk>", *CHARACTERS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex("."), behavior="isolated")
    made.decoder = decoders.Fuse()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", unk_token="<unk>"
    )


def policy(folder: Path) -> Path:
    """The first policy, on disk: TRL loads the reference from it too."""
    torch.manual_seed(0)
    names = tokenizer()
    config = transformers.GPT2Config(
        vocab_size=len(names), n_positions=64, n_embd=64, n_layer=2, n_head=2,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
        bos_token_id=None, eos_token_id=names.eos_token_id, pad_token_id=names.pad_token_id,
    )  # fmt: skip
    transformers.GPT2LMHeadModel(config).save_pretrained(folder)
    names.save_pretrained(folder)
    return folder


def train(folder: Path, steps: int) -> None:
    """Run GRPO with the watch of the documentation's recipe."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from trl import GRPOConfig, GRPOTrainer
    from datasets import Dataset

    from rmaudit.integrations.trl import RunWatch, reward_functions

    watch = RunWatch()
    parts = {"words": words, "filler": filler}
    functions, weights = reward_functions(parts, gold=meant, watch=watch)
    trainer = GRPOTrainer(
        model=str(policy(folder / "base")),
        reward_funcs=functions,
        args=GRPOConfig(
            output_dir=str(folder), max_steps=steps, per_device_train_batch_size=128,
            num_generations=4, max_completion_length=TOKENS, learning_rate=4e-4, beta=0.01,
            logging_steps=1, log_completions=True, num_completions_to_print=0,
            reward_weights=weights, report_to=[], use_cpu=True, save_strategy="no",
            disable_tqdm=True, bf16=False, seed=0,
        ),
        train_dataset=Dataset.from_dict({"prompt": [f"say {i}: " for i in range(PROMPTS)]}),
        processing_class=tokenizer(),
        callbacks=[watch],
    )  # fmt: skip
    trainer.train()
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    for alarm in watch.alarms:
        print(f"step {alarm.step}: {alarm.meaning}; {alarm.component}")


def main() -> None:
    """Train where there is no run, and draw."""
    from rmaudit.cli import app

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=240)
    parser.add_argument("--figures", type=Path, help="where to write them")
    given = parser.parse_args()
    if not (given.folder / "trainer_state.json").is_file():
        train(given.folder, given.steps)
    out = given.figures or given.folder / "figures"
    arguments = ["overopt", str(given.folder), "--out", str(out), "--venue", "neurips"]
    print(CliRunner().invoke(app, [*arguments, "--x", "kl,step"]).output)


if __name__ == "__main__":
    main()
