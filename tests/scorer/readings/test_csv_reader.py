"""CSV as it is: separators, decimal commas and comments, found where a file shows them without doubt, or set."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.readings.device_readings import Readings
from scorer.readings.source import open_readings
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import CsvOptions, ReadingOptions, TimeFormat
from tests.scorer.readings.seen import AS_IN_FILE, HOUR, read, read_text, refusal, see

TIMES = [f"2026-11-21T07:0{i}Z" for i in range(3)]
FOUND = "files were read with decimal commas, since all their decimals have one"
COMMENTS = "lines that begin with # were read as comments, as before the header of their file"
SETTING = "set READINGS_CSV (--csv)"


def set_csv(text: str) -> ReadingOptions:
    return replace(AS_IN_FILE, csv=CsvOptions.parse(text))


def list_file_warnings(root: Path, readings: Readings) -> list[tuple[int, str]]:
    """The warnings of readings, and those of the files that they were read from, by the same options."""
    source = open_readings(Folder(root), [""], Columns(), HOUR, readings.policy)
    source.read_devices(list(readings.devices))
    return [*source.list_warnings(), *readings.list_warnings()]


def write(*cells: str, separator: str = ";", head: str = "value") -> str:
    """A file of one device with a row for each of *cells*."""
    lines = [["time", "device", *head.split(separator)], *([TIMES[i], "pump", cell] for i, cell in enumerate(cells))]
    return "".join(separator.join(line) + "\n" for line in lines)


def values(text: str | bytes, root: Path, policy: ReadingOptions = AS_IN_FILE) -> list[float]:
    return [value for _, (value,) in see(read_text(root, text, policy=policy), count=1)]


# Separators


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_separator_is_found_where_the_header_can_be_read_in_one_way(
    separator: str, end: str, quote: str, tmp_path: Path
) -> None:
    lines = [["time", "device", "a"], [TIMES[0], "pump", "1.5"], [TIMES[1], "pump", "2"]]
    text = "".join(separator.join(f"{quote}{cell}{quote}" for cell in line) + end for line in lines)

    readings = read_text(tmp_path, text)

    assert see(readings, names=("a",)) == [("07:00:00", [1.5]), ("07:01:00", [2.0])]
    assert list_file_warnings(tmp_path, readings) == []


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_separator_is_found_behind_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    assert values(write("1", separator="\t").encode(encoding), tmp_path) == [1]


def test_a_header_that_can_be_read_in_two_ways_is_refused_until_the_separator_is_set(tmp_path: Path) -> None:
    text = f"time,device,a;time;device;b\n{TIMES[0]},pump,1\n"

    message = (
        "a: has a header that can be read with commas and with semicolons between columns: "
        f"{SETTING} separator=comma or separator=semicolon"
    )
    assert refusal(read_text(tmp_path, text)) == (Reason.UNREADABLE_READINGS, message)
    assert values(text, tmp_path, set_csv("separator=comma")) == [1]


@pytest.mark.parametrize(
    ("option", "sign"),
    [("bar", "|"), ("tab", "\t"), ("comma", ","), ("semicolon", ";"), (":", ":"), ("space", " "), ("&", "&")],
)
def test_any_separator_can_be_set(option: str, sign: str, tmp_path: Path) -> None:
    policy = replace(set_csv(f"separator={option}"), time=TimeFormat.S)
    text = sign.join(["time", "device", "a"]) + "\n" + sign.join([str(int(HOUR.start.timestamp())), "pump", "1"]) + "\n"
    assert values(text, tmp_path, policy) == [1]


def test_the_folders_may_give_the_columns_that_the_header_lacks(tmp_path: Path) -> None:
    (tmp_path / "device=pump").mkdir()
    (tmp_path / "device=pump" / "a.csv").write_text(f"time;a\n{TIMES[0]};1,5\n")
    assert see(read(tmp_path), names=("a",)) == [("07:00:00", [1.5])]

    (tmp_path / "device=pump" / "a.csv").write_text("a;b,c\n1;2\n")
    folder = tmp_path / "device=pump" / "time=2026-11-21T07:00"
    folder.mkdir()
    (tmp_path / "device=pump" / "a.csv").rename(folder / "a.csv")
    assert "can be read with commas and with semicolons" in refusal(read(tmp_path))[1]


def test_the_index_of_pandas_is_found_behind_any_separator(tmp_path: Path) -> None:
    index = pd.date_range("2026-11-21T07:00", periods=2, freq="min", tz="UTC")
    pd.DataFrame({"device": "pump", "a": [1.5, 2.25]}, index=index).to_csv(tmp_path / "a", sep=";", decimal=",")
    assert see(read(tmp_path), count=1) == [("07:00:00", [1.5]), ("07:01:00", [2.25])]


def test_the_first_line_of_excel_states_the_separator(tmp_path: Path) -> None:
    for text in ("sep=;\r\n", '"sep=;"\n', "\ufeffSEP=;\r\n", "\nsep=;\n\n"):
        assert values(text + write("1,5"), tmp_path) == [1.5]
    assert values("sep=~\n" + write("1", separator="~"), tmp_path) == [1]
    assert refusal(read_text(tmp_path, "sep=;\n" + write("1"), policy=set_csv("separator=tab")))[1] == (
        "a: states sep=;, expected '\\t' as READINGS_CSV (--csv) sets it; set the separator that it has"
    )
    assert values("sep=;\n" + write("1"), tmp_path, set_csv("separator=semicolon")) == [1]


# Decimal commas


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas_are_found_and_counted(separator: str, tmp_path: Path) -> None:
    (tmp_path / "b").write_text(write("4", separator=separator).replace(TIMES[0], "2026-11-21T07:30Z"))

    readings = read_text(tmp_path, write("12,5", "-0,25e1", "3", separator=separator))

    assert [cell for _, (cell,) in see(readings, count=1)] == [12.5, -2.5, 3, 4]
    assert list_file_warnings(tmp_path, readings) == [(1, FOUND)]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        (("1,234", "1,5"), [1.234, 1.5]),  # another cell decides
        (("0,123",), [0.123]),  # no group of thousands begins with 0
        (("1234,567",), [1234.567]),  # or has four digits
        (("1,2345",), [1.2345]),
        (("1,234e2",), [123.4]),
        (("1,5", "ERR"), [1.5]),
        (("ERR", "n/a, none", "1,5"), [1.5]),
        (("1,5", "", "NULL"), [1.5]),
        (("1,5", "7", "-3"), [1.5, 7, -3]),
        (("true", "0,5"), [1, 0.5]),
    ],
)
def test_decimals_are_commas_where_a_cell_shows_it(
    cells: tuple[str, ...], numbers: list[float], tmp_path: Path
) -> None:
    readings = read_text(tmp_path, write(*cells))
    assert [cell for _, (cell,) in see(readings, count=1)] == pytest.approx(numbers, rel=1e-15)
    assert (1, FOUND) in list_file_warnings(tmp_path, readings)


@pytest.mark.parametrize(
    ("cells", "doubt"),
    [
        (("1,234",), "'1,234', which may have decimals or thousands"),
        (("1,234", "12,345", "ERR"), "'1,234', which may have decimals or thousands"),
        (("12,5", "12.5"), "'12,5' and '12.5'"),
        (("1,5", "1.5e3", "ERR"), "'1,5' and '1.5e3'"),
        (("1.234,5",), "'1.234,5', which is a number neither with a point nor with a comma"),
        (("1.234,5", "3,5"), "'1.234,5', which is a number neither with a point nor with a comma"),
        (("1,234,567",), "'1,234,567', which is a number neither with a point nor with a comma"),
        (("1,234.5",), "'1,234.5', which is a number neither with a point nor with a comma"),
        (("1 234,5",), "'1 234,5', which is a number neither with a point nor with a comma"),
        (("1'234,5",), '"1\'234,5", which is a number neither with a point nor with a comma'),
    ],
)
def test_decimals_of_which_nothing_is_certain_are_refused(cells: tuple[str, ...], doubt: str, tmp_path: Path) -> None:
    assert refusal(read_text(tmp_path, write(*cells))) == (
        Reason.UNREADABLE_READINGS,
        f"a: has numbers such as {doubt}, expected decimals of one kind: {SETTING} decimal=comma or decimal=point",
    )


@pytest.mark.parametrize(
    ("option", "cells", "numbers"),
    [
        ("comma", ("1,234", "5"), [1.234, 5]),
        ("comma", ("12,5", "12.5"), [12.5]),  # the other is no number
        ("comma", ("1.234,5", "1.234", "1.234.567"), [1234.5, 1234567]),  # 1.234 is a thousand, or not
        ("comma", ("1.234,5", "1.23,5", "1,234,5"), [1234.5]),
        ("point", ("1,234", "5.5"), [5.5]),
        ("point", ("1.234", "x"), [1.234]),
    ],
)
def test_decimals_that_are_set_make_the_others_bad_cells(
    option: str, cells: tuple[str, ...], numbers: list[float], tmp_path: Path
) -> None:
    readings = read_text(tmp_path, write(*cells), policy=set_csv(f"decimal={option}"))
    assert [cell for _, (cell,) in see(readings, count=1)] == numbers
    assert readings.unusable == len(cells) - len(numbers)
    assert FOUND not in [text for _, text in list_file_warnings(tmp_path, readings)]


def test_with_commas_between_columns_decimals_have_points_unless_it_is_set(tmp_path: Path) -> None:
    text = write('"12,5"', "3.5", separator=",")

    assert values(text, tmp_path) == [3.5]
    assert values(text, tmp_path, set_csv("decimal=comma")) == [12.5]


def test_words_and_ids_with_commas_decide_nothing(tmp_path: Path) -> None:
    text = f"time;device;note;value\n{TIMES[0]};pump,7;high, warm;1.5\n{TIMES[1]};pump,7;1,2 or 3;2.5\n"
    readings = read_text(tmp_path, text, "pump,7")
    assert see(readings, "pump,7", names=("value",)) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    assert FOUND not in [text for _, text in list_file_warnings(tmp_path, readings)]


def test_a_decimal_comma_after_the_first_block_is_found_too(tmp_path: Path) -> None:
    names = [f"pump{i}" for i in range(60_000)]
    rows = [f"{TIMES[0]};{name};{i}\n" for i, name in enumerate(names)]
    text = "".join(["time;device;value\n", *rows, f"{TIMES[1]};pump;1,5\n"])

    assert see(read_text(tmp_path, text), count=1) == [("07:01:00", [1.5])]
    certain = text.replace(";59\n", ";1,234\n")
    assert see(read_text(tmp_path, certain, "pump59"), "pump59", count=1) == [("07:00:00", [1.234])]
    ambiguous = refusal(read_text(tmp_path, certain.replace("1,5\n", "2,500\n")))[1]
    assert "'1,234', which may have decimals or thousands" in ambiguous


def test_numeric_times_have_the_decimals_of_the_file(tmp_path: Path) -> None:
    start = int(HOUR.start.timestamp())
    text = f"time;device;value\n{start},5;pump;1,5\n{start + 1};pump;2,5\n"
    readings = read_text(tmp_path, text, policy=replace(AS_IN_FILE, time=TimeFormat.S))
    assert see(readings) == [("07:00:00.5", [1.5]), ("07:00:01", [2.5])]


def test_a_cell_keeps_its_text_in_messages(tmp_path: Path) -> None:
    readings = read_text(tmp_path, write("12.5", "x"), policy=set_csv("decimal=comma"))
    assert refusal(readings, count=1)[1] == "a: column 'value' has '12.5', expected a number"


def test_a_file_is_counted_once_however_often_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# from the plant\n" + write("1,5"))
    source = open_readings(Folder(tmp_path), [""], Columns(), HOUR, AS_IN_FILE)

    for devices in (["pump"], ["fan", "pump"]):
        source.read_devices(devices)
        assert source.list_warnings() == [(1, FOUND), (1, COMMENTS)]


# Comments


def test_comments_before_the_header_and_between_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    text = f'# logger 7\n#, "units"\n\n{write("1", "2")}# battery, low\n{TIMES[2]};pump;3\n#end'
    readings = read_text(tmp_path, text)
    assert [cell for _, (cell,) in see(readings)] == [1, 2, 3]
    assert list_file_warnings(tmp_path, readings) == [(4, COMMENTS)]


def test_lines_between_rows_are_rows_where_nothing_says_that_they_are_comments(tmp_path: Path) -> None:
    text = f"device,time,value\n#1,{TIMES[0]},5\n#2,{TIMES[0]},6\n"
    assert see(read_text(tmp_path, text, "#1"), "#1") == [("07:00:00", [5])]
    assert "Expected 3 columns, got 1" in refusal(read_text(tmp_path, text + "# end\n", "#1"), "#1")[1]


def test_comments_can_be_set_and_are_not_counted_then(tmp_path: Path) -> None:
    text = f"% logger\n{write('1', '2')}% end\n"
    readings = read_text(tmp_path, text, policy=set_csv("comment=%"))
    assert [cell for _, (cell,) in see(readings)] == [1, 2]
    assert list_file_warnings(tmp_path, readings) == []


def test_a_comment_within_quotes_is_part_of_a_cell(tmp_path: Path) -> None:
    text = f'# x\ntime,device,note,a\n{TIMES[0]},"pu\n#mp","a ""b""",1\n#"\n{TIMES[1]},"pu\n#mp",c,2\n'
    assert [cell for _, (cell,) in see(read_text(tmp_path, text, "pu\n#mp"), "pu\n#mp", names=("a",))] == [1, 2]


def test_a_header_may_begin_with_the_sign_of_comments(tmp_path: Path) -> None:
    text = f"#time,device,value\n{TIMES[0]},pump,1\n"
    assert see(read_text(tmp_path, text, columns=Columns(time="#time"))) == [("07:00:00", [1])]
    assert refusal(read_text(tmp_path, text))[1].startswith("a: expected columns 'time', 'device' and 'value'")


@pytest.mark.parametrize("text", ["# nothing\n", "#", "# a\n\n # b\n".replace(" #", "#"), "sep=;\n", "\n#\n\n"])
def test_comments_alone_are_no_readings(text: str, tmp_path: Path) -> None:
    assert refusal(read_text(tmp_path, text))[0] is Reason.NO_READINGS


def test_annotated_csv_of_influxdb_is_read(tmp_path: Path) -> None:
    block = (
        "#group,false,false,true,false,true,true\r\n#datatype,string,long,dateTime:RFC3339,double,string,string\r\n"
        "#default,_result,,,,,\r\n,result,table,_time,_value,_field,host\r\n"
        f",,0,{TIMES[0]},1.5,temp,pump\r\n,,0,{TIMES[1]},2.5,temp,pump\r\n\r\n"
    )
    columns = Columns("_time", "host", "_field", "_value")
    readings = read_text(tmp_path, block + block.replace("temp", "bar"), columns=columns)
    assert see(readings, "pump/temp", count=1) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    assert see(readings, "pump/bar", count=1) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    source = open_readings(Folder(tmp_path), [""], columns, HOUR, AS_IN_FILE)
    source.read_devices(["pump"])
    assert source.list_warnings() == [(6, COMMENTS)]


# Large and odd files


def test_ten_thousand_columns_are_read(tmp_path: Path) -> None:
    names = [f"s{i}" for i in range(10_000)]
    rows = [";".join([time, "pump", *(f"{i},{row}" for i in range(10_000))]) for row, time in enumerate(TIMES)]
    readings = read_text(tmp_path, "\n".join([";".join(["time", "device", *names]), *rows]))
    assert [cell for _, (cell,) in see(readings, names=("s7777",))] == [7777, 7777.1, 7777.2]


def test_lines_of_two_mebibytes_are_read_and_longer_ones_than_the_limit_refused(tmp_path: Path) -> None:
    head = "time;device;note;a\n"
    text = f"{head}{TIMES[0]};pump;{'x' * 2**21};1,5\n{TIMES[1]};pump;;2,5\n"
    assert see(read_text(tmp_path, text), names=("a",)) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    for long in (
        text.replace("x" * 2**21, "x" * 2**26),
        "x" * 2**25 + "\n",
        "x;" * 2**25,
        head + "1" * 2**26,
    ):
        assert refusal(read_text(tmp_path, long)) == (
            Reason.UNREADABLE_READINGS,
            "a: has a line of more than 16 MiB, expected shorter ones",
        )
    assert refusal(read_text(tmp_path, "x," * 200_000))[1] == "a: has 200001 columns, expected at most 100000"


def test_a_header_that_is_repeated_is_a_bad_row(tmp_path: Path) -> None:
    text = write("1,5") + write("2,5").replace(TIMES[0], TIMES[1])
    readings = read_text(tmp_path, text)
    assert see(readings) == [("07:00:00", [1.5]), ("07:01:00", [2.5])]
    assert list_file_warnings(tmp_path, readings) == [(1, FOUND)]  # of no device of the fleet
    assert read_text(tmp_path, text, "pump", "device").unusable == 1


def test_units_under_the_header_are_a_bad_row(tmp_path: Path) -> None:
    readings = read_text(tmp_path, f"time;device;value\nUTC;;°C\n{TIMES[0]};pump;1,5\n")
    assert see(readings) == [("07:00:00", [1.5])]


def test_any_numbers_are_read_as_pandas_wrote_them(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    numbers = np.concatenate([random.normal(size=500), random.normal(size=500) * 10.0 ** random.integers(-30, 30, 500)])
    instants = pd.date_range("2026-11-21T07:00", periods=1000, freq="s", tz="UTC").astype(str)
    frame = pd.DataFrame({"time": instants, "device": "pump", "value": numbers})
    for separator, decimal in ((",", "."), (";", ","), ("\t", ","), ("|", ".")):
        frame.to_csv(tmp_path / "a", sep=separator, decimal=decimal, index=False)
        assert [cell for _, (cell,) in see(read(tmp_path))] == numbers.tolist()


def test_a_folder_is_scored_with_what_is_found_or_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "readings").mkdir()
    model = OneClassSVM(nu=0.1).fit([[0.0], [1.0], [2.0]])
    (tmp_path / "models/pump.pkl").write_bytes(pickle.dumps(model))
    command = ["folder", *(f"--{name}={tmp_path / name}" for name in ("models", "readings", "predictions"))]
    (tmp_path / "readings/a.csv.zst").write_bytes(pa.Codec("zstd").compress(write("1,234").encode(), asbytes=True))

    assert main(command) == 1
    assert "'1,234', which may have decimals or thousands" in (refused := capsys.readouterr().out)
    assert f"{SETTING} decimal=comma or decimal=point" in refused
    assert main([*command, "--csv", "decimal=comma"]) == 0
    np.testing.assert_allclose(read_scores(tmp_path), model.decision_function([[1.234]]), atol=1e-9)

    (tmp_path / "readings/a.csv.zst").write_bytes(pa.Codec("zstd").compress(write("1,2").encode(), asbytes=True))
    capsys.readouterr()
    assert main(command) == 0
    assert f"1 {FOUND}" in capsys.readouterr().out
    np.testing.assert_allclose(read_scores(tmp_path), model.decision_function([[1.2]]), atol=1e-9)


def read_scores(root: Path) -> list[float]:
    scores: list[float] = ds.dataset(root / "predictions", format="parquet").to_table()["score"].to_pylist()
    return scores
