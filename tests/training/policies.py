"""Small random policies, and a reward that they can learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import LlamaConfig, LlamaForCausalLM

from rmaudit.training.policy.model import CausalPolicy
from rmaudit.training.policy.reward import Rewards

PAD, EOS, VOCABULARY = 0, 1, 12
PROMPTS = [[3, 4], [5], [6, 7, 8]]


def llama_policy(seed: int, max_new_tokens: int = 6) -> CausalPolicy:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return CausalPolicy(model, pad_id=PAD, eos_id=EOS, max_new_tokens=max_new_tokens)


def count_reward(prompts: NDArray[np.int64], outputs: Sequence[Sequence[int]]) -> Rewards:
    """How often token 9 stands in an output; gold wants it at most twice."""
    count = np.array([list(output).count(9) for output in outputs], dtype=np.float64)
    return Rewards(proxy=count, gold=np.where(count <= 2, count, 4 - count))
