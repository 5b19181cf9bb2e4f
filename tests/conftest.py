"""Servers that many tests share, names that no two tests share, and how the tests are dealt to workers."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from azure.storage.blob import BlobServiceClient

from local import azurite as local_azurite
from local import dask as local_dask
from local.azurite import Azurite
from local.dask import LocalDask
from scorer.sandbox import pool
from tests.clouds.azureml_world import azureml_world
from tests.clouds.batch_world import batch_service, batch_world
from tests.scorer.prepared_supervisors import PreparedSupervisors
from tests.stack.e2e.place import Place
from tests.stack.worker.fixtures import worker, worker_code

__all__ = ["azureml_world", "batch_service", "batch_world", "worker", "worker_code"]  # fixtures, for all tests

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of processes would each compile what they import
sys.dont_write_bytecode = False

hypothesis.settings.register_profile("house", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("house")

WORKERS = 2  # of the cluster that the tests share
# What takes longest begins first, so that no worker is left with it at the end.
FIRST = ("stack/e2e/", "stack/test_image.py", "stack/test_hostile_chunk.py", "storm/", "stack/", "contracts/")
# Files whose tests may run beside each other, in any worker; all tests of any other file run in one, in their order.
APART = ("stack/e2e/", "storm/", "shared/api/")
HERE = Path(__file__).parent
LOGGERS = ("", "azure", "scorer", "shared", "local", "distributed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def find_turn(item: pytest.Item) -> int:
        place = item.path.relative_to(HERE).as_posix()
        return next((number for number, start in enumerate(FIRST) if place.startswith(start)), len(FIRST))

    items.sort(key=find_turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Deal whole files to workers, in the order above. The groups of pytest-xdist 3.8 do nothing under pytest 9.2."""
    from xdist.scheduler import LoadScopeScheduling

    class FileScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.removeprefix("tests/").startswith(APART) else file

    config.option.loadscopereorder = False
    return FileScheduling(config, log)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what was imported stays: looking through it again and again takes minutes of a run


def pytest_unconfigure() -> None:
    gc.unfreeze()  # or what is collected last, such as DuckDB, takes it for a leak


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Keep a line for the end of the session."""
    return lambda line: record_property("told", line)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed"):
        for name, line in report.user_properties:
            if name == "told":
                terminalreporter.write_line(str(line))


@pytest.fixture(autouse=True)
def same_levels() -> Iterator[None]:
    """Commands set the levels of loggers for their whole process; here other tests follow in it."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [each.level for each in loggers]
    yield
    for each, level in zip(loggers, levels, strict=True):
        each.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def prepared_supervisors() -> Iterator[None]:
    """Worker processes of this process start without the imports of 2 s."""
    prepared = PreparedSupervisors()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "_spawn_supervisor", prepared.spawn)
        yield
    prepared.close()


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Blobs, queues and tables in memory, on free ports."""
    server = local_azurite.start(die_with_parent=True)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def dask_cluster(azurite: Azurite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalDask]:
    """A cluster that grows from no worker to two, whose jobs can reach Azurite."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("STORAGE", azurite.connection_string)  # the workers inherit it
        environment.setenv("KERNELS", "numpy")  # numba's import is half of a small job; the demo's nodes have it
        cluster = local_dask.start(tmp_path_factory.mktemp("dask"), max_workers=WORKERS, idle=60)
    yield cluster
    cluster.stop()


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
        pytest.skip("the original sample's data is expected at FLEETSCORE_DATA")
    return Path(os.environ["FLEETSCORE_DATA"]) / "seed"


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
