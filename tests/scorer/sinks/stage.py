"""A working container with parts, and items that name them: what every sink is tried with."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from scorer.predictions.table import SCHEMA, encode_texts, to_parquet
from scorer.sinks.parts import Parts
from scorer.storage.blob_store import Container, Folder
from shared.contract.domain import Part
from shared.contract.publishing.documents import PublicationItem, PublishedPart
from shared.contract.windows import Window

HOUR_7 = "20261121T0700Z-PT1H"
HOUR_8 = "20261121T0800Z-PT1H"
QUARTER = "20261121T0715Z-PT15M"
WEEK = "20261116T0000Z-P7D"

Row = tuple[str, float, int]  # device, score, minute of the window


@dataclass
class Stage:
    """Writes parts as nodes do, and says what consumers of the plain folder would read."""

    root: Path
    rows: dict[str, list[Row]] = field(default_factory=dict)  # by run
    count: int = 0

    @property
    def work(self) -> Container:
        return Folder(self.root)

    @property
    def parts(self) -> Parts:
        return Parts(self.work)

    def make_item(self, run: str, *chunks: list[Row], number: int = 0, schema: int = 2) -> PublicationItem:
        """An item of the run's round *number*, whose chunks have these rows."""
        entries = [
            self._write_part(run, f"c{index:05d}", number + 1, rows, schema) for index, rows in enumerate(chunks)
        ]
        self.rows[run] = sorted(row for rows in chunks for row in rows)
        return PublicationItem(run, number, number, parts=tuple(entries))

    def make_removal(self, item: PublicationItem) -> PublicationItem:
        """The removal of a run."""
        self.rows.pop(item.run, None)
        return replace(item, is_removal=True, parts=())

    def _write_part(self, run: str, chunk: str, attempt: int, rows: list[Row], schema: int) -> PublishedPart:
        self.count += 1
        path = f"results/{run}/{chunk}/{self.count:x}.parquet"
        data = to_parquet(encode_texts(make_table(run, rows)), schema)
        self.work.write(path, data)
        md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
        return PublishedPart(chunk, attempt, Part(path, len(data), md5, len(rows)))

    def list_rows(self) -> list[tuple[str, str, float, int]]:
        """All rows, by run: what a sink is to hold."""
        return sorted((run, *row) for run, rows in self.rows.items() for row in rows)


def make_table(run: str, rows: list[Row]) -> pa.Table:
    """A table of predictions of a detector."""
    start = int(Window.parse(run).start.timestamp()) * 1_000_000
    columns = {
        "time": [start + minute * 60_000_000 for _, _, minute in rows],
        "device": [device for device, _, _ in rows],
        "score": [score for _, score, _ in rows],
        "anomaly": [int(score < 0) for _, score, _ in rows],
        "model": ["0x1" for _ in rows],
    }
    arrays = [pa.array(columns.get(column.name, [None] * len(rows)), column.type) for column in SCHEMA]
    return pa.Table.from_arrays(arrays, schema=SCHEMA)
