"""Many models' numbers in one mapped file, a cache of what was read from model files."""
