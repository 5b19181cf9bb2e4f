"""`python -m scorer readings convert`, and the folder that it writes scored by `python -m scorer folder`."""

from __future__ import annotations

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
from tests.scorer.device_formats.converting import make_channel, make_signal, run, write_mdf, write_tdms

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
        "replaced": 0, "gaps": {}, "left_out": {}, "ignored": {".lp": 1, ".mf4": 1, ".senml": 1}, "target": str(target),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--now", "2026-11-21T07:00"], "--now: expected a time with its offset such as 2026-11-21T07:00:00Z"),
        (["--quality", "status"], "--quality: expected NAME=GOOD such as status=ok"),
        (["--sensor", "{host}.{field}"], None),
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
    tmp_path: Path, option: list[str], message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.lp"
    path.write_text(f"m,host=a x=1 {T}000000000")
    assert run(path, "--into", tmp_path / "readings", *option) == (2 if message else 0)
    assert (message or "") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["nothing"], "expected a file or a folder, got nothing at"),
        (["empty"], "expected files in senml, line-protocol, mdf4, tdms, got none in"),
    ],
)
def test_sources_without_readings_are_refused(
    tmp_path: Path, sources: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run(*(tmp_path / name for name in sources), "--into", tmp_path / "readings") == 2
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
