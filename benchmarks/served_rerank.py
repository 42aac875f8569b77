"""Hold the reranking protocol to a real server: infinity's scores against the model's own.

``python benchmarks/served_rerank.py PATH/bin/infinity_emb`` builds a tiny cross-encoder, serves it
on the processor and prints the largest difference. Texts are short and begin and end in letters:
infinity strips white space around a text, and cuts the end of one that is too long. infinity-emb
pins older releases than this project's, so it lives in an environment of its own:
``python -m venv v`` and
``v/bin/pip install "infinity-emb[server]==0.0.78" "torch==2.13.0" sentence-transformers``.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import numpy as np

from rmaudit.rewards import Text, load_reward_model

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "rewards"))
from test_rewards_trl import cross_encoder

TEXTS = [
    Text(f"How do I bake bread {i}?", answer)
    for i in range(20)
    for answer in (
        "Mix flour and water.",
        "No.",
        "word" + " and word" * (i % 5),
    )  # none is too long
]
PATIENCE = 180  # seconds until the server answers


def main(server: str) -> None:
    """Serve, ask, compare."""
    with tempfile.TemporaryDirectory() as made, socket.socket() as free:
        folder = cross_encoder(Path(made) / "cross-encoder", "bert")
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        options = ["--device", "cpu", "--engine", "torch", "--no-bettertransformer"]
        options += ["--dtype", "float32", "--no-model-warmup"]
        process = subprocess.Popen(
            [server, "v2", "--model-id", str(folder), "--port", str(port), *options],
            env=environment | {"DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            url = f"http://127.0.0.1:{port}"
            wait(url, process)
            own = load_reward_model(folder)
            served = load_reward_model(
                f"{url}/rerank", http_format="rerank", http_model=str(folder)
            )
            rewards = [each.forward(each.encode(TEXTS)) for each in (own, served)]
        finally:
            process.kill()
            process.wait()
    apart = float(np.abs(rewards[0] - rewards[1]).max())
    print(f"{len(TEXTS)} texts, rewards {rewards[0].min():.3f} to {rewards[0].max():.3f}: ", end="")
    print(f"infinity and the model's own differ by {apart:.1e} at most")


def wait(url: str, process: subprocess.Popen[bytes]) -> None:
    """Until the server answers."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(f"{url}/health").status_code == 200:
                return
        except httpx2.HTTPError:
            time.sleep(1)
    sys.exit("the server did not start")


if __name__ == "__main__":
    main(sys.argv[1])
