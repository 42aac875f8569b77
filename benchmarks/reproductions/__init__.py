"""Published results on reward models, one function each; `benchmarks/reproduced.py` runs them."""
