"""A storage account that does not answer a Delta sink, or says that it is busy: the reason, within a bounded time.

The busy one is a thread of this process. With deltalake 1.6.6 it could not answer a call of `is_deltatable`, which
keeps the GIL while it waits (findings/deltalake-is-deltatable-keeps-the-gil.sh); nor could a thread of a node go on.
"""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from scorer.sinks.base import SinkError
from scorer.sinks.delta import open_delta_sink
from scorer.storage import azure_store
from shared.contract.publishing.documents import PublishingManifest
from shared.contract.publishing.sinks import SinkKind, SinkReason
from tests.receiver import run_receiver
from tests.scorer.sinks.stage import HOUR_7, Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    (tmp_path / "work").mkdir()
    return Stage(tmp_path / "work")


@pytest.fixture(autouse=True)
def _short_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure_store, "_PATIENCE", {"max_retries": "2", "retry_timeout": "5s"})


def find_closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def publish(stage: Stage, port: int) -> SinkError:
    endpoint = f"http://127.0.0.1:{port}/{azure_store.AZURITE_ACCOUNT}"
    storage = f"AccountName={azure_store.AZURITE_ACCOUNT};AccountKey={azure_store.AZURITE_KEY};BlobEndpoint={endpoint}"
    target = {"url": f"{endpoint}/tables/predictions"}
    manifest = PublishingManifest(SinkKind.DELTA, 1, "fleetscore", "file:///work", (), target)
    sink = open_delta_sink(manifest, storage)
    with pytest.raises(SinkError) as caught:
        sink.publish(stage.make_item(HOUR_7, [("pump-1", 0.5, 1)]), stage.parts)
    return caught.value


def test_a_storage_account_that_cannot_be_reached_is_unavailable(stage: Stage) -> None:
    error = publish(stage, find_closed_port())

    assert error.reason is SinkReason.UNAVAILABLE
    assert "2 retries" in str(error)


def test_a_storage_account_that_is_busy_for_too_long_is_unavailable(stage: Stage) -> None:
    with run_receiver() as receiver:
        receiver.answers = [503] * 30
        error = publish(stage, int(receiver.url.rpartition(":")[2]))

    assert error.reason is SinkReason.UNAVAILABLE
    assert len(receiver.requests) == 3
    assert "2 retries" in str(error)
    assert "503" in str(error)
