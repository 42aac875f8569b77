"""Requests, batches, the score store: every text any audit wants, scored in one pass."""
