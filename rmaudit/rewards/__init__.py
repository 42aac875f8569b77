"""Where a reward comes from: transformers, a Python callable, recorded values, ensembles."""
