"""The `preexec_fn` of every process of the local stack. Starts nothing itself."""

from __future__ import annotations

import ctypes
import signal
import sys
from collections.abc import Callable

_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1


def _die() -> None:
    assert _LIBC
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# A `preexec_fn`: the child is killed when the thread that started it ends, however that ends. One system call, before
# exec, so it is safe beside threads. On Linux only; elsewhere children outlive a parent that is killed with -9.
DIE_WITH_PARENT: Callable[[], None] | None = _die if _LIBC else None
