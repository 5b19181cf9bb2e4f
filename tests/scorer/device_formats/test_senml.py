"""SenML: base fields hold record by record, as RFC 8428 says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.scorer.device_formats.converting import convert, list_rows, run

T = 1_795_244_400  # 2026-11-21T07:00:00Z


def write(folder: Path, *packs: object) -> Path:
    path = folder / "readings.json"
    path.write_text("\n".join(pack if isinstance(pack, str) else json.dumps(pack) for pack in packs))
    return path


def test_base_fields_hold_until_a_record_changes_them(tmp_path: Path) -> None:
    pack = [
        {"bn": "urn:dev:ow:1:", "bt": T, "bu": "Cel", "bv": 20, "n": "temp", "v": 3},
        {"n": "temp", "t": 1, "v": 4},
        {"n": "hum", "u": "%RH", "v": 40},
        {"bn": "urn:dev:ow:2:", "bt": T + 10, "bv": 0, "n": "temp", "v": 30},
        {"n": "temp", "t": -5, "v": 31},
    ]
    assert list_rows(convert(tmp_path, write(tmp_path, pack), "--long")) == [
        (0, "urn:dev:ow:1", "hum", 60),
        (0, "urn:dev:ow:1", "temp", 23),
        (1, "urn:dev:ow:1", "temp", 24),
        (5, "urn:dev:ow:2", "temp", 31),
        (10, "urn:dev:ow:2", "temp", 30),
    ]


def test_base_fields_end_with_their_pack(tmp_path: Path) -> None:
    packs = [
        [{"bn": "pump1:", "bt": T, "bv": 100, "bu": "Cel", "n": "temp", "v": 1}],
        [{"n": "pump2:temp", "t": T, "v": 2, "u": "Cel"}],
    ]
    assert list_rows(convert(tmp_path, write(tmp_path, *packs))) == [(0, "pump1", 101), (0, "pump2", 2)]


def test_booleans_are_numbers_and_texts_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = [
        {"bn": "pump1/", "bt": T, "n": "on", "vb": True},
        {"n": "on", "t": 1, "vb": False},
        {"n": "label", "vs": "Machine Room"},
        {"n": "nfc", "vd": "aGkgCg"},
        {"n": "on", "t": 2, "vb": True, "x": 1},
    ]
    rows = list_rows(convert(tmp_path, write(tmp_path, pack)))
    assert rows == [(0, "pump1", 1), (1, "pump1", 0), (2, "pump1", 1)]
    assert "left out: 1 binary values, 1 fields with unknown labels, 1 texts" in capsys.readouterr().out


def test_a_sum_counts_only_where_there_is_no_value(tmp_path: Path) -> None:
    pack = [
        {"bn": "pump1:", "bt": T, "bs": 1000, "n": "energy", "s": 5},
        {"n": "energy", "t": 1, "s": 7, "v": 40},
    ]
    assert list_rows(convert(tmp_path, write(tmp_path, pack))) == [(0, "pump1", 1005), (1, "pump1", 40)]


def test_relative_times_need_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, [{"bn": "pump1:", "n": "temp", "t": -5, "v": 1}, {"n": "temp", "v": 2}])
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "record 1: expected a time since 1970, got -5 s" in capsys.readouterr().err
    assert not (tmp_path / "readings").exists()
    rows = list_rows(convert(tmp_path, path, "--now", "2026-11-21T08:00:10+01:00"))
    assert rows == [(5, "pump1", 1), (10, "pump1", 2)]


@pytest.mark.parametrize(
    ("pattern", "name", "names"),
    [
        ("", "urn:dev:ow:10e2073a01080063:temp", ("urn:dev:ow:10e2073a01080063", "temp")),
        ("", "line1/temp", ("line1", "temp")),
        ("{device}_{sensor}", "urn:dev:mac:0024befffe804ff1_in_temp", ("urn:dev:mac:0024befffe804ff1_in", "temp")),
        ("{device}", "urn:dev:ow:10e2073a01080063", ("urn:dev:ow:10e2073a01080063", "value")),
        ("site-{sensor}@{device}", "site-temp@pump1", None),
    ],
)
def test_a_name_is_device_and_sensor_as_the_pattern_says(
    tmp_path: Path, pattern: str, name: str, names: tuple[str, str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, [{"n": name, "t": T, "v": 1}])
    if names is None:
        assert run(path, "--into", tmp_path / "readings", "--name-pattern", pattern) == 2
        assert "expected a name of letters, digits and -:./_, got 'site-temp@pump1'" in capsys.readouterr().err
    else:
        rows = list_rows(convert(tmp_path, path, "--long", "--name-pattern", pattern))
        assert rows == [(0, *names, 1)]


@pytest.mark.parametrize("name", ["urn:dev:ow:10e2073a01080063", "temp", ":temp", "pump1:"])
def test_a_name_without_device_or_sensor_is_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, [{"n": name, "t": T, "v": 1}]), "--into", tmp_path / "readings") == 2
    assert "expected a name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"v": 1, "vs": "a"}, "expected one value, got v and vs"),
        ({}, "expected a value or a sum in a record with a name or a time, got neither"),
        ({"v": "1"}, "expected a number as v, got '1'"),
        ({"v": True}, "expected a number as v, got True"),
        ({"vb": 1}, "expected true or false as vb, got 1"),
        ({"v": 1, "mandatory_": 1}, "expected labels that RFC 8428 defines, got 'mandatory_'"),
        ({"v": 1, "bver": 11}, "expected bver (10, 26), the same in the whole pack, got 11"),
        ({"v": 1, "u": 5}, "expected a text as u, got 5"),
        ({"v": 1, "t": 0}, "set --now"),
        ({"v": 1, "t": 1e30}, "record 1: expected a time from 1990 to 2100, got 1e+30 s from 1970"),
        ({"v": 1, "t": 10**30}, "record 1: expected a time from 1990 to 2100, got 1e+30 s from 1970"),
        ({"v": 1, "bt": -1e308}, "record 1: expected a time from 1990 to 2100, got -1e+308 s from 1970"),
        ({"v": 10**400}, "record 1: expected a finite number as v, got 1000"),
        ({"v": 10**308, "bv": 10**308}, "record 1: expected numbers below 1.8e308, got a larger one"),
        ({"v": 1, "t": 4_200_000_000}, "expected times from 1990 to 2100, got 2103-02-04T02:40:00+00:00"),
    ],
)
def test_a_record_that_is_none_is_refused(
    tmp_path: Path, record: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, [{"n": "pump1:temp", "t": T, **record}]), "--into", tmp_path / "readings") == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"n":"a:b","t":1795244400,"v":NaN}]', "NaN is no number of JSON"),
        ('[{"n":"a:b","t":1795244400,"v":1e999}]', "expected a finite number as v, got inf"),
        ('[{"n":"a:b","t":1795244400,"v":1,"v":2}]', "a label comes twice"),
        ('[{"n":"a:b","t":1795244400,"v":1}', "expected , between records, got the end of the file"),
        ('[{"n":"a:b","t":1795244400,"v":1},]', "expected a record in JSON, got ']'"),
        ("[]", "expected readings, got none in 1 files"),
        ('[{"bn":"a:"}, 5]', "record 2: expected a record, got 5"),
    ],
)
def test_what_is_no_pack_is_refused(
    tmp_path: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(write(tmp_path, text), "--into", tmp_path / "readings") == 2
    assert message in capsys.readouterr().err


def test_one_sensor_has_one_unit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = [{"bn": "pump1:", "n": "temp", "bt": T, "u": "Cel", "v": 1}, {"n": "temp", "t": 1, "u": "K", "v": 274}]
    assert run(write(tmp_path, pack), "--into", tmp_path / "readings") == 2
    assert "expected one unit for the sensor 'temp' of the device 'pump1', got 'Cel' and 'K'" in capsys.readouterr().err


def test_a_label_says_which_readings_are_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pack = [{"bn": "pump1:", "bt": T, "n": "temp", "v": 1, "q": "ok"}, {"n": "temp", "t": 1, "v": 2, "q": "bad"},
            {"n": "temp", "t": 2, "v": 3}]  # fmt: skip
    rows = list_rows(convert(tmp_path, write(tmp_path, pack), "--quality", "q=ok"))
    assert rows == [(0, "pump1", 1), (1, "pump1", None), (2, "pump1", None)]
    assert "2 of 3 readings are gaps: 2 bad quality" in capsys.readouterr().out


def test_a_pack_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    pack = [{"n": "pump1:temp", "t": T + i, "v": i} for i in range(20_000)]
    table = convert(tmp_path, write(tmp_path, pack))
    assert table["temp"].to_pylist() == list(range(20_000))
