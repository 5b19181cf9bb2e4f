"""Machine code into functions, by LLVM alone: 0.03 s, where an import of numba takes 0.27 s."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import binding

from .signatures import Kernel
from .target import choose_target

# Of the C library: what compiled kernels may call. LLVM would end the process where one is missing.
CALLED = ("copysign", "cos", "exp", "log1p", "memcpy", "memmove", "memset", "pow", "sqrt")
_RETURNED = (0, -2)  # numba's status of a function that came to its end: with a result, with None

_engines: list[Any] = []  # for as long as this process: the code goes with its engine

KernelFunction = Callable[..., None]  # begin, end, and the arrays of the kernel


def load_function(kernel: Kernel, code: bytes) -> KernelFunction:
    """The function of the machine code, which releases the GIL. ImportError where it cannot be loaded."""
    engine = _make_engine()
    missing = [name for name in CALLED if not binding.address_of_symbol(name)]  # an engine opens the process's own
    if missing:
        raise ImportError(f"expected the C library's {', '.join(missing)}, found none")
    try:
        engine.add_object_file(binding.ObjectFileRef.from_data(code))
        engine.finalize_object()
    except (RuntimeError, OSError) as error:
        raise ImportError(f"LLVM does not load the kernel {kernel.name}: {error}") from error
    address = engine.get_function_address(kernel.name)
    if not address:
        raise ImportError(f"expected the kernel {kernel.name} in its machine code, found none")
    return _bind_function(kernel, address)


def _make_engine() -> Any:
    engine = binding.create_mcjit_compiler(binding.parse_assembly(""), choose_target().make_machine())
    _engines.append(engine)
    return engine


def _bind_function(kernel: Kernel, address: int) -> KernelFunction:
    types = {"ptr": ctypes.c_void_p, "i64": ctypes.c_int64}
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *(types[name] for name in kernel.list_llvm_types()))(address)

    def call_kernel(begin: int, end: int, *arrays: np.ndarray) -> None:
        status = _call(function, kernel, begin, end, arrays)
        if status not in _RETURNED:
            raise RuntimeError(f"expected the kernel {kernel.name} to come to its end, got status {status}")

    return call_kernel


def _call(function: Any, kernel: Kernel, begin: int, end: int, arrays: Sequence[np.ndarray]) -> int:
    result, exception = ctypes.c_int64(), ctypes.c_int64()
    places = ctypes.addressof(result), ctypes.addressof(exception)
    status: int = function(*places, *kernel.read_arguments(begin, end, arrays))
    return status
