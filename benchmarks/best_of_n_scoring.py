"""Prompts encoded once: pairs and best of 64 on a decoder. A JSON line and Markdown rows.

    python benchmarks/best_of_n_scoring.py [--pairs 12] [--samples 64] [--rounds 2] [--results DIR]

A Llama of 6 layers, 512 wide, with random weights. The same texts with and without sharing, in
turns, and (best of n) by the pipeline of transformers, batch 8; ratios are medians of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from measured import keep
from tokenizers import Tokenizer, models, pre_tokenizers

from rmaudit.rewards import load_reward_model
from rmaudit.rewards.local.transformers_model import TransformersReward
from rmaudit.scoring import Request, score

LETTERS = [chr(97 + i) for i in range(26)]


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        model = load_reward_model(llama(Path(folder)))
    shapes = {
        "pairs, prompts 3 x as long as outputs": pairs(given.pairs, 360, 120, rng),
        f"best of {given.samples}, prompt 1,000, outputs 64 tokens": best_of(
            given.samples, 1000, 64, rng
        ),
    }
    results = [measure(model, name, request, given.rounds) for name, request in shapes.items()]
    others = list(results[0]["ratios"])
    head = ["shape", "seconds, prompts shared", *(f"× {name}" for name in others), "rewards within"]
    lines = [head, ["---"] * len(head)]
    for each in results:
        times = [f"{each['ratios'][name]:.2f}" for name in others]
        apart = f"{each['largest_difference']:.0e}"
        lines.append([each["shape"], str(each["seconds"]), *times, apart])
    rows = ["| " + " | ".join(line) + " |" for line in lines]
    keep(given.results, "best_of_n_scoring", results, "\n".join(rows))


def measure(model: TransformersReward, name: str, request: Request, rounds: int) -> dict[str, Any]:
    """Seconds of sharing, and how many times as long the others take."""
    ways: dict[str, Callable[[], np.ndarray]] = {
        "shared": lambda: scored(model, request, share=True),
        "unshared": lambda: scored(model, request, share=False),
        "pipeline, batch 8": pipeline(model, request),
    }
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    rewards: dict[str, np.ndarray] = {}
    for _ in range(rounds):
        for way, run in ways.items():
            start = time.perf_counter()
            rewards[way] = run()
            seconds[way].append(time.perf_counter() - start)
    own = seconds.pop("shared")
    ratios = {
        way: round(float(np.median([a / b for a, b in zip(taken, own, strict=True)])), 2)
        for way, taken in seconds.items()
    }
    return {
        "benchmark": "best_of_n_scoring",
        "shape": name,
        "texts": len(request.ids),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "seconds": round(min(own), 2),
        "ratios": ratios,
        "largest_difference": float(np.abs(rewards["shared"] - rewards["unshared"]).max()),
    }


def scored(model: TransformersReward, request: Request, *, share: bool) -> np.ndarray:
    """Rewards by the engine, without a store."""
    model.shares_prefixes = share
    return score(model, [request]).reward(request.side)


def pipeline(model: TransformersReward, request: Request) -> Callable[[], np.ndarray]:
    """The pipeline of transformers on the same model and texts."""
    made = transformers.pipeline(
        "text-classification", model=model.model, tokenizer=model.tokenizer, device=model.device
    )
    texts = [f"{p}\n\n{o}" for p, o in zip(request.prompts, request.outputs, strict=True)]
    return lambda: np.array(
        [each["score"] for each in made(texts, batch_size=8, function_to_apply="none")]
    )


def pairs(n: int, prompt: int, output: int, rng: np.random.Generator) -> Request:
    """Two outputs a prompt, of lengths that vary by half."""
    prompts = [p for p in (letters(prompt, rng) for _ in range(n)) for _ in range(2)]
    outputs = [letters(int(output * rng.uniform(0.5, 1.5)), rng) for _ in prompts]
    return Request("chosen", [str(i) for i in range(2 * n)], prompts, outputs)


def best_of(n: int, prompt: int, output: int, rng: np.random.Generator) -> Request:
    """Outputs of one prompt."""
    outputs = [letters(output, rng) for _ in range(n)]
    return Request("sample", [str(i) for i in range(n)], [letters(prompt, rng)] * n, outputs)


def letters(n: int, rng: np.random.Generator) -> str:
    """A token a letter."""
    return "".join(rng.choice(LETTERS, n))


def llama(folder: Path) -> Path:
    """A random Llama that reads letters."""
    config = transformers.LlamaConfig(
        vocab_size=32,
        hidden_size=512,
        intermediate_size=1376,
        num_hidden_layers=6,
        num_attention_heads=8,
        max_position_embeddings=2048,
        num_labels=1,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    torch.manual_seed(0)
    transformers.AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    vocabulary = {letter: i + 1 for i, letter in enumerate([*LETTERS, "\n"])}
    core = Tokenizer(models.BPE(vocab={"<pad>": 0, **vocabulary}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", model_max_length=2048
    )
    made.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
