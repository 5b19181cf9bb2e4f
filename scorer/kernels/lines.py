"""Texts of many rows by a kernel, where numba works; elsewhere their readers take them as any other text.

Knows bytes only. There is no backend of NumPy: without numba `find_kernel` gives None, and rows come out the same.
"""

from __future__ import annotations

import importlib
import threading
from typing import Protocol

import numpy as np

from . import dispatch

TEXT, WHOLE, FRACTION, NULL = 1, 2, 4, 8  # what the values of a key are, in `numba_lines` too

_lock = threading.Lock()  # files are read in parallel


class KeyStripper(Protocol):
    """Lines of flat JSON -> lines of CSV without the keys.

    *keys* are joined, and *key_ends* says where each ends, int64; *kinds*, uint8, gets for each key what its values
    are. *out*, uint8, has a byte more than *text*. Returns how many bytes of it were written, and the number of lines:
    -1 where any line is not an object of exactly these keys in this order, with numbers, texts without escapes, and
    nulls.
    """

    def __call__(
        self, text: np.ndarray, keys: np.ndarray, key_ends: np.ndarray, kinds: np.ndarray, out: np.ndarray
    ) -> tuple[int, int]:
        """All arrays are C-contiguous; the first three are only read."""
        ...


def find_kernel() -> KeyStripper | None:
    """The kernel; None where the backend in use is that of NumPy."""
    with _lock:
        if dispatch.get_backend() != "numba":
            return None
        stripper: KeyStripper = importlib.import_module(".numba_lines", __package__).strip_keys
        return stripper
