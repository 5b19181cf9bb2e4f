"""What is killed while a fleet is scored and published, and the answers that are lost: each once, at its moment."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message

import psutil
from adbc_driver_postgresql import dbapi

from local.dask import LocalDask
from local.postgres import PASSWORD, Postgres
from shared.contract.publishing.sinks import SinkKind
from tests.stack.e2e.place import jobs_of
from tests.stack.e2e.publishing.hosts import Hosts
from tests.stack.proxy import Fault, Refusal

Strike = Callable[[], bool]  # whether its moment was there


def list_publishers(cluster: LocalDask, kind: str = "") -> list[psutil.Process]:
    """The jobs that publish to a sink now, or to any."""
    processes = []
    for process in psutil.Process(cluster.process.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            command = process.cmdline()
            if command[1:4] == ["-m", "scorer", "publish"] and f"/publish-{kind}" in " ".join(command):
                processes.append(process)
    return processes


@dataclass(slots=True)
class Strikes:
    """The victims, and how often each kind was struck. `aim` and `guard` are those of the proxy before the storage."""

    cluster: LocalDask
    hosts: Hosts
    server: Postgres
    counts: Counter[str] = field(default_factory=Counter)
    _cuts: list[tuple[Fault, bool]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kills_next: threading.local = field(default_factory=threading.local)

    @property
    def kills(self) -> int:
        """How many processes and connections were killed, all in all."""
        return sum(count for name, count in self.counts.items() if "answer" not in name and "request" not in name)

    def kill_host(self, number: int) -> Strike:
        def strike() -> bool:
            self.hosts.kill(number)
            return self._note("host")

        return strike

    def kill_scorer(self) -> bool:
        for job in jobs_of(self.cluster)[:1]:
            with suppress(psutil.NoSuchProcess):
                job.kill()
                return self._note("scoring job")
        return False

    def kill_publisher(self, kind: SinkKind) -> Strike:
        """Kill the job of a sink."""

        def strike() -> bool:
            return self._kill_publishers(kind) and self._note(f"{kind} job")

        return strike

    def crash_database(self) -> bool:
        """Kill PostgreSQL while a job publishes to it, and start it again a moment later."""
        if not list_publishers(self.cluster, SinkKind.SQL):
            return False
        self.server.crash()
        time.sleep(0.5)
        self.server = self.server.start_again(die_with_parent=True)
        return self._note("database")

    def end_backend(self) -> bool:
        """Cut the connection of a job in the database."""
        if not list_publishers(self.cluster, SinkKind.SQL):
            return False
        url = self.server.url.replace("@", f":{PASSWORD}@")
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for _ in range(200):
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                )
                if cursor.fetchall()[0][0]:
                    return self._note("backend")
                time.sleep(0.01)
        return False

    def cut_commit(self, fault: Fault, *, kills: bool) -> Strike:
        """Lose the next commit to the Delta table, or the answer to it, and perhaps the job with it."""
        self._cuts.append((fault, kills))
        count = len(self._cuts)
        return lambda: sum(self.counts[name] for name in CUTS.values()) >= count

    def aim(self, method: str, path: str) -> Fault:
        """The fault of a request: of a commit, while one is to be cut."""
        self._kills_next.value = False
        if method != "PUT" or "/_delta_log/" not in path or not path.partition("?")[0].endswith(".json"):
            return Fault.NONE
        with self._lock:
            number = sum(self.counts[name] for name in CUTS.values())
            if number >= len(self._cuts):
                return Fault.NONE
            fault, kills = self._cuts[number]
            self._note(CUTS[fault, kills])
        if kills and fault is Fault.DROPPED:
            self._kill_publishers(SinkKind.DELTA)
        self._kills_next.value = kills
        return fault

    def guard(self, *_: str | Message) -> Refusal | None:
        """Refuses nothing. The request is here and not forwarded yet: whoever dies now does not see its answer."""
        if getattr(self._kills_next, "value", False):
            self._kill_publishers(SinkKind.DELTA)
        return None

    def _kill_publishers(self, kind: SinkKind) -> bool:
        killed = 0
        for process in list_publishers(self.cluster, kind):
            with suppress(psutil.NoSuchProcess):
                process.kill()
                killed += 1
        return bool(killed)

    def _note(self, name: str) -> bool:
        self.counts[name] += 1
        return True


CUTS = {
    (Fault.DROPPED, False): "request of a commit",
    (Fault.LOST, False): "answer of a commit",
    (Fault.DROPPED, True): "delta job before its commit",
    (Fault.LOST, True): "delta job after its commit",
}
