"""The least that the arithmetic of scoring takes on this machine: measured peaks, of one core, in the same run.

A one-class SVM's rows want the product of rows and support vectors, an exponential for each pair, and the product with
the coefficients. Nothing is read, checked or written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SECONDS = 0.5  # of each measurement


@dataclass(frozen=True, slots=True)
class Peaks:
    """Of one core."""

    flops: float  # a second, in a product of large matrices of float64
    exponentials: float  # a second, of float64, in the cache

    def seconds(self, rows: int, vectors: int, width: int) -> float:
        """For one model."""
        pairs = rows * vectors
        return pairs * (2 * width + 2) / self.flops + pairs / self.exponentials


def measure_peaks() -> Peaks:
    """Call it where the threads of BLAS are pinned to one before NumPy is imported."""
    square = np.random.default_rng(0).normal(size=(1024, 1024))
    flops = 2 * 1024**3 * _measure_rate(lambda: square @ square)
    numbers = -np.abs(np.random.default_rng(0).normal(size=4096))
    into, fused = np.empty_like(numbers), _compile_exp2()
    ways: list[Callable[[], object]] = [
        lambda: np.exp(numbers, out=into),
        lambda: np.exp2(numbers, out=into),
        lambda: fused(numbers, into),
    ]
    return Peaks(flops, 4096 * max(map(_measure_rate, ways)))


def _measure_rate(work: Callable[[], object]) -> float:
    """Calls a second, in the best ten of a measurement: others share the machine."""
    work()
    best, end = math.inf, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(10):
            work()
        best = min(best, (time.perf_counter() - began) / 10)
    return 1 / best


def _compile_exp2() -> Callable[[np.ndarray, np.ndarray], None]:
    """2**x of an array of small negative numbers: a polynomial, which the compiler makes vectors of."""
    import numba
    from llvmlite import ir
    from numba.extending import intrinsic

    @intrinsic
    def as_float(_context: Any, bits: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], ir.DoubleType())

        return numba.float64(bits), generate

    coefficients = tuple(math.log(2) ** k / math.factorial(k) for k in range(12, -1, -1))

    @numba.njit(fastmath=True)
    def exp2(x: np.ndarray, into: np.ndarray) -> None:
        for i in range(x.size):
            integer = np.floor(x[i] + 0.5)
            part = x[i] - integer
            power = 0.0
            for c in numba.literal_unroll(coefficients):
                power = power * part + c
            into[i] = power * as_float((np.int64(integer) + 1023) << 52)  # type: ignore[call-arg]  # an intrinsic gets its context from numba

    return exp2
