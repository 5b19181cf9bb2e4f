"""What the tests of Azure's clusters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.batch_service import BatchService
from tests.clouds.batch_world import opened


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[BatchService]:
    """A service whose pool has no node, so that every task waits."""
    with opened(tmp_path / "idle", slots=0) as service:
        yield service
