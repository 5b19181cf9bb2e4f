"""The same readings in any order, in any files, in any format are the same; and no file, however broken, does harm."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import Unscorable
from scorer.readings import features
from scorer.readings.features import Expected
from scorer.readings.source import Readings
from shared.contract.domain import Model
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.avro.samples import capture, write_avro
from tests.scorer.readings.seen import FAIL, HOUR, read

DEVICES = ["fan", "mill", "pump 7", "ünï", "NA"]
SENSORS = ["bar", "rpm", "1"]
START = int(HOUR.start.timestamp()) * 10**6
FORMS = ["csv", "csv.gz", "json", "parquet", "cut", "avro", "capture"]

Row = tuple[str, str, int, float | None]  # device, sensor, microseconds within the hour, value

readings_of_an_hour = st.dictionaries(
    st.tuples(st.sampled_from(DEVICES), st.sampled_from(SENSORS), st.integers(0, 3_599_999_999)),
    st.none() | st.floats(allow_nan=False, allow_infinity=False),
    max_size=40,
)


def cells(row: Row) -> dict[str, str | float | None]:
    device, sensor, micros, value = row
    instant = str(np.datetime64(START + micros, "us"))
    return {"time": instant, "device": device, "sensor": sensor, "value": value}


def wide_cells(row: Row) -> dict[str, str | float | None]:
    device, sensor, micros, value = row
    values = {name: value if name == sensor else None for name in SENSORS}
    return {"time": str(np.datetime64(START + micros, "us")), "device": device, **values}


def to_file(rows: list[dict[str, str | float | None]], names: list[str], form: str) -> bytes:
    if form.startswith("csv"):
        text = io.StringIO()
        writer = csv.DictWriter(text, names)
        writer.writeheader()
        writer.writerows(rows)
        data = text.getvalue().encode()
        return gzip.compress(data) if form == "csv.gz" else data
    if form == "json":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if form == "capture":
        return capture(*(json.dumps(row).encode() for row in rows), codec="deflate", interval=100)
    if form == "avro":
        kinds = {name: "string" if name in ("time", "device", "sensor") else ["null", "double"] for name in names}
        fields = [{"name": name, "type": kind} for name, kind in kinds.items()]
        return write_avro(rows, {"type": "record", "name": "Row", "fields": fields}, interval=100)
    sink = pa.BufferOutputStream()
    columns = {
        name: pa.array(
            [row[name] for row in rows], pa.string() if name in ("time", "device", "sensor") else pa.float64()
        )
        for name in names
    }
    instants = [np.datetime64(str(row["time"])) for row in rows]
    columns["time"] = pa.array(np.array(instants, "datetime64[us]"))
    pq.write_table(pa.table(columns), sink, row_group_size=3 if form == "cut" else None)
    return sink.getvalue().to_pybytes()


NOTHING = ([(0, "no_readings")], [(0, "sensor_silent")])


def seen(found: Readings) -> dict[str, list[tuple[int, float]]]:
    """What each sensor's model sees."""
    told = {}
    for device in DEVICES:
        for sensor in SENSORS:
            model = Model(device, sensor, "m", "e")
            try:
                signal = features.build_model_readings(
                    found, model, features.find_frame_rows(found, model), Expected((), 1)
                )
            except Unscorable as error:
                told[model.id] = [(0, str(error.reason))]
            else:
                told[model.id] = list(zip(signal.time.tolist(), signal.values[:, 0].tolist(), strict=True))
    return told  # type: ignore[return-value]  # a reason stands where the value would


def scattered(rows: list[Row], wide: bool, forms: list[str], order: random.Random) -> Readings:
    """The rows in files of these forms, in any order."""
    order.shuffle(rows)
    dicts = [wide_cells(row) if wide else cells(row) for row in rows]
    names = ["time", "device", *SENSORS] if wide else ["time", "device", "sensor", "value"]
    with TemporaryDirectory() as folder:
        for i, form in enumerate(forms):
            part = dicts[i :: len(forms)]
            if part:
                (Path(folder) / f"{i}").write_bytes(to_file(part, names, form))
        return read(Path(folder), *DEVICES)


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    hour=readings_of_an_hour,
    wide=st.booleans(),
    forms=st.lists(st.sampled_from(FORMS), min_size=1, max_size=3),
    order=st.randoms(use_true_random=False),
)
def test_readings_are_the_same_in_any_order_files_and_format(
    hour: dict[tuple[str, str, int], float | None], wide: bool, forms: list[str], order: random.Random
) -> None:
    if wide:  # an instant's row has all sensors; here it has one of them
        hour = {
            (device, sensor, micros // 3 * 3 + SENSORS.index(sensor)): v for (device, sensor, micros), v in hour.items()
        }
    expected: dict[str, list[tuple[int, float]]] = {f"{d}/{s}": [] for d in DEVICES for s in SENSORS}
    for (device, sensor, micros), value in sorted(hour.items()):
        if value is not None:
            expected[f"{device}/{sensor}"].append((START + micros, value))

    found = scattered([(*key, value) for key, value in hour.items()], wide, forms, order)

    told = {key: rows for key, rows in seen(found).items() if rows not in NOTHING}
    assert told == {key: rows for key, rows in expected.items() if rows}
    assert (found.repeated, found.unusable, found.outside, found.unreadable) == (0, 0, 0, [])
    assert all(frame.values.flags.c_contiguous for frame in found.frames)


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(DEVICES[:2]), st.sampled_from(SENSORS[:2]), st.integers(0, 5), st.floats(0, 1).map(float)
        ),
        max_size=40,
    ),
    form=st.sampled_from(FORMS),
    split=st.integers(0, 40),
)
def test_of_repeated_readings_the_last_one_counts_whatever_their_order(rows: list[Row], form: str, split: int) -> None:
    last = {(device, sensor, micros): value for device, sensor, micros, value in rows}
    names = ["time", "device", "sensor", "value"]
    with TemporaryDirectory() as folder:
        for name, part in (("a", rows[:split]), ("b", rows[split:])):
            if part:
                (Path(folder) / name).write_bytes(to_file([cells(row) for row in part], names, form))
        found = read(Path(folder), *DEVICES)

    told = {
        (*model.split("/"), micros - START): value
        for model, seen_rows in seen(found).items()
        for micros, value in seen_rows
        if micros
    }
    assert told == last
    assert found.repeated == len(rows) - len(last)


SECONDS = 8.0


def valid_files() -> list[bytes]:
    rows = [(device, sensor, i * 10**6, i / 7) for i in range(4) for device in DEVICES for sensor in SENSORS]
    names, wide_names = ["time", "device", "sensor", "value"], ["time", "device", *SENSORS]
    long, wide = [cells(row) for row in rows], [wide_cells(row) for row in rows]
    return [to_file(part, n, form) for part, n in ((long, names), (wide, wide_names)) for form in FORMS]


def mutated(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """One to four things done to a file, as a broken disk, a broken writer or a bad person might."""
    found = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(found) + 1), chance.choice([1, 2, 4, 8, 64])
        match chance.randrange(7):
            case 0 if at < len(found):
                found[at] ^= 1 << chance.randrange(8)
            case 1:
                del found[at : at + length]
            case 2:
                found[at:at] = chance.randbytes(length)
            case 3:
                del found[at:]
            case 4:
                found[at : at + 4] = chance.choice(
                    [b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"NaN,", b'"\r\n"', b"1e99"]
                )
            case 5:
                found[at:at] = found[max(0, at - length) : at] * chance.choice([1, 2, 50])
            case 6:
                other = chance.choice(others)
                found[at:] = other[chance.randrange(len(other)) :]
    return bytes(found)


@pytest.mark.parametrize("policy", [ReadingOptions(), FAIL, ReadingOptions(time_zone="America/New_York")])
def test_a_mutated_file_is_read_or_refused_and_nothing_else(policy: ReadingOptions, tmp_path: Path) -> None:
    chance, originals = random.Random(20261121), valid_files()
    until, tried = time.monotonic() + SECONDS / 2, 0
    while time.monotonic() < until and tried < 3000:
        data = mutated(chance.choice(originals), originals, chance)
        (tmp_path / "a").write_bytes(data)
        try:
            found = read(tmp_path, *DEVICES, policy=policy)
            seen(found), found.list_warnings(), found.select_device("fan")
        except Exception as error:
            (Path(tmp_path) / "culprit").write_bytes(data)
            raise AssertionError(f"{data!r}") from error
        tried += 1
    assert tried > 20
