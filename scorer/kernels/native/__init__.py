"""Kernels as machine code: kept in files, loaded without numba, and compiled by numba where no file fits."""
