"""Flat lines of JSON by the kernel: the same rows as by the reader of any JSON, or none."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from scorer.kernels import dispatch
from scorer.readings.device_readings import Readings
from scorer.readings.nested import flat_lines
from scorer.readings.nested.flat_lines import find_form, read_flat
from shared.contract.model_names import Columns
from shared.contract.scoring_options import ReadingOptions, TimeFormat
from tests.scorer.readings.seen import read

DEVICES = ("pump", "7", "Größe", "a,b", "")
LINES = [
    b'{"time":"2026-11-21T07:00:00Z","device":"pump","a":1,"b":-0.5e3}',
    b'{ "time" : "2026-11-21T07:01:00+01:00", "device":"pump","a":  12345678901234567890.25 ,"b":null }  ',
    b'{"time":"2026-11-21T07:02:00Z","device":"a,b","a":0.1,"b":9007199254740993}\r',
    b'{"time":null,"device":"7","a":-0.0,"b":1e400}',
    '{"time":"2026-11-21T07:03:00Z","device":"Größe","a":0,"b":1E-7}'.encode(),
    b'{"time":"2026-11-21T07:04:00Z","device":"","a":0,"b":1}',
]
ODD = [
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","b":1,"a":2}', b'{"time":"2026-11-21T07:05:00Z","device":"pump"}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":2,"c":3}', b"", b"{}", b"[]", b"null", b"{",
    b'{"time":"2026-11-21T07:05:00Z","device":"pu\\u006dp","a":1,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":"1.5","b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":true,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":-0,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":01,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1.,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":.5,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":+1,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":NaN,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":{"c":2}}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":[2]}',
    b'{"time":"2026-11-21T07:05:00Z","device":5,"a":1,"b":2}',
    b'{"time":1763708700,"device":"pump","a":1,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":2}{"time":"2026-11-21T07:06:00Z","device":"pump"}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":2},',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1 2,"b":2}',
    b'{"time":"2026-11-21T07:05:00Z","device":"pump","a":1,"b":2',
]  # fmt: skip
FORMS = [
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a": 1, "unit": text} for text in ("bar", "2026-11-21", None)],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a": 1, "unit": text} for text in ("2026-11-21", "bar", "7")],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a": 1, "unit": text} for text in ("12", "13.5", "null")],
    [{"time": "2026-11-21T07:00:00Z", "device": device, "a": 1} for device in (5, 2**63, None)],
    [{"time": "2026-11-21T07:00:00Z", "device": device, "a": 1} for device in (5, 6.0)],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a": a} for a in (None, None)],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a": a} for a in (1, 2**70)],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "sensor": s, "value": 2.5} for s in ("t", "p", None)],
    [{"time": "2026-11-21T07:00:00Z", "device": "pump", "a.b": 2.5, "c": 1}],
    [{"time": "2026-11-21T07:00:00Z", "Body": 1, "EnqueuedTimeUtc": "x", "device": "pump", "c": 1}],
]


def describe(readings: Readings) -> list[object]:
    """All that reading gave, to compare."""
    frames = [
        (frame.features, frame.long, *(column if column is None else column.tobytes() for column in columns))
        for frame in readings.frames
        for columns in [(frame.starts, frame.sensor, frame.time, frame.values)]
    ]
    columns = [*readings.columns], readings.sensors, readings.layouts
    counts = readings.missing, readings.outside, readings.unusable, readings.without_offset, readings.repeated
    return [frames, *columns, readings.bad, readings.unreadable, readings.numberless, *counts]


def expect_same(root: Path, data: bytes, monkeypatch: pytest.MonkeyPatch, policy: ReadingOptions | None = None) -> None:
    (root / "a").write_bytes(data)
    flat = describe(read(root, *DEVICES, policy=policy or ReadingOptions()))
    with monkeypatch.context() as patch:
        patch.setattr(flat_lines, "find_kernels", lambda: None)
        assert flat == describe(read(root, *DEVICES, policy=policy or ReadingOptions()))


@pytest.fixture(autouse=True)
def _needs_numba() -> None:
    if dispatch.get_backend() != "numba":
        pytest.skip("there is no numba")


def test_flat_lines_are_read_by_the_kernel() -> None:
    text = b"\n".join(LINES)
    form = find_form(text, Columns())
    assert form is not None
    rows = read_flat(text, form)

    assert rows is not None
    assert rows["a"].to_pylist() == [1.0, 12345678901234567890.25, 0.1, -0.0, 0.0, 0.0]
    assert rows["b"].to_pylist() == [-500.0, None, 9007199254740992.0, np.inf, 1e-7, 1.0]
    assert rows["device"].cast(pa.string()).to_pylist() == ["pump", "pump", "a,b", "7", "Größe", ""]
    assert rows["time"].null_count == 1


@pytest.mark.parametrize("line", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_line_of_another_kind_is_read_as_without_the_kernel(
    place: int, line: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for end in (b"", b"\n"):
        expect_same(tmp_path, b"\n".join([*LINES[:place], line, *LINES[place:]]) + end, monkeypatch)


@pytest.mark.parametrize("objects", FORMS, ids=range(len(FORMS)))
@pytest.mark.parametrize("time", [TimeFormat.ISO, TimeFormat.S])
def test_objects_of_any_form_are_read_as_without_the_kernel(
    time: TimeFormat, objects: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = ReadingOptions(time=time)
    if time is TimeFormat.S:
        objects = [{**item, "time": 1_795_244_400 + index * 0.5 * (index % 2)} for index, item in enumerate(objects)]
    data = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in objects).encode()
    expect_same(tmp_path, data, monkeypatch, policy)


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_text_is_read_as_without_the_kernel(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    for _ in range(60):
        data = bytearray(b"\n".join(LINES) + b"\n")
        for _ in range(dice.randrange(1, 3)):
            data[dice.randrange(len(data))] = dice.choice(b'{}[]",:.-+eE019 nultrue\t\n\r\\a\x01')
        expect_same(tmp_path, bytes(data), monkeypatch)


def test_a_text_that_is_cut_anywhere_is_read_as_without_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = b"\n".join(LINES[:3])
    for length in range(1, len(data), 3):
        expect_same(tmp_path, data[:length], monkeypatch)


def test_without_numba_there_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_chosen", {"numpy": dispatch})
    form = find_form(LINES[0], Columns())
    assert form is not None
    assert read_flat(LINES[0], form) is None


def test_blocks_of_several_kinds_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.readings.nested.json_text.BLOCK", 200)
    monkeypatch.setattr("scorer.readings.nested.json_text._LINES", 1)
    for line in ODD:
        expect_same(tmp_path, b"\n".join([*LINES, *LINES[:2], line, *LINES]), monkeypatch)


def test_refusals_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"time":"2026-11-21T07:00:00Z","id":"pump","a":1}\n' * 3
    expect_same(tmp_path, data, monkeypatch)
