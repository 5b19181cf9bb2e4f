"""A whole fleetscore on real parts: Azurite, a Dask cluster, the adapters as they are wired."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import Azurite
from local.dask import LocalDask
from tests.e2e.place import Place


@pytest.fixture
def place(azurite: Azurite, dask_cluster: LocalDask, fresh_name: str) -> Iterator[Place]:
    """Containers that exist and are empty."""
    containers = {
        f"{what.upper()}_CONTAINER": f"{fresh_name}-{what}" for what in ("models", "readings", "predictions", "work")
    }
    environment = {
        **containers,
        "STORAGE": azurite.connection_string,
        "LEDGER_TABLE": f"{fresh_name}ledger",
        "APP_NAME": fresh_name,
        "HEARTBEAT": "* * * * * *",
        "DASK_SCHEDULER": dask_cluster.address,
        "SILENCE": "PT5S",
        "RETRY_BACKOFF": "PT1S",
    }
    with BlobServiceClient.from_connection_string(azurite.connection_string, api_version="2025-01-05") as service:
        for container in containers.values():
            service.create_container(container)
        yield Place(environment, service)
