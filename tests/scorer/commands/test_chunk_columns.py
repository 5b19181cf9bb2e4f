"""A node reads the columns that its models name, whatever packs and passes they are in; measured in a real process."""

import json
import pickle
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from scorer.commands import score_chunk
from scorer.commands.score_chunk import AttemptOptions
from scorer.readings import source
from scorer.readings.device_readings import Readings
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef
from shared.contract.paths import report_path
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.scoring_options import Limits, ScoringOptions
from tests.scorer.readings.seen import HOUR

ROOT = Path(__file__).parents[3]
FOLDER = "date=2026-11-21/hour=07"
SPREAD = pd.DataFrame(np.random.default_rng(0).normal(10, 1, (100, 3)), columns=["a", "c", "load"])


def fit(*names: str) -> bytes:
    return pickle.dumps(OneClassSVM(nu=0.1).fit(SPREAD[list(names)]))


def make_manifest(root: Path, models: Mapping[str, bytes], packs: Sequence[int], memory: int = 2**31) -> Manifest:
    for name in ("models", "readings", "work"):
        (root / name).mkdir(exist_ok=True)
    fleet = []
    for device, data in models.items():
        (root / "models" / f"{device}.pkl").write_bytes(data)
        fleet.append(Model(device, "", f"{device}.pkl", "e"))
    urls = [(root / name).as_uri() for name in ("models", "readings", "work")]
    refs = tuple(PackRef(f"p{i}", count) for i, count in enumerate(packs))
    return Manifest(
        HOUR, "c00000", tuple(fleet), *urls, packs=refs, policy=ScoringOptions(limits=Limits(readings_memory=memory))
    )


def run(root: Path, manifest: Manifest, attempt: int = 1, options: AttemptOptions | None = None) -> Report:
    (root / "work" / "m.json").write_bytes(manifest.to_bytes())
    score_chunk.run_attempt(f"{manifest.work_url}/m.json", attempt, options=options)
    path = root / "work" / report_path(HOUR.id, "c00000", attempt)
    return Report.from_bytes(path.read_bytes(), len(manifest.models))


def read_rows(root: Path, report: Report) -> list[dict[str, object]]:
    return [row for part in report.parts for row in pq.ParquetFile(root / "work" / part.path).read().to_pylist()]


def write_readings(root: Path, devices: Sequence[str], **columns: object) -> None:
    rows = [
        {"time": (HOUR.start + timedelta(minutes=i)).isoformat(), "device": device, "a": 10.0 + i, "b": 9.0, **columns}
        for i in range(3)
        for device in devices
    ]
    (root / "readings" / FOLDER).mkdir(parents=True, exist_ok=True)
    (root / "readings" / FOLDER / "x.json").write_text("\n".join(map(json.dumps, rows)))


DEVICES = [f"d{i}" for i in range(6)]


@pytest.mark.parametrize("memory", [2**31, 7000, 4000, 1])  # one pass, and more and more
def test_packs_of_other_features_are_read_for_and_each_warning_counts_once(
    memory: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[tuple[list[str], frozenset[str]]] = []
    real = source.Source.read_devices

    def noted(self: source.Source, devices: Sequence[str], projection: source.Projection) -> Readings:
        passes.append((list(devices), projection.names))
        return real(self, devices, projection)

    models = {device: fit("a") if i < 4 else fit("a", "c") for i, device in enumerate(DEVICES)}
    manifest = make_manifest(tmp_path, models, [2, 2, 2], memory)
    write_readings(tmp_path, DEVICES, c=10.0, note="x")
    lines = (tmp_path / "readings" / FOLDER / "x.json").read_text().replace('"a": 11.0', '"a": "ERR"')
    (tmp_path / "readings" / FOLDER / "x.json").write_text(lines)
    monkeypatch.setattr(source.Source, "read_devices", noted)

    report = run(tmp_path, manifest)

    assert report.warnings == (
        "6 of 18 rows of OneClassSVM (rbf) lacked a feature: GAPS says what becomes of them",
        "6 rows had a cell that is not a number, or not a time, and were left out where it is needed",
        "6 rows lacked one of the features that their model expects and were left out",
    )
    assert (report.tally.scored, report.tally.rows) == (6, 12)
    if memory == 2**31:
        assert passes == [(DEVICES, {"a"}), (DEVICES, {"a", "c"})]
    if memory == 1:
        assert passes == [(DEVICES[:2], {"a"}), (DEVICES[2:4], {"a"}), (DEVICES[4:], {"a", "c"})]


def test_an_isolated_attempt_gives_the_same_rows_also_of_features_in_the_names_of_folders(tmp_path: Path) -> None:
    kept = pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True).fit(SPREAD[["load", "a"]]))
    manifest = make_manifest(tmp_path, {"d0": fit("a"), "d1": fit("load", "a"), "d2": kept}, [2, 1])
    write_readings(tmp_path, ["d0", "d1", "d2"], site="north")
    whole = tmp_path / "readings" / FOLDER
    for load in ("9", "__HIVE_DEFAULT_PARTITION__"):
        (whole / "site=north" / f"load={load}").mkdir(parents=True)
    (whole / "x.json").rename(whole / "site=north" / "load=9" / "x.json")

    usual, isolated = run(tmp_path, manifest), run(tmp_path, manifest, 2, AttemptOptions(isolated=True))

    assert [result.reason for result in usual.results] == [None] * 3
    assert isolated.results == usual.results
    scores = [[row.pop("score") for row in read_rows(tmp_path, report)] for report in (usual, isolated)]
    assert scores[0] == pytest.approx(scores[1])


MIB = 2**20
PEAK = """
import re, sys
from pathlib import Path
from scorer.commands import score_chunk
score_chunk.run_attempt(sys.argv[1], int(sys.argv[2]))
print(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def measure_peak(root: Path, manifest: Manifest, attempt: int) -> float:
    """MiB that a process of its own takes at most for the chunk."""
    (root / "work" / "m.json").write_bytes(manifest.to_bytes())
    words = [sys.executable, "-c", PEAK, f"{manifest.work_url}/m.json", str(attempt)]
    ended = subprocess.run(words, check=True, cwd=ROOT, capture_output=True, text=True)
    return int(ended.stdout) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux says the peak of a process")
def test_a_column_of_waveforms_takes_no_memory_and_makes_no_passes(tmp_path: Path) -> None:
    devices = [f"d{i:02}" for i in range(40)]
    manifest = make_manifest(tmp_path, dict.fromkeys(devices, fit("a")), [10] * 4, memory=64 * MIB)
    times = pa.array([HOUR.start] * 40, pa.timestamp("us", "UTC"))
    rows = pa.table({"time": times, "device": devices, "a": np.full(40, 10.0)})
    (tmp_path / "readings" / FOLDER).mkdir(parents=True)
    file = tmp_path / "readings" / FOLDER / "x.parquet"
    pq.write_table(rows, file)
    without = measure_peak(tmp_path, manifest, 1)
    wave = pa.FixedSizeListArray.from_arrays(np.zeros(40 * MIB), MIB).cast(pa.list_(pa.float64()))  # 320 MiB
    bare = rows.append_column("wave", wave).append_column("raw", pa.array([bytes(MIB)] * 40))
    pq.write_table(bare, file, use_dictionary=False, compression="zstd")
    assert measure_peak(tmp_path, manifest, 2) < without + 32
    assert pq.ParquetFile(file).metadata.row_group(0).total_byte_size > 360 * MIB


def test_models_that_lack_a_column_name_what_the_file_has(tmp_path: Path) -> None:
    manifest = make_manifest(tmp_path, {"d0": fit("a"), "d1": fit("load", "a")}, [2])
    write_readings(tmp_path, ["d0", "d1"], temp=1.0)

    report = run(tmp_path, manifest)

    assert report.results[1].reason is Reason.MISSING_FEATURES
    assert report.results[1].message == "expected 2 (load, a); the readings have 3 (a, b, temp) and lack 1 (load)"
