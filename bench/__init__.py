"""Benchmarks. Nothing of the product imports them."""
