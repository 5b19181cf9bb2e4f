"""Rows out of bytes by kernels, where numba works; elsewhere the readers take the bytes as any others.

Knows bytes only. There is no backend of NumPy: without numba `find_kernels` gives None, and rows come out the same.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from . import dispatch

TEXT, WHOLE, FRACTION, NULL = 1, 2, 4, 8  # what the values of a key are
FLAG_FIELD, WHOLE_FIELD, FLOAT_FIELD, DOUBLE_FIELD, TEXT_FIELD = range(5)  # how the field of a record is written

log = logging.getLogger(__name__)

_lock = threading.Lock()  # files are read in parallel


@dataclass(frozen=True, slots=True)
class RowKernels:
    """The loaded kernels. All arrays are C-contiguous; of uint8 or int64 where nothing else is said."""

    _strip_keys: Callable[..., None]
    _decode_records: Callable[..., None]
    _copy_texts: Callable[..., None]
    _order_by_key: Callable[..., None]

    def strip_keys(
        self, text: np.ndarray, keys: np.ndarray, key_ends: np.ndarray, kinds: np.ndarray, out: np.ndarray
    ) -> tuple[int, int]:
        """Lines of flat JSON -> lines of CSV without the keys.

        *keys* are joined, and *key_ends* says where each ends; *kinds*, uint8, gets for each key what its values are.
        *out* has a byte more than *text*. Returns how many bytes of it were written, and the number of lines: -1 where
        any line is not an object of exactly these keys in this order, with numbers, texts without escapes, and nulls.
        """
        counts = np.zeros(2, np.int64)
        self._strip_keys(0, len(text), text, keys, key_ends, kinds, out, counts)
        return int(counts[0]), int(counts[1])

    def decode_records(  # noqa: PLR0913, PLR0917  # plain arrays, as kernels take them
        self,
        data: np.ndarray,
        block_ends: np.ndarray,
        block_records: np.ndarray,
        kinds: np.ndarray,
        null_branch: np.ndarray,
        slots: np.ndarray,
        bits: np.ndarray,
        sizes: np.ndarray,
        is_null: np.ndarray,
    ) -> bool:
        """The fields of the records of some blocks; False where they are not exactly these.

        Of each field: how it is written, int64; which branch of its union is null, -1 for no union; and the row of its
        cells in *bits*, *sizes* (both int64) and *is_null* (bool), -1 for none. *bits* gets a number, the bits of one
        with a fraction, or where a text begins in *data*; *sizes* the bytes of a text.
        """
        counts = np.zeros(1, np.int64)
        fields = kinds, null_branch, slots
        cells = bits, sizes, is_null
        self._decode_records(0, len(block_ends), data, block_ends, block_records, *fields, *cells, counts)
        return bool(counts[0])

    def copy_texts(self, data: np.ndarray, starts: np.ndarray, sizes: np.ndarray, out: np.ndarray) -> None:
        """The texts at *starts* of *data*, one behind the other."""
        self._copy_texts(0, len(starts), data, starts, sizes, out)

    def order_by_key(
        self, keys: np.ndarray, time: np.ndarray, ends: np.ndarray, last: np.ndarray, order: np.ndarray
    ) -> bool:
        """Write the stable order of *keys*, int32 from 0 on; False where times of a key descend or are equal in it.

        Then *order* is not complete. Scratch: *ends*, all 0 and of one more than there are keys, and *last*.
        """
        counts = np.zeros(1, np.int64)
        self._order_by_key(0, len(keys), keys, time, ends, last, order, counts)
        return bool(counts[0])


def find_kernels() -> RowKernels | None:
    """The kernels; None where the backend in use is that of NumPy, or these cannot be loaded."""
    with _lock:
        if dispatch.get_backend() != "numba":
            return None
        return _load_kernels()


@cache
def _load_kernels() -> RowKernels | None:
    from .native import backend, signatures

    kernels = (signatures.STRIP_KEYS, signatures.DECODE_RECORDS, signatures.COPY_TEXTS, signatures.ORDER_BY_KEY)
    try:
        return RowKernels(*map(backend.load_kernel, kernels))
    except Exception as error:  # noqa: BLE001  # no file for one of them, and no numba
        log.warning("rows are read without compiled kernels: %s", error)
        return None
