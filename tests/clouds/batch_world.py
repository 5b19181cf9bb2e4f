"""Azure Batch for the contract suite: the real adapter and SDK over https, a stand-in whose tasks really run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from azure.core.credentials import AccessToken

from shared.adapters.batch.cluster import BatchCluster
from tests.clouds.batch_service import BatchService
from tests.clouds.nodes import LocalNodes

IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nodes"
IMAGE = "registry.azurecr.io/fleetscore-scorer:1"
WORK = "https://account.blob.core.windows.net/fleetscore"


class Token:
    """A credential that needs no endpoint."""

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        assert scopes == ("https://batch.core.windows.net//.default",)
        return AccessToken("a token", int(time.time()) + 3600)


@dataclass(slots=True)
class BatchWorld:
    cluster: BatchCluster
    service: BatchService


def cluster_at(service: BatchService, credential: object | None = None, app: str = "test") -> BatchCluster:
    """The adapter, before that service."""
    return BatchCluster(
        service.server.url, service.pool, IMAGE, app, WORK, IDENTITY, client_id="11", credential=credential or Token()
    )


@contextmanager
def opened(folder: Path, slots: int) -> Iterator[BatchService]:
    """A service whose pool runs so many tasks at once, and that the SDK trusts meanwhile."""
    folder.mkdir()
    service = BatchService(LocalNodes(folder / "nodes", slots), folder / "authority.pem")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REQUESTS_CA_BUNDLE", str(folder / "authority.pem"))
        yield service
    service.close()


@pytest.fixture
def batch_service(tmp_path: Path) -> Iterator[BatchService]:
    with opened(tmp_path / "batch", slots=2) as service:
        yield service


@pytest.fixture
def batch_world(batch_service: BatchService) -> BatchWorld:
    return BatchWorld(cluster_at(batch_service), batch_service)
