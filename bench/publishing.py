"""`python -m bench.publishing SINK`: what publishing a run costs the job, in CPU of its process, without the server's.

PARTS parts of ROWS rows each, as nodes write them, in a folder: they are read, compared with their MD5 and given to
the sink, in a fresh process. The second of two runs counts: the first has the imports. `delta` is a Delta table in a
folder, which has as many runs already as `--held` says, of PARTS files each; the second run opens it. `sql` is a real
PostgreSQL on this machine, without fsync, in whose table the first run is; with `--url` it is the database there, as
SQL_URL has it, the environment's SQL_PASSWORD its password, and a table that stays: so it is also a check of a database
(docs/sql.md).

Prints Markdown. With `--into FILE` it also takes the place of what stands there between the marks.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import shutil
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.transaction import AddAction

from local import postgres
from scorer.commands.publish_runs import SinkSecrets, open_sink
from scorer.predictions.table import SCHEMA, PartWriter, encode_texts
from scorer.sinks.delta import PARTITIONS, PROPERTIES, TABLE_SCHEMA
from scorer.sinks.parts import Parts
from scorer.storage.blob_store import Folder
from shared.contract.domain import Part
from shared.contract.publishing.documents import PublicationItem, PublishedPart, PublishingManifest
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window

from .document import describe_machine, write_table
from .measure import Cost, format_table, measure_cost, run_alone

BEGIN, END = "<!-- publishing -->\n", "<!-- /publishing -->"
SINKS = (SinkKind.DELTA, SinkKind.SQL)
PARTS, ROWS, ROUNDS = 18, 100_000, 3
HELD = (0, 1_000, 10_000)  # runs that a Delta table has before: hours of more than a year at the most
RUNS = ("20261121T0600Z-PT1H", "20261121T0700Z-PT1H")
PACKAGES = ("pyarrow", "deltalake", "adbc-driver-postgresql")


def write_parts(root: Path, run: str, n_parts: int, n_rows: int) -> PublicationItem:
    """A run of devices with 60 readings each, scored by detectors."""
    start = int(Window.parse(run).start.timestamp()) * 1_000_000
    entries = []
    for index in range(n_parts):
        rows = np.arange(n_rows)
        score = np.random.default_rng(index).normal(size=n_rows)
        columns = {
            "time": pa.array(start + rows % 60 * 60_000_000, pa.timestamp("us", "UTC")),
            "device": pa.array([f"pump-{index * n_rows + row:09}" for row in (rows // 60).tolist()]),
            "score": pa.array(score),
            "anomaly": pa.array((score < 0).astype(np.int8)),
            "model": pa.array([f"0x8DE{row // 60:011X}" for row in rows.tolist()]),
        }
        arrays = [columns.get(column.name, pa.nulls(n_rows, column.type)) for column in SCHEMA]
        writer = PartWriter()
        writer.add_table(encode_texts(pa.Table.from_arrays(arrays, schema=SCHEMA)))
        data, path = writer.close(), f"{run}/{index}.parquet"
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(data)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        entries.append(PublishedPart(f"c{index:05}", 1, Part(path, len(data), md5, n_rows)))
    return PublicationItem(run, 0, 0, parts=tuple(entries))


def publish_to_database(target: Mapping[str, str], password: str, root: str, items: Sequence[PublicationItem]) -> Cost:
    """The cost of the last item, in a table that is connected."""
    manifest = PublishingManifest(SinkKind.SQL, 1, "bench", "", tuple(items), dict(target))
    work, cost = Folder(Path(root)), Cost()
    with closing(open_sink(manifest, work, secrets=SinkSecrets(password))) as opened:
        for item in items:
            with measure_cost(Counter()) as cost:
                opened.publish(item, Parts(work))
    return cost


def publish_to_table(table: str, small: str, root: str, items: Sequence[PublicationItem]) -> Cost:
    """The cost of the last item in a Delta table that is opened for it; the first goes to another one, *small*."""
    work, costs = Folder(Path(root)), []
    for folder, item in zip((small, table), items, strict=True):
        manifest = PublishingManifest(SinkKind.DELTA, 1, "bench", "", (item,), {"url": Path(folder).as_uri()})
        with measure_cost(Counter()) as cost, closing(open_sink(manifest, work)) as opened:
            opened.publish(item, Parts(work))
        costs.append(cost)
    return costs[-1]


def make_table(folder: Path, runs: int, n_parts: int) -> None:
    """A Delta table of so many runs in one commit, and a checkpoint; it has no files, which publishing never reads."""
    start = datetime(2024, 1, 1, tzinfo=UTC)
    windows = [Window(start + hour * timedelta(hours=1), timedelta(hours=1)) for hour in range(runs)]
    table = DeltaTable.create(str(folder), TABLE_SCHEMA, partition_by=list(PARTITIONS), configuration=PROPERTIES)
    actions = [
        AddAction(
            f"date={window.start:%Y-%m-%d}/hour={window.start.hour}/run={window.id}/"
            f"{window.id}-c{part:05}-1-0-{part:016x}.parquet",
            1_000_000,
            {"date": f"{window.start:%Y-%m-%d}", "hour": str(window.start.hour), "run": window.id},
            1_767_225_600_000,
            True,
            json.dumps(
                {
                    "numRecords": 100_000,
                    "minValues": {"time": f"{window.start:%Y-%m-%dT%H:%M:%S}.000Z", "device": f"pump-{part:09}"},
                    "maxValues": {"time": f"{window.start:%Y-%m-%dT%H}:59:00.000Z", "device": f"pump-{part + 1:09}"},
                    "nullCount": {"time": 0, "device": 0},
                }
            ),
        )
        for window in windows
        for part in range(n_parts)
    ]
    transactions = [Transaction(f"bench/{window.id}", 0) for window in windows]
    if actions:
        properties = CommitProperties(app_transactions=transactions)
        table.create_write_transaction(
            actions, "append", table.schema(), list(PARTITIONS), commit_properties=properties
        )
        table.update_incremental()
        table.create_checkpoint()


def measure_delta(held: int, n_parts: int, n_rows: int, rounds: int) -> list[object]:
    """A line of the table for a Delta table that has so many runs: medians of *rounds*."""
    costs = []
    with tempfile.TemporaryDirectory() as root, tempfile.TemporaryDirectory() as folder:
        items = [write_parts(Path(root), run, n_parts, n_rows) for run in RUNS]
        make_table(Path(folder) / "table", held, n_parts)
        for number in range(rounds):
            table, small = Path(folder) / f"copy-{number}", Path(folder) / f"small-{number}"
            shutil.copytree(Path(folder) / "table", table)
            small.mkdir()
            costs.append(run_alone(publish_to_table, str(table), str(small), root, items))
    return _make_line(f"delta, {held:,} runs before", n_parts, n_parts * n_rows, costs)


@contextmanager
def open_database(url: str) -> Iterator[tuple[Mapping[str, str], str]]:
    """A server, until the end; or the one at *url*, and a table there that is new: a target, and its password."""
    if url:
        target = {"url": url, "table": f"fleetscore_check_{datetime.now(UTC):%Y%m%d_%H%M%S}"}
        print(f"The tables {target['table']} and {target['table']}_runs stay.\n")
        yield target, os.environ.get("SQL_PASSWORD", "")
        return
    server = postgres.start(die_with_parent=True)
    try:
        yield {"url": server.url}, postgres.PASSWORD
    finally:
        server.stop()


def measure_sql(url: str, n_parts: int, n_rows: int, rounds: int) -> list[object]:
    """A line of the table: medians of *rounds*, each with an empty table."""
    costs = []
    with tempfile.TemporaryDirectory() as root:
        items = [write_parts(Path(root), run, n_parts, n_rows) for run in RUNS]
        for _ in range(rounds):
            with open_database(url) as (target, password):
                costs.append(run_alone(publish_to_database, target, password, root, items))
    return _make_line("sql", n_parts, n_parts * n_rows, costs)


def _make_line(name: str, n_parts: int, total: int, costs: Sequence[Cost]) -> list[object]:
    cpu, seconds = (statistics.median(getattr(cost, each) for cost in costs) for each in ("cpu", "seconds"))
    peak = max((cost.mebibytes or 0 for cost in costs), default=0)
    return [name, n_parts, total, total / cpu, total / seconds, cpu, seconds, peak]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.publishing", description=__doc__)
    parser.add_argument("sinks", nargs="*", metavar="SINK", help=f"{' and '.join(SINKS)}, if left out")
    parser.add_argument("--parts", type=int, default=PARTS)
    parser.add_argument("--rows", type=int, default=ROWS, help="of a part")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--held", type=int, nargs="+", default=HELD, help="runs that a Delta table has before")
    parser.add_argument("--url", default="", help="of a database that is there; measured once")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    machine = describe_machine(PACKAGES)
    head = ("Sink", "parts", "rows", "rows a second of CPU", "rows a second", "CPU, s", "seconds", "MiB")
    rows = []
    sinks = options.sinks or SINKS
    if not set(sinks) <= set(SINKS):
        parser.error(f"expected sinks of {', '.join(SINKS)}, got {', '.join(sinks)}")
    if SinkKind.DELTA in sinks:
        rows += [measure_delta(held, options.parts, options.rows, options.rounds) for held in options.held]
    if SinkKind.SQL in sinks:
        rows.append(measure_sql(options.url, options.parts, options.rows, 1 if options.url else options.rounds))
    write_table(options.into, BEGIN, END, f"{machine}\n\n{format_table(head, rows)}\n")


if __name__ == "__main__":
    main()
