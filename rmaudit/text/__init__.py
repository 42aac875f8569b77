"""Texts as data: embeddings, n-grams, patterns, readability, diversity."""
