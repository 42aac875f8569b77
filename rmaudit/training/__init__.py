"""The training core: reward losses and their loop."""
