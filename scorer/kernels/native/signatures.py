"""What the compiled kernels take, once for those who compile them and for those who call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_POINTER, _INTEGER = "ptr", "i64"  # LLVM's names
_N_RESULT, _N_BOUNDS = 2, 2  # places for a result and an exception; the first model and the end


@dataclass(frozen=True, slots=True)
class ArrayType:
    """An array that a kernel takes: C-contiguous and aligned."""

    dtype: np.dtype
    dimensions: int = 1
    is_written: bool = False

    def read_fields(self, array: np.ndarray) -> list[int]:
        """The array as a kernel of numba takes it: owner, parent, size, bytes of an item, address, shape, strides.

        Without an owner numba counts no references to it. TypeError where it is no array of this type.
        """
        is_right = (
            array.dtype == self.dtype
            and array.ndim == self.dimensions
            and array.flags.c_contiguous
            and array.flags.aligned
            and (array.flags.writeable or not self.is_written)
        )
        if not is_right:
            form = f"{self.dtype}[{self.dimensions} dimensions]{', to be written' if self.is_written else ''}"
            raise TypeError(f"expected a contiguous array {form}, got {array.dtype}[{array.shape}]: {array.flags}")
        address, _ = array.__array_interface__["data"]
        return [0, 0, array.size, array.itemsize, address, *array.shape, *array.strides]


@dataclass(frozen=True, slots=True)
class Kernel:
    """A function that numba compiles: begin and end of the models, rows or bytes that it takes, then arrays."""

    name: str
    module: str  # imported only to compile
    arrays: tuple[ArrayType, ...]

    def list_llvm_types(self) -> list[str]:
        """The types of all arguments in machine code, as LLVM names them."""
        types = [_POINTER] * _N_RESULT + [_INTEGER] * _N_BOUNDS
        for array in self.arrays:
            types += [_POINTER, _POINTER, _INTEGER, _INTEGER, _POINTER] + [_INTEGER] * (2 * array.dimensions)
        return types

    def read_arguments(self, begin: int, end: int, arrays: Sequence[np.ndarray]) -> list[int]:
        """All arguments but the places for result and exception."""
        fields = [begin, end]
        for kind, array in zip(self.arrays, arrays, strict=True):
            fields += kind.read_fields(array)
        return fields


_FLOAT, _LONG, _INT, _BYTE, _BOOL, _WORD, _OCTET = map(np.dtype, ("f8", "i8", "i4", "i1", "?", "u8", "u1"))
_FLOATS, _LONGS, _INTS = ArrayType(_FLOAT), ArrayType(_LONG), ArrayType(_INT)
_LAYOUTS, _VALUES, _TABLE = ArrayType(_INT, 2), ArrayType(_FLOAT, 2), ArrayType(_FLOAT, 2, is_written=True)
_WRITTEN = {kind: ArrayType(kind, is_written=True) for kind in (_FLOAT, _LONG, _INT, _BOOL, _WORD)}

SCORE_MODELS = Kernel(
    "score_models",
    "scorer.kernels.numba_backend",
    (
        ArrayType(_BYTE), ArrayType(_BOOL), _INTS, _LONGS, _FLOATS, _LONGS, _LONGS, _INTS, _INTS, _LAYOUTS, _LONGS,
        _LONGS, _LONGS, _VALUES, _TABLE, _WRITTEN[_FLOAT], _WRITTEN[_FLOAT], _WRITTEN[_FLOAT], _WRITTEN[_BOOL],
    ),
)  # fmt: skip
PREDICT_MODELS = Kernel(
    "predict_models",
    "scorer.kernels.numba_steps",
    (
        _INTS, _LONGS, _FLOATS, _LONGS, _INTS, _INTS, _LAYOUTS, _LONGS, _LONGS, _LONGS, _LONGS, _VALUES, _TABLE, _TABLE,
        _WRITTEN[_WORD], _WRITTEN[_LONG], _WRITTEN[_FLOAT], _WRITTEN[_LONG], _WRITTEN[_BOOL], _WRITTEN[_FLOAT],
        _WRITTEN[_INT],
    ),
)  # fmt: skip
_ROWS = "scorer.kernels.numba_parts.rows"
_BYTES, _WRITTEN_BYTES, _COUNTS = ArrayType(_OCTET), ArrayType(_OCTET, is_written=True), _WRITTEN[_LONG]
_CELLS, _FLAGS = ArrayType(_LONG, 2, is_written=True), ArrayType(_BOOL, 2, is_written=True)
STRIP_KEYS = Kernel("strip_keys", _ROWS, (_BYTES, _BYTES, _LONGS, _WRITTEN_BYTES, _WRITTEN_BYTES, _COUNTS))
DECODE_RECORDS = Kernel(
    "decode_records", _ROWS, (_BYTES, _LONGS, _LONGS, _LONGS, _LONGS, _LONGS, _CELLS, _CELLS, _FLAGS, _COUNTS)
)
COPY_TEXTS = Kernel("copy_texts", _ROWS, (_BYTES, _LONGS, _LONGS, _WRITTEN_BYTES))
ORDER_BY_KEY = Kernel(
    "order_by_key", _ROWS, (_INTS, _LONGS, _WRITTEN[_LONG], _WRITTEN[_LONG], _WRITTEN[_LONG], _COUNTS)
)
KERNELS = (SCORE_MODELS, PREDICT_MODELS, STRIP_KEYS, DECODE_RECORDS, COPY_TEXTS, ORDER_BY_KEY)
