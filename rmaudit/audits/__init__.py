"""One file per question asked of a reward model."""
