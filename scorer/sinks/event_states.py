"""Which devices have changed between two windows: the share of anomalies decides whether a device is anomalous."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

Key = tuple[str, str]  # device, sensor; "" where the model scores the whole device


class State(StrEnum):
    """The state of a device, or of one of its sensors, in a window."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"


@dataclass(frozen=True, slots=True)
class Observed:
    """A device in a window."""

    state: State
    rows: int  # with a label
    anomalies: int
    last_time: datetime  # of these rows


@dataclass(frozen=True, slots=True)
class Change:
    """A device whose state is another one than in the window before, or was not known."""

    device: str
    sensor: str
    now: Observed
    before: State | None


def observe_devices(tables: Iterable[pa.Table], percent: float) -> dict[Key, Observed]:
    """The state of each device with labels: anomalous from *percent* of its rows on. Other rows decide nothing."""
    counts: dict[Key, tuple[int, int, int]] = {}
    for table in tables:
        labelled = table.filter(pc.is_valid(table["anomaly"]))
        columns = pa.table(
            {
                "device": labelled["device"],
                "sensor": pc.fill_null(labelled["sensor"], ""),
                "anomaly": labelled["anomaly"].cast(pa.int64()),
                "time": labelled["time"].cast(pa.int64()),
            }
        )
        groups = columns.group_by(["device", "sensor"]).aggregate(
            [("anomaly", "sum"), ("anomaly", "count"), ("time", "max")]
        )
        names = ("device", "sensor", "anomaly_sum", "anomaly_count", "time_max")
        for device, sensor, anomalies, rows, last in zip(*(groups[name].to_pylist() for name in names), strict=True):
            earlier = counts.get((device, sensor), (0, 0, last))
            counts[device, sensor] = earlier[0] + rows, earlier[1] + anomalies, max(earlier[2], last)
    return {key: _make_observed(*values, percent) for key, values in counts.items()}


def _make_observed(rows: int, anomalies: int, last: int, percent: float) -> Observed:
    state = State.ANOMALOUS if anomalies * 100 >= percent * rows and anomalies else State.NORMAL
    return Observed(state, rows, anomalies, pa.scalar(last, pa.timestamp("us", "UTC")).as_py())


def find_changes(
    now: Mapping[Key, Observed], before: Mapping[Key, Observed], also: Collection[Key] = ()
) -> Iterator[Change]:
    """The devices that changed, sorted by their ids; one that has no state in *before* has changed too.

    *also*: devices that come whatever their state was, if they have one now.
    """
    for (device, sensor), observed in sorted(now.items()):
        earlier = before.get((device, sensor))
        if earlier is None or earlier.state is not observed.state or (device, sensor) in also:
            yield Change(device, sensor, observed, earlier.state if earlier else None)
