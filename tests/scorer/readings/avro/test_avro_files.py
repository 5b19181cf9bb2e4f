"""A file of Avro counts as a whole or not at all: cut, damaged, packed in any way, and with any schema."""

from __future__ import annotations

import io
import json
import time
import zlib
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest

from scorer.errors import Unscorable
from scorer.readings import files, source
from scorer.readings.avro import container, schema
from scorer.readings.avro.container import read_blocks, read_header, write_long
from scorer.readings.avro.reader import read_avro
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions
from tests.patience import patience
from tests.scorer.readings.avro.samples import CAPTURE, body, capture, write_avro
from tests.scorer.readings.avro.samples import read_avro as read_folder
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, refusal, see

SYNC = bytes(range(16))


def read_rows(data: bytes) -> int:
    """How many rows a file has."""
    return int(read_avro(data, Columns(), ReadingOptions()).rows.num_rows)


def find_problem(data: bytes) -> str:
    with pytest.raises(Unscorable) as caught:
        read_rows(data)
    assert caught.value.reason is Reason.UNREADABLE_READINGS
    return str(caught.value)


def wrap(definition: Any, blocks: bytes = b"", codec: bytes = b"null") -> bytes:
    """A file with a header of any content."""
    text = definition if isinstance(definition, bytes) else json.dumps(definition).encode()
    pairs = [(b"avro.schema", text), (b"avro.codec", codec)]
    parts = [write_long(len(part)) + part for pair in pairs for part in pair]
    return b"".join([container.AVRO, write_long(2), *parts, b"\0", SYNC, blocks])


def pack(n_records: int, content: bytes) -> bytes:
    return write_long(n_records) + write_long(len(content)) + content + SYNC


@pytest.mark.parametrize("codec", ["null", "deflate"])
def test_a_file_that_is_cut_at_any_byte_of_its_last_block_is_refused(codec: str) -> None:
    data = capture(*(body(minute, temp=minute) for minute in range(4)), interval=1, codec=codec)
    start = data.rindex(SYNC, 0, len(data) - 16) + 16  # of the last block

    problems = {find_problem(data[:end]) for end in range(start + 1, len(data))}

    assert problems == {
        f"ends within block 4, at byte {end}: it was cut, or is still written" for end in range(start + 1, len(data))
    }
    assert read_rows(data) == 4
    assert read_rows(data[:start]) == 3  # nothing in it says that a block lacks: its length does, as below


def test_a_file_that_is_cut_at_any_byte_of_its_header_is_refused() -> None:
    data = capture()

    problems = {find_problem(data[:end]) for end in range(4, len(data))}

    expected = "ends within its header, at byte {}: it was cut, or is still written"
    assert problems == {expected.format(end) for end in range(4, len(data))}


def test_a_file_that_lost_its_last_blocks_since_it_was_opened_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 0)  # else what was read when it was opened counts
    data = capture(*(body(minute, temp=minute) for minute in range(4)), interval=1)
    start = data.rindex(SYNC, 0, len(data) - 16) + 16
    (tmp_path / "a").write_bytes(data)
    opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)
    (tmp_path / "a").write_bytes(data[:start])

    found = opened.read_devices(["pump"])

    expected = f"a: expected at least {len(data)} bytes, as when it was opened, got {start}"
    assert refusal(found) == (Reason.UNREADABLE_READINGS, expected)


def test_a_file_that_grew_by_whole_blocks_since_it_was_opened_is_read_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 0)
    data = capture(*(body(minute, temp=minute) for minute in range(3)), interval=1)
    start = data.rindex(SYNC, 0, len(data) - 16) + 16
    for end, expected in ((len(data), [0.0, 1.0, 2.0]), (len(data) - 1, None)):
        (tmp_path / "a").write_bytes(data[:start])
        opened = source.open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)
        (tmp_path / "a").write_bytes(data[:end])

        found = opened.read_devices(["pump"])

        if expected:
            assert [values for _, values in see(found, names=("temp",))] == [[value] for value in expected]
        else:
            problem = f"a: ends within block 3, at byte {end}: it was cut, or is still written"
            assert refusal(found) == (Reason.UNREADABLE_READINGS, problem)


def test_a_damaged_file_is_refused() -> None:
    data = capture(body(1, temp=1))
    n_bytes = len(data)
    record = fastavro.schemaless_writer

    assert find_problem(data[:-1] + b"\xff") == f"has no sync marker behind block 1, at byte {n_bytes}: it is damaged"
    assert find_problem(data + b"\xff" * 30).startswith("is damaged in block 2: expected a number of at most 10 bytes")
    assert find_problem(data + b"\x01\x00") == "has -1 records of 0 bytes in block 2: it is damaged"
    content = io.BytesIO()
    record(content, CAPTURE, {"SequenceNumber": 1, "Offset": "", "EnqueuedTimeUtc": "", "SystemProperties": {},
                              "Properties": {}, "Body": b"{}"})  # fmt: skip
    whole = content.getvalue()
    good = pack(1, whole)
    assert "has bytes behind the 1 records of block 2" in find_problem(wrap(CAPTURE, good + pack(1, whole + whole)))
    assert "is damaged in its records: EOFError in block 3" in find_problem(wrap(CAPTURE, good * 2 + pack(2, whole)))


def pack_snappy(content: bytes) -> bytes:
    return pa.compress(content, "snappy", asbytes=True) + zlib.crc32(content).to_bytes(4, "big")


def pack_zstandard(content: bytes) -> bytes:
    return bytes(pa.compress(content, "zstd", asbytes=True))


def test_blocks_of_snappy_and_zstandard_are_read() -> None:
    blocks = list(read_blocks(plain := capture(body(1, temp=1), body(2, temp=2)), read_header(plain)))
    for codec, packer in ((b"snappy", pack_snappy), (b"zstandard", pack_zstandard)):
        content = b"".join(pack(block.n_records, packer(bytes(block.data))) for block in blocks)

        assert read_rows(wrap(CAPTURE, content, codec)) == 2
        assert find_problem(wrap(CAPTURE, pack(2, packer(bytes(blocks[0].data))[:-5]), codec)).startswith(
            f"has a block 1 that is no {codec.decode()}: "
        )


def test_an_unknown_codec_is_named() -> None:
    assert find_problem(wrap(CAPTURE, codec=b"lz4")) == (
        "is compressed by 'lz4'; expected one of null, deflate, snappy, zstandard, bzip2, xz"
    )


@pytest.mark.parametrize("codec", ["deflate", "bzip2", "xz"])
def test_a_block_is_not_unpacked_beyond_the_limit(codec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = capture(*[body(1, temp=1)] * 2000, codec=codec, interval=10**6)
    monkeypatch.setattr(container, "UNPACKED_LIMIT", 100_000)

    assert find_problem(data) == "unpacks to more than 100000 bytes"


def test_a_block_of_snappy_or_zstandard_is_not_unpacked_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "UNPACKED_LIMIT", 100_000)
    for codec, packer in ((b"snappy", pack_snappy), (b"zstandard", pack_zstandard)):
        assert find_problem(wrap(CAPTURE, pack(1, packer(bytes(10**6))), codec)) == "unpacks to more than 100000 bytes"


def make_record(*fields: Any, name: str = "R") -> dict[str, Any]:
    numbered = [{"name": f"f{number}", "type": kind} for number, kind in enumerate(fields)]
    return {"type": "record", "name": name, "fields": numbered}


def nest(levels: int) -> Any:
    definition: Any = "double"
    for level in range(levels):
        definition = make_record(definition, name=f"R{level}")
    return definition


def double(levels: int) -> Any:
    """Records of two records of one kind each, and so on: 2**levels columns."""
    definition: Any = make_record(name="R0")
    for level in range(levels):
        definition = make_record(definition, f"R{level}", name=f"R{level + 1}")
    return definition


HOSTILE = {
    "no-json": (b"{", "has a header that cannot be read"),
    "deep-json": (b"[" * 10**5, "has a header that cannot be read"),
    "no-record": ("long", "expected records in its Avro schema, got 'long'"),
    "a-list": ([], "expected records in its Avro schema, got []"),
    "recursive": (make_record(["null", "R"]), "has the record 'R' in itself in its Avro schema"),
    "recursive-in-a-map": (make_record({"type": "map", "values": "R"}), "has the record 'R' in itself"),
    "deep": (nest(40), "is nested deeper than 32 levels in its Avro schema"),
    "deep-arrays": (make_record(json.loads('{"type":"array","items":' * 50 + '"int"' + "}" * 50)), "deeper than 32"),
    "wide": (make_record(*["int"] * 20_001), "has more than 20000 columns in its Avro schema"),
    "exponential": (double(30), "has more than 20000 columns in its Avro schema"),
    "a-type-twice": (make_record(make_record("int")), "defines the type 'R' in its Avro schema more than once"),
    "a-field-twice": (
        {"type": "record", "name": "R", "fields": [{"name": "a", "type": "int"}] * 2},
        "has the field 'a' more than once in its Avro schema",
    ),
    "an-unknown-type": (make_record("nix"), "has the type 'nix' in its Avro schema, which nothing before it defines"),
    "arrays-of-nothing": (make_record({"type": "array", "items": "null"}), "has arrays of nothing in its Avro schema"),
    "no-fields": ({"type": "record", "name": "R"}, "has an Avro schema that is none"),
    "no-name": ({"type": "record", "fields": []}, "more than once, or without a name"),
    "a-field-without-a-name": ({"type": "record", "name": "R", "fields": [{"type": "int"}]}, "schema that is none"),
    "an-empty-union": (make_record([]), "has an Avro schema that is none"),
    "a-type-of-numbers": (make_record(5), "has an Avro schema that is none"),
    "a-fixed-of-text": (make_record({"type": "fixed", "name": "F", "size": "4"}), "has an Avro schema that is none"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_schema_is_refused_at_once(name: str) -> None:
    definition, says = HOSTILE[name]
    started = time.monotonic()

    assert says in find_problem(wrap(definition, pack(1, bytes(100))))
    assert time.monotonic() - started < patience(5)


def test_records_of_nothing_are_refused_before_they_are_made() -> None:
    assert find_problem(wrap(make_record("null"), pack(2**62, b"x"))) == (
        f"has {2**62} records in the 1 bytes of block 1"
    )


def test_a_header_without_a_schema_or_with_a_pair_twice_is_refused() -> None:
    empty = container.AVRO + b"\0" + SYNC
    twice = container.AVRO + b"\x04" + b"\x02a\x02b" + b"\x02a\x02c" + b"\0" + SYNC

    assert find_problem(empty) == "expected a schema in its header, got none"
    assert find_problem(twice) == "has a header that cannot be read: 'a' is repeated"
    assert find_problem(container.AVRO + b"\x02\x01") == (
        "has a header that cannot be read: expected a size before byte 6, got -1"
    )


def test_a_schema_of_twenty_thousand_columns_is_read() -> None:
    definition = make_record(*["int"] * (schema.FIELD_LIMIT - 2))
    definition["fields"] += [{"name": name, "type": "string"} for name in ("time", "device")]
    row = {**{f"f{i}": i for i in range(schema.FIELD_LIMIT - 2)}, "time": "2026-11-21T07:00:00Z", "device": "pump"}

    assert read_rows(write_avro([row], definition)) == 1


def test_a_file_of_zip_holds_avro_as_any_other(tmp_path: Path) -> None:
    import gzip  # beside the only test that needs it

    found = read_folder(tmp_path, gzip.compress(capture(body(1, temp=1))))

    assert see(found, names=("temp",)) == [("07:01:00", [1.0])]
