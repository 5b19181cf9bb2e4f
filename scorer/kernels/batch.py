"""The input of one kernel call: the numbers of many models, and the readings that each of them scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROW_MULTIPLE = 16  # compiled kernels pad rows to a multiple of this: two registers of AVX-512
BLOCK = 128  # rows that they take at once; their features fit into the first-level cache
TILE = 4  # support vectors that products take together


@dataclass(frozen=True, slots=True)
class Batch:
    """m models and the readings that they score. Whoever builds a batch has checked it: the kernels trust it."""

    family: np.ndarray  # int8[m], never KEPT
    strict: np.ndarray  # bool[m]: an anomaly is a score <= the border, not < it
    n_features: np.ndarray  # int32[m]
    number_index: np.ndarray  # int64[m]: index of the model's first number
    numbers: np.ndarray  # float64: the layout is in families/base.py
    integer_index: np.ndarray  # int64[m]
    integer_count: np.ndarray  # int64[m]
    integers: np.ndarray  # int32
    layout: np.ndarray  # int32[m]: which row of `layouts`
    layouts: np.ndarray  # int32[k, widest]: the row of `values` for each feature; -1 pads
    first: np.ndarray  # int64[m]: its rows are values[:, first : first + n_rows]
    n_rows: np.ndarray  # int64[m]; 0 is allowed
    out: np.ndarray  # int64[m]: index of its first score
    values: np.ndarray  # float64[columns, all rows], C-contiguous
