"""Runs on nodes: `python -m scorer`. Knows URLs of stores, not which cloud; uses contract, domain, names of shared."""
