# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201
# The reason for both lines: see numba_backend.
"""Compiles kernels for a level of x86-64, and keeps their machine code in numba's cache.

numba knows a function by the time and the size of its own file. A kernel that calls others, or has numbers of the
layout compiled into it, would so be taken from a cache although one of those changed. Here its key has a digest of all
their sources too.

All kernels have `njit` from here: numba looks at the level once, when the first function is decorated.
"""

from __future__ import annotations

import hashlib
import logging
import types as python_types
from functools import cache
from pathlib import Path

from llvmlite import binding
from numba import njit, types
from numba.core import config

_SCORER = Path(__file__).parents[1]
_SOURCES = (
    "kernels/numba_*.py",
    "kernels/numba_neighbours/*.py",
    "families/base.py",
    "families/neighbours.py",
    "families/steps.py",
    "families/trees/ensemble.py",
    "families/trees/packing.py",
)

__all__ = ["bind_digest", "compile_kernel", "digest_sources", "mark_readonly", "njit"]

log = logging.getLogger(__name__)

# Full registers of AVX-512: by default LLVM would use half of each.
_LEVELS = {
    ("x86-64-v4", "-prefer-256-bit"): ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
    ("x86-64-v3", ""): ("avx2", "bmi", "bmi2", "f16c", "fma", "lzcnt", "movbe"),
}
if config.CPU_NAME is None and config.CPU_FEATURES is None:  # NUMBA_CPU_NAME and NUMBA_CPU_FEATURES go first
    _host = binding.get_host_cpu_features()
    for _level, _needs in _LEVELS.items():
        if all(_host.get(_feature) for _feature in _needs):
            config.CPU_NAME, config.CPU_FEATURES = _level
            break


def mark_readonly(kind, dimensions=1):
    """The type of an array that is only read: a mapped pack cannot be written to."""
    return types.Array(kind, dimensions, "C", readonly=True)


@cache
def digest_sources() -> str:
    """What the kernels are made of: all sources whose code or numbers are compiled."""
    paths = sorted(path for pattern in _SOURCES for path in _SCORER.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def bind_digest(function, digest: str):
    """The same function with a variable more in its closure, which numba's cache takes into a function's key."""
    code = function.__code__.replace(co_freevars=("digest",))
    return python_types.FunctionType(
        code, function.__globals__, function.__name__, None, (python_types.CellType(digest),)
    )


def compile_kernel(function, signature):
    """The machine code of *function*: from the cache, else compiled now (seconds) and stored there."""
    function = bind_digest(function, digest_sources())
    try:
        return njit(signature, error_model="numpy", nogil=True, cache=True)(function)
    except Exception as error:  # noqa: BLE001  # a full or read-only disk, or a corrupt cache, must not stop the scoring
        log.warning("kernels are compiled again, numba's cache cannot be used: %s", error)
        return njit(signature, error_model="numpy", nogil=True)(function)
