"""Policies: supervised fine-tuning, PPO, RLOO, A2C, DPO, best of n, iterated RLHF."""
