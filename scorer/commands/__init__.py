"""The commands of `python -m scorer`, one module each."""
