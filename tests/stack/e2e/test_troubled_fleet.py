"""A fleet in which five devices are in trouble, each in its own way: the others are scored, and HTTP names the five."""

import io
import os
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from starlette.testclient import TestClient

from shared.api.app import create_api
from shared.api.auth import Authorizer
from tests.stack.e2e.place import Place, over, tick_until

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
SIGNALS = ["heat", "noise"]


class Hostile:
    """A pickle that touches a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def readings(devices: list[str]) -> bytes:
    rng = np.random.default_rng(0)
    minutes = [NOW - timedelta(minutes=65 - m) for m in range(60)]
    rows = [(t, d, *rng.normal(size=2)) for d in devices for t in minutes]
    sink = io.BytesIO()
    pd.DataFrame(rows, columns=["time", "device", *SIGNALS]).to_parquet(sink, index=False)
    return sink.getvalue()


def trained(features: list[str]) -> bytes:
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(rng.normal(size=(200, len(features))), columns=features)
    data: bytes = skops.io.dumps(make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(frame))
    return data


def test_each_is_named_with_its_reason_and_the_others_are_scored(place: Place, tmp_path: Path) -> None:
    good, marker = trained(SIGNALS), tmp_path / "touched"
    healthy = [f"pump{i}" for i in range(6)]
    place.upload("models", {f"{device}.skops": good for device in healthy})
    place.upload("models", {
        "corrupt.skops": good[: len(good) // 2],
        "empty.skops": b"",
        "hostile.pkl": pickle.dumps(Hostile(marker)),
        "other-columns.skops": trained(["heat", "pressure"]),
        "off.skops": good,
        "notes.txt": b"no model",
    })  # fmt: skip
    devices = [*healthy, "corrupt", "empty", "hostile", "other-columns"]
    place.upload("readings", {"date=2026-11-21/hour=11/part.parquet": readings(devices)})
    plane = place.plane(CHUNK_SIZE="4")
    tick_until(plane, NOW, over(plane, RUN))

    http = TestClient(create_api(plane.services, Authorizer(), lambda: NOW))
    run = http.get(f"/api/runs/{RUN}").json()
    assert run["phase"] == "partial"
    counts = {"total": 11, "done": 11, "scored": 6, "failed": 4, "skipped": 1, "ignored": 1}
    assert {name: run["models"][name] for name in counts} == counts
    assert (run["rows"], run["progress"]) == (360, 1.0)
    named = {failure["example"]: failure["reason"] for failure in http.get(f"/api/runs/{RUN}/failures").json()}
    assert named == {
        "corrupt": "unreadable_model",
        "empty": "empty_model",
        "hostile": "untrusted_model",
        "other-columns": "missing_features",
        "off": "no_readings",
    }
    wrong = http.get(f"/api/runs/{RUN}/failures/missing_features").json()["items"]
    assert [model["model"] for model in wrong] == ["other-columns"]
    assert "pressure" in wrong[0]["message"]
    assert not marker.exists()
    assert "scored=" in http.get(f"/api/runs/{RUN}/logs/c00000").text
    table = pd.read_parquet(place.download("predictions", tmp_path / "predictions"))
    assert sorted(table["device"].unique()) == healthy
