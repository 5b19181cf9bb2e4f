"""JSON at a desk: a fleet is scored from routed messages in a file that is still written, by the command itself."""

from __future__ import annotations

import base64
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.svm import OneClassSVM

from scorer.readings.source import INVALID

ROOT = Path(__file__).parents[3]
COLUMNS = "time=ts,device=SystemProperties.connectionDeviceId,features=data.*,step=10s"


def test_routed_messages_with_arrays_of_values_are_scored_and_what_is_left_out_is_counted(tmp_path: Path) -> None:
    svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "pump.pkl").write_bytes(pickle.dumps(svm))
    bodies = [{"ts": f"2026-11-21T07:{minute:02}:00Z", "data": {"temp": [10, 99]}} for minute in range(3)]
    texts = [base64.b64encode(json.dumps(body).encode()).decode() for body in bodies]
    beside = {"EnqueuedTimeUtc": "2026-11-21T07:30Z", "SystemProperties": {"connectionDeviceId": "pump"}}
    lines = [json.dumps({**beside, "Body": text}) for text in [*texts, "bm8gSlNPTg=="]]
    (tmp_path / "readings.json").write_text("\n".join([*lines, lines[0][:50]]))

    words = [
        "folder",
        "--models",
        "models",
        "--readings",
        "readings.json",
        "--predictions",
        "out",
        "--columns",
        COLUMNS,
    ]
    run = subprocess.run(
        [sys.executable, "-m", "scorer", *words], check=False, cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, "")
    rows = [row for path in sorted((tmp_path / "out").rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert [(row["time"].strftime("%M:%S"), row["value"], row["anomaly"]) for row in rows] == [
        ("00:00", 10.0, False), ("00:10", 99.0, True), ("01:00", 10.0, False), ("01:10", 99.0, True),
        ("02:00", 10.0, False), ("02:10", 99.0, True),
    ]  # fmt: skip
    notes = [line for line in run.stdout.splitlines() if line.startswith("note:")]
    assert notes[:2] == [
        "note: 1 files end in the middle of a row or array, such as readings.json",
        f"note: 1 {INVALID.format('readings.json')}",
    ]
