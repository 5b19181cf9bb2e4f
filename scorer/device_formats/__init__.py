"""Files of industry's devices -> series of readings -> our Parquet. At a desk only; a node reads none of them."""
