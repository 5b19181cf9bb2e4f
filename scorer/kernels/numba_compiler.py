# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN201
# The reason for both lines: see numba_backend.
"""Compiles kernels for a processor, and gives their machine code, which runs without numba.

All kernels have `njit` from here: numba looks at the processor once, when the first function is decorated.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import binding

from .native.loader import CALLED
from .native.signatures import Kernel
from .native.target import Target, choose_target


@contextmanager
def _hide_scipy() -> Iterator[None]:
    """Keep numba from importing SciPy, for matrix products that these kernels do not use: 0.25 s."""
    hidden = "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # Python's own way to mark a module as absent
    try:
        yield
    finally:
        if hidden:
            del sys.modules["scipy"]


with _hide_scipy():
    from numba import from_dtype, int64, njit, types, void
    from numba.core import config

config.CPU_NAME, config.CPU_FEATURES = choose_target().cpu, choose_target().features

__all__ = ["compile_kernel", "emit_code", "njit"]

# Nothing of these kernels owns memory: arrays come without an owner, so numba frees none.
_FREED = "NRT_MemInfo_call_dtor"
_NOTHING_IS_FREED = f"define void @{_FREED}(ptr %0) {{ ret void }}"


def compile_kernel(kernel: Kernel, target: Target):
    """The compiled function, which calls into numba; seconds. *target* is that of `choose_target`."""
    assert (target.cpu, target.features) == (config.CPU_NAME, config.CPU_FEATURES)
    arrays = [
        types.Array(from_dtype(array.dtype), array.dimensions, "C", readonly=not array.is_written)
        for array in kernel.arrays
    ]
    with _hide_scipy():
        function = getattr(importlib.import_module(kernel.module), kernel.name)
        return njit(void(int64, int64, *arrays), error_model="numpy", nogil=True)(function)


def emit_code(kernel: Kernel, target: Target, function) -> bytes:
    """The machine code of a compiled function: as in this process, but without the wrappers for Python.

    ValueError where it is not as numba 0.68 makes it: other arguments, or calls into numba.
    """
    [signature] = function.signatures
    module = binding.parse_assembly(function.inspect_llvm(signature))
    expected = kernel.list_llvm_types()
    natives = [  # and not the wrappers for Python and C, with calls into numba
        each
        for each in module.functions
        if not each.is_declaration
        and each.linkage is binding.Linkage.external
        and [str(argument.type) for argument in each.arguments] == expected
    ]
    if len(natives) != 1:
        raise ValueError(f"expected one function with the arguments of the kernel {kernel.name}, got {len(natives)}")
    natives[0].name = kernel.name
    module.link_in(binding.parse_assembly(_NOTHING_IS_FREED))
    _keep_function(module, kernel.name, target)
    called = {each.name for each in module.functions if each.is_declaration and not each.name.startswith("llvm.")}
    if not called.issubset(CALLED):
        raise ValueError(f"expected no calls of {kernel.name} but of {CALLED}, got {sorted(called)}")
    code: bytes = target.make_machine().emit_object(module)
    return code


def _keep_function(module, name: str, target: Target) -> None:
    """Drop all that the function does not use. Nothing is optimised once more, so its arithmetic stays."""
    for each in module.functions:
        if not each.is_declaration and each.name != name:
            each.linkage = binding.Linkage.internal
    passes = binding.create_new_module_pass_manager()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, binding.create_pass_builder(target.make_machine(), binding.create_pipeline_tuning_options(0)))
