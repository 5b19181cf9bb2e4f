"""The compiled kernels: from a file with their machine code, else compiled now by numba, which takes seconds.

numba is imported only to compile. The roads are the same code, and so give the same bytes.
"""

from __future__ import annotations

import importlib
import logging
import threading

import numpy as np

from scorer.families.neighbours import FLOAT_SCRATCH, INTEGER_SCRATCH
from scorer.families.steps import MOST_COLUMNS
from scorer.kernels.batch import BLOCK, TILE, Batch

from .code_files import read_code, write_code
from .loader import KernelFunction, load_function
from .signatures import KERNELS, PREDICT_MODELS, SCORE_MODELS, Kernel
from .target import choose_target

_LINE = 64  # bytes of a line of the cache

_functions: dict[str, KernelFunction] = {}
_lock = threading.Lock()

log = logging.getLogger(__name__)


def load_kernel(kernel: Kernel) -> KernelFunction:
    """The kernel's function, loaded or compiled at the first call. ImportError where numba cannot compile it either."""
    with _lock:
        function = _functions.get(kernel.name)
        if function is None:
            function = _functions[kernel.name] = _load_function(kernel)
        return function


def compile_kernels() -> None:
    """Write the files of all kernels that have none which fits, for the processor that `choose_target` names."""
    target = choose_target()
    for kernel in KERNELS:
        if read_code(kernel, target) is None:
            _compile_kernel(kernel)


def run_kernels(batch: Batch, begin: int, end: int, scores: np.ndarray, anomalies: np.ndarray) -> None:
    """Write the scores and labels of the models begin..end. Other calls may run at the same time, on other models."""
    scratch, total = _allocate_aligned((3 + TILE) * BLOCK), _allocate_aligned(BLOCK)
    z = _allocate_aligned((batch.layouts.shape[1] + 1) * BLOCK).reshape(-1, BLOCK)
    load_kernel(SCORE_MODELS)(
        begin, end, batch.family, batch.strict, batch.n_features, batch.number_index, batch.numbers,
        batch.integer_index, batch.integer_count, batch.integers, batch.layout, batch.layouts,
        batch.first, batch.n_rows, batch.out, batch.values, z, scratch, total, scores, anomalies,
    )  # fmt: skip


def predict_models(
    batch: Batch, output_index: np.ndarray, begin: int, end: int, outputs: np.ndarray, labels: np.ndarray
) -> None:
    """Write the outputs and labels of the models begin..end. Other calls may run at the same time, on other models."""
    most_columns = int(batch.integers[batch.integer_index[begin:end] + MOST_COLUMNS].max(initial=1))
    z, other = np.empty((2, most_columns + 1, BLOCK))  # one more for sums of kernels
    scratch, leaf = np.empty(BLOCK, np.uint64), np.empty(BLOCK, np.int64)
    load_kernel(PREDICT_MODELS)(
        begin, end, batch.n_features, batch.number_index, batch.numbers, batch.integer_index, batch.integers,
        batch.layout, batch.layouts, batch.first, batch.n_rows, batch.out, output_index, batch.values, z, other,
        scratch, leaf, np.empty(FLOAT_SCRATCH), np.empty(INTEGER_SCRATCH, np.int64), np.empty(BLOCK, np.bool_),
        outputs, labels,
    )  # fmt: skip


def _allocate_aligned(count: int) -> np.ndarray:
    """float64[count] that begins at a line of the cache: a register of AVX-512 that spans two costs two reads."""
    numbers = np.empty(count + _LINE // 8)
    skipped = -numbers.ctypes.data % _LINE // 8
    return numbers[skipped : skipped + count]


def _load_function(kernel: Kernel) -> KernelFunction:
    target = choose_target()
    if not target.is_of_host:  # NUMBA_CPU_NAME names it; such code would end the process
        raise ImportError(f"this machine is no {target.cpu}, for which kernels are compiled")
    code = read_code(kernel, target)
    function = _try_code(kernel, code)
    if function is None:
        compiled, code = _compile_kernel(kernel)
        function = _try_code(kernel, code) or compiled
    return function


def _try_code(kernel: Kernel, code: bytes | None) -> KernelFunction | None:
    try:
        return None if code is None else load_function(kernel, code)
    except ImportError as error:
        log.warning("the machine code of kernels cannot be used: %s", error)
        return None


def _compile_kernel(kernel: Kernel) -> tuple[KernelFunction, bytes | None]:
    """The function as numba has it in this process, and its machine code, which is kept. None: it works here only."""
    compiler = importlib.import_module("scorer.kernels.numba_compiler")
    log.info("kernels are compiled, which takes some seconds: %s", kernel.name)
    function: KernelFunction = compiler.compile_kernel(kernel, choose_target())
    try:
        code: bytes = compiler.emit_code(kernel, choose_target(), function)
    except Exception as error:  # noqa: BLE001  # of another numba: scoring goes on without files
        log.warning("compiled kernels cannot be kept, each process compiles them: %s", error)
        return function, None
    write_code(kernel, choose_target(), code)
    return function, code
