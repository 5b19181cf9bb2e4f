"""The files of JSON of the corpus: arrays, nested objects, arrays of values, routed messages, and what is wrong."""

from __future__ import annotations

import base64
import codecs
import json
from collections.abc import Iterator
from typing import Any

from shared.contract.reasons import Reason
from tests.scorer.corpus.corpus import BadReadings

BAD, WHOLE, NONE = Reason.BAD_READINGS, Reason.UNREADABLE_READINGS, Reason.NO_READINGS
CUT, LEFT_OUT, NO_ARRAY = "in the middle of a row", "were left out", "expected an array of objects"
NESTED = "time=meta.ts,device=meta.device.id,features=telemetry.*"
ROUTED = "time=EnqueuedTimeUtc,device=SystemProperties.connectionDeviceId"
BOTH = (1.0, 2.0)

Seen = Reason | tuple[float, ...]


def list_json() -> Iterator[BadReadings]:
    """All of them; the same each time."""
    yield from _arrays()
    yield from _cuts()
    yield from _nested()
    yield from _series()
    yield from _routed()
    yield from _shapes()


def _file(name: str, data: str | bytes, seen: Seen, says: str = "", columns: str = "", fail: Seen | None = None) -> Any:
    content = data.encode() if isinstance(data, str) else data
    return BadReadings(f"{name}.json", content, seen, seen if fail is None else fail, says, columns)


def _row(minute: int = 0, value: Any = 1, **more: Any) -> str:
    return json.dumps({"time": f"2026-11-21T07:{minute:02}Z", "device": "pump", "value": value, **more})


def _arrays() -> Iterator[BadReadings]:
    first, second = _row(0, 1), _row(1, 2)
    pretty = json.dumps([json.loads(first), json.loads(second)], indent=2)
    yield _file("array-of-one", f"[{first}]", (1.0,))
    yield _file("array-in-a-line", f"[{first},{second}]", BOTH)
    yield _file("array-over-lines", f"[{first},\n{second}]\n", BOTH)
    yield _file("array-with-commas-first", f"[\n {first}\n,{second}\n]", BOTH)
    yield _file("array-pretty", pretty, BOTH)
    yield _file("array-pretty-crlf", pretty.replace("\n", "\r\n"), BOTH)
    yield _file("array-with-bom", codecs.BOM_UTF8 + pretty.encode(), BOTH)
    yield _file("array-in-utf-16", pretty.encode("utf-16"), BOTH)
    yield _file("array-of-nothing", "[]", NONE, "no readings")
    yield _file("array-of-nothing-objects", "[{}, {}]", WHOLE, "got no field")
    yield _file("arrays-in-lines", f"[{first}]\n[{second}]\n", BOTH)
    yield _file("arrays-among-lines", f"{first}\n[{second}]\n", BOTH)
    yield _file("arrays-on-one-line", f"[{first}][{second}]\n", BOTH)
    yield _file("objects-over-lines", pretty[1:-1].replace("},", "}"), BOTH)
    yield _file("objects-with-commas", f"{first},\n{second}\n", WHOLE, "JSON parse error")
    yield _file(
        "array-with-brackets-in-text", f"[{_row(0, 1, note='][}{,')},{_row(1, 2, note=chr(92) + chr(34))}]", BOTH
    )
    yield _file("array-of-numbers", "[1, 2]", WHOLE, NO_ARRAY)
    yield _file("array-of-arrays", f"[[{first}]]", WHOLE, NO_ARRAY)
    yield _file("array-of-texts", '["a"]', WHOLE, "JSON parse error")
    yield _file("array-without-a-comma", f"[{first} {second}]", WHOLE, NO_ARRAY)
    yield _file("array-with-a-comma-more", f"[{first},]", WHOLE, NO_ARRAY)
    yield _file("array-with-a-word", f"[{first}, x]", WHOLE, NO_ARRAY)
    yield _file("array-closed-twice", f"[{first}]]", WHOLE, "closes nothing")
    yield _file("array-and-more", f"[{first}] and more", WHOLE, "JSON parse error")
    yield _file("array-without-a-brace", f"[{first[:-1]},\n{second},\n{second}]", WHOLE, "JSON parse error")
    yield _file("object-without-a-brace", f"{first[:-1]}\n{second}\n{second}\n", WHOLE, "JSON parse error")
    without_quote = first.replace('"pump"', '"pump')
    yield _file("object-without-a-quote", f"{without_quote}\n{second}\n", WHOLE, "JSON parse error in line 1")
    yield _file("last-object-without-a-quote", f"{second}\n{without_quote}\n{first}", WHOLE, "JSON parse error")


def _cuts() -> Iterator[BadReadings]:
    first, second = _row(0, 1), _row(1, 2, note="pümp")
    yield _file("cut", f"{first}\n{second[:30]}", (1.0,), CUT)
    yield _file("cut-after-a-brace", f"{first}\n" + '{"a": {"b": 1}', (1.0,), CUT)
    yield _file("cut-in-a-character", f"{first}\n{second}".encode()[:-5], (1.0,), CUT)
    yield _file("cut-in-an-escape", f"{first}\n" + '{"note": "\\u00f', (1.0,), CUT)
    yield _file("cut-in-a-word", f"{first}\n" + '{"note": tru', (1.0,), CUT)
    yield _file("cut-alone", first[:30], NONE, "no readings")
    yield _file("cut-at-the-end-of-a-line", f"{first}\n{_row(1, 2)}", BOTH)
    yield _file("cut-array", f"[{first},\n{second[:30]}", (1.0,), CUT)
    yield _file("cut-array-still-open", f"[{first}", (1.0,), CUT)
    yield _file("cut-array-after-a-comma", f"[{first},\r\n", (1.0,), CUT)
    yield _file("cut-array-alone", "[", NONE, "no readings")
    yield _file("cut-array-in-a-line", f"[{first}]\n[{second[:30]}", (1.0,), CUT)
    yield _file("broken-in-the-middle", f"{first}\n{second[:30]}\n{second}\n", WHOLE, "JSON parse error")
    yield _file("broken-at-the-end", f"{first}\nnot JSON", WHOLE, "JSON parse error")
    yield _file(
        "latin-1", f"{first}\n{second}\n".replace("\\u00fc", "ü").encode("latin-1"), WHOLE, "line 2 has the byte"
    )


def _event(telemetry: Any, **more: Any) -> str:
    meta = {"ts": "2026-11-21T07:00:00Z", "device": {"id": "pump"}}
    return json.dumps({"meta": meta, "telemetry": telemetry, **more}) + "\n"


def _nested() -> Iterator[BadReadings]:
    good, ids = _event({"temp": 1}), NESTED.rpartition(",")[0]
    flat = {"meta.ts": "2026-11-21T07:00:00Z", "meta.device.id": "pump"}
    yield _file("nested", good, (1.0,), "", NESTED)
    yield _file("nested-without-settings", good, WHOLE, "time=meta.ts,device=meta.device.id,features=telemetry.*")
    yield _file("nested-without-features", good, WHOLE, "set READINGS_COLUMNS (--columns) features=telemetry.*", ids)
    yield _file("nested-beside-features", _event({"temp": 9}, q=1), (1.0,), "", ids)
    yield _file(
        "nested-without-that-object", _event({"temp": 9}, q=1), WHOLE, "features below 'data'", f"{ids},features=data.*"
    )
    yield _file("nested-value", _event({"value": 1}), (1.0,), "", f"{ids},value=telemetry.value")
    yield _file("nested-twice", _event({"motor": {"temp": 1}}), (1.0,), "", NESTED)
    yield _file("nested-of-two-features", _event({"a": 1, "b": 2}), Reason.WRONG_FEATURES, "expected 1 feature", NESTED)
    yield _file("nested-names-with-dots", json.dumps({**flat, "telemetry.temp": 1}), (1.0,), "", NESTED)
    both = {**flat, "meta": {"ts": "2026-11-21T07:00:00Z"}, "telemetry.temp": 1}
    yield _file("nested-and-with-dots", json.dumps(both), WHOLE, "has 'meta.ts' in two ways", NESTED)
    later = f"{_event({'temp': 1})}{json.dumps({**flat, 'telemetry.temp': 1})}\n"
    yield _file("nested-then-with-dots", later, WHOLE, "in two ways", NESTED)
    yield _file(
        "nested-feature-with-dots", _event({"temp": 1}, **{"telemetry.temp": 2}), WHOLE, "more than once", NESTED
    )
    yield _file(
        "nested-feature-like-a-column",
        _event({"device": 1}),
        WHOLE,
        "set READINGS_COLUMNS",
        "time=meta.ts,device=meta.device.id,sensor=device,features=telemetry.*",
    )
    yield _file(
        "nested-of-mixed-types",
        _event({"temp": 1}) + _event({"temp": "ERR"}).replace("00:00Z", "01:00Z"),
        (1.0,),
        LEFT_OUT,
        NESTED,
        BAD,
    )
    yield _file(
        "nested-object-in-a-number",
        _event({"temp": 1}) + _event({"temp": {"a": 1}}).replace("00:00Z", "01:00Z"),
        (1.0,),
        LEFT_OUT,
        "time=meta.ts,device=meta.device.id,value=telemetry.temp",
        BAD,
    )
    yield _file("nested-null", _event({"temp": 1}) + _event(None).replace("00:00Z", "01:00Z"), (1.0,), LEFT_OUT, NESTED)
    yield _file("nested-text", _event("x"), WHOLE, "features below 'telemetry'", NESTED)
    yield _file("nested-array", f"[{_event({'temp': 1})}]", (1.0,), "", NESTED)
    yield _file(
        "nested-device-lacks",
        json.dumps({"meta": {"ts": "2026-11-21T07:00Z"}, "telemetry": {"a": 1}}),
        WHOLE,
        "expected columns",
        NESTED,
    )


def _series() -> Iterator[BadReadings]:
    three, step = _row(0, [1, 2, 3]), "step=10s"
    yield _file("series", three, (1.0, 2.0, 3.0), "", step)
    yield _file("series-without-a-step", three, WHOLE, "set READINGS_COLUMNS (--columns) step=10s")
    yield _file("series-with-a-field", _row(0, [1, 2], step=10), BOTH, "", "step=step:s")
    yield _file(
        "series-without-its-field", _row(0, [1, 2]) + "\n" + _row(1, [5]), (5.0,), "lack a step", "step=step:s", WHOLE
    )
    yield _file(
        "series-with-a-step-of-0",
        _row(0, [1, 2], step=0) + "\n" + _row(1, [5], step=1),
        (5.0,),
        "lack a step",
        "step=step:s",
        WHOLE,
    )
    yield _file(
        "series-of-other-lengths",
        _row(0, [1, 2], value2=[1]) + "\n" + _row(1, [5]),
        (5.0,),
        "differ in length",
        step,
        WHOLE,
    )
    yield _file("series-of-nothing", _row(0, []) + "\n" + _row(1, [5]), (5.0,), "", step)
    yield _file("series-with-a-gap", _row(0, [1, None, 3]), (1.0, 3.0), LEFT_OUT, step)
    yield _file("series-of-texts", _row(0, [1, "ERR", 3]), (1.0, 3.0), LEFT_OUT, step, BAD)
    yield _file("series-of-arrays", _row(0, [[1], [2]]), BAD, "expected a number", step)
    yield _file("series-beside-single-values", _row(0, [1, 2]) + "\n" + _row(1, 5), (1.0, 2.0, 5.0), "", step)
    yield _file(
        "series-without-a-time",
        json.dumps({"device": "pump", "value": [1, 2]}),
        WHOLE,
        "need the column of times",
        step,
    )
    yield _file(
        "series-with-a-bad-time",
        _row(0, [1, 2]) + "\n" + _row(1, [5]).replace("07:01Z", "99:01Z"),
        BOTH,
        "not a time",
        step,
        BAD,
    )


def _message(body: Any, minute: int = 0, **more: Any) -> str:
    beside = {"EnqueuedTimeUtc": f"2026-11-21T07:{minute:02}:00.1230000Z", "Properties": {"value": 9}}
    return json.dumps({**beside, "SystemProperties": {"connectionDeviceId": "pump"}, "Body": body, **more}) + "\n"


def _encode(body: Any) -> str:
    return base64.b64encode(json.dumps(body).encode()).decode()


def _routed() -> Iterator[BadReadings]:
    good, broken = _message({"value": 1}), "Body is neither JSON"
    yield _file("routed", good, (1.0,), "", ROUTED)
    yield _file("routed-without-settings", good, WHOLE, "expected columns 'time', 'device'")
    yield _file("routed-named-with-body", good, (1.0,), "", f"{ROUTED},value=Body.value")
    yield _file("routed-features-of-body", good, (1.0,), "", f"{ROUTED},features=Body.*")
    yield _file(
        "routed-time-of-body",
        _message({"ts": "2026-11-21T07:00Z", "value": 1}),
        (1.0,),
        "",
        ROUTED.replace("EnqueuedTimeUtc", "ts"),
    )
    yield _file("routed-in-base64", _message(_encode({"value": 1})), (1.0,), "", ROUTED)
    yield _file("routed-in-base64-arrays", _message(_encode([{"value": 9}, {"value": 1}])), (1.0,), "", ROUTED)
    yield _file("routed-in-text", _message('{"value": 1}'), (1.0,), "", ROUTED)
    yield _file("routed-in-both", good + _message(_encode({"value": 2}), 1), BOTH, "", ROUTED)
    yield _file(
        "routed-in-bad-base64", _message(_encode({"value": 1})) + _message("?x?", 1), (1.0,), broken, ROUTED, WHOLE
    )
    yield _file(
        "routed-of-no-json",
        _message(_encode({"value": 1})) + _message("bm8ganNvbg==", 1),
        (1.0,),
        broken,
        ROUTED,
        WHOLE,
    )
    yield _file("routed-of-null", good + _message(None, 1), (1.0,), broken, ROUTED, WHOLE)
    yield _file("routed-of-a-number", good + _message(5, 1), (1.0,), broken, ROUTED, WHOLE)
    yield _file("routed-deep", good + _message(base64.b64encode(b"[" * 500).decode(), 1), (1.0,), broken, ROUTED, WHOLE)
    yield _file("routed-nothing-but-broken", _message("?x?"), NONE, "no readings", ROUTED, WHOLE)
    yield _file("routed-in-an-array", f"[{good},{_message({'value': 2}, 1)}]", BOTH, "", ROUTED)
    yield _file("body-of-its-own", _row(Body={"value": 9}), (1.0,))


def _shapes() -> Iterator[BadReadings]:
    wide = {f"c{i}": i for i in range(10_000)}
    yield _file("wide", _row(**wide), (1.0,))
    yield _file("too-wide", _row(**wide, **{f"d{i}": i for i in range(10_001)}), WHOLE, "at most 20000")
    keys = "".join(_row(0, 1, **{f"id-{i}": 1}) + "\n" for i in range(3000))
    yield _file("keys-that-are-values", keys, WHOLE, "a key must name a column")
    yield _file("deep", _row(note=None).replace("null", "[" * 1000 + "]" * 1000), WHOLE, "nested deeper than 200")
    yield _file("deep-open", _row()[:-1] + ',"note":' + "[" * 1000, WHOLE, "nested deeper than 200")
    yield _file("deep-over-lines", _row()[:-1] + ',"note":' + "[\n" * 1000 + "]\n" * 1000 + "}", WHOLE, "nested deeper")
    yield _file("brackets-in-text", _row(note="[" * 1000), (1.0,))
    yield _file("time-of-a-day", _row().replace("T07:00Z", ""), WHOLE, "")
    yield _file("device-like-a-time", _row() + "\n" + _row(1, 9).replace("pump", "2026-11-21"), (1.0,))
    yield _file("device-a-number", _row() + "\n" + _row(1, 9).replace('"pump"', "5"), (1.0,))
    yield _file("device-an-object", _row().replace('"pump"', '{"id": "pump"}'), WHOLE, "device=device.id")
