"""`python -m scorer folder` on what Event Hubs Capture writes: the same scores as of the same readings as CSV."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset as ds
import pytest
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from tests.scorer.readings.avro.samples import ENVELOPE, event, write_avro

MINUTES = range(60)


def score(root: Path, readings: str, *more: str) -> int:
    """The code of a call, which writes into the folder `of-READINGS`."""
    return main(["folder", "--models", str(root / "models"), "--readings", str(root / readings),
                 "--predictions", str(root / f"of-{readings}"), *more])  # fmt: skip


def read(root: Path, readings: str) -> list[dict[str, Any]]:
    names = ["time", "device", "score", "anomaly"]
    return ds.dataset(root / f"of-{readings}", format="parquet").to_table(names).to_pylist()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two models, and an hour of readings of theirs as CSV, and as Capture has written them from two partitions."""
    for name in ("models", "csv"):
        (tmp_path / name).mkdir()
    svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
    lines = []
    for partition, device in enumerate(("fan", "pump")):
        (tmp_path / "models" / f"{device}.pkl").write_bytes(pickle.dumps(svm))
        lines += [f"2026-11-21T07:{minute:02}:00Z,{device},{10 + minute % 7}" for minute in MINUTES]
        events = [
            event(
                json.dumps({"ts": f"2026-11-21T07:{minute:02}:00Z", "temp": 10 + minute % 7}).encode(),
                minute,
                system={"iothub-connection-device-id": device},
            )
            for minute in MINUTES
        ]
        for minute in (0, 5, 10):
            part = events if minute == 5 else [event(b"\xff", 99)] if minute else []
            path = tmp_path / f"capture/hub/telemetry/{partition}/2026/11/21/07/{minute:02}/03.avro"
            path.parent.mkdir(parents=True)
            path.write_bytes(write_avro(part, codec="deflate", interval=500))
    (tmp_path / "csv" / "a.csv").write_text("\n".join(["time,device,temp", *lines]))
    return tmp_path


def test_events_are_scored_as_the_same_rows_of_csv(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [score(root, "csv"), score(root, "capture", "--columns", f"time=ts,device={ENVELOPE}")]

    assert codes == [0, 0]
    assert read(root, "capture") == read(root, "csv")
    assert len(read(root, "csv")) == 2 * len(MINUTES)
    assert "2 objects or events were left out, such as in " in capsys.readouterr().out


def test_a_capture_that_was_cut_fails_the_models(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = root / "capture/hub/telemetry/0/2026/11/21/07/05/03.avro"
    path.write_bytes(path.read_bytes()[:-1])

    code = score(root, "capture", "--columns", f"time=ts,device={ENVELOPE}")

    assert code != 0
    assert "it was cut, or is still written" in capsys.readouterr().out
