"""For processes that start others: a child process that ends with its parent, and the names of signals."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1
_MALLOC_OPTIONS = ((-8, 1), (-3, 2**30), (-1, 2**31 - 1))  # mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD


def die_with(parent: int) -> None:
    """Have the kernel end this process when the thread that started it ends; only Linux can.

    *parent* is the process of that thread: if it has ended already, this process ends at once.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def keep_freed_memory() -> None:
    """Have glibc give what this process frees to its next arrays, and not back to the kernel.

    For a process that makes arrays of the same sizes again and again, as for each pack: the kernel clears each page
    that it gives, which was a tenth of the CPU. One heap for all threads: else each would keep its own.
    """
    if _LIBC is not None and hasattr(_LIBC, "mallopt"):
        for option, value in _MALLOC_OPTIONS:
            _LIBC.mallopt(option, value)


def list_module_folders() -> str:
    """The folders that this process imports from, as PYTHONPATH, so that a Python that it starts imports the same."""
    return os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)


def get_signal_name(number: int) -> str:
    """Its name; real-time signals have none in Python, but for the first and the last."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
