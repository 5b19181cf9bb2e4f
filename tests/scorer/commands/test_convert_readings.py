"""`python -m scorer readings convert`, and the folder that it writes scored by `python -m scorer folder`."""

from __future__ import annotations

import errno
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.device_formats.spool import Spool
from tests.scorer.device_formats.converting import (
    convert,
    list_rows,
    make_channel,
    make_signal,
    read_readings,
    run,
    write_mdf,
    write_tdms,
)

T = 1_795_244_400  # 2026-11-21T07:00:00Z


@pytest.fixture
def exports(tmp_path: Path) -> Path:
    """One device in each format, with the same readings: temp and flow each second for two minutes."""
    folder = tmp_path / "exports"
    folder.mkdir()
    temp, flow = make_readings()
    write_mdf(folder / "mdf.mf4", [make_signal("temp", temp, unit="Cel"), make_signal("flow", flow)])
    write_tdms(folder / "tdms.tdms", [make_channel("temp", temp, unit_string="Cel"), make_channel("flow", flow)])
    lines = [
        f"m,device=lines temp={a!r},flow={b!r} {T + i}"
        for i, (a, b) in enumerate(zip(temp.tolist(), flow.tolist(), strict=True))
    ]
    (folder / "lines.lp").write_text("\n".join(lines))
    records = [
        record
        for i, (a, b) in enumerate(zip(temp.tolist(), flow.tolist(), strict=True))
        for record in ({"n": "senml:temp", "u": "Cel", "t": T + i, "v": a}, {"n": "senml:flow", "t": T + i, "v": b})
    ]
    (folder / "pack.senml").write_text(json.dumps(records))
    return folder


def make_readings() -> tuple[np.ndarray, np.ndarray]:
    temp, flow = np.random.default_rng(1).normal([[20.0], [5.0]], 1, (2, 120))
    temp[100] = 90.0
    return temp, flow


def test_converted_readings_of_every_format_are_scored_alike(
    exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    temp, flow = make_readings()
    training = np.stack([temp, flow], axis=1)[:100]
    model = make_pipeline(StandardScaler(), OneClassSVM(nu=0.05)).fit(training)
    (tmp_path / "models").mkdir()
    devices = ("lines", "mdf", "senml", "tdms")
    for device in devices:
        (tmp_path / "models" / f"{device}.pkl").write_bytes(pickle.dumps(model))
        (tmp_path / "models" / f"{device}.features.json").write_text('{"features": ["temp", "flow"]}')
    assert run(exports, "--into", tmp_path / "readings", "--precision", "s") == 0
    assert main(["folder", "--models", str(tmp_path / "models"), "--readings", str(tmp_path / "readings"),
                 "--predictions", str(tmp_path / "predictions")]) == 0  # fmt: skip
    assert "4 of 4 models" in capsys.readouterr().out
    rows = pq.read_table(tmp_path / "predictions").to_pandas()
    expected = model.decision_function(np.stack([temp, flow], axis=1))
    for device in devices:
        scores = rows[rows["device"] == device].sort_values("time")["score"].to_numpy()
        assert np.abs(scores - expected).max() < 1e-9


def test_the_summary_counts_files_devices_and_readings(
    exports: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "readings"
    assert run(exports, "--into", target, "--precision", "s") == 0
    assert capsys.readouterr().out == (
        "4 files (1 line-protocol, 1 mdf4, 1 senml, 1 tdms) converted: 4 devices, 2 sensors, 960 readings; 480 rows "
        f"(wide: a column for each sensor) of 1 hours in {target}\n"
    )
    options = ["--overwrite", "--format", "tdms", "--long", "--json"]
    assert run(exports, "--into", target, *options) == 0
    assert json.loads(capsys.readouterr().out) == {
        "files": {"tdms": 1}, "devices": 1, "sensors": 2, "readings": 240, "rows": 240, "hours": 1, "wide": False,
        "replaced": 0, "gaps": {}, "left_out": {}, "ignored": {".lp": 1, ".mf4": 1, ".senml": 1}, "warnings": [],
        "target": str(target),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--now", "2026-11-21T07:00"], "--now: expected a time with its offset such as 2026-11-21T07:00:00Z"),
        (["--quality", "status"], "--quality: expected NAME=GOOD such as status=ok"),
        (["--name-pattern", "{device}"], "--name-pattern: expected files in senml, got line-protocol"),
        (["--time-zone", "Europe/Berlin"], "--time-zone: expected files in mdf4, got line-protocol"),
        (["--time-channel", "Time"], "--time-channel: expected files in tdms, got line-protocol"),
        (
            ["--name-pattern", "{sensor}"],
            "--name-pattern: expected a pattern such as {device}/{sensor}, got '{sensor}'",
        ),
        (["--sensor", "{}"], "--sensor: expected a name with parts such as {file} or {channel}, got '{}'"),
        (["--file-names", "*"], "--file-names: expected a pattern with {file} such as {file}_*, got '*'"),
        (["--time-zone", "Berlin"], "--time-zone: expected a time zone by its IANA name"),
        (["--missing-values", "x"], "--missing-values: expected numbers such as -999,65535"),
        (["--sensor", "{wheel}"], "expected one of {field}, {host}, {measurement}, got {wheel} in '{wheel}'"),
    ],
)
def test_a_wrong_option_is_refused_by_its_name(
    tmp_path: Path, option: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.lp"
    path.write_text(f"m,host=a x=1 {T}000000000")
    assert run(path, "--into", tmp_path / "readings", *option) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.lp"]


def test_a_sensor_is_named_by_its_parts(tmp_path: Path) -> None:
    path = tmp_path / "a.lp"
    path.write_text(f"m,host=a x=1 {T}000000000")
    table = convert(tmp_path, path, "--sensor", "{host}.{field}")
    assert table.column_names == ["time", "device", "a.x"]


@pytest.mark.parametrize("option", [["--missing-values", "-999,65535"], ["--missing-values=-999,65535"]])
def test_missing_values_may_begin_with_a_minus(tmp_path: Path, option: list[str]) -> None:
    path = tmp_path / "a.lp"
    path.write_text(f"m,host=a x=-999,y=1,z=65535 {T}000000000")
    assert list_rows(convert(tmp_path, path, *option)) == [(0, "a", None, 1, None)]


def convert_twice(folder: Path) -> int:
    """Convert to the folder `readings`, and then other readings to the same; the second exit code."""
    path = folder / "a.lp"
    path.write_text(f"m,host=a x=1 {T}000000000")
    assert run(path, "--into", folder / "readings") == 0
    path.write_text(f"m,host=a x=2 {T}000000000")
    return run(path, "--into", folder / "readings", "--overwrite")


@pytest.mark.parametrize("fails_twice", [False, True])
def test_the_readings_before_are_never_lost(
    tmp_path: Path, fails_twice: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rename = Path.rename

    def rename_or_fail(path: Path, target: Path) -> Path:
        if path.parent.suffix == ".tmp" or (fails_twice and path.suffix == ".old"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(path, target)

    assert convert_twice(tmp_path) == 0
    monkeypatch.setattr(Path, "rename", rename_or_fail)
    assert run(tmp_path / "a.lp", "--into", tmp_path / "readings", "--overwrite") == 2
    (old,) = tmp_path.glob(".readings.*.old" if fails_twice else "readings")
    assert list_rows(read_readings(old)) == [(0, "a", 2)]
    place = f"; the readings that were there before are in {old}" if fails_twice else ""
    assert capsys.readouterr().err == (
        f"scorer: --into: cannot write {tmp_path / 'readings'}: Input/output error{place}\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([old.name, "a.lp"])


def test_a_full_disk_is_one_of_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.lp"
    path.write_text(f"m,host=a x=1 {T}000000000")
    monkeypatch.setattr(Spool, "add", fail)
    assert run(path, "--into", tmp_path / "readings") == 2
    assert capsys.readouterr().err == (
        f"scorer: --into: cannot write {tmp_path / 'readings'}: No space left on device\n"
    )


def test_a_target_that_is_a_link_is_replaced_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "disk" / "data").mkdir(parents=True)
    (tmp_path / "readings").symlink_to(tmp_path / "disk" / "data")
    assert convert_twice(tmp_path) == 0
    assert list_rows(read_readings(tmp_path / "disk" / "data")) == [(0, "a", 2)]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["data"]
    assert (tmp_path / "readings").is_symlink()


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["nothing"], "expected a file or a folder, got nothing at"),
        (["empty"], "expected files in senml, line-protocol, mdf4, tdms, got none in"),
        (["empty.lp"], "expected a file in senml, line-protocol, mdf4, tdms, got an empty file: "),
        (["a.csv"], "expected a file in senml, line-protocol, mdf4, tdms, got another format: "),
    ],
)
def test_sources_without_readings_are_refused(
    tmp_path: Path, sources: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.lp").touch()
    (tmp_path / "a.csv").write_text("time,device,a\n")
    assert run(*(tmp_path / name for name in sources), "--into", tmp_path / "readings") == 2
    assert message in capsys.readouterr().err


def test_commands_are_listed_where_none_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    message = "expected folder, convert, models import, readings convert, predictions upgrade, or both --manifest"
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("name", "package"), [("mdf.mf4", "asammdf"), ("tdms.tdms", "nptdms")])
def test_a_missing_package_is_named_with_the_extra(exports: Path, tmp_path: Path, name: str, package: str) -> None:
    (tmp_path / "site" / package).mkdir(parents=True)
    (tmp_path / "site" / package / "__init__.py").write_text(f"raise ModuleNotFoundError('No module named {package}')")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\nfrom scorer.__main__ import main\n"
        "if __name__ == '__main__': sys.exit(main(sys.argv[1:]))"
    )
    (tmp_path / "start.py").write_text(program)
    arguments = ["readings", "convert", str(exports / name), "--into", str(tmp_path / "readings")]
    root = Path(__file__).parents[3]
    process = subprocess.run(
        [sys.executable, str(tmp_path / "start.py"), *arguments],
        env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 2
    assert "needs the extra convert: pip install 'fleetscore[convert]'" in process.stderr
