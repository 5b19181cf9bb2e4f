"""Servers that many tests share, and names that no two tests share."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from local.azurite import Azurite, start


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Blobs, queues and tables in memory, on free ports."""
    server = start(die_with_parent=True)
    yield server
    server.stop()


@pytest.fixture
def fresh_name() -> str:
    """The beginning of a name for a container or a table, or one of its own."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def unused_endpoint() -> Iterator[str]:
    """An address where nothing listens, and nothing will while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture
def seed() -> Path:
    """The original sample: its models, and its readings."""
    if "FLEETSCORE_DATA" not in os.environ:
        pytest.skip("the original sample's data is wanted at FLEETSCORE_DATA")
    return Path(os.environ["FLEETSCORE_DATA"]) / "seed"
