"""How many planted faults were detected, by the rows that consumers read. Judges the demo's models, not the app."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import pyarrow as pa

from shared.contract.errors import NotFound
from shared.contract.paths import prediction_path
from shared.contract.windows import Window

from .fleet import Stores, planted_path
from .pumps import HOUR

Reading: TypeAlias = tuple[datetime, str]  # a time and a device


@dataclass(frozen=True, slots=True)
class Findings:
    """Readings called anomalies against readings with a fault; and faults by kind that were detected at least once."""

    rows: int
    alarms: int
    spoilt: int
    hits: int  # both
    faults: Mapping[str, int]
    found: Mapping[str, int]
    files: int
    by_others: bool  # some rows come from models that no longer exist: the faults of that time are unknown

    @property
    def precision(self) -> float:
        """The share of the alarms that were right."""
        return self.hits / self.alarms if self.alarms else 0.0

    @property
    def recall(self) -> float:
        """The share of the readings with a fault that were called anomalies."""
        return self.hits / self.spoilt if self.spoilt else 0.0


def look(stores: Stores, window: Window) -> Findings:
    """Joins the predictions of a window with what was planted in its hours."""
    folder = prediction_path(window, "", 0).rpartition("/")[0] + "/"
    parts = [blob.name for blob in stores.predictions.list_blobs(folder) if f"/{window.id}-" in blob.name]
    rows, alarms, models = 0, set[Reading](), set[str]()
    for part in parts:
        table = _read(stores.predictions.read(part))
        rows += table.num_rows
        models |= set(table["model"].unique().to_pylist())
        judged = zip(*(table[name].to_pylist() for name in ("time", "device", "anomaly")), strict=True)
        alarms |= {(time, device) for time, device, anomaly in judged if anomaly}
    planted = _planted(stores, window)
    hits = alarms & planted.keys()
    # A pump has one fault in an hour at most.
    faults = {(device, Window.containing(time, HOUR), fault) for (time, device), fault in planted.items()}
    detected = {(device, Window.containing(time, HOUR), planted[time, device]) for time, device in hits}
    return Findings(
        rows=rows,
        alarms=len(alarms),
        spoilt=len(planted),
        hits=len(hits),
        faults=Counter(sorted(fault for *_, fault in faults)),
        found=Counter(fault for *_, fault in detected),
        files=len(parts),
        by_others=not models <= {blob.etag for blob in stores.models.list_blobs()},
    )


def _planted(stores: Stores, window: Window) -> dict[Reading, str]:
    planted: dict[Reading, str] = {}
    start = Window.containing(window.start, HOUR).start
    while start < window.end:
        try:
            table = _read(stores.work.read(planted_path(start)))
        except NotFound:  # no readings of the demo's in that hour
            pass
        else:
            rows = zip(*(table[name].to_pylist() for name in ("time", "device", "fault")), strict=True)
            planted |= {(time, device): fault for time, device, fault in rows if window.start <= time < window.end}
        start += HOUR
    return planted


def _read(data: bytes) -> pa.Table:
    from pyarrow import parquet

    return parquet.read_table(io.BytesIO(data))
