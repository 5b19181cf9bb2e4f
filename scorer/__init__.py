"""Runs on nodes: `python -m scorer`. Knows URLs of stores, not which cloud; of `shared` it sees `contract` only."""
