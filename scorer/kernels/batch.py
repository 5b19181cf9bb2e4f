"""What a kernel is given: the numbers of many models, and the readings that each of them scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Batch:
    """m models and the readings that they score; who builds one has checked all of it, the kernels trust it."""

    family: np.ndarray  # int8[m], never KEPT
    strict: np.ndarray  # bool[m]: an anomaly is a score <= 0, not < 0
    width: np.ndarray  # int32[m]
    number_at: np.ndarray  # int64[m]: where a model's numbers begin
    numbers: np.ndarray  # float64: laid out as families.Packed says
    integer_at: np.ndarray  # int64[m]
    integer_count: np.ndarray  # int64[m]
    integers: np.ndarray  # int32
    layout: np.ndarray  # int32[m]: which row of `layouts`
    layouts: np.ndarray  # int32[k, widest]: the row of `values` for each feature; -1 pads
    first: np.ndarray  # int64[m]: its rows are values[:, first : first + rows]
    rows: np.ndarray  # int64[m]; 0 is allowed
    out: np.ndarray  # int64[m]: where its scores begin
    values: np.ndarray  # float64[columns, all rows], C-contiguous
