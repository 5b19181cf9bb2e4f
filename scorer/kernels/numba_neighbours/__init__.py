"""The nearest training rows of each row, as numba compiles it; the layout is in families/neighbours.py."""
