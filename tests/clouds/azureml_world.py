"""An Azure ML workspace for the contract of a cluster, and for tests that need a whole one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.adapters.azure.auth import make_default_credential
from shared.adapters.azureml.cluster import AzureMLCluster
from tests.clouds.azureml import COMPUTE, ENVIRONMENT, WORKSPACE, AzureML
from tests.clouds.nodes import LocalNodes
from tests.clouds.stand_in import Identity

NODES = 2  # as many as the other clusters of the contract have workers


@dataclass(slots=True)
class AzureMLWorld:
    """A cluster, and the workspace behind it."""

    cluster: AzureMLCluster
    azure: AzureML
    identity: Identity

    def asked(self) -> list[str]:
        """The requests since the last time, without the ids that they all have in common; forgets them."""
        requests, self.azure.server.requests[:] = list(self.azure.server.requests), []
        return [f"{request.method} {request.path.replace(WORKSPACE, '')}" for request in requests]


@contextmanager
def opened(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[AzureMLWorld]:
    """A workspace whose jobs have *environment* besides this process's own. Who signs in meanwhile does so there."""
    identity = Identity()
    (folder / "nodes").mkdir()
    nodes = LocalNodes(folder / "nodes", NODES, environment)
    azure = AzureML(folder, nodes, identity)
    make_default_credential.cache_clear()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**identity.environment, "REQUESTS_CA_BUNDLE": str(azure.authority)}.items():
            patch.setenv(name, value)
        cluster = AzureMLCluster(WORKSPACE, COMPUTE, ENVIRONMENT, "the-nodes-identity", arm=azure.server.url)
        yield AzureMLWorld(cluster, azure, identity)
        make_default_credential().close()
    make_default_credential.cache_clear()
    azure.server.close()
    identity.server.close()
    nodes.close()


@pytest.fixture
def azureml_world(tmp_path: Path) -> Iterator[AzureMLWorld]:
    with opened(tmp_path) as world:
        yield world
