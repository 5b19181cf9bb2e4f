"""What the nodes of whole runs have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def quick_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that a test starts score without numba, whose import is half of a small job. The demo's score with it."""
    monkeypatch.setenv("KERNELS", "numpy")
