"""Every id that the door lets in goes all the way under exactly its own name; every one that it refuses is named.

From model blobs that azure-storage-blob uploaded, over the plan of the real control plane and the real scorer's run, to
Parquet as others read it and to the answers over HTTP. Only the cluster is a stand-in: its jobs run in this process.
"""

import asyncio
import io
import logging
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from azure.functions import AsgiMiddleware, HttpRequest
from azure.storage.blob import BlobServiceClient
from sklearn.svm import OneClassSVM
from starlette.testclient import TestClient

from local.azurite import Azurite
from scorer.commands import score_chunk
from shared import bootstrap
from shared.adapters.memory import MemoryCluster
from shared.api.app import create_api
from shared.api.auth import Authorizer
from shared.config import settings
from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.manifest import Manifest
from shared.contract.model_names import format_name
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.control.loop import ControlPlane
from shared.ports import JobSpec
from shared.state.requests import Quarantined
from shared.state.runs import JobState
from tests.reports import read_report
from tests.shared.contract.test_model_names import IDS, REFUSED, name_of
from tests.stack.e2e.place import Place

NOW = datetime(2026, 11, 21, 12, 5, tzinfo=UTC)
START = datetime(2026, 11, 21, 11, tzinfo=UTC)
RUN = "20261121T1100Z-PT1H"
FOLDER = f"{START:date=%Y-%m-%d/hour=%H}/"
ONLY = "only"  # the one sensor of the devices whose model is of the device as a whole
FORMATS = ("csv", "parquet", "jsonl")  # each has a reading of every device

# One such name, and Azurite answers 500 to every listing of its container; the SDK sends dots to another place.
NEVER_STORED = {chr(code) for code in (*range(0x20), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000))} - set("\t\n\r")


def storable(name: str) -> bool:
    """Whether Azurite keeps a blob of this name and the name is still its own."""
    parts = name.split("/")
    return not ({".", ".."} & set(parts) or "\\" in name or NEVER_STORED & set(name))


Row = tuple[str, str | None, list[float]]  # device, sensor, and its values in the order of time

STORED = [name for name, _ in REFUSED if storable(name) and len(name) <= 1024]


@dataclass(slots=True)
class InProcess:
    """A cluster that runs each job when it is told to."""

    cluster: MemoryCluster
    storage: str

    def run(self) -> None:
        for name, job in self.cluster.jobs.items():
            if not self.cluster.sightings[name].state.over:
                score_chunk.run_attempt(manifest_of(job), 1, self.storage)
                self.cluster.set_state(name, JobState.SUCCEEDED)


def manifest_of(job: JobSpec) -> str:
    """The URL of what a job shall score."""
    return job.command[job.command.index("--manifest") + 1]


@pytest.fixture
def place(azurite: Azurite, fresh_name: str) -> Iterator[Place]:
    """Containers that exist and are empty; no cluster."""
    containers = {
        f"{what.upper()}_CONTAINER": f"{fresh_name}-{what}" for what in ("models", "readings", "predictions", "work")
    }
    environment = {
        **containers,
        "STORAGE": azurite.connection_string,
        "LEDGER_TABLE": f"{fresh_name}ledger",
        "APP_NAME": fresh_name,
        "HEARTBEAT": "* * * * * *",
        "DASK_SCHEDULER": "tcp://127.0.0.1:9",  # nobody is ever asked there
        "CHUNK_SIZE": "60",
    }
    with BlobServiceClient.from_connection_string(azurite.connection_string, api_version="2025-01-05") as service:
        for container in containers.values():
            service.create_container(container)
        yield Place(environment, service)


@contextmanager
def over_http(plane: ControlPlane) -> Iterator[TestClient]:
    with TestClient(create_api(plane.services, Authorizer(), lambda: NOW)) as client:
        yield client


def played(place: Place, **changes: str) -> ControlPlane:
    """The control plane after all the runs that are due are over."""
    cluster = MemoryCluster()
    plane = replace(
        bootstrap.build_control_plane(settings.load_settings({**place.environment, **changes})), cluster=cluster
    )
    nodes = InProcess(cluster, place.environment["STORAGE"])
    for second in range(10):
        plane.tick(NOW + timedelta(seconds=second))
        nodes.run()
        runs = plane.ledger.list_runs(10).items
        if runs and all(run.phase.terminal for run in runs):
            return plane
    raise AssertionError(f"not over: {runs}")


def written(rows: Mapping[str, list[Any]], kind: str) -> bytes:
    """The rows as a file that pyarrow wrote."""
    table, sink = pa.table(dict(rows)), io.BytesIO()
    match kind:
        case "csv":
            pa_csv.write_csv(table, sink)
        case "parquet":
            pq.write_table(table, sink)
        case _:
            import pandas as pd

            pd.DataFrame(rows).to_json(sink, orient="records", lines=True, date_format="iso")
    return sink.getvalue()


def verdicts(plane: ControlPlane, attempt: int) -> list[ModelResult]:
    """What the reports of that attempt say of each model."""
    chunks = plane.ledger.list_chunks(RUN)
    reports = [plane.work.read(paths.report_path(RUN, chunk.id, attempt)) for chunk in chunks]
    manifests = [Manifest.from_bytes(plane.work.read(paths.manifest_path(RUN, chunk.manifest))) for chunk in chunks]
    return [result for pair in zip(reports, manifests, strict=True) for result in read_report(*pair).results]


def give_long(place: Place, ids: list[tuple[str, str]]) -> None:
    """Of each device and sensor one reading in a file of each kind; its value says whose it is and from which file."""
    for f, kind in enumerate(FORMATS):
        rows = {
            "time": [f"{START + timedelta(minutes=f):%Y-%m-%dT%H:%M:%SZ}"] * len(ids),
            "device": [device for device, _ in ids],
            "sensor": [sensor or ONLY for _, sensor in ids],
            "value": [i + f / 8 for i in range(len(ids))],
        }
        place.upload("readings", {f"{FOLDER}part.{kind}": written(rows, kind)})


def model() -> bytes:
    return pickle.dumps(OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(size=(50, 1))))


def expected(ids: list[tuple[str, str]]) -> list[Row]:
    """What consumers shall read, and nothing else."""
    return sorted(((d, s or None, [i + f / 8 for f in range(len(FORMATS))]) for i, (d, s) in enumerate(ids)), key=repr)


def by_pyarrow(folder: Path) -> list[Row]:
    table = pq.read_table(folder).sort_by([("time", "ascending")])
    found: dict[tuple[str, str | None], list[float]] = {}
    for row in table.select(["device", "sensor", "value"]).to_pylist():
        found.setdefault((row["device"], row["sensor"]), []).append(row["value"])
    return sorted(((device, sensor, values) for (device, sensor), values in found.items()), key=repr)


def by_duckdb(folder: Path) -> list[Row]:
    query = "select device, sensor, list(value order by time) from read_parquet(?) group by device, sensor"
    with duckdb.connect() as connection:
        return sorted(connection.execute(query, [f"{folder}/**/*.parquet"]).fetchall(), key=repr)


def test_every_id_is_scored_under_its_own_name_or_named_among_the_failures(
    place: Place, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    ids, data = list(IDS), model()
    twice = {f"twice{extension}": data for extension in (".skops", ".pkl")}
    place.upload("models", {name_of(*one, ".pkl"): data for one in ids} | dict.fromkeys(STORED, data) | twice)
    give_long(place, [*ids, ("twice", "")])

    plane = played(place)
    assert isinstance(plane.cluster, MemoryCluster)

    folder = place.download("predictions", tmp_path / "predictions")
    assert by_pyarrow(folder) == by_duckdb(folder) == expected(ids)
    for job in plane.cluster.jobs.values():  # once more, by what the first left for the next: its packs
        score_chunk.run_attempt(manifest_of(job), 2, place.environment["STORAGE"])
    assert verdicts(plane, 2) == verdicts(plane, 1)
    with over_http(plane) as http:
        run = http.get(f"/api/runs/{RUN}").json()
        counts = {"total": len(ids) + len(STORED) + 1, "scored": len(ids), "failed": len(STORED) + 1, "ignored": 0}
        assert {name: run["models"][name] for name in counts} == counts
        groups = http.get(f"/api/runs/{RUN}/failures").json()
        assert {g["reason"]: g["models"] for g in groups} == {"bad_name": len(STORED), "ambiguous": 1}
        refused = http.get(f"/api/runs/{RUN}/failures/bad_name").json()
        assert refused["next"] is None
        assert sorted(item["model"] for item in refused["items"]) == sorted(f"./{format_name(name)}" for name in STORED)
        assert all(item["message"] for item in refused["items"])
        assert [m["model"] for m in http.get(f"/api/runs/{RUN}/failures/ambiguous").json()["items"]] == ["twice"]
        chunks = http.get(f"/api/runs/{RUN}/chunks").json()["items"]
    names = [*(name_of(*one, ".pkl") for one in ids), *STORED, "twice.pkl"]
    assert sum(chunk["models"] for chunk in chunks) == len(names)
    assert {chunk[end] for chunk in chunks for end in ("first", "last")} <= {*names, "twice.skops"}
    lines = [record.getMessage() for record in caplog.records if record.name.startswith(("scorer", "shared"))]
    assert [line for line in lines if line.splitlines() != [line]] == []
    assert [line for line in lines if line.startswith("model=./") and "failed: bad_name" in line]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_of_a_wide_file_may_have_any_sensor_s_name(place: Place, tmp_path: Path, kind: str) -> None:
    sensors = [device for device, sensor in IDS if not sensor]
    ids = [("pump", sensor) for sensor in sensors]
    place.upload("models", {name_of(*one, ".pkl"): data for data in [model()] for one in ids})
    times = [f"{START + timedelta(minutes=f):%Y-%m-%dT%H:%M:%SZ}" for f in range(len(FORMATS))]
    columns = {sensor: [i + f / 8 for f in range(len(FORMATS))] for i, sensor in enumerate(sensors)}
    rows = {"time": times, "device": ["pump"] * len(times), **columns}
    place.upload("readings", {f"{FOLDER}part.{kind}": written(rows, kind)})

    played(place)

    assert by_pyarrow(place.download("predictions", tmp_path / "predictions")) == expected(ids)


def test_names_as_the_original_sample_has_them_are_split_in_one_way_or_refused(place: Place, tmp_path: Path) -> None:
    ids = [("1", "2"), ("a-b", "c.d"), ("NA", "007"), ("%2F", "#"), ("_a", "b"), ("a", "b ")]
    good, data = ids[:-1], model()
    bad = ["model_a_b_c", "model_a_b ", "model_a_b.pkl.", "model_1_2_3.pkl"]
    place.upload("models", {f"model_{d}_{s}": data for d, s in good} | dict.fromkeys(bad, data))
    give_long(place, good)

    plane = played(place, MODEL_NAMES="model_{device}_{sensor}")

    assert by_pyarrow(place.download("predictions", tmp_path / "predictions")) == expected(good)
    with over_http(plane) as http:
        refused = http.get(f"/api/runs/{RUN}/failures/bad_name").json()["items"]
    assert sorted(item["model"] for item in refused) == sorted(f"./{name}" for name in bad)


def test_every_id_can_be_struck_off_the_quarantine_by_its_url(place: Place) -> None:
    plane = replace(bootstrap.build_control_plane(place.settings), cluster=MemoryCluster())
    models = [Model(*ids, "", "").id for ids in IDS]
    for one in models:
        plane.ledger.add_quarantined(Quarantined(one, "e", Reason.CRASHED, f"{one!r} died", RUN, NOW))
    with over_http(plane) as http:
        assert sorted(found["model"] for found in http.get("/api/quarantine").json()) == sorted(models)
    app = AsgiMiddleware(create_api(plane.services, Authorizer(), lambda: NOW))
    for one in models:
        assert asyncio.run(struck_off(app, one)) == 204
    assert plane.ledger.list_quarantined() == []


async def struck_off(app: AsgiMiddleware, model: str) -> int:
    """The answer, by way of Microsoft's ASGI adapter."""
    url = f"https://localhost/api/quarantine?model={quote(model, safe='/')}"
    return int((await app.handle_async(HttpRequest("DELETE", url, body=b""))).status_code)
