"""Reward models run here by transformers: checkpoint, template, encoding, pooling."""
