"""Events that are walked at once are those that the library reads one by one, or there is no result."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.errors import Unscorable
from scorer.readings.avro import walk
from scorer.readings.avro.container import Block, read_blocks, read_header
from scorer.readings.avro.events import Events, read_events
from scorer.readings.avro.records import read_records
from scorer.readings.avro.schema import parse_schema
from tests.scorer.readings.avro.samples import CAPTURE, body, capture, event, write_avro

NAMES = ("SequenceNumber", "Offset", "EnqueuedTimeUtc", "SystemProperties.a", "Properties.b", "Properties.none")
RECORD = parse_schema(CAPTURE)
BRANCHES = walk.find_branches(RECORD) or {}
values = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(max_size=3) | st.binary(max_size=70)
maps = st.dictionaries(st.sampled_from(["a", "b", "ü", ""]), values, max_size=4)
times = st.sampled_from(["1/1/2026 1:00:00 AM", "12/31/2026 12:00:00 PM", "1/31/2026 9:59:59 PM"])
contents = (
    st.none() | st.binary(max_size=200) | st.sampled_from([b"&1/1/2026 1:00:00 AM" * 3, b"(12/1/2026 1:00:00 AM"])
)
events = st.builds(
    lambda content, number, time, *maps: event(content, number, time, system=maps[0], properties=maps[1]),
    contents,
    st.integers(0, 2**62),
    times,
    maps,
    st.dictionaries(st.sampled_from(["a", "b"]), values | st.none()),
)  # fmt: skip


def split(data: bytes) -> list[Block]:
    return list(read_blocks(data, read_header(data)))


@settings(max_examples=60)
@given(st.lists(events, min_size=1, max_size=12), st.integers(1, 300))
def test_events_are_walked_as_the_library_reads_them(drawn: list[dict[str, Any]], interval: int) -> None:
    blocks = split(write_avro(drawn, interval=interval))

    walked = walk.walk_events(blocks, NAMES, BRANCHES)

    assert walked is not None
    (found,) = read_events(RECORD, iter(blocks), NAMES)
    assert found.bodies == [item["Body"] for item in drawn]
    for name in NAMES:
        field, _, key = name.partition(".")
        cells = [item[field].get(key) if key else item[field] for item in drawn]
        assert found.envelope[name].to_pylist() == as_one_type(cells), name


def as_one_type(cells: list[Any]) -> list[Any]:
    """As a column has them: mixed ones are texts, and whole numbers those of a model."""
    kinds = {type(cell) for cell in cells} - {type(None)}
    if kinds <= {str} or kinds <= {int}:
        return cells
    if kinds <= {int, float}:
        return [None if cell is None else float(cell) for cell in cells]
    texts: list[Any] = []
    for cell in cells:
        if isinstance(cell, bytes):
            texts.append(cell.decode("utf-8", "replace"))
        elif isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
            texts.append(str(int(cell)))
        else:
            texts.append(None if cell is None else str(cell))
    return texts


def test_many_events_are_walked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "EVENTS", 7)
    drawn = [event(body(i % 60, temp=i), i, system={"a": f"pump-{i}"}) for i in range(100)]

    walked = walk.walk_events(split(write_avro(drawn, interval=300)), ("SystemProperties.a",), BRANCHES)

    assert walked is not None
    cells = walked.cells["SystemProperties.a"]
    found = [walked.data[start:end] for start, end in zip(cells.start, cells.end, strict=True)]
    assert found == [f"pump-{i}".encode() for i in range(100)]


def test_damaged_events_are_those_that_the_library_reads_or_are_refused() -> None:
    chance = random.Random(20261121)
    original = write_avro(
        [event(b"&1/1/2026 1:00:00 AM" * (i % 3), i, system={"a": "x" * i, "b": -i}) for i in range(12)], interval=200
    )
    n_walked = n_refused = 0
    for _ in range(400):
        blocks = split(original)
        number = chance.randrange(len(blocks))
        content = bytearray(blocks[number].data)
        for _ in range(chance.randint(1, 2)):
            content[chance.randrange(len(content))] = chance.choice([0, 1, 2, 255, chance.randrange(256)])
        blocks[number] = replace(blocks[number], data=bytes(content))
        walked = walk.walk_events(blocks, NAMES, BRANCHES)
        try:
            expected = [record["Body"] for records in read_records(RECORD, blocks) for record in records]
        except Unscorable:
            n_refused += 1
            assert walked is None or not is_text_valid(blocks)
            continue
        if walked is not None:
            n_walked += 1
            (found,) = read_events(RECORD, iter(blocks), ())
            assert found.bodies == expected
    assert n_walked > 100
    assert n_refused > 30


def is_text_valid(blocks: list[Block]) -> bool:
    """Whether all texts are UTF-8, which a walk does not look at."""
    try:
        list(read_records(RECORD, blocks))
    except Unscorable as error:
        return "UnicodeDecodeError" not in str(error)
    return True


def test_a_map_of_many_entries_or_several_blocks_is_read_all_the_same() -> None:
    many = {f"key-{i}": i for i in range(walk.ENTRY_LIMIT + 5)}
    blocks = split(write_avro([event(b"{}", 0, system=many)]))

    (found,) = read_events(RECORD, iter(blocks), ("SystemProperties.key-258",))

    assert walk.walk_events(blocks, (), BRANCHES) is None
    assert found.envelope["SystemProperties.key-258"].to_pylist() == [258]


def test_maps_whose_entries_are_in_blocks_are_walked() -> None:
    head = b"\x00" + b"\x020" + b"\x261/1/2026 1:00:00 AM"
    single, sized, end = b"\x02" + b"\x02a" + b"\x00\x02", b"\x01" + b"\x08" + b"\x02b" + b"\x00\x04", b"\x00"
    data = head + single + sized + single + end + end + b"\x02\x04{}"
    block = Block(1, 1, data)

    walked = walk.walk_events([block], ("SystemProperties.b",), BRANCHES)

    assert [record["SystemProperties"] for records in read_records(RECORD, [block]) for record in records] == [
        {"a": 1, "b": 2}
    ]
    assert walked is not None
    (found,) = read_events(RECORD, iter([block]), ("SystemProperties.b",))
    assert found == Events([b"{}"], found.envelope)
    assert found.envelope["SystemProperties.b"].to_pylist() == [2]


def test_the_values_of_maps_are_of_any_union_of_their_kinds() -> None:
    assert {name: codes.tolist() for name, codes in BRANCHES.items()} == {
        "SystemProperties": [walk.LONG, walk.DOUBLE, walk.STRING, walk.BYTES, walk.INVALID],
        "Properties": [walk.LONG, walk.DOUBLE, walk.STRING, walk.BYTES, walk.ABSENT, walk.INVALID],
    }


def test_a_schema_of_other_fields_is_not_walked() -> None:
    fields = CAPTURE["fields"]
    floats = {"name": "Properties", "type": {"type": "map", "values": ["float", "string"]}}
    others = [[*fields, {"name": "x", "type": "int"}], fields[1:], [*fields[:4], floats, fields[5]], fields[::-1]]

    assert [walk.find_branches(parse_schema({**CAPTURE, "fields": other})) for other in others] == [None] * 4


def test_the_library_gets_the_numbers_of_an_empty_capture() -> None:
    data = capture()
    assert list(fastavro.reader(io.BytesIO(data))) == []
    assert split(data) == []
