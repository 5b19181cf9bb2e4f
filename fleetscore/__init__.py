"""The console script `fleetscore`, the only code that may import both `scorer` and `shared`."""
