"""`python -m scorer folder` and `convert`, as a person at a desk calls them."""

import itertools
import os
import pickle
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.commands.desk import score_folder
from scorer.predictions.table import SCHEMA
from shared.contract.reasons import Reason

SEED_NAMES = ["--columns", "time=TS,device=Device,sensor=Tag,value=Value"]


def folder(root: Path, *more: str) -> int:
    return main(["folder", "--models", str(root / "models"), "--readings", str(root / "readings"),
                 "--predictions", str(root / "predictions"), *more])  # fmt: skip


def read(root: Path) -> pa.Table:
    return ds.dataset(root / "predictions", format="parquet").to_table()


def files(root: Path) -> list[str]:
    return sorted(
        f.relative_to(root / "predictions").as_posix() for f in (root / "predictions").rglob("*") if f.is_file()
    )


@pytest.fixture
def svm() -> OneClassSVM:
    return OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))


@pytest.fixture
def fleet(tmp_path: Path, svm: OneClassSVM) -> Path:
    """Two models, and two hours of readings of theirs."""
    (tmp_path / "models").mkdir()
    (tmp_path / "readings").mkdir()
    for device in ("pump", "fan"):
        (tmp_path / "models" / f"{device}.pkl").write_bytes(pickle.dumps(svm))
    rows = [f"2026-11-21T0{h}:{m:02},{d},{10 + m % 7}" for h in (7, 8) for m in range(60) for d in ("pump", "fan")]
    (tmp_path / "readings" / "a.csv").write_text("\n".join(["time,device,value", *rows]))
    return tmp_path


@pytest.mark.data
@pytest.mark.parametrize("form", ["as they are", "converted"])
@pytest.mark.parametrize(
    ("more", "windows"),
    [
        ([], ["20180828T2300Z-PT1H", *(f"20180829T0{h}00Z-PT1H" for h in range(4))]),
        (["--window", "2018-08-28T23:00/2018-08-29T04:00"], ["20180828T2300Z-PT5H"]),
        (["--every", "P1D"], ["20180828T0000Z-P1D", "20180829T0000Z-P1D"]),
    ],
)
def test_the_original_sample_has_6757_anomalies_in_17768_rows(
    form: str, more: list[str], windows: list[str], seed: Path, tmp_path: Path
) -> None:
    models, names = seed / "models", ["--model-names", "model_{device}_{sensor}"]
    if form == "converted":
        assert main(["convert", "--models", str(models), "--to", str(tmp_path / "models"), *names]) == 0
        models, names = tmp_path / "models", []

    code = main(["folder", "--models", str(models), "--readings", str(seed / "sensor_data.csv"),
                 "--predictions", str(tmp_path / "predictions"), *SEED_NAMES, *names, *more])  # fmt: skip

    found = read(tmp_path).to_pandas()
    given = pd.read_csv(seed / "sensor_data.csv", dtype={"Device": str, "Tag": str})
    given["TS"] = pd.to_datetime(given["TS"], utc=True)
    assert code == 0
    assert (len(found), int(found["anomaly"].sum())) == (17768, 6757)
    assert sorted({Path(f).name[: len(w)] for w in windows for f in files(tmp_path)}) == windows
    keys = [list(frame.itertuples(index=False, name=None)) for frame in (
        given[["TS", "Device", "Tag", "Value"]], found[["time", "device", "sensor", "value"]])]  # fmt: skip
    assert sorted(keys[0]) == sorted(keys[1])


@pytest.mark.parametrize(
    ("more", "week"),
    [
        (["--every", "P7D"], "20261116T0000Z-P7D"),  # a Monday
        (["--every", "P7D", "--window-origin", "1970-01-01"], "20261119T0000Z-P7D"),
        (["--every", "P14D", "--window-origin", "2026-11-14"], "20261114T0000Z-P14D"),
        (["--every", "P3D"], "20261121T0000Z-P3D"),
    ],
)
def test_weeks_begin_on_mondays_or_as_a_person_says(fleet: Path, more: list[str], week: str) -> None:
    assert folder(fleet, *more) == 0
    assert [Path(file).name.startswith(week) for file in files(fleet)] == [True]


def test_weeks_that_overlap_with_those_of_the_folder_are_refused_with_the_option_that_fits(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thursdays = ["--every", "P7D", "--window-origin", "1970-01-01"]
    assert folder(fleet, *thursdays) == 0
    before = {file: (fleet / "predictions" / file).read_bytes() for file in files(fleet)}
    assert folder(fleet, "--every", "P7D") == 2
    assert "has the window 20261119T0000Z-P7D, and windows counted from 1970-01-05 overlap with it: set " in (
        capsys.readouterr().err
    )
    assert {file: (fleet / "predictions" / file).read_bytes() for file in files(fleet)} == before
    assert folder(fleet, "--every", "P7D", "--window-origin", "2026-11-19") == 0
    assert files(fleet) == list(before)


@pytest.mark.data
def test_five_hourly_runs_give_what_one_run_gives(seed: Path, tmp_path: Path) -> None:
    common = ["folder", "--models", str(seed / "models"), "--readings", str(seed / "sensor_data.csv"), *SEED_NAMES,
              "--model-names", "model_{device}_{sensor}"]  # fmt: skip
    hours = [f"2018-08-2{d}T{h:02}:00" for d, h in ((8, 23), (9, 0), (9, 1), (9, 2), (9, 3), (9, 4))]

    assert main([*common, "--predictions", str(tmp_path / "whole" / "predictions")]) == 0
    for start, end in itertools.pairwise(hours):
        window = ["--window", f"{start}/{end}"]
        assert main([*common, "--predictions", str(tmp_path / "each" / "predictions"), *window]) == 0

    assert files(tmp_path / "whole") == files(tmp_path / "each")
    for file in files(tmp_path / "whole"):
        one, other = ((tmp_path / kind / "predictions" / file).read_bytes() for kind in ("whole", "each"))
        assert one == other


def test_the_predictions_have_one_schema_and_one_order(fleet: Path) -> None:
    assert folder(fleet) == 0

    assert files(fleet) == [
        "date=2026-11-21/hour=07/20261121T0700Z-PT1H-c00000-0.parquet",
        "date=2026-11-21/hour=08/20261121T0800Z-PT1H-c00000-0.parquet",
    ]
    for file in files(fleet):
        table = pq.read_table(fleet / "predictions" / file, partitioning=None)
        assert table.schema.equals(SCHEMA)
        rows = list(zip(table["device"].to_pylist(), table["time"].to_pylist(), strict=True))
        assert rows == sorted(rows)
        assert len(rows) == 120


def test_duckdb_pandas_and_pyarrow_read_the_predictions_as_one_table(fleet: Path, svm: OneClassSVM) -> None:
    # Another fleet, of wide readings and sensors, in the same folder.
    assert folder(fleet) == 0
    normal = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["rpm", "bar"])
    wide = make_pipeline(StandardScaler(), OneClassSVM()).fit(normal)
    (fleet / "models" / "pump.pkl").write_bytes(pickle.dumps(wide))
    (fleet / "models" / "fan.pkl").unlink()
    (fleet / "models" / "fan").mkdir()
    (fleet / "models" / "fan" / "rpm.pkl").write_bytes(pickle.dumps(svm))
    (fleet / "readings" / "a.csv").write_text(
        "time,device,rpm,bar\n2026-11-21T09:00,pump,1,2\n2026-11-21T09:00,fan,3,4\n"
    )
    assert folder(fleet) == 0

    root = fleet / "predictions"
    counts = f"select count(*), sum(anomaly), count(value), count(sensor) from '{root}/**/*.parquet'"
    with duckdb.connect() as connection:
        by_duckdb = connection.execute(counts).fetchall()
    by_pandas = pd.read_parquet(root)
    by_pyarrow = ds.dataset(root, partitioning="hive").to_table()

    assert by_duckdb == [(242, int(by_pandas["anomaly"].sum()), 241, 1)]
    assert (len(by_pandas), by_pyarrow.num_rows) == (242, 242)
    assert {*by_pandas.columns} == {*by_pyarrow.column_names} == {*SCHEMA.names, "date", "hour"}


def test_a_second_run_over_a_window_replaces_its_files_and_leaves_none_behind(fleet: Path) -> None:
    assert folder(fleet) == 0
    first = {file: (fleet / "predictions" / file).read_bytes() for file in files(fleet)}
    stale = fleet / "predictions/date=2026-11-21/hour=07/20261121T0700Z-PT1H-c00001-0.parquet"
    stale.write_bytes(b"of an earlier run with more chunks")

    assert folder(fleet) == 0
    assert {file: (fleet / "predictions" / file).read_bytes() for file in files(fleet)} == first

    (fleet / "readings" / "a.csv").write_text("time,device,value\n2026-11-21T08:00,pump,1\n")
    assert folder(fleet, "--window", "2026-11-21T07:00/2026-11-21T09:00", "--every", "PT1H") == 0
    assert files(fleet) == ["date=2026-11-21/hour=08/20261121T0800Z-PT1H-c00000-0.parquet"]
    assert read(fleet).num_rows == 1


class Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.open, (str(self.path), os.O_CREAT)


def test_each_model_fails_alone_and_says_why(fleet: Path, svm: OneClassSVM, capsys: pytest.CaptureFixture[str]) -> None:
    models, marker = fleet / "models", fleet / "marker"
    (models / "corrupt.pkl").write_bytes(pickle.dumps(svm)[:500])
    (models / "empty.skops").write_bytes(b"")
    (models / "hostile.pkl").write_bytes(pickle.dumps(Touch(marker)))
    wide = OneClassSVM().fit(pd.DataFrame({"rpm": [1.0, 2.0], "bar": [2.0, 3.0]}))
    (models / "other.pkl").write_bytes(pickle.dumps(wide))
    (models / "silent.pkl").write_bytes(pickle.dumps(svm))
    (models / "twice.pkl").write_bytes(pickle.dumps(svm))
    (models / "twice.joblib").write_bytes(pickle.dumps(svm))
    named = ("corrupt", "empty", "hostile", "other", "twice")
    with (fleet / "readings" / "a.csv").open("a") as file:
        file.write("".join(f"\n2026-11-21T07:00,{device},10" for device in named))

    code = folder(fleet)

    out = capsys.readouterr().out
    assert code == 1
    lines = out.splitlines()
    assert [line for line in lines if line.startswith(("failed", "skipped"))] == [
        "failed: 1 model: ambiguous",
        "failed: 1 model: empty_model",
        "failed: 1 model: missing_features",
        "failed: 1 model: unreadable_model",
        "failed: 1 model: untrusted_model",
        "skipped: 1 model: no_readings",
    ]
    models = [line.split(":")[0].strip() for line in lines if line.startswith("  ") and "what to do" not in line]
    assert models == ["twice", "empty", "other", "corrupt", "hostile", "silent"]
    assert "  other: expected 2 (rpm, bar); the readings have 1 (value) and lack 2 (rpm, bar)" in lines
    assert lines[-1].startswith("2 of 8 models scored, 5 failed, 1 skipped; ")
    assert not marker.exists()
    assert set(read(fleet)["device"].to_pylist()) == {"pump", "fan"}
    assert read(fleet).num_rows == 240


@pytest.mark.parametrize(
    "device", ["NA", "007", "a#b", "dev#1", "50%", "a b", "q?x", "it's", "ünïcode", "a%20b", "null"]
)
def test_odd_ids_come_through_as_they_are(device: str, fleet: Path, svm: OneClassSVM) -> None:
    (fleet / "models" / device).mkdir()
    (fleet / "models" / device / f"{device}.pkl").write_bytes(pickle.dumps(svm))
    rows = f"time,device,sensor,value\n2026-11-21T07:00,{device},{device},10\n"
    (fleet / "readings" / "a.csv").write_text(rows)

    assert folder(fleet) == 0

    assert read(fleet).select(["device", "sensor", "value"]).to_pylist() == [
        {"device": device, "sensor": device, "value": 10.0}
    ]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            ["--window", "2026-11-21T07:00/2026-11-21T08:00", "--every", "PT25M"],
            "--every: expected a length that divides",
        ),
        (
            ["--models", "{root}/readings"],
            "--models: expected files named {device}[/{sensor}].{ext}, got 1 .csv, such as a.csv",
        ),
        (["--models", "nowhere"], "--models: expected a folder, got nothing at nowhere"),
        (["--readings", "nowhere"], "--readings: expected a file or a folder, got nothing at nowhere"),
        (["--readings-path", "hour=%H/"], "so a --window is needed"),
        (["--predictions", "{root}/readings/a.csv"], "--predictions: expected a folder, got a file"),
        (["--predictions", "{root}/readings/out"], "--predictions: expected a folder outside the readings"),
        (
            ["--predictions", "/proc/no/such"],
            "expected a folder that can be written to, got /proc/no/such: No such file",
        ),
        (["--predictions", "{root}/readings/a.csv/out"], "a.csv/out: Not a directory"),
    ],
)
def test_wrong_usage_says_what_was_wanted_and_ends_with_2(
    more: list[str], says: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for file in (fleet / "models").iterdir():
        file.rename(file.with_suffix(".skops"))

    code = folder(fleet, *(word.format(root=fleet) if "{root}" in word else word for word in more))

    said = capsys.readouterr()
    assert code == 2
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert not (fleet / "predictions").exists()


@pytest.mark.parametrize("words", [[], ["--manifest", "file:///x"], ["folder"], ["fly"], ["--attempt", "one"]])
def test_a_command_line_that_says_too_little_ends_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 2


@pytest.mark.parametrize("readings", ["readings", "readings/a.csv"])
def test_readings_within_a_delta_table_are_refused_and_say_what_to_do(
    readings: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "_delta_log").mkdir()
    (fleet / "_delta_log" / "00000000000000000000.json").write_text("{}")

    assert folder(fleet, "--readings", str(fleet / readings)) == 2

    assert f"--readings: {fleet} is a Delta table" in (message := capsys.readouterr().err)
    assert "expected the folder of the whole table, without times or tokens" in message


def test_models_of_other_columns_in_a_later_batch_are_read_for_too(
    fleet: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(score_folder, "BATCH_MODELS", 1)
    spread = pd.DataFrame(np.random.default_rng(0).normal(10, 1, (50, 2)), columns=["a", "b"])
    for device, name in (("fan", "a"), ("pump", "b")):
        model = OneClassSVM(nu=0.1).fit(spread[[name]])
        (fleet / "models" / f"{device}.pkl").write_bytes(pickle.dumps(model))
    lines = ["time,device,a,b,c", "2026-11-21T07:00,fan,10,x,y", "2026-11-21T07:00,pump,x,10,y"]
    (fleet / "readings" / "a.csv").write_text("\n".join(lines))

    assert folder(fleet) == 0

    assert read(fleet)["value"].to_pylist() == [10.0, 10.0]
    assert "note: 2 rows had a cell that is not a number" in capsys.readouterr().out


def test_readings_in_hourly_folders_are_read_by_their_pattern(fleet: Path) -> None:
    text = (fleet / "readings" / "a.csv").read_text()
    (fleet / "readings" / "a.csv").unlink()
    for hour in ("06", "07"):
        (fleet / "readings" / f"hour={hour}").mkdir()
    (fleet / "readings" / "hour=06" / "a.csv").write_text("not for this window")
    (fleet / "readings" / "hour=07" / "a.csv").write_text(text)

    assert folder(fleet, "--window", "2026-11-21T07:00/2026-11-21T08:00", "--readings-path", "hour=%H/") == 0
    assert read(fleet).num_rows == 120


def test_rows_that_two_files_have_in_another_order_are_scored_once_and_told(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wide = OneClassSVM().fit(pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["a", "b"]))
    for device in ("pump", "fan"):
        (fleet / "models" / f"{device}.pkl").write_bytes(pickle.dumps(wide))
    rows = [(f"2026-11-21T07:{m:02},{d}", m % 7, m % 5) for m in range(60) for d in ("pump", "fan")]
    first = "".join(f"{key},{a},{b}\n" for key, a, b in rows)
    second = "".join(f"{key},{b},{a}\n" for key, a, b in rows)
    (fleet / "readings" / "a.csv").write_text("time,device,a,b\n" + first)
    assert folder(fleet) == 0
    alone = read(fleet)
    (fleet / "readings" / "b.csv").write_text("time,device,b,a\n" + second)

    assert folder(fleet) == 0

    assert alone.num_rows == 120
    assert read(fleet).equals(alone)
    assert "note: 120 readings were replaced by a later one" in capsys.readouterr().out


def test_a_run_that_scored_nothing_has_failed_and_says_the_commonest_reason(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "models" / "saw.pkl").write_bytes(b"")
    (fleet / "readings" / "a.csv").write_text("time,device,value\n2026-11-21T07:00,mill,1\n")

    assert folder(fleet) == 1
    (fleet / "models" / "saw.pkl").unlink()
    assert folder(fleet) == 1

    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("nothing")] == [
        "nothing was scored: no_readings for 3 of 3 models",
        "nothing was scored: no_readings for 2 of 2 models",
    ]


def test_a_place_that_takes_no_predictions_is_told_before_anything_is_scored(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "models" / "corrupt.pkl").write_bytes(b"x")

    assert folder(fleet, "--predictions", "/proc/no/such") == 2

    said = capsys.readouterr()
    assert (said.out, len(said.err.splitlines())) == ("", 1)


def test_predictions_that_cannot_be_written_after_all_end_with_2_and_one_line(
    fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "predictions").mkdir()
    (fleet / "predictions" / "date=2026-11-21").write_text("in the way")

    assert folder(fleet) == 2

    said = capsys.readouterr().err
    assert said.startswith("scorer: cannot write 'date=2026-11-21/hour=07/")
    assert said.endswith(f"in {fleet}/predictions: Not a directory\n")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("to", ["models", "models/skops", "models/../models", ".", "link"])
def test_models_are_not_converted_into_their_own_folder(
    to: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (fleet / "link").symlink_to(fleet / "models")
    before = sorted(fleet.rglob("*"))

    code = main(["convert", "--models", str(fleet / "models"), "--to", str(fleet / to)])

    said = capsys.readouterr()
    assert code == 2
    assert "--to: expected a folder outside the models" in said.err
    assert len(said.err.splitlines()) == 1
    assert (said.out, sorted(fleet.rglob("*"))) == ("", before)


@pytest.mark.parametrize("to", ["/proc/no/such", "{root}/readings/a.csv"])
def test_converting_to_a_place_that_takes_no_files_ends_with_2(
    to: str, fleet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["convert", "--models", str(fleet / "models"), "--to", to.format(root=fleet)]) == 2
    assert capsys.readouterr().err.startswith("scorer: --to: expected a folder")


def test_convert_never_runs_what_is_in_a_pickle(fleet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (fleet / "models" / "hostile.pkl").write_bytes(pickle.dumps(Touch(fleet / "marker")))

    code = main(["convert", "--models", str(fleet / "models"), "--to", str(fleet / "skops")])

    assert code == 1
    assert sorted(f.name for f in (fleet / "skops").iterdir()) == ["fan.skops", "pump.skops"]
    assert not (fleet / "marker").exists()
    assert capsys.readouterr().out.splitlines() == [
        "failed: 1 model: untrusted_model",
        "  hostile: the pickle names posix.open, which is not on the allow-list",
        f"  what to do: {Reason.UNTRUSTED_MODEL.advice}",
        f"2 of 3 models converted, 1 failed, in {fleet}/skops",
    ]
    # What it wrote scores like what it read.
    (fleet / "models" / "hostile.pkl").unlink()
    assert folder(fleet) == 0
    first = read(fleet)["score"].to_pylist()
    assert folder(fleet, "--models", str(fleet / "skops")) == 0
    assert read(fleet)["score"].to_pylist() == first
