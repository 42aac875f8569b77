"""Seconds that rewardbench's own inference takes, and its accuracy, run by the Python of an
environment that has it.

    PYTHON benchmarks/scoring_rewardbench.py MODEL TEXTS

Its command runs as it is, on the same texts in pairs, with three things replaced: its progress bar,
which goes around the inference and nothing else, by a clock; its writing of results by a line on
stdout; and, where there is no GPU, its moving of every batch to one.
"""

import json
import sys
import time

import rewardbench.rewardbench as theirs
import torch
from datasets import Dataset
from transformers import BatchEncoding

took = []


def clock(batches, **_):
    """Time the loop."""
    start = time.perf_counter()
    yield from batches
    took.append(time.perf_counter() - start)


def say(_, found):
    """Say what came of it, and leave."""
    won = found["results"]
    print(json.dumps({"seconds": took[0], "accuracy": sum(won) / len(won)}))
    sys.exit(0)


model, texts = sys.argv[1:]
with open(texts) as file:  # noqa: PTH123
    strings = json.load(file)
theirs.load_and_process_dataset = lambda *_, **__: Dataset.from_dict(
    {"prompt": strings[::2], "text_chosen": strings[::2], "text_rejected": strings[1::2]}
)
theirs.tqdm, theirs.save_jsonl = clock, say
if not torch.cuda.is_available():
    BatchEncoding.to = lambda batch, *_, **__: batch
theirs.rewardbench(
    theirs.Args(
        model=model,
        dataset="texts",
        batch_size=8,
        max_length=512,
        torch_dtype="float32",
        not_quantized=True,
        force_truncation=True,
    )
)
