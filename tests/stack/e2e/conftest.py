"""What the nodes of whole runs have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local import dask as local_dask
from local.dask import LocalDask


@pytest.fixture(autouse=True)
def quick_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes that a test starts score without numba, whose import is half of a small job. The demo's score with it."""
    monkeypatch.setenv("KERNELS", "numpy")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDask]:
    """A cluster whose jobs know Azurite's key at whatever port a manifest names."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE", "UseDevelopmentStorage=true")
        cluster = local_dask.start(tmp_path_factory.mktemp("dask"), max_workers=2)
    yield cluster
    cluster.stop()
