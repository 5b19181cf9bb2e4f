"""PostgreSQL as a process of the tests: how it ends, and what it leaves."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

import psutil
import pytest
from adbc_driver_postgresql import dbapi

from local.postgres import PASSWORD, start
from tests.patience import patience


def test_a_server_that_is_stopped_leaves_nothing() -> None:
    server = start()
    assert server.url == f"postgresql://fleet@127.0.0.1:{server.port}/postgres"

    server.stop()
    server.stop()

    assert server.process.returncode is not None
    assert not server.folder.exists()


def test_a_server_that_crashes_is_started_again_with_its_data_and_its_port() -> None:
    server = start(die_with_parent=True)
    url = server.url.replace("@", f":{PASSWORD}@")
    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept AS SELECT 7 AS number")
        server.crash()
        with pytest.raises(dbapi.Error):
            cursor.execute("SELECT number FROM kept")
        server = server.start_again(die_with_parent=True)
    with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT number FROM kept")
        assert cursor.fetchall() == [(7,)]
    server.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_dies_with_a_parent_that_is_killed() -> None:
    script = (
        "from local.postgres import start; server = start(die_with_parent=True);"
        " print(server.process.pid, server.folder, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1, text=True) as parent:
        assert parent.stdout
        process_id, folder = parent.stdout.readline().split()
        child = psutil.Process(int(process_id))
        assert child.is_running()
        parent.kill()
    deadline = time.monotonic() + patience(10)
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "PostgreSQL outlived its parent"
        time.sleep(0.05)
    shutil.rmtree(folder)  # there was no one to do it
