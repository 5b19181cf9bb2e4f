"""Sinks in trouble: runs go on, the reason is shown, and once the trouble ends each row is there once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi
from deltalake import DeltaTable, write_deltalake

from local import postgres
from local.postgres import PASSWORD, Postgres
from scorer.sinks.delta import PARTITIONS, TABLE_SCHEMA
from scorer.storage.blob_store import open_container
from shared.contract.publishing.sinks import SinkReason
from shared.state.runs import Phase
from tests.stack.e2e.fleets import HOUR, give_models
from tests.stack.e2e.place import Place
from tests.stack.e2e.publishing.plant import Plant, make_plant
from tests.stack.e2e.publishing.readers import READERS, open_table, read_folder, read_sql
from tests.stack.proxy import Fault, Refusal, Weather, proxy

START = datetime(2026, 11, 21, 7, tzinfo=UTC)
DEVICES = ["pump1", "pump2"]
COLUMNS = (
    "time timestamptz, device text, sensor text, output text, value float8, score float8, anomaly smallint, "
    "prediction float8, label text, probability float8, model text, run text"
)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Postgres]]:
    """The database. A test that lets it crash puts the next one into its place."""
    running = [postgres.start(die_with_parent=True)]
    yield running
    running[0].stop()


@dataclass(slots=True)
class World:
    """An app with both sinks, and what a test does to them."""

    plant: Plant
    servers: list[Postgres]
    schema: str
    storage: str  # without the proxy
    refused: list[Refusal]  # what each write of a table is answered, while there is one

    def ask(self, *statements: str) -> None:
        """Let the database do it; {s} is the schema."""
        url = self.server.url.replace("@", f":{PASSWORD}@")
        with dbapi.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement.replace("{s}", self.schema))

    @property
    def server(self) -> Postgres:
        """The database."""
        return self.servers[0]

    def restart_server(self) -> None:
        """Start it after a crash."""
        self.servers[0] = self.server.start_again(die_with_parent=True)

    @property
    def url(self) -> str:
        """Where the Delta table is, without the proxy."""
        names = self.plant.place.environment
        return f"{self.plant.place.container('work').url.rpartition('/')[0]}/{names['TABLES_CONTAINER']}/predictions"

    def create_delta(self, schema: pa.Schema, *partitions: str) -> None:
        """A table of somebody else where ours is to be."""
        location, options = open_container(self.url, self.storage).locate_delta("")
        columns = [pa.array([None], column.type) for column in schema]
        DeltaTable.create(location, schema, partition_by=list(partitions), storage_options=dict(options))
        if not partitions:
            table = pa.Table.from_arrays(columns, schema=schema)
            write_deltalake(location, table, mode="append", storage_options=dict(options))

    def remove_delta(self) -> None:
        container = open_container(self.url, self.storage)
        for name in container.list(""):
            container.remove(name)

    def signal(self, number: int) -> None:
        """Stop the server that takes connections, or let it go on."""
        os.kill(self.server.process.pid, number)


@pytest.fixture
def world(place: Place, servers: list[Postgres], fresh_name: str) -> Iterator[World]:
    give_models(place, DEVICES, pickled=True)
    storage, refused = place.environment["STORAGE"], list[Refusal]()
    tables = place.environment["WORK_CONTAINER"].replace("work", "tables")
    place.service.create_container(tables)
    blobs = urlsplit(place.service.url)

    def guard(method: str, path: str, _: object) -> Refusal | None:
        return refused[0] if refused and method == "PUT" and f"/{tables}/" in path else None

    assert blobs.hostname
    assert blobs.port
    with proxy((blobs.hostname, blobs.port), Weather({Fault.NONE: 1}, 0), guard) as port:
        settings = {
            "STORAGE": storage.replace(f":{blobs.port}/", f":{port}/"),
            "SINKS": "delta,sql",
            "TABLES_CONTAINER": tables,
            "SQL_URL": servers[0].url.replace("fleet@", f"{fresh_name}_role@"),
            "SQL_TABLE": f"{fresh_name}.predictions",
            "PREDICTIONS_SCHEMA": "2",
        }
        inside = Place({**place.environment, **settings}, place.service)
        world = World(make_plant(inside, START, PASSWORD), servers, fresh_name, storage, refused)
        world.ask(f"CREATE ROLE {{s}}_role LOGIN PASSWORD '{PASSWORD}'", "CREATE SCHEMA {s} AUTHORIZATION {s}_role")
        yield world


Step = Callable[[World], None]
FULL = (
    "CREATE FUNCTION {s}.fill() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$"
)


def own_table(columns: str) -> Step:
    """A table that somebody else has created."""

    def create(world: World) -> None:
        world.ask(f"CREATE TABLE {{s}}.predictions ({columns})", "ALTER TABLE {s}.predictions OWNER TO {s}_role")

    return create


SQL_TROUBLES: dict[str, tuple[Step, SinkReason, str, Step]] = {
    "other types": (
        own_table(COLUMNS.replace("score float8", "score real")),
        SinkReason.MISMATCH,
        "expected score to be double precision, got real",
        lambda world: world.ask("ALTER TABLE {s}.predictions ALTER score TYPE float8"),
    ),
    "columns missing": (
        own_table(COLUMNS.replace("label text, ", "").replace(", run text", "")),
        SinkReason.MISMATCH,
        "expected a column ",
        lambda world: world.ask("ALTER TABLE {s}.predictions ADD label text, ADD run text"),
    ),
    "read-only": (
        lambda world: world.ask(f"CREATE TABLE {{s}}.predictions ({COLUMNS})", "ALTER SCHEMA {s} OWNER TO fleet"),
        SinkReason.DENIED,
        "permission denied for schema",
        lambda world: world.ask("ALTER SCHEMA {s} OWNER TO {s}_role", "DROP TABLE {s}.predictions"),
    ),
    "full": (
        lambda world: (
            own_table(COLUMNS)(world),
            world.ask(
                FULL, "CREATE TRIGGER f BEFORE INSERT ON {s}.predictions FOR EACH ROW EXECUTE FUNCTION {s}.fill()"
            ),
        )[-1],
        SinkReason.FULL,
        "could not extend file: No space left on device",
        lambda world: world.ask("DROP TRIGGER f ON {s}.predictions"),
    ),
    "slow": (
        lambda world: world.signal(signal.SIGSTOP),
        SinkReason.UNAVAILABLE,
        "timeout expired",
        lambda world: world.signal(signal.SIGCONT),
    ),
    "unreachable": (
        lambda world: world.server.crash(),
        SinkReason.UNAVAILABLE,
        "Connection refused",
        World.restart_server,
    ),
}
DELTA_TROUBLES: dict[str, tuple[Step, SinkReason, str, Step]] = {
    "other table": (
        lambda world: world.create_delta(pa.schema([("price", pa.float64())])),
        SinkReason.MISMATCH,
        "expected a column time, got price",
        World.remove_delta,
    ),
    "columns missing": (
        lambda world: world.create_delta(TABLE_SCHEMA.remove(TABLE_SCHEMA.get_field_index("label")), *PARTITIONS),
        SinkReason.MISMATCH,
        "expected a column label, got ",
        World.remove_delta,
    ),
    "read-only": (
        lambda world: world.refused.append(Refusal(403, "AuthorizationPermissionMismatch", "Not authorized.")),
        SinkReason.DENIED,
        "AuthorizationPermissionMismatch",
        lambda world: world.refused.clear(),
    ),
}


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX stop the server")
@pytest.mark.parametrize(
    ("sink", "name"),
    [*(("sql", name) for name in SQL_TROUBLES), *(("delta", name) for name in DELTA_TROUBLES)],
)
def test_a_sink_in_trouble_stops_no_run_and_has_each_row_once_when_it_ends(sink: str, name: str, world: World) -> None:
    begin, reason, message, end = (SQL_TROUBLES if sink == "sql" else DELTA_TROUBLES)[name]
    plant = world.plant
    begin(world)
    try:
        first = plant.score(START, DEVICES)
        shown = {view["sink"]: view for view in plant.get("/api/sinks")}
        assert (first.phase, shown[sink]["open"], shown[sink]["oldest"]["reason"]) == (Phase.SUCCEEDED, 1, reason)
        assert message in shown[sink]["oldest"]["message"]
        assert PASSWORD not in str(shown)
        assert shown[sink]["oldest"]["next_try"] is not None
        assert [view["open"] for kind, view in shown.items() if kind != sink] == [0]
        assert not plant.get("/api/health")["publishing_overdue"]

        second = plant.score(START + HOUR, DEVICES)
        assert second.phase is Phase.SUCCEEDED
        plant.now = max(plant.now, first.ended_at + timedelta(minutes=61)) if first.ended_at else plant.now
        health = plant.get("/api/health")
        assert (health["publishing_overdue"], health["late"]) == (True, False)
        assert plant.get("/api/schedule")["unpublished"]["run"] == first.id
    finally:
        end(world)
    plant.wait_for_sinks()
    plant.tick_until_tried()  # the heartbeat has what a tick saw first
    rows = read_folder(plant.place)
    assert len(rows) == rows.total() == 2 * 2 * 60
    assert read_sql(world.server, f"{world.schema}.predictions") == rows
    table = open_table(world.url, world.storage)
    assert {kind: read(table) == rows for kind, read in READERS.items()} == dict.fromkeys(READERS, True)
    assert [view["open"] for view in plant.get("/api/sinks")] == [0, 0]
    assert not plant.get("/api/health")["publishing_overdue"]
