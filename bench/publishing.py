"""`python -m bench.publishing SINK`: what publishing a run costs the job, in CPU of its process, without the server's.

PARTS parts of ROWS rows each, as nodes write them, in a folder: they are read, compared with their MD5 and given to
the sink, in a fresh process. The second of two runs counts: the first has the imports, and creates the table. `sql`
is a real PostgreSQL on this machine, without fsync; with `--url` it is the database there, as SQL_URL has it, the
environment's SQL_PASSWORD its password, and a table that stays: so it is also a check of a database (docs/sql.md).

Prints Markdown. With `--into FILE` it also takes the place of what stands there between the marks.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from local import postgres
from scorer.commands.publish_runs import open_sink
from scorer.predictions.table import SCHEMA, PartWriter, encode_texts
from scorer.sinks.parts import Parts
from scorer.storage.blob_store import Folder
from shared.contract.domain import Part
from shared.contract.publishing.documents import PublicationItem, PublishedPart, PublishingManifest
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import Window

from .document import describe_machine, write_table
from .measure import Cost, format_table, measure_cost, run_alone

BEGIN, END = "<!-- publishing -->\n", "<!-- /publishing -->"
PARTS, ROWS, ROUNDS = 18, 100_000, 3
RUNS = ("20261121T0600Z-PT1H", "20261121T0700Z-PT1H")
PACKAGES = ("pyarrow", "adbc-driver-postgresql")


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
    return PublicationItem(run, 0, 0, is_first=True, parts=tuple(entries))


def publish(
    sink: SinkKind, target: Mapping[str, str], password: str, root: str, items: Sequence[PublicationItem]
) -> Cost:
    """The cost of the last item."""
    manifest = PublishingManifest(sink, 1, "bench", "", tuple(items), dict(target))
    parts, cost = Parts(Folder(Path(root))), Cost()
    with closing(open_sink(manifest, "", password)) as opened:
        for item in items:
            with measure_cost(Counter()) as cost:
                opened.publish(item, parts)
    return cost


@contextmanager
def open_sql(url: str) -> Iterator[tuple[SinkKind, Mapping[str, str], str]]:
    """A server, until the end; or the one at *url*, and a table there that is new."""
    if url:
        target = {"url": url, "table": f"fleetscore_check_{datetime.now(UTC):%Y%m%d_%H%M%S}"}
        print(f"The tables {target['table']} and {target['table']}_runs stay.\n")
        yield SinkKind.SQL, target, os.environ.get("SQL_PASSWORD", "")
        return
    server = postgres.start(die_with_parent=True)
    try:
        yield SinkKind.SQL, {"url": server.url}, postgres.PASSWORD
    finally:
        server.stop()


# A subcommand each.
SINKS: Mapping[str, Callable[[str], AbstractContextManager[tuple[SinkKind, Mapping[str, str], str]]]] = {
    "sql": open_sql
}


def measure_sink(name: str, url: str, n_parts: int, n_rows: int, rounds: int) -> list[object]:
    """A line of the table: medians of *rounds*, each with an empty sink."""
    costs = []
    with tempfile.TemporaryDirectory() as root:
        items = [write_parts(Path(root), run, n_parts, n_rows) for run in RUNS]
        for _ in range(rounds):
            with SINKS[name](url) as (kind, target, password):
                costs.append(run_alone(publish, kind, target, password, root, items))
    total = n_parts * n_rows
    cpu, seconds = (statistics.median(getattr(cost, each) for cost in costs) for each in ("cpu", "seconds"))
    peak = max((cost.mebibytes or 0 for cost in costs), default=0)
    return [name, n_parts, total, total / cpu, total / seconds, cpu, seconds, peak]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.publishing", description=__doc__)
    parser.add_argument("sinks", nargs="*", choices=list(SINKS), default=list(SINKS), metavar="SINK")
    parser.add_argument("--parts", type=int, default=PARTS)
    parser.add_argument("--rows", type=int, default=ROWS, help="of a part")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--url", default="", help="of a database that is there; measured once")
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    machine = describe_machine(PACKAGES)
    head = ("Sink", "parts", "rows", "rows a second of CPU", "rows a second", "CPU, s", "seconds", "MiB")
    rows = [
        measure_sink(name, options.url, options.parts, options.rows, 1 if options.url else options.rounds)
        for name in options.sinks
    ]
    write_table(options.into, BEGIN, END, f"{machine}\n\n{format_table(head, rows)}\n")


if __name__ == "__main__":
    main()
