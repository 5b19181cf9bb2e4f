"""TDMS: times as the file says them, or none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from nptdms import ChannelObject, GroupObject, RootObject, TdmsChannel, TdmsWriter

from tests.scorer.device_formats.converting import START, convert, list_rows, make_channel, run, write_tdms


def test_channels_of_a_file_become_columns(tmp_path: Path) -> None:
    channels = [
        make_channel("temp", np.array([1, 2], np.int16), unit_string="degC"),
        make_channel("flow", [1.5, 2.5], unit_string="l/min"),
        make_channel("on", np.array([True, False])),
    ]
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", channels))
    assert table.column_names == ["time", "device", "flow", "on", "temp"]
    assert list_rows(table) == [(0, "pump1", 1.5, 1, 1), (1, "pump1", 2.5, 0, 2)]
    schema = pq.read_schema(tmp_path / "readings" / "date=2026-11-21" / "hour=07" / "readings.parquet")
    assert schema.metadata[b"fleetscore.units"] == b'{"flow": "l/min", "temp": "degC"}'
    assert [schema.field(name).metadata for name in ("flow", "on", "temp")] == [
        {b"unit": b"l/min"}, None, {b"unit": b"degC"},
    ]  # fmt: skip


def test_a_start_a_step_and_an_offset_give_the_times(tmp_path: Path) -> None:
    channel = make_channel("temp", [1.0, 2.0, 3.0], wf_start_offset=10.0, wf_increment=0.1)
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", [channel]))
    assert list_rows(table) == [(10, "pump1", 1), (10.1, "pump1", 2), (10.2, "pump1", 3)]


def test_a_file_in_several_segments_goes_on(tmp_path: Path) -> None:
    segments = [[make_channel("temp", [1.0, 2.0])], [make_channel("temp", [3.0])]]
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", *segments))
    assert list_rows(table) == [(0, "pump1", 1), (1, "pump1", 2), (2, "pump1", 3)]


def test_a_file_that_was_resumed_after_an_hour_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    later = START + np.timedelta64(1, "h")
    segments = [[make_channel("temp", [1.0, 2.0])], [make_channel("temp", [3.0], wf_start_time=later)]]
    path = write_tdms(tmp_path / "pump1.tdms", *segments)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert capsys.readouterr().err == (
        f"scorer: {path} (tdms): channel /'g'/'temp': expected one start time, got 2: the file was resumed, and does "
        "not say which readings belong to which; save each recording as a file of its own, or set --time-channel\n"
    )
    assert not (tmp_path / "readings").exists()


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"wf_start_time": None}, "expected a start time, got none; write the properties of its waveform"),
        ({"wf_increment": None}, "expected a time step above 0, got none; write the properties of its waveform"),
        ({"wf_increment": 0.0}, "expected a time step above 0, got none"),
        (
            {"wf_start_offset": 1e300},
            "channel /'g'/'temp': expected times in seconds from the start of the measurement",
        ),
        ({"wf_increment": "1 s"}, "expected a number as wf_increment, got '1 s'"),
        ({"wf_start_time": np.datetime64("1904-01-01T00:00:00", "us")}, "expected times from 1990 to 2100, got 1904"),
    ],
)
def test_a_channel_without_its_waveform_is_refused(
    tmp_path: Path, properties: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tdms(tmp_path / "pump1.tdms", [make_channel("temp", [1.0], **properties)])
    assert run(path, "--into", tmp_path / "readings") == 2
    assert message in capsys.readouterr().err


def test_a_channel_of_timestamps_gives_the_times_of_its_group(tmp_path: Path) -> None:
    times = np.array([START, START + np.timedelta64(7, "s")])
    channels = [ChannelObject("g", "Time", times), ChannelObject("g", "temp", np.array([1.0, 2.0]))]
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", channels), "--time-channel", "Time")
    assert list_rows(table) == [(0, "pump1", 1), (7, "pump1", 2)]


def test_groups_may_be_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = [make_channel("temp", [1.0], group="pump1"), make_channel("temp", [2.0], group="pump2")]
    path = write_tdms(tmp_path / "plant.tdms", channels)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert "got several; set --device '{group}' or --sensor '{group}.{channel}'" in capsys.readouterr().err
    table = convert(tmp_path, path, "--device", "{group}")
    assert list_rows(table) == [(0, "pump1", 1), (0, "pump2", 2)]


def test_scales_are_applied(tmp_path: Path) -> None:
    scale = {
        "NI_Scaling_Status": "unscaled",
        "NI_Number_Of_Scales": 1,
        "NI_Scale[0]_Scale_Type": "Linear",
        "NI_Scale[0]_Linear_Slope": 0.5,
        "NI_Scale[0]_Linear_Y_Intercept": -40.0,
        "NI_Scale[0]_Linear_Input_Source": 0xFFFFFFFF,
    }
    channel = make_channel("temp", np.array([100, 130], np.int16), **scale)
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", [channel]))
    assert table["temp"].to_pylist() == [10, 25]


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (
            {"NI_Number_Of_Scales": 1, "NI_Scale[0]_Scale_Type": "Reciprocal"},
            "got 'Reciprocal': its numbers would be raw",
        ),
        ({"NI_Scaling_Status": "unscaled"}, "expected numbers in their unit, got raw ones"),
    ],
)
def test_raw_numbers_are_no_readings(
    tmp_path: Path, scale: dict[str, object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tdms(tmp_path / "pump1.tdms", [make_channel("temp", np.array([100], np.int16), **scale)])
    assert run(path, "--into", tmp_path / "readings") == 2
    assert message in capsys.readouterr().err


def test_texts_and_empty_channels_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = [
        make_channel("temp", [1.0]),
        ChannelObject("g", "note", np.array(["a"])),
        ChannelObject("g", "none", np.array([], np.float64)),
    ]
    path = write_tdms(tmp_path / "pump1.tdms", [RootObject({"author": "x"}), GroupObject("g"), *channels])
    assert list_rows(convert(tmp_path, path)) == [(0, "pump1", 1)]
    expected = "left out: 1 channels without numbers, 1 channels without readings"
    assert expected in capsys.readouterr().out


def test_gaps_missing_values_and_quality_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = [
        make_channel("temp", [1.0, np.nan, -999, np.inf, 5.0]),
        make_channel("quality", np.array([1, 1, 1, 1, 0], np.uint8)),
    ]
    path = write_tdms(tmp_path / "pump1.tdms", channels)
    table = convert(tmp_path, path, "--quality", "quality=1", "--missing-values=-999")
    assert table["temp"].to_pylist() == [1, None, None, None, None]
    counts = "1 bad quality, 1 infinite, 1 missing values, 1 not a number"
    assert f"note: 4 of 5 readings are gaps: {counts}" in capsys.readouterr().out


def test_a_text_is_no_quality_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channels = [make_channel("temp", [1.0]), make_channel("status", np.array([192], np.uint8))]
    path = write_tdms(tmp_path / "pump1.tdms", channels)
    assert run(path, "--into", tmp_path / "readings", "--quality", "status=ok") == 2
    message = "channel /'g'/'status': --quality: expected a number, since the channel 'status' has numbers, got 'ok'"
    assert message in capsys.readouterr().err


def test_times_and_quality_of_a_group_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = Counter[str]()
    read_data = TdmsChannel.read_data

    def count_reads(channel: TdmsChannel, *arguments: int) -> object:
        reads[channel.name] += 1
        return read_data(channel, *arguments)

    monkeypatch.setattr(TdmsChannel, "read_data", count_reads)
    names = ["a", "b", "c"]
    channels = [
        ChannelObject("g", "Time", START + np.arange(2) * np.timedelta64(7, "s")),
        ChannelObject("g", "ok", np.array([1, 0], np.uint8)),
        *(ChannelObject("g", name, np.array([1.0, 2.0])) for name in names),
    ]
    path = write_tdms(tmp_path / "pump1.tdms", channels)
    table = convert(tmp_path, path, "--time-channel", "Time", "--quality", "ok=1")
    assert list_rows(table) == [(0, "pump1", 1, 1, 1), (7, "pump1", None, None, None)]
    assert reads == {"Time": 1, "ok": 1, "a": 1, "b": 1, "c": 1}


def test_channels_of_different_lengths_have_their_own_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.device_formats.tdms.PIECE", 2)
    channels = [make_channel("a", np.arange(5.0)), make_channel("b", [7.0], wf_increment=3.0)]
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", channels), "--long")
    assert list_rows(table) == [*((i, "pump1", "a", i) for i in range(5)), (0, "pump1", "b", 7)]


def test_an_index_file_of_another_recording_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "pump1.tdms"
    with TdmsWriter(str(path), index_file=True) as writer:
        writer.write_segment([make_channel("flow", [7.0, 8.0, 9.0])])
    write_tdms(path, [make_channel("temp", [1.0, 2.0])])
    assert list_rows(convert(tmp_path, path)) == [(0, "pump1", 1), (1, "pump1", 2)]


def test_readings_in_several_pieces_are_those_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scorer.device_formats.tdms.PIECE", 3)
    segments = [[make_channel("temp", np.arange(7.0))], [make_channel("temp", np.arange(7.0, 12.0))]]
    table = convert(tmp_path, write_tdms(tmp_path / "pump1.tdms", *segments))
    assert list_rows(table) == [(i, "pump1", i) for i in range(12)]
