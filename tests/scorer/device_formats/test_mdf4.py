"""MDF4: each channel keeps its own times, and what is no reading is a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from asammdf.blocks.conversion_utils import from_dict

from tests.scorer.device_formats.converting import MICROS, convert, list_rows, make_signal, run, write_mdf


def test_signals_of_a_group_become_columns(tmp_path: Path) -> None:
    linear = from_dict({"a": 0.5, "b": -40.0})
    signals = [
        make_signal("temp", np.array([100, 120, 130], np.uint8), unit="degC", conversion=linear),
        make_signal("flow", [1.5, 2.5, 3.5], unit="l/min"),
    ]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", signals))
    assert table.column_names == ["time", "device", "flow", "temp"]
    assert list_rows(table) == [(0, "pump1", 1.5, 10), (1, "pump1", 2.5, 20), (2, "pump1", 3.5, 25)]


def test_a_dead_sensor_stays_dead(tmp_path: Path) -> None:
    alive, dead = make_signal("temp", [1.0, 2.0, 3.0]), make_signal("flow", [7.0], times=np.array([0.5]))
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [alive], [dead]))
    assert list_rows(table) == [
        (0.5, "pump1", "flow", 7), (0, "pump1", "temp", 1), (1, "pump1", "temp", 2), (2, "pump1", "temp", 3),
    ]  # fmt: skip


def test_invalid_samples_are_gaps_and_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bits = np.array([False, True, False])
    signals = [make_signal("temp", [1.0, 2.0, 3.0], invalidation_bits=bits), make_signal("flow", [4.0, np.nan, 6.0])]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", signals))
    assert list_rows(table) == [(0, "pump1", 4, 1), (1, "pump1", None, None), (2, "pump1", 6, 3)]
    assert "note: 2 of 6 readings are gaps: 1 invalid, 1 not a number" in capsys.readouterr().out


def test_a_state_keeps_its_raw_numbers(tmp_path: Path) -> None:
    states = from_dict({"val_0": 0, "text_0": "off", "val_1": 1, "text_1": "on", "default_addr": b"?"})
    signal = make_signal("state", np.array([0, 1, 2, 1], np.uint8), conversion=states)
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [signal]))
    assert table["state"].to_pylist() == [0, 1, 2, 1]


MIXED = {"val_0": 254, "text_0": "error", "val_1": 255, "text_1": "not available", "default_addr": {"a": 0.5, "b": -40}}


@pytest.mark.parametrize("repeats", [1, 60])  # asammdf goes another way from 150 samples on
def test_texts_in_a_table_of_numbers_are_gaps(tmp_path: Path, repeats: int, capsys: pytest.CaptureFixture[str]) -> None:
    raw = np.tile(np.array([100, 254, 130, 255], np.uint8), repeats)
    signal = make_signal("oil", raw, conversion=from_dict(MIXED))
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [signal]))
    assert table["oil"].to_pylist() == [10, None, 25, None] * repeats
    assert (
        f"note: {2 * repeats} of {4 * repeats} readings are gaps: {2 * repeats} coded states" in capsys.readouterr().out
    )


@pytest.mark.parametrize("repeats", [1, 60])
def test_ranges_with_texts_have_the_same_bounds_in_long_recordings(tmp_path: Path, repeats: int) -> None:
    conversion = {
        "lower_0": 0, "upper_0": 0.5, "text_0": "short circuit",
        "lower_1": 4.5, "upper_1": 5.1, "text_1": "open",
        "default_addr": {"a": 2.5, "b": -1.25},
    }  # fmt: skip
    signal = make_signal("volts", np.tile([0.3, 0.5, 4.3, 4.7], repeats), conversion=from_dict(conversion))
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [signal]))
    assert table["volts"].to_pylist() == [None, 0, 9.5, None] * repeats


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (np.array([0, 3, 9, 10, 12, 19, 25], np.uint8), [1.5, 1.5, 1.5, 2.5, 2.5, 2.5, -1]),
        (np.array([0, 3, 8.9, 9, 10, 18.9, 25]), [1.5, 1.5, 1.5, -1, 2.5, 2.5, -1]),
    ],
)
def test_a_table_of_ranges_gives_the_number_of_the_range(
    tmp_path: Path, raw: np.ndarray, expected: list[float]
) -> None:
    ranges = {"lower_0": 0, "upper_0": 9, "phys_0": 1.5, "lower_1": 10, "upper_1": 19, "phys_1": 2.5, "default": -1}
    signal = make_signal("level", raw, conversion=from_dict({key: float(value) for key, value in ranges.items()}))
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [signal]))
    assert table["level"].to_pylist() == expected


def test_rational_and_looked_up_numbers_are_those_of_the_library(tmp_path: Path) -> None:
    rational = from_dict({"P1": 0.0, "P2": 2.0, "P3": 1.0, "P4": 0.0, "P5": 0.0, "P6": 4.0})
    table_of_points = from_dict({"raw_0": 0.0, "phys_0": 10.0, "raw_1": 10.0, "phys_1": 30.0, "interpolation": True})
    signals = [
        make_signal("a", np.array([1, 3], np.int16), conversion=rational),
        make_signal("b", np.array([0, 5], np.int16), conversion=table_of_points),
    ]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", signals))
    assert list_rows(table) == [(0, "pump1", 0.75, 10), (1, "pump1", 1.75, 20)]


def test_texts_and_formulas_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = [
        make_signal("temp", [1.0, 2.0]),
        make_signal("note", np.array([b"a", b"bb"]), encoding="utf-8"),
        make_signal("power", [1.0, 2.0], conversion=from_dict({"formula": "X * 2"})),
    ]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", signals))
    assert list_rows(table) == [(0, "pump1", 1), (1, "pump1", 2)]
    expected = "left out: 1 channels that need formulas, 1 channels without numbers"
    assert expected in capsys.readouterr().out


def test_channels_without_readings_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups = [make_signal("temp", [1.0, 2.0])], [make_signal("flow", np.zeros(0))]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", *groups))
    assert table.column_names == ["time", "device", "temp"]
    assert list_rows(table) == [(0, "pump1", 1), (1, "pump1", 2)]
    assert "left out: 1 channels without readings" in capsys.readouterr().out


def test_each_element_of_an_array_is_a_sensor(tmp_path: Path) -> None:
    samples = np.rec.fromarrays([np.arange(4.0).reshape(2, 2)], dtype=[("wave", "<f8", (2,))])
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", [make_signal("wave", samples)]))
    assert table.column_names[2:] == ["wave[0]", "wave[1]"]
    assert list_rows(table) == [(0, "pump1", 0, 1), (1, "pump1", 2, 3)]


def test_a_start_in_local_time_needs_its_zone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_mdf(tmp_path / "pump1.mf4", [make_signal("temp", [1.0])], time_flags=1)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "expected a start time in UTC, got a local time without a zone; set --time-zone" in capsys.readouterr().err
    assert not (tmp_path / "readings").exists()
    table = convert(tmp_path, path, "--time-zone", "Europe/Berlin")
    assert list_rows(table) == [(-3600, "pump1", 1)]


def test_an_hour_that_clocks_show_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    doubled = 1_792_895_400_000_000_000  # 2026-10-25T02:30 by the clocks of Berlin
    path = write_mdf(tmp_path / "pump1.mf4", [make_signal("temp", [1.0])], time_flags=1, abs_time=doubled)
    assert run(path, "--into", tmp_path / "readings", "--time-zone", "Europe/Berlin") == 2
    assert "got one that they showed twice" in capsys.readouterr().err


def test_an_offset_of_the_header_does_not_move_the_start(tmp_path: Path) -> None:
    signals = [make_signal("temp", [1.0])]
    path = write_mdf(tmp_path / "pump1.mf4", signals, time_flags=2, tz_offset=60, daylight_save_time=60)
    assert list_rows(convert(tmp_path, path)) == [(0, "pump1", 1)]


def test_two_channels_of_one_name_need_names_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_mdf(tmp_path / "pump1.mf4", [make_signal("temp", [1.0])], [make_signal("temp", [2.0])])
    assert run(path, "--into", tmp_path / "readings") == 2
    assert (
        "expected one channel 'temp', got several; set --device '{group}' or --sensor '{group}.{channel}'"
        in capsys.readouterr().err
    )
    table = convert(tmp_path, path, "--sensor", "{group}.{channel}")
    assert list_rows(table) == [(0, "pump1", 1, 2)]
    assert table.column_names[2:] == ["0.temp", "1.temp"]


def test_a_channel_says_which_samples_are_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signals = [make_signal("temp", [1.0, 2.0, 3.0]), make_signal("status", np.array([192, 0, 192], np.uint8))]
    table = convert(tmp_path, write_mdf(tmp_path / "pump1.mf4", signals), "--quality", "status=192")
    assert list_rows(table) == [(0, "pump1", 1), (1, "pump1", None), (2, "pump1", 3)]
    assert "1 of 3 readings are gaps: 1 bad quality" in capsys.readouterr().out


def test_a_recording_in_several_files_is_one_device(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    folder.mkdir()
    write_mdf(folder / "pump1_001.mf4", [make_signal("temp", [1.0], unit="degC")])
    write_mdf(folder / "pump1_002.mf4", [make_signal("temp", [2.0], unit="degC")], abs_time=(MICROS + 10**7) * 1000)
    table = convert(tmp_path, folder, "--file-names", "{file}_*")
    assert list_rows(table) == [(0, "pump1", 1), (10, "pump1", 2)]
    schema = pq.read_schema(tmp_path / "readings" / "date=2026-11-21" / "hour=07" / "readings.parquet")
    assert schema.field("temp").metadata == {b"unit": b"degC"}
    assert schema.metadata == {
        b"fleetscore.units": b'{"temp": "degC"}',
        b"fleetscore.sources": b'["pump1_001.mf4", "pump1_002.mf4"]',
    }
