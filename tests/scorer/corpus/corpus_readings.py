"""The bad files of readings of the corpus; what else a model sees in the same window is nothing."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shared.contract.reasons import Reason
from tests.scorer.corpus import corpus_avro, corpus_json
from tests.scorer.corpus.corpus import BadReadings

BAD, WHOLE, NONE = Reason.BAD_READINGS, Reason.UNREADABLE_READINGS, Reason.NO_READINGS
WRONG = Reason.WRONG_FEATURES
TIMES = [datetime(2026, 11, 21, 7, tzinfo=UTC) + timedelta(minutes=i) for i in range(2)]
HEAD = "time,device,value\n"
GOOD = f"{HEAD}2026-11-21T07:00,pump,1\n2026-11-21T07:01,pump,2\n"
BOTH = (1.0, 2.0)
REPLACED, OUTSIDE, LEFT_OUT = "were replaced", "outside the window", "were left out"

Seen = Reason | tuple[float, ...]


def readings() -> list[BadReadings]:
    """All of them; the same each time."""
    nested = [*_json(), *corpus_json.list_json(), *corpus_avro.list_avro()]
    return [*_texts(), *_cells(), *_times(), *_orders(), *nested, *_packed(), *_parquet()]


def _file(name: str, data: str | bytes, seen: Seen, says: str = "", fail: Seen | None = None) -> BadReadings:
    return BadReadings(
        name, data.encode() if isinstance(data, str) else data, seen, seen if fail is None else fail, says
    )


def _lines(*rows: str, head: str = HEAD) -> str:
    return head + "".join(f"2026-11-21T{row}\n" for row in rows)


def _texts() -> Iterator[BadReadings]:
    """The text of a CSV file as a whole."""
    yield _file("nothing.csv", b"", NONE, "no readings")
    yield _file("white-space.csv", b" \n\r\n\t\n", NONE, "no readings")
    yield _file("header-only.csv", HEAD, NONE, "no readings")
    yield _file("header-only-unended.csv", HEAD.strip(), NONE, "no readings")
    yield _file("bom.csv", codecs.BOM_UTF8 + GOOD.encode(), BOTH)
    yield _file("bom-alone.csv", codecs.BOM_UTF8, NONE, "no readings")
    yield _file("bom-twice.csv", codecs.BOM_UTF8 * 2 + GOOD.encode(), WHOLE, "in two ways")
    yield _file("crlf.csv", GOOD.replace("\n", "\r\n"), BOTH)
    yield _file("cr.csv", GOOD.replace("\n", "\r"), WHOLE, "")
    yield _file("utf-16-with-mark.csv", GOOD.encode("utf-16"), BOTH)
    yield _file("utf-16-cut-in-a-character.csv", GOOD.encode("utf-16")[:-1], WHOLE, "truncated")
    yield _file("utf-16-without-mark.csv", GOOD.encode("utf-16-le"), WHOLE, "NUL bytes")
    yield _file("utf-32-with-mark.csv", GOOD.encode("utf-32"), BOTH)
    yield _file(
        "latin-1.csv", (GOOD + "2026-11-21T07:02,pümp,1\n").encode("latin-1"), WHOLE, "line 4 has the byte 0xfc"
    )
    yield _file("nul-bytes.csv", GOOD.replace("pump", "pu\0mp"), WHOLE, "NUL bytes")
    yield _file("nul-behind.csv", GOOD + "\0" * 100, WHOLE, "NUL bytes")
    yield _file("html.csv", "<!DOCTYPE html><html>Sign in</html>", WHOLE, "is HTML")
    yield _file("avro.csv", b"Obj\x01\x04\x16avro.schema", WHOLE, "ends within its header")
    yield _file("orc.csv", b"ORC\x08\x03", WHOLE, "is an ORC file")
    yield _file("zip.csv", b"PK\x03\x04" + bytes(30), WHOLE, "is a zip archive")
    yield _file(
        "git-lfs-pointer.csv", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", WHOLE, "expected"
    )
    yield _file("semicolons.csv", GOOD.replace(",", ";"), WHOLE, "got 3 with semicolons: 'time', 'device'")
    yield _file(
        "tabs.csv", GOOD.replace(",", "\t"), WHOLE, "got 3 with tabs: 'time', 'device', 'value'; write the file"
    )
    yield _file("no-header.csv", GOOD.removeprefix(HEAD), WHOLE, "expected columns 'time'")
    yield _file("header-in-capitals.csv", GOOD.replace(HEAD, "Time,Device,Value\n"), WHOLE, "got 'Time'")
    yield _file("header-with-spaces.csv", GOOD.replace(HEAD, "time, device, value\n"), WHOLE, "got 'time', ' device'")
    yield _file("header-quoted.csv", GOOD.replace(HEAD, '"time","device","value"\n'), BOTH)
    yield _file("header-over-two-lines.csv", '"ti\nme",time,device,value\n1,2,pump,1\n', WHOLE, "in two ways")
    yield _file("header-of-an-empty-name.csv", _lines("07:00,pump,1,9", head="time,device,value,\n"), (1.0,))
    yield _file("comma-behind.csv", GOOD.replace("1\n", "1,\n").replace("2\n", "2,\n"), WHOLE, "Expected 3 columns")
    yield _file("no-time.csv", "device,value\npump,1\n", WHOLE, "expected columns 'time'")
    yield _file("no-device.csv", "time,value\n2026-11-21T07:00,1\n", WHOLE, "'device'")
    yield _file("no-value.csv", "time,device\n2026-11-21T07:00,pump\n", WHOLE, "or features")
    yield _file("value-twice.csv", _lines("07:00,pump,1,2", head="time,device,value,value\n"), WHOLE, "more than once")
    yield _file("device-twice.csv", _lines("07:00,pump,fan,2", head="time,device,device,value\n"), WHOLE, "than once")
    yield _file("a-column-more.csv", _lines("07:00,pump,x,1", head="time,device,note,value\n"), (1.0,))
    yield _file(
        "two-features-for-one.csv", _lines("07:00,pump,1,2", head="time,device,a,b\n"), WRONG, "expected 1 feature"
    )
    yield _file("columns-reordered.csv", "value,time,device\n1,2026-11-21T07:00,pump\n", (1.0,))
    yield _file("cut-in-a-row.csv", GOOD + "2026-11-21T07:02,pu", BOTH, "in the middle of a row")
    yield _file("cut-in-quotes.csv", GOOD + '2026-11-21T07:02,"pu', BOTH, "in the middle of a row")
    yield _file(
        "cut-in-a-character.csv", (GOOD + "2026-11-21T07:02,pump,3,ü").encode()[:-1], BOTH, "in the middle of a row"
    )
    yield _file("a-cell-less.csv", GOOD + "2026-11-21T07:02,pump\n", WHOLE, "Expected 3 columns, got 2")
    yield _file("very-many-columns.csv", "time,device," + "a," * 20_000 + "b\n", WHOLE, "more than once")


def _cells() -> Iterator[BadReadings]:
    said = "column 'value' has"
    for name, cell, kept in [
        ("decimal-comma-quoted", '"1,5"', False), ("thousands", "1_000", False), ("words", "ERR", False),
        ("unit", "21.5C", False), ("hexadecimal", "0x1F", False), ("arabic-digits", "١٢", False),
        ("formula", "=1+1", False), ("quotes-within", '"a""b"', False),
        ("nan", "NaN", True), ("infinite", "-Infinity", True), ("empty", "", True), ("null", "null", True),
        ("beyond-floats", "1e999", True),
    ]:  # fmt: skip
        text = _lines("07:00,pump,7", f"07:01,pump,{cell}")
        yield _file(f"cell-{name}.csv", text, (7.0,), LEFT_OUT, (7.0,) if kept else BAD)
        no_value = Reason.SENSOR_SILENT if name in ("infinite", "beyond-floats") else NONE
        alone = no_value if kept else BAD
        yield _file(f"cell-{name}-alone.csv", _lines(f"07:01,pump,{cell}"), alone, "" if kept else said)
    yield _file("decimal-comma.csv", _lines("07:00,pump,3,14"), WHOLE, "Expected 3 columns, got 4")
    yield _file("cell-with-spaces.csv", _lines("07:00,pump, 1 "), (1.0,))
    yield _file("cell-of-a-million-digits.csv", _lines("07:00,pump," + "1" * 10**6, "07:01,pump,2"), (2.0,))
    yield _file("newline-quoted.csv", _lines('07:00,pump,"x\ny",1', head="time,device,note,value\n"), (1.0,))
    yield _file("newline-in-a-number.csv", _lines('07:00,pump,"1\n"', "07:01,pump,2"), BOTH)
    yield _file("device-empty.csv", _lines("07:00,,9", "07:00,pump,1"), (1.0,))
    yield _file("device-in-other-case.csv", _lines("07:00,PUMP,9", "07:00,pump,1"), (1.0,))
    yield _file("device-with-a-space.csv", _lines("07:00,pump ,9", "07:00,pump,1"), (1.0,))
    yield _file("device-nobody-knows.csv", _lines("07:00,fan,9"), NONE, "no readings")


def _times() -> Iterator[BadReadings]:
    said = "expected an ISO 8601 time"
    for name, cell in {
        "german": "21.11.2026 07:01", "american": "11/21/2026 07:01", "words": "yesterday", "empty": "",
        "february-30": "2026-02-30T07:01", "hour-25": "2026-11-21T25:01", "time-alone": "07:01",
        "offset-99": "2026-11-21T07:01+99:00", "year-10000": "10000-11-21T07:01",
        "quoted-newline": '"2026-11-21\n07:01"',
    }.items():  # fmt: skip
        yield _file(f"time-{name}.csv", f"{_lines('07:00,pump,7')}{cell},pump,8\n", (7.0,), LEFT_OUT, BAD)
        yield _file(f"time-{name}-alone.csv", f"{HEAD}{cell},pump,8\n", BAD, said)
    yield _file("time-epoch.csv", f"{HEAD}1795244400,pump,1\n", WHOLE, "s, ms, us or ns")
    yield _file("time-epoch-among-iso.csv", f"{_lines('07:00,pump,7')}1795244400,pump,8\n", (7.0,), LEFT_OUT, BAD)
    yield _file("time-year-1.csv", f"{_lines('07:00,pump,7')}0001-01-01T00:00,pump,8\n", (7.0,), OUTSIDE)
    yield _file("time-year-9999.csv", f"{_lines('07:00,pump,7')}9999-12-31T23:59,pump,8\n", (7.0,), OUTSIDE)
    mixed = f"{HEAD}2026-11-21T08:00+01:00,pump,1\n2026-11-21T07:01Z,pump,2\n2026-11-21 07:02,pump,3\n"
    yield _file("time-of-mixed-offsets.csv", mixed, (1.0, 2.0, 3.0))


def _orders() -> Iterator[BadReadings]:
    yield _file("disorder.csv", _lines("07:01,pump,2", "07:00,pump,1"), BOTH)
    yield _file("duplicates.csv", _lines("07:00,pump,9", "07:00,pump,1", "07:01,pump,2"), BOTH, REPLACED)
    yield _file("duplicate-in-other-words.csv", _lines("07:00:00.000Z,pump,9", "07:00,pump,1"), (1.0,), REPLACED)
    yield _file("window-before.csv", _lines("06:59:59.999999,pump,9", "07:00,pump,1"), (1.0,), OUTSIDE)
    yield _file("window-after.csv", _lines("07:59:59.999999,pump,1", "08:00,pump,9"), (1.0,), OUTSIDE)
    yield _file("window-nothing-inside.csv", _lines("06:00,pump,9"), NONE, "no readings")


def _row(**more: Any) -> str:
    return json.dumps({"time": "2026-11-21T07:00Z", "device": "pump", "value": 1, **more}) + "\n"


def _json() -> Iterator[BadReadings]:
    good = _row()
    late = '{"time":"2026-11-21T07:01Z","device":"pump","value":'
    yield _file("key-twice.json", good[:-2] + ',"value":2}\n', WHOLE, "twice")
    yield _file("key-twice-in-text.json", good[:-2] + ',"value":"x"}\n', WHOLE, "twice")
    yield _file("nan.json", good + late + "NaN}\n", (1.0,), LEFT_OUT)
    yield _file("text-in-a-number.json", good + late + '"ERR"}\n', (1.0,), LEFT_OUT, BAD)
    yield _file("number-as-text.json", good + late + '"2"}\n', BOTH)
    yield _file("object-in-a-number.json", good + late + '{"a":1}}\n', (1.0,), LEFT_OUT, BAD)
    yield _file("null.json", good + late + "null}\n", (1.0,), LEFT_OUT)
    yield _file("true.json", good + late + "true}\n", (1.0, 1.0))
    yield _file("no-device.json", '{"time":"2026-11-21T07:00Z","value":1}\n', WHOLE, "expected columns")
    yield _file("a-key-more.json", _row(note="x"), (1.0,))
    yield _file("half-a-character.json", good + late + '"\\ud800"}\n', WHOLE, "surrogates not allowed")
    yield _file("half-a-character-as-device.json", good + _row(device="\ud800"), WHOLE, "surrogates not allowed")
    yield _file("number-of-5000-digits.json", good + late + "1" * 5000 + "}\n", (1.0,))
    yield _file("bom.json", codecs.BOM_UTF8 + good.encode(), (1.0,))
    yield _file("crlf.json", good.replace("\n", "\r\n"), (1.0,))


def _zip(text: str) -> bytes:
    return gzip.compress(text.encode(), mtime=0)


def _packed() -> Iterator[BadReadings]:
    whole = _zip(GOOD)
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    yield _file("good.csv.gz", whole, BOTH)
    yield _file("two-members.csv.gz", _zip(HEAD) + _zip(GOOD[len(HEAD) :]), BOTH)
    yield _file("cut.csv.gz", whole[:-9], WHOLE, "truncated or corrupt gzip")
    yield _file("cut-in-the-header.csv.gz", whole[:5], WHOLE, "truncated or corrupt gzip")
    yield _file("wrong-checksum.csv.gz", whole[:-8] + bytes(4) + whole[-4:], WHOLE, "truncated or corrupt gzip")
    yield _file("of-nothing.csv.gz", gzip.compress(b"", mtime=0), NONE, "no readings")
    yield _file("of-gzip.csv.gz", gzip.compress(whole, mtime=0), WHOLE, "")
    yield _file("of-parquet.csv.gz", gzip.compress(_to_parquet(), mtime=0), WHOLE, "")
    yield _file("noise-behind.csv.gz", whole + b"noise", WHOLE, "truncated or corrupt gzip")
    yield _file("of-zeros.csv.gz", bomb.compress(bytes(2**24)) + bomb.flush(), WHOLE, "NUL bytes")
    yield _file("xz.csv", b"\xfd7zXZ\x00" + bytes(20), WHOLE, "compressed by xz")
    yield _file("zstandard.csv", b"\x28\xb5\x2f\xfd" + bytes(20), WHOLE, "compressed by Zstandard")


def _to_parquet(how: dict[str, Any] | None = None, **columns: Any) -> bytes:
    table = {"time": pa.array(TIMES, pa.timestamp("us", "UTC")), "device": ["pump"] * 2, "value": [1.0, 2.0], **columns}
    sink = io.BytesIO()
    pq.write_table(pa.table({k: v for k, v in table.items() if v is not None}), sink, **(how or {}))
    return sink.getvalue()


def _parquet() -> Iterator[BadReadings]:
    good = _to_parquet()
    how = {"write_page_checksum": True, "compression": "none", "use_dictionary": False, "write_statistics": False}
    flipped = bytearray(_to_parquet(how, value=[1.0, np.pi]))
    flipped[flipped.index(np.float64(np.pi).tobytes())] ^= 1
    yield _file("good.parquet", good, BOTH)
    yield _file("cut.parquet", good[:-20], WHOLE, "expected a footer")
    yield _file("cut-in-the-middle.parquet", good[: len(good) // 2], WHOLE, "expected a footer")
    yield _file("four-bytes.parquet", b"PAR1", WHOLE, "Parquet")
    yield _file("encrypted.parquet", good[:-4] + b"PARE", WHOLE, "encrypted")
    yield _file("footer-of-4-gb.parquet", good[:-8] + b"\xff\xff\xff\xff" + b"PAR1", WHOLE, "expected a footer")
    yield _file("footer-of-nothing.parquet", good[:-8] + bytes(4) + b"PAR1", WHOLE, "Parquet")
    yield _file("footer-of-noise.parquet", good[:-60] + b"\x15" * 52 + good[-8:], WHOLE, "Parquet")
    yield _file("flipped-bit.parquet", bytes(flipped), WHOLE, "Parquet")
    yield _file("no-time.parquet", _to_parquet(time=None), WHOLE, "expected columns")
    yield _file("no-value.parquet", _to_parquet(value=None), WHOLE, "or features")
    yield _file("time-as-text.parquet", _to_parquet(time=["2026-11-21T07:00", "x"]), (1.0,), LEFT_OUT, BAD)
    yield _file("time-as-numbers.parquet", _to_parquet(time=[1795244400, 1]), WHOLE, "s, ms, us or ns")
    yield _file("time-as-a-list.parquet", _to_parquet(time=[[1], [2]]), WHOLE, "expected timestamps")
    yield _file("device-as-numbers-with-fractions.parquet", _to_parquet(device=[1.5, 2.5]), WHOLE, "whole numbers")
    yield _file("device-of-bytes.parquet", _to_parquet(device=[b"\xff", b"pump"]), WHOLE, "")
    yield _file("value-as-text.parquet", _to_parquet(value=["1", "ERR"]), (1.0,), LEFT_OUT, BAD)
    yield _file("value-as-a-list.parquet", _to_parquet(value=[[1.0], [2.0]]), BAD, "column 'value'")
    yield _file("value-null.parquet", _to_parquet(value=[1.0, None]), (1.0,), LEFT_OUT)
    yield _file("value-nan.parquet", _to_parquet(value=[1.0, float("nan")]), (1.0,), LEFT_OUT)
    yield _file("value-as-time.parquet", _to_parquet(value=TIMES), BAD, "column 'value'")
    yield _file("no-rows.parquet", _to_parquet(time=pa.array([], pa.timestamp("us")), device=pa.array([], pa.string()),
                                               value=pa.array([], pa.float64())), NONE, "no readings")  # fmt: skip
