"""What the tests of Azure's clusters share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clouds.batch_service import BatchService
from tests.clouds.nodes import LocalNodes


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchService]:
    """A service whose pool has no node, so that every task waits."""
    authority = tmp_path / "idle.pem"
    service = BatchService(LocalNodes(tmp_path / "idle", slots=0), authority)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority))
    yield service
    service.close()
