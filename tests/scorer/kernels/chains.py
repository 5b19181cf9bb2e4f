"""Packed chains of steps, run by each backend over rows of readings."""

from types import ModuleType

import numpy as np

from scorer.families.base import Family, Packed
from scorer.kernels import numpy_steps
from scorer.kernels.batch import Batch
from scorer.kernels.native import backend as compiled_backend

BACKENDS = {"numba": compiled_backend, "numpy": numpy_steps}


def run_chain(backend: ModuleType, packed: Packed, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The outputs, [rows, outputs], and the place of each row's label."""
    assert packed.predicted is not None
    zero, n_rows, width = np.zeros(1, np.int64), len(rows), packed.n_features
    batch = Batch(
        family=np.array([Family.STEPS], np.int8),
        strict=np.zeros(1, bool),
        n_features=np.array([width], np.int32),
        number_index=zero,
        numbers=packed.numbers,
        integer_index=zero,
        integer_count=np.array([len(packed.integers)]),
        integers=packed.integers,
        layout=np.zeros(1, np.int32),
        layouts=np.arange(width, dtype=np.int32)[None],
        first=zero,
        n_rows=np.array([n_rows]),
        out=zero,
        values=np.ascontiguousarray(rows.astype(np.float64).T),
    )
    outputs, labels = np.empty(n_rows * packed.predicted.n_outputs), np.empty(n_rows, np.int32)
    backend.predict_models(batch, zero, 0, 1, outputs, labels)
    return outputs.reshape(n_rows, packed.predicted.n_outputs), labels
