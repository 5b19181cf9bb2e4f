"""The bad files of Avro of the corpus: of Event Hubs Capture, and plain ones. See `corpus_readings`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus import BadReadings
from tests.scorer.readings.avro.samples import CAPTURE, capture, event, write_avro

BAD, WHOLE, NONE = Reason.BAD_READINGS, Reason.UNREADABLE_READINGS, Reason.NO_READINGS
BOTH = (1.0, 2.0)
LEFT_OUT = "were left out"
FIRST, SECOND = ({"time": f"2026-11-21T07:0{minute}:00Z", "device": "pump", "value": minute + 1} for minute in range(2))
PLAIN: dict[str, Any] = {
    "type": "record",
    "name": "Reading",
    "fields": [
        {"name": "time", "type": "string"},
        {"name": "device", "type": ["null", "string"]},
        {"name": "value", "type": ["null", "double"]},
    ],
}

Seen = Reason | tuple[float, ...]


def list_avro() -> Iterator[BadReadings]:
    """All of them; the same each time."""
    yield from _bodies()
    yield from _events()
    yield from _cuts()
    yield from _records()


def _file(name: str, data: bytes, seen: Seen, says: str = "", fail: Seen | None = None) -> BadReadings:
    return BadReadings(f"{name}.avro", data, seen, seen if fail is None else fail, says)


def _dump(row: object) -> bytes:
    return json.dumps(row).encode()


def _bodies() -> Iterator[BadReadings]:
    """A body that is bad, behind one that is good."""
    good, head = _dump(FIRST), b"time,device,value\n"
    yield _file("bodies", capture(good, _dump(SECOND)), BOTH)
    yield _file("body-of-an-array", capture(_dump([FIRST, SECOND])), BOTH)
    yield _file("body-of-csv", capture(head + b"2026-11-21T07:00Z,pump,1\n2026-11-21T07:01Z,pump,2"), BOTH)
    yield _file("body-with-a-mark", capture(b"\xef\xbb\xbf" + good), (1.0,))
    yield _file("body-over-several-lines", capture(json.dumps(FIRST, indent=1).encode()), (1.0,))
    for name, bad in {
        "cut": good[:-5], "of-text": b"hello", "of-bytes": bytes(range(128, 256)), "of-nul-bytes": bytes(5),
        "of-an-array-of-numbers": b"[1, 2]", "of-avro": b"Obj\x01", "of-html": b"<html></html>",
        "with-a-key-twice": good[:-1] + b', "value": 2}', "of-two-objects": good + b" " + good,
        "of-csv-that-is-ragged": head + b"2026-11-21T07:01Z,pump\n",
        "of-csv-in-quotes": head + b'2026-11-21T07:01Z,"pu',
        "nested-deeply": b"[" * 10_000, "of-latin-1": good.replace(b"pump", b"p\xfcmp"),
    }.items():  # fmt: skip
        yield _file(f"body-{name}", capture(good, bad), (1.0,), LEFT_OUT, WHOLE)
    for name, empty in {"null": None, "empty": b"", "blank": b" \n"}.items():
        yield _file(f"body-{name}", capture(good, empty), (1.0,), "have no Body")
    yield _file("body-number-as-text", capture(good, _dump({**SECOND, "value": "2"})), BOTH)
    yield _file("body-text-as-number", capture(good, _dump({**SECOND, "value": "ERR"})), (1.0,), LEFT_OUT, BAD)
    yield _file("body-without-a-time", capture(good, b'{"device": "pump", "value": 2}'), (1.0,), LEFT_OUT, BAD)
    yield _file("body-without-a-device", capture(good, _dump({**SECOND, "device": None})), (1.0,))
    yield _file("body-rows-without-a-header", capture(b"2026-11-21T07:00Z,pump,1"), WHOLE, "rows without a header")
    yield _file(
        "body-of-other-names", capture(b'{"ts": "2026-11-21T07:00Z", "id": "pump"}'), WHOLE, "time=ts,device=id"
    )


def _events() -> Iterator[BadReadings]:
    good = _dump(FIRST)
    yield _file("nothing-captured", capture(), NONE, "no readings")
    yield _file("nothing-captured-deflated", capture(codec="deflate"), NONE, "no readings")
    yield _file("enqueued-on-no-day", write_avro([event(good, enqueued="13/41/2026 25:00:00 XM")]), (1.0,))
    looks_alike = _dump({**FIRST, "note": "&11/21/2026 7:05:00 AM"})
    yield _file("body-that-looks-like-an-event", capture(looks_alike, _dump(SECOND)), BOTH)
    many = {f"key-{number}": number for number in range(1000)}
    yield _file("a-thousand-properties", write_avro([event(good, properties=many)]), (1.0,))
    further = {**CAPTURE, "fields": [*CAPTURE["fields"], {"name": "Extra", "type": "int"}]}
    yield _file("a-field-more", write_avro([{**event(good), "Extra": 1}], further), (1.0,))


def _cuts() -> Iterator[BadReadings]:
    whole = capture(_dump(FIRST), _dump(SECOND), interval=1)
    yield _file("cut-in-the-header", whole[:100], WHOLE, "ends within its header")
    yield _file("cut-in-a-block", whole[:-20], WHOLE, "ends within block 2")
    yield _file("cut-in-a-marker", whole[:-1], WHOLE, "ends within block 2")
    yield _file("four-bytes", b"Obj\x01", WHOLE, "ends within its header")
    yield _file("noise-behind", whole + b"noise", WHOLE, "block 3")
    yield _file("another-marker", whole[:-1] + b"x", WHOLE, "no sync marker behind block 2")
    packed = bytearray(capture(_dump(FIRST), codec="deflate"))
    packed[-30] ^= 0xFF
    yield _file("flipped-in-deflate", bytes(packed), WHOLE, "block 1")
    yield _file("unknown-codec", whole.replace(b"\x08null", b"\x08lzma"), WHOLE, "is compressed by 'lzma'")


def _records() -> Iterator[BadReadings]:
    yield _file("records", write_avro([FIRST, SECOND], PLAIN), BOTH)
    yield _file("records-none", write_avro([], PLAIN), NONE, "no readings")
    yield _file("value-null", write_avro([FIRST, {**SECOND, "value": None}], PLAIN), (1.0,), LEFT_OUT)
    yield _file("device-null", write_avro([FIRST, {**SECOND, "device": None}], PLAIN), (1.0,))
    yield _file("time-words", write_avro([FIRST, {**SECOND, "time": "now"}], PLAIN), (1.0,), LEFT_OUT, BAD)
    other = {**PLAIN, "fields": [{"name": "ts", "type": "string"}, *PLAIN["fields"][1:]]}
    yield _file("time-of-another-name", write_avro([{"ts": "", **FIRST}], other), WHOLE, "time=ts")
    days = {**PLAIN, "fields": [{"name": "time", "type": {"type": "int", "logicalType": "date"}}, *PLAIN["fields"][1:]]}
    yield _file("time-of-days", write_avro([{**FIRST, "time": 20_000}], days), WHOLE, "holds dates")
    counts = {**PLAIN, "fields": [{"name": "time", "type": "long"}, *PLAIN["fields"][1:]]}
    yield _file("time-of-numbers", write_avro([{**FIRST, "time": 1795244400}], counts), WHOLE, "s, ms, us or ns")
    yield _file("texts", write_avro(["a"], "string"), WHOLE, "expected records in its Avro schema")
    linked = {**PLAIN, "fields": [*PLAIN["fields"], {"name": "next", "type": ["null", "Reading"]}]}
    yield _file("list-without-an-end", write_avro([{**FIRST, "next": None}], linked), WHOLE, "in itself")
