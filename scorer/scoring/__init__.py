"""From a chunk's models and readings to predictions: in batches by the kernels, else one by one in the sandbox."""
