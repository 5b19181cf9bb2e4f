"""Azurite as a process: how it starts, what it says when it cannot, and how it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from local.azurite import start
from shared.adapters.azure.blobs import AzureBlobs
from shared.contract.errors import Misconfigured


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            Misconfigured, match=rf"expected port {port} of 127\.0\.0\.1 for Azurite's table service, got"
        ):
            start(table_port=port)


def test_what_lies_in_a_folder_is_there_again_after_a_restart(tmp_path: Path) -> None:
    first = start(tmp_path / "data")
    AzureBlobs(first.connection_string, "models").create("a.skops", b"model")
    first.stop()
    second = start(tmp_path / "data")
    try:
        assert second.process.pid != first.process.pid
        assert AzureBlobs(second.connection_string, "models").read("a.skops") == b"model"
    finally:
        second.stop()
    assert (first.process.returncode, second.process.returncode) == (0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_dies_with_a_parent_that_is_killed() -> None:
    script = "from local.azurite import start; print(start(die_with_parent=True).process.pid, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.kill()
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "Azurite outlived its parent"
        time.sleep(0.05)
