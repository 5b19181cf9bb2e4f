"""Records of single values by the kernel: the same columns as by fastavro, or none."""

import random
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from scorer.errors import Unscorable
from scorer.kernels import dispatch
from scorer.readings.avro import flat_records
from scorer.readings.avro.container import read_blocks, read_header
from scorer.readings.avro.flat_records import FlatSchema
from scorer.readings.avro.reader import read_avro
from scorer.readings.avro.schema import list_columns, parse_schema
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.avro.samples import write_avro

TIMES = {"type": "long", "logicalType": "timestamp-millis"}
KINDS: dict[str, Any] = {
    "time": TIMES,
    "device": ["null", "string"],
    "motor": {"type": "record", "name": "Motor", "fields": [
        {"name": "temp", "type": ["double", "null"]}, {"name": "on", "type": ["null", "boolean"]},
    ]},
    "a": "double", "b": "float", "c": "int", "d": ["long", "null"], "e": "boolean", "f": "string",
    "g": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}], "h": ["null", "float"],
}  # fmt: skip
SCHEMA = {"type": "record", "name": "R", "fields": [{"name": name, "type": kind} for name, kind in KINDS.items()]}


def make_records(dice: random.Random, count: int) -> list[dict[str, Any]]:
    def choose(*cells: Any) -> Any:
        return dice.choice(cells)

    return [
        {
            "time": choose(0, -1, 1_795_244_400_000, 2**53),
            "device": choose(None, "pump", "Größe", ""),
            "motor": {"temp": choose(None, 1.5, float("nan")), "on": choose(None, True, False)},
            "a": choose(0.0, -0.0, 1e308, float("inf"), dice.gauss(0, 1)), "b": choose(0.1, -2.5, 3e38),
            "c": choose(0, -1, 63, 64, -64, -65, 2**31 - 1, -(2**31)), "d": choose(None, 0, 2**53 + 1, -(2**53)),
            "e": choose(True, False), "f": choose("", "x" * 70, "Größe"), "g": choose(None, 5),
            "h": choose(None, 0.1),
        }
        for _ in range(count)
    ]  # fmt: skip


def read(data: bytes) -> tuple[pa.Table | None, str]:
    try:
        return read_avro(data, Columns(), ReadingOptions()).rows, ""
    except Unscorable as error:
        return None, str(error)


def expect_same(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, problem = read(data)
    with monkeypatch.context() as patch:
        patch.setattr(flat_records, "find_kernels", lambda: None)
        expected, expected_problem = read(data)
    assert problem == expected_problem
    if rows is None or expected is None:
        assert rows is expected
        return
    assert rows.schema == expected.schema
    for name in rows.column_names:
        assert describe(rows[name]) == describe(expected[name])


def describe(column: pa.ChunkedArray) -> str:
    """As text, in which NaN equals itself; a time may be one that Python has not."""
    return str((column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist())


@pytest.fixture(autouse=True)
def _needs_numba() -> None:
    if dispatch.get_backend() != "numba":
        pytest.skip("there is no numba")


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("seed", range(3))
def test_records_are_read_as_by_fastavro(seed: int, codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    records = make_records(random.Random(seed), 300)
    expect_same(write_avro(records, SCHEMA, codec, interval=500), monkeypatch)
    for name in ("device", "d", "g", "h"):  # a column without any value
        expect_same(write_avro([{**item, name: None} for item in records[:20]], SCHEMA, codec), monkeypatch)


def test_the_kernel_reads_them() -> None:
    data = write_avro(make_records(random.Random(1), 100), SCHEMA, interval=500)
    header = read_header(data)
    record = parse_schema(header.schema)
    schema = FlatSchema.find(record)
    assert schema is not None
    columns = {column.name: column for column in list_columns(record)}
    rows = schema.read_columns([*read_blocks(data, header)], columns)
    assert rows is not None
    assert rows.num_rows == 100
    assert rows.column_names == [*columns]
    assert schema.read_columns([], columns) is None


@pytest.mark.parametrize(
    "kind",
    [
        "bytes", ["null", "string", "long"], {"type": "int", "logicalType": "date"}, {"type": "array", "items": "int"},
        {"type": "enum", "name": "E", "symbols": ["x"]}, {"type": "fixed", "name": "F", "size": 2}, "null",
        ["null", {"type": "record", "name": "N", "fields": [{"name": "x", "type": "int"}]}],
        {"type": "string", "logicalType": "uuid"}, {"type": "long", "logicalType": "time-micros"},
    ],
    ids=str,
)  # fmt: skip
def test_other_types_are_not_for_the_kernel(kind: Any) -> None:
    fields = [*SCHEMA["fields"], {"name": "other", "type": kind}]
    assert FlatSchema.find(parse_schema(fastavro.parse_schema({**SCHEMA, "fields": fields}))) is None


@pytest.mark.parametrize("seed", range(3))
def test_damaged_records_are_read_as_by_fastavro(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dice = random.Random(seed)
    data = write_avro(make_records(dice, 12), SCHEMA, interval=200)
    start = read_header(data).end
    for _ in range(100):
        damaged = bytearray(data)
        for _ in range(dice.randrange(1, 3)):
            byte = dice.choice((0, 1, 2, 3, 4, 0x7F, 0x80, 0xFF, dice.randrange(256)))
            damaged[dice.randrange(start, len(data))] = byte
        expect_same(bytes(damaged), monkeypatch)
