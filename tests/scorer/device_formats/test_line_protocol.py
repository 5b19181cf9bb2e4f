"""InfluxDB's line protocol, by its specification."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scorer.device_formats.converting import convert, list_rows, run

T = 1_795_244_400  # 2026-11-21T07:00:00Z
NS = f"{T}000000000"


def write(folder: Path, *lines: str) -> Path:
    path = folder / "export.lp"
    path.write_text("\n".join(lines))
    return path


def test_fields_become_sensors_of_the_only_tag(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "# an export",
        "",
        f"motor,device=pump1 temp=21.5,rpm=1500i,starts=3u,on=t {NS}",
        f"motor,device=pump2 temp=-1.5e1,rpm=-7i,starts=18446744073709551615u,on=FALSE {NS}",
    )
    table = convert(tmp_path, path)
    assert table.column_names == ["time", "device", "on", "rpm", "starts", "temp"]
    assert list_rows(table) == [(0, "pump1", 1, 1500, 3, 21.5), (0, "pump2", 0, -7, 2.0**64, -15)]


@pytest.mark.parametrize(
    ("line", "device", "sensor"),
    [
        (r"my\ motor,device=pump\ 1 temp\ in=1", "pump 1", "temp in"),
        (r"a\,b,device=pump\,1 temp\=in=1", "pump,1", "temp=in"),
        (r"a,device\ id=x\=y temp=1", "x=y", "temp"),
        (r'a,device="pump" "temp"=1', '"pump"', '"temp"'),
        (r"a=b,device=pump temp=1", "pump", "temp"),
        (r"温度,device=ポンプ 値=1", "ポンプ", "値"),
    ],
)
def test_names_are_unescaped(tmp_path: Path, line: str, device: str, sensor: str) -> None:
    assert list_rows(convert(tmp_path, write(tmp_path, f"{line} {NS}"), "--long")) == [(0, device, sensor, 1)]


@pytest.mark.parametrize("text", ["5e-324", "1e-310", ".5", "1.", "1.e+78", "-0.0", "+1", "1E5", "0012i"])
def test_numbers_of_every_spelling_are_read(tmp_path: Path, text: str) -> None:
    table = convert(tmp_path, write(tmp_path, f"m,device=pump1 temp={text} {NS}"))
    assert table["temp"].to_pylist() == [float(text.removesuffix("i"))]


def test_texts_are_left_out_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        rf'm,device=pump1 note="a, b=1 \"quoted\" \\",temp=1 {NS}',
        f'm,device=pump1 note="two\n# lines",temp=2 {T + 1}000000000',
    ]
    assert list_rows(convert(tmp_path, write(tmp_path, *lines))) == [(0, "pump1", 1), (1, "pump1", 2)]
    assert "left out: 2 texts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("precision", "timestamp"), [("s", T), ("ms", T * 10**3), ("us", T * 10**6), ("ns", T * 10**9)]
)
def test_the_unit_of_times_is_what_was_set(tmp_path: Path, precision: str, timestamp: int) -> None:
    path = write(tmp_path, f"m,device=pump1 temp=1 {timestamp}")
    assert list_rows(convert(tmp_path, path, "--precision", precision)) == [(0, "pump1", 1)]


def test_a_time_of_another_unit_is_refused_with_the_one_that_fits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, f"m,device=pump1 temp=1 {T}")
    assert run(path, "--into", tmp_path / "readings") == 2
    assert capsys.readouterr().err == (
        f"scorer: {path} (line-protocol): line 1: expected a time from 1990 to 2100 in ns, got {T}, which is "
        "1970-01-01T00:00:01.795244+00:00; set --precision s\n"
    )
    assert not (tmp_path / "readings").exists()


def test_a_time_beyond_all_calendars_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, f"m,device=a temp=1 {NS}")
    assert run(path, "--into", tmp_path / "readings", "--precision", "s") == 2
    assert "which is after the year 9999; set --precision ns" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"m,device=a temp=1 1{'0' * 30}", "expected a timestamp of 64 bits, got 31 characters: 10000"),
        (f"m,device=a temp=1 {'9' * 5000}", "expected a timestamp of 64 bits, got 5000 characters: 999"),
        ("m,device=a temp=1 9223372036854775807", "which is 2262-04-11T23:47:16.854775+00:00; no --precision fits"),
        ("m,device=pump1 temp=1", "expected a timestamp, got a line without one"),
        (f"m temp=1 {NS}", "expected one tag, which names the device, got none; set --device-tag, or --device"),
        (f"m,device=a,host=b temp=1 {NS}", "got device, host; set --device-tag, or --device"),
        (f"m,device=a,device=b temp=1 {NS}", "expected each tag once"),
        (f"m,device=a temp=1x {NS}", "expected a number, a boolean or a string, got '1x'"),
        (f"m,device=a temp=nan {NS}", "got 'nan'"),
        (f"m,device=a temp=1.5i {NS}", "got '1.5i'"),
        (f"m,device=a temp=9223372036854775808i {NS}", "got '9223372036854775808i'"),
        (f"m,device=a temp=-1u {NS}", "got '-1u'"),
        (f'm,device=a temp=1,t="open {NS}', "line 2: expected measurement,tags fields timestamp"),
        (f"m,device= temp=1 {NS}", "line 2: expected measurement,tags fields timestamp"),
        (f"m,device=a temp=1, {NS}", "line 2: expected measurement,tags fields timestamp"),
        (f"m,device=a temp= 1 {NS}", "line 2: expected measurement,tags fields timestamp"),
        (f"m,device=a temp=1 {NS} 5", "line 2: expected measurement,tags fields timestamp"),
        (f"m,device=a/b temp=1 {NS}", "expected the name of a device, got 'a/b', which holds a slash"),
    ],
)  # fmt: skip
def test_a_line_that_is_none_is_refused_by_its_number(
    tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, f"m,device=a temp=1 {NS}", line, f"m,device=a temp=2 {NS}")
    assert run(path, "--into", tmp_path / "readings") == 2
    error = capsys.readouterr().err
    assert "line 2: " in error
    assert message in error


def test_the_device_is_what_was_set(tmp_path: Path) -> None:
    path = write(tmp_path, f"m,site=a,unit=7 temp=1 {NS}")
    for option, device in ((["--device-tag", "unit"], "7"), (["--device", "{site}-{unit}"], "a-7")):
        target = tmp_path / device
        target.mkdir()
        assert list_rows(convert(target, path, *option)) == [(0, device, 1)]


def test_series_that_would_be_mixed_up_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f"m,device=a,place=in temp=1 {NS}", f"m,device=a,place=out temp=2 {NS}"]
    path, target = write(tmp_path, *lines), tmp_path / "readings"
    assert run(path, "--into", target, "--device-tag", "device") == 2
    message = "expected one series for the sensor 'temp' of the device 'a', got 'm,place=in' and 'm,place=out'"
    assert message in capsys.readouterr().err
    table = convert(tmp_path, path, "--device-tag", "device", "--sensor", "{field}.{place}")
    assert table.column_names[2:] == ["temp.in", "temp.out"]
    assert list_rows(table) == [(0, "a", 1, 2)]


def test_tags_that_do_not_matter_are_ignored_where_that_is_set(tmp_path: Path) -> None:
    lines = [f"m,device=a,fw=1 temp=1 {NS}", f"m,device=a,fw=2 temp=2 {T + 1}000000000"]
    path = write(tmp_path, *lines)
    rows = list_rows(convert(tmp_path, path, "--device-tag", "device", "--ignore-tags", "fw"))
    assert rows == [(0, "a", 1), (1, "a", 2)]


@pytest.mark.parametrize(
    ("lines", "good"),
    [
        ([f'm,device=a temp=1,q="ok" {NS}', f'm,device=a temp=2,q="bad" {T + 1}000000000'], "q=ok"),
        ([f"m,device=a temp=1,q=192i {NS}", f"m,device=a temp=2,q=0i {T + 1}000000000"], "q=192"),
        ([f"m,device=a temp=1,q=f {NS}", f"m,device=a temp=2,q=t {T + 1}000000000"], "q=false"),
        ([f"m,device=a,q=ok temp=1 {NS}", f"m,device=a,q=bad temp=2 {T + 1}000000000"], "q=ok"),
        ([f"m,device=a temp=1,q=1i {NS}", f"m,device=a temp=2 {T + 1}000000000"], "q=1"),
    ],
)
def test_a_field_or_a_tag_says_which_lines_are_good(
    tmp_path: Path, lines: list[str], good: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = list_rows(convert(tmp_path, write(tmp_path, *lines), "--quality", good, "--device-tag", "device"))
    assert rows == [(0, "a", 1), (1, "a", None)]
    assert "1 of 2 readings are gaps: 1 bad quality" in capsys.readouterr().out


def test_a_quality_that_no_line_has_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, f'm,device=a temp=1,status="ok" {NS}')
    assert run(path, "--into", tmp_path / "readings", "--quality", "state=ok") == 2
    message = "scorer: --quality: expected a field, tag, label or channel 'state' in the files, got none of that name\n"
    assert capsys.readouterr().err == message
    assert not (tmp_path / "readings").exists()


def test_a_quality_that_no_reading_has_is_a_warning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [f'm,device=a temp=1,status="ok" {NS}', f"m,device=a temp=2,status=192i {T + 1}000000000"]
    rows = list_rows(convert(tmp_path, write(tmp_path, *lines), "--quality", "status=OK"))
    assert rows == [(0, "a", None), (1, "a", None)]
    warning = "warning: all 2 readings are gaps: --quality expects status=OK, got '192', 'ok'\n"
    assert capsys.readouterr().out.startswith(warning)


def test_a_file_larger_than_what_is_read_at_once(tmp_path: Path) -> None:
    lines = [f"m,device=a temp={i} {T + i % 3600}{i // 3600:09}" for i in range(20_000)]
    table = convert(tmp_path, write(tmp_path, *lines, ""))
    assert table.num_rows == 3600  # nanoseconds of one microsecond are one reading, the last


def test_of_two_points_of_one_time_the_last_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, f"m,device=a temp=1 {NS}", f"m,device=a temp=2 {NS}")
    assert list_rows(convert(tmp_path, path)) == [(0, "a", 2)]
    assert "note: 1 readings were replaced by a later one of the same sensor and time" in capsys.readouterr().out
