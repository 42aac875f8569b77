"""Two audits, paired by prompt."""
