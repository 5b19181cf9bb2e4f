"""The arithmetic that detectors and chains of steps share, in NumPy alone."""

from __future__ import annotations

import numpy as np

LOG2E = 1.4426950408889634


def raise_power(base: np.ndarray, times: int) -> np.ndarray:
    """Base ** times, by squaring, as in libsvm."""
    power = np.ones_like(base)
    while times > 0:
        if times % 2:
            power *= base
        base = base * base
        times //= 2
    return power
