"""Whether this system has what the sandbox is made of; tests of what it refuses are skipped where it has not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_ENTER = "from scorer.sandbox import isolation; print(*isolation.enter_sandbox(2**40), sep='; ')"


def _find_gaps() -> str:
    """What a process that entered the sandbox says that it lacks; empty for none."""
    done = subprocess.run([sys.executable, "-c", _ENTER], capture_output=True, text=True, check=True, cwd=ROOT)
    return done.stdout.strip()


GAPS = _find_gaps()
needs_sandbox = pytest.mark.skipif(
    bool(GAPS), reason=f"expected Linux with Landlock and seccomp, to try what the sandbox refuses, got: {GAPS}"
)
