"""A chunk on a node, from manifest to report: on a folder, and on Azurite."""

import base64
import hashlib
import logging
import os
import pickle
import re
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import BlobServiceClient
from sklearn.neighbors import LocalOutlierFactor
from sklearn.svm import OneClassSVM

from scorer.__main__ import main
from scorer.commands import score_chunk
from scorer.packs import cache
from scorer.predictions.table import SCHEMAS
from scorer.readings.device_readings import NO_OFFSET
from scorer.sandbox.pool import WorkerPool
from shared.contract.domain import Model, Tally
from shared.contract.manifest import Manifest, PackRef, build_command
from shared.contract.model_names import Columns
from shared.contract.paths import manifest_path, pack_path, parts_prefix, progress_path, report_path
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.scoring_options import Limits, ReadingOptions, ScoringOptions
from shared.contract.text import make_digest
from shared.contract.version import VERSION
from shared.contract.windows import Window
from tests.patience import patience
from tests.reports import read_report
from tests.scorer.sandbox import misdeeds

HOUR = Window.parse("20261121T0700Z-PT1H")
READINGS = "date=2026-11-21/hour=07/a.csv"


class Place:
    """The containers of models, readings and work: folders where there is no client, else in Azurite."""

    def __init__(self, base: str, storage: str, client: BlobServiceClient | None, root: Path) -> None:
        self.base, self.storage, self.client, self.root = base, storage, client, root

    def url(self, container: str) -> str:
        return f"{self.base}{container}"

    def write(self, container: str, path: str, data: bytes) -> str:
        """Put something there; returns its etag."""
        if self.client is None:
            (self.root / container / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / container / path).write_bytes(data)
            return hashlib.sha256(data).hexdigest()[:16]
        name = self.url(container).rpartition("/")[2]
        put = self.client.get_container_client(name).upload_blob(path, data, overwrite=True)
        return str(put.get_blob_properties().etag).strip('"')

    def read(self, container: str, path: str) -> bytes:
        if self.client is None:
            return (self.root / container / path).read_bytes()
        name = self.url(container).rpartition("/")[2]
        return self.client.get_container_client(name).download_blob(path).readall()

    def delete(self, container: str, path: str) -> None:
        if self.client is None:
            (self.root / container / path).unlink()
        else:
            self.client.get_container_client(self.url(container).rpartition("/")[2]).delete_blob(path)

    def paths(self, container: str) -> list[str]:
        if self.client is None:
            files = (self.root / container).rglob("*")
            return sorted(f.relative_to(self.root / container).as_posix() for f in files if f.is_file())
        name = self.url(container).rpartition("/")[2]
        return sorted(self.client.get_container_client(name).list_blob_names())


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.stack)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        for container in ("models", "readings", "work"):
            (tmp_path / container).mkdir()
        return Place(f"{tmp_path.as_uri()}/", "", None, tmp_path)
    server, prefix = request.getfixturevalue("azurite"), request.getfixturevalue("fresh_name")
    client = BlobServiceClient.from_connection_string(server.connection_string)
    for container in ("models", "readings", "work"):
        client.create_container(f"{prefix}{container}")
    return Place(f"{server.blob_endpoint}/{prefix}", server.connection_string, client, tmp_path)


@pytest.fixture
def svm() -> OneClassSVM:
    return OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))


@pytest.fixture
def manifest(place: Place, svm: OneClassSVM) -> Manifest:
    """Three models that score, and one for each way to fail before scoring."""
    models = {}
    for name in ("fan/rpm.pkl", "a#b%20c/50%.pkl", "NA/007.pkl"):
        models[name] = place.write("models", name, pickle.dumps(svm))
    models["gone/x.pkl"] = "etag-of-the-plan"
    models["old/x.pkl"] = place.write("models", "old/x.pkl", b"\0nothing good")
    models["silent/x.pkl"] = place.write("models", "silent/x.pkl", pickle.dumps(svm))
    fleet = []
    for name, etag in sorted(models.items()):
        device, sensor = name.removesuffix(".pkl").split("/")
        fleet.append(Model(device, sensor, name, etag))
    fleet.append(Model("twice", "x", "twice/x.pkl", "e", Reason.AMBIGUOUS))
    rows = [("fan", "rpm"), ("a#b%20c", "50%"), ("NA", "007"), ("gone", "x"), ("old", "x"), ("twice", "x")]
    lines = [f"2026-11-21T07:{m:02}Z,{d},{s},{10 + m % 4}" for m in range(60) for d, s in rows]
    place.write("readings", READINGS, "\n".join(["time,device,sensor,value", *lines]).encode())
    return Manifest(
        HOUR, "c00003", tuple(fleet), place.url("models"), place.url("readings"), place.url("work"), columns=Columns()
    )


@pytest.fixture
def order(place: Place, manifest: Manifest) -> str:
    """The manifest's URL."""
    path = manifest_path(HOUR.id, make_digest(manifest.to_bytes()))
    place.write("work", path, manifest.to_bytes())
    return f"{place.url('work')}/{path}"


def report_of(place: Place, attempt: int = 1, manifest: Manifest | None = None) -> Report:
    """The report of an attempt; with its manifest, where a test asks for the ids of models that were scored."""
    data = place.read("work", report_path(HOUR.id, "c00003", attempt))
    return read_report(data, manifest) if manifest else Report.from_bytes(data)


def predictions(place: Place, report: Report) -> pa.Table:
    (part,) = report.parts
    return pq.read_table(pa.BufferReader(place.read("work", part.path)))


def test_a_chunk_is_scored_and_its_report_agrees_with_its_part(
    place: Place, manifest: Manifest, order: str, svm: OneClassSVM
) -> None:
    score_chunk.run_attempt(order, 1, place.storage)

    report = report_of(place, 1, manifest)
    assert report.version == VERSION
    report.check_against(HOUR.id, "c00003", 1, len(manifest.models))
    (part,) = report.parts
    data = place.read("work", part.path)
    table = predictions(place, report)
    labels = svm.predict(np.array([[10.0 + m % 4] for m in range(60)]))
    each = int((labels != 1).sum())

    assert [(v.model, v.rows, v.anomalies, v.reason, v.etag) for v in report.results] == [
        ("NA/007", 60, each, None, ""),
        ("a#b%20c/50%", 60, each, None, ""),
        ("fan/rpm", 60, each, None, ""),
        ("gone/x", 0, 0, Reason.MODEL_REMOVED, ""),
        ("old/x", 0, 0, Reason.UNREADABLE_MODEL, ""),
        ("silent/x", 0, 0, Reason.NO_READINGS, ""),
        ("twice/x", 0, 0, Reason.AMBIGUOUS, ""),
    ]
    assert replace(report.tally, seconds=0) == Tally(scored=3, failed=2, skipped=2, rows=180, anomalies=3 * each)
    assert part.path.startswith(parts_prefix(HOUR.id, "c00003"))
    assert (part.bytes, part.rows, part.md5) == (
        len(data),
        180,
        base64.b64encode(hashlib.md5(data).digest()).decode(),
    )
    assert table.schema.equals(SCHEMAS[manifest.predictions_schema])
    assert table["device"].unique().to_pylist() == ["NA", "a#b%20c", "fan"]
    assert table["sensor"].unique().to_pylist() == ["007", "50%", "rpm"]
    assert table["model"].to_pylist() == [m.etag for m in manifest.models[:3] for _ in range(60)]
    assert table["anomaly"].to_pylist() == 3 * [int(label != 1) for label in labels]


@pytest.mark.parametrize("place", [pytest.param("azurite", marks=pytest.mark.stack)], indirect=True)
def test_the_last_progress_says_that_all_is_done(place: Place, order: str) -> None:
    score_chunk.run_attempt(order, 2, place.storage)

    assert place.client is not None
    path, container = progress_path(HOUR.id, "c00003", 2), place.url("work").rpartition("/")[2]
    found = place.client.get_blob_client(container, path).get_blob_properties()
    assert (found.metadata, found.size) == ({"done": "7", "models": "7"}, 0)


def test_two_processes_of_one_attempt_leave_one_report_and_parts_of_their_own(
    place: Place, order: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "scorer")
    score_chunk.run_attempt(order, 1, place.storage)
    first = place.read("work", report_path(HOUR.id, "c00003", 1))
    score_chunk.run_attempt(order, 1, place.storage)

    parts = [p for p in place.paths("work") if p.startswith(parts_prefix(HOUR.id, "c00003"))]
    assert place.read("work", report_path(HOUR.id, "c00003", 1)) == first
    assert len(parts) == 2
    assert place.read("work", parts[0]) == place.read("work", parts[1])
    assert [r.message for r in caplog.records if r.name == "scorer.commands.score_chunk"][
        -1
    ] == "another process of this attempt wrote its report first, which counts"


def test_a_model_that_changed_since_the_plan_is_scored_as_it_lies_there(
    place: Place, manifest: Manifest, order: str, normal: np.ndarray
) -> None:
    newer = OneClassSVM(nu=0.5).fit(normal[:, :1])
    etag = place.write("models", "fan/rpm.pkl", pickle.dumps(newer))

    score_chunk.run_attempt(order, 1, place.storage)

    report = report_of(place, 1, manifest)
    assert {v.model: v.etag for v in report.results if v.etag} == {"fan/rpm": etag}
    rows = predictions(place, report).to_pandas().query("device == 'fan'")
    assert set(rows["model"]) == {etag}
    np.testing.assert_allclose(rows["score"], newer.decision_function(rows[["value"]].to_numpy()), atol=1e-9)


def test_a_file_of_readings_that_is_broken_fails_the_chunks_models_by_its_name(place: Place, order: str) -> None:
    place.write("readings", "date=2026-11-21/hour=08/late.csv", b"time,device,sensor,value\n1,2\n")

    score_chunk.run_attempt(order, 1, place.storage)

    report = report_of(place)
    assert report.parts == ()
    assert [v.reason for v in report.results] == 6 * [Reason.UNREADABLE_READINGS] + [Reason.AMBIGUOUS]
    assert report.results[0].message.startswith("date=2026-11-21/hour=08/late.csv: ")


def test_what_was_left_out_stands_in_the_report_as_warnings(place: Place, order: str) -> None:
    place.write(
        "readings",
        "date=2026-11-21/hour=08/late.csv",
        b"time,device,sensor,value\n2026-11-21T07:00Z,fan,rpm,NaN\n2026-11-21T07:01Z,fan,rpm,9\n",
    )
    older = pickle.dumps(OneClassSVM(nu=0.1).fit(np.arange(30.0)[:, None])).replace(b"1.9.1", b"1.8.0")
    place.write("models", "fan/rpm.pkl", older)

    score_chunk.run_attempt(order, 1, place.storage)

    assert report_of(place).warnings == (
        "1 readings had no usable value and were left out",
        "1 readings were replaced by a later one of the same time, device and sensor",
        "1 models were made by scikit-learn 1.8.0 and loaded by 1.9.1, such as fan/rpm",
    )


@pytest.mark.parametrize(("zone", "hour", "warnings"), [
    ("", 7, (f"180 {NO_OFFSET}",)),
    ("UTC", 7, ()),
    ("Europe/Berlin", 8, ()),
])  # fmt: skip
def test_times_without_an_offset_are_of_the_manifests_zone_and_counted_once_where_there_is_none(
    zone: str, hour: int, warnings: tuple[str, ...], place: Place, manifest: Manifest, svm: OneClassSVM
) -> None:
    devices = ["fan", "mill", "pump"]
    fleet = [Model(d, "", f"{d}.pkl", place.write("models", f"{d}.pkl", pickle.dumps(svm))) for d in devices]
    lines = [f"2026-11-21T{hour:02}:{m:02},{d},{10 + m % 4}" for m in range(60) for d in devices]
    place.write("readings", READINGS, "\n".join(["time,device,value", *lines]).encode())
    policy = ScoringOptions(ReadingOptions(time_zone=zone), limits=Limits(readings_memory=1))  # read in three passes
    packs = tuple(PackRef(f"p{i}", 1) for i in range(3))
    data = replace(manifest, models=tuple(fleet), policy=policy, packs=packs).to_bytes()
    place.write("work", "m.json", data)

    score_chunk.run_attempt(f"{place.url('work')}/m.json", 1, place.storage)

    report = report_of(place)
    assert (report.tally.scored, report.tally.rows) == (3, 180)
    assert report.warnings == warnings


def test_the_command_line_ends_with_0_whatever_the_models_did(place: Place, order: str) -> None:
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "scorer", "--manifest", order, "--attempt", "4"],
        env={**os.environ, "STORAGE": place.storage},
        capture_output=True,
        text=True,
        check=False,
    )

    lines = [line.split(" ", 3)[3] for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert lines[0] == f"run={HOUR.id} chunk=c00003 attempt=4: 7 models"
    assert [line for line in lines if line.startswith("model=")] == [
        (
            "model=old/x failed: unreadable_model: expected skops, a pickle of protocol 2 or later, a text of "
            "LightGBM or a model of XGBoost as UBJSON or JSON, got something "
            r"else: it begins with b'\x00nothing goo'"
        ),
        "model=twice/x failed: ambiguous: more than one file holds this model: twice/x.pkl",
    ]
    assert lines[-1] == "report written"
    assert time.monotonic() - began < patience(30)
    assert report_of(place, 4).tally.scored == 3


@pytest.mark.parametrize(
    ("name", "content", "code", "says"),
    [
        ("nothing.json", None, 2, "no "),
        ("noise.json", b"{", 2, "manifest: "),
        ("newer.json", b'{"schema": 3}', 2, "expected schema 1 or 2, got 3"),
    ],
)
def test_a_node_without_a_manifest_says_so_in_one_line(
    name: str, content: bytes | None, code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    assert main(["--manifest", f"{tmp_path.as_uri()}/{name}", "--attempt", "1"]) == code

    said = capsys.readouterr().err
    assert said.startswith("scorer: ")
    assert says in said
    assert said.count("\n") == 1


def test_a_store_of_models_that_is_no_store_leaves_no_report(
    place: Place, manifest: Manifest, capsys: pytest.CaptureFixture[str]
) -> None:
    order = replace(manifest, models_url=place.url("nowhere"))
    place.write("work", "m.json", order.to_bytes())
    before = os.environ.get("STORAGE", "")
    os.environ["STORAGE"] = place.storage
    try:
        code = main(["--manifest", f"{place.url('work')}/m.json", "--attempt", "1"])
    finally:
        os.environ["STORAGE"] = before

    assert code == 2
    assert re.search("expected a (folder|container), got nothing", capsys.readouterr().err)
    assert not [p for p in place.paths("work") if p.endswith((".report", ".parquet"))]


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_progress_that_cannot_be_written_hurts_nothing(place: Place, order: str) -> None:
    # A folder lies where the progress would be written.
    place.write("work", f"{progress_path(HOUR.id, 'c00003', 1)}/x", b"")

    score_chunk.run_attempt(order, 1, place.storage)

    assert report_of(place).tally.scored == 3


def mend(place: Place, svm: OneClassSVM, normal: np.ndarray) -> str:
    """Put a good model where the bad one lies, and change one that was scored; returns the good one's etag."""
    place.write("models", "fan/rpm.pkl", pickle.dumps(OneClassSVM(nu=0.5).fit(normal[:, :1])))
    return place.write("models", "old/x.pkl", pickle.dumps(svm))


def test_a_redrive_scores_what_was_not_scored_and_carries_the_rest_over(
    place: Place, manifest: Manifest, order: str, svm: OneClassSVM, normal: np.ndarray
) -> None:
    score_chunk.run_attempt(order, 1, place.storage)
    etag = mend(place, svm, normal)

    score_chunk.run_attempt(order, 2, place.storage, score_chunk.AttemptOptions(carry_attempt=1))

    before, report = report_of(place, 1), report_of(place, 2)
    report.check_against(HOUR.id, "c00003", 2, len(manifest.models))
    assert report.results[:4] == before.results[:4]
    assert (report.results[4].reason, report.results[4].rows, report.results[4].etag) == (None, 60, etag)
    assert report.results[5:] == before.results[5:]
    assert report.warnings == ()
    table, carried = predictions(place, report), predictions(place, before)
    assert table.schema.equals(SCHEMAS[manifest.predictions_schema])
    assert table.slice(0, 180).equals(carried)
    assert set(table.slice(180)["device"].to_pylist()) == {"old"}


def test_a_redrive_leaves_the_bytes_that_scoring_all_leaves(place: Place, order: str, svm: OneClassSVM) -> None:
    score_chunk.run_attempt(order, 1, place.storage)
    place.write("models", "old/x.pkl", pickle.dumps(svm))
    score_chunk.run_attempt(order, 2, place.storage)

    score_chunk.run_attempt(order, 3, place.storage, score_chunk.AttemptOptions(carry_attempt=1))
    score_chunk.run_attempt(
        order, 4, place.storage, score_chunk.AttemptOptions(carry_attempt=3)
    )  # what was carried is carried on

    (expected,), (once,), (twice,) = (report_of(place, attempt).parts for attempt in (2, 3, 4))
    assert {(part.bytes, part.md5, part.rows) for part in (expected, once, twice)} == {
        (expected.bytes, expected.md5, 240)
    }
    assert len({expected.path, once.path, twice.path}) == 3
    assert report_of(place, 4).results == report_of(place, 2).results


def test_a_redrive_of_what_is_gone_scores_everything_and_says_so(
    place: Place, manifest: Manifest, order: str, svm: OneClassSVM, normal: np.ndarray
) -> None:
    score_chunk.run_attempt(order, 1, place.storage)
    place.delete("work", report_of(place).parts[0].path)
    mend(place, svm, normal)

    score_chunk.run_attempt(order, 2, place.storage, score_chunk.AttemptOptions(carry_attempt=1))

    report = report_of(place, 2, manifest)
    (warning,) = report.warnings
    assert warning.startswith("attempt 1 could not be carried over, all models were scored: ")
    assert {v.model for v in report.results if v.reason is None} == {"NA/007", "a#b%20c/50%", "fan/rpm", "old/x"}
    assert {v.model for v in report.results if v.etag} == {"fan/rpm", "old/x"}
    assert predictions(place, report).num_rows == 240


def test_an_attempt_with_nothing_to_write_leaves_no_part_and_can_be_carried(place: Place, order: str) -> None:
    for name in ("fan/rpm.pkl", "a#b%20c/50%.pkl", "NA/007.pkl"):
        place.delete("models", name)
    score_chunk.run_attempt(order, 1, place.storage)

    score_chunk.run_attempt(order, 2, place.storage, score_chunk.AttemptOptions(carry_attempt=1))

    assert not [path for path in place.paths("work") if path.endswith(".parquet")]
    assert report_of(place, 2).results == report_of(place, 1).results
    assert report_of(place, 2).warnings == ()


# What files do to the process that scores them. No known file does this to ours: `misdeeds` does it in their place.
POISON = {
    "pump-050": (b"poison: segfault", Reason.CRASHED, "its process ended by SIGSEGV"),
    "pump-100": (b"poison: hang", Reason.ENDLESS, "did not end within 5 s"),
    "pump-101": (b"poison: eat", Reason.CRASHED, "took more than 300 MiB of memory"),
}


@pytest.fixture
def poisoned(place: Place, svm: OneClassSVM) -> str:
    """The URL of a manifest of 200 models, three of them poison."""
    devices = [f"pump-{i:03}" for i in range(200)]
    good = pickle.dumps(svm)
    files = {device: POISON[device][0] if device in POISON else good for device in devices}
    fleet = [Model(d, "", f"{d}.pkl", place.write("models", f"{d}.pkl", data)) for d, data in files.items()]
    lines = [f"2026-11-21T07:{m:02}Z,{d},{10 + m % 4}" for m in range(10) for d in devices]
    place.write("readings", READINGS, "\n".join(["time,device,value", *lines]).encode())
    manifest = Manifest(
        HOUR,
        "c00003",
        tuple(fleet),
        place.url("models"),
        place.url("readings"),
        place.url("work"),
        policy=ScoringOptions(limits=Limits(model_seconds=5.0, model_memory=300 * 2**20)),
    )
    place.write("work", "m.json", manifest.to_bytes())
    return f"{place.url('work')}/m.json"


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_careful_attempt_names_just_the_poison_models_and_scores_all_others(
    place: Place, poisoned: str, svm: OneClassSVM, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score_chunk, "WorkerPool", partial(WorkerPool, scoring=misdeeds.scoring_of_files))

    score_chunk.run_attempt(poisoned, 2, place.storage, score_chunk.AttemptOptions(isolated=True))

    report = report_of(place, 2)
    report.check_against(HOUR.id, "c00003", 2, 200)
    manifest = Manifest.from_bytes(place.read("work", "m.json"))
    etags = {model.id: model.etag for model in manifest.models}
    assert {v.model: (v.reason, v.message, v.etag) for v in report.results if v.reason or v.etag} == {
        device: (reason, f"{how}, when it was tried again alone", etags[device])
        for device, (_, reason, how) in POISON.items()
    }
    assert replace(report.tally, seconds=0, anomalies=0) == Tally(scored=197, failed=3, rows=1970)
    assert predictions(place, report)["device"].unique().to_pylist() == sorted(etags.keys() - POISON.keys())

    for device in POISON:
        place.write("models", f"{device}.pkl", pickle.dumps(svm))
    score_chunk.run_attempt(poisoned, 3, place.storage, score_chunk.AttemptOptions(isolated=True, carry_attempt=2))

    assert report_of(place, 3).tally.scored == 200
    assert report_of(place, 3).tally.rows == 2000
    assert {v.model for v in report_of(place, 3, manifest).results if v.etag} == set(POISON)


def test_the_command_line_carries_and_is_careful(place: Place, order: str, svm: OneClassSVM) -> None:
    score_chunk.run_attempt(order, 1, place.storage)
    place.write("models", "old/x.pkl", pickle.dumps(svm))
    arguments = build_command(order, 2, isolated=True, carry=1)[1:]

    ended = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        env={**os.environ, "STORAGE": place.storage},
        capture_output=True,
        text=True,
        check=False,
    )

    lines = [line.split(" ", 3)[3] for line in ended.stdout.splitlines()]
    assert (ended.returncode, ended.stderr) == (0, "")
    assert lines[1] == "carried=3 of 3 models from attempt 1"
    assert lines[-1] == "report written"
    assert [v.rows for v in report_of(place, 2).results] == [60, 60, 60, 0, 60, 0, 0]


@pytest.mark.parametrize("pardon", [False, True])
def test_a_model_in_quarantine_is_scored_only_when_it_is_pardoned(
    place: Place, manifest: Manifest, *, pardon: bool
) -> None:
    poison = tuple(replace(model, refused=Reason.QUARANTINED) for model in manifest.models if model.device == "fan")
    place.write("work", "quarantined.json", replace(manifest, models=poison).to_bytes())

    score_chunk.run_attempt(
        f"{place.url('work')}/quarantined.json",
        9,
        place.storage,
        score_chunk.AttemptOptions(override_quarantine=pardon),
    )

    assert [v.reason for v in report_of(place, 9).results] == [None if pardon else Reason.QUARANTINED]


@pytest.fixture
def packed(place: Place, svm: OneClassSVM) -> Manifest:
    """Forty devices in two packs, with one model that cannot be read and one that no kernel knows."""
    devices = [f"pump-{i:02}" for i in range(40)]
    others = {
        "pump-07": b"\0nothing good",
        "pump-21": pickle.dumps(LocalOutlierFactor(metric="canberra", novelty=True).fit(_column(50))),
    }
    good = pickle.dumps(svm)
    fleet = [Model(d, "", f"{d}.pkl", place.write("models", f"{d}.pkl", others.get(d, good))) for d in devices]
    for hour, minutes in (("07", range(60)), ("08", range(2))):
        lines = [f"2026-11-21T{hour}:{m:02}Z,{d},{10 + (m + i) % 4}" for i, d in enumerate(devices) for m in minutes]
        place.write("readings", f"date=2026-11-21/hour={hour}/a.csv", "\n".join(["time,device,value", *lines]).encode())
    spans = (PackRef("first", 25), PackRef("then", 15))
    return Manifest(
        HOUR, "c00003", tuple(fleet), place.url("models"), place.url("readings"), place.url("work"), packs=spans
    )


def _column(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(10, 1, (rows, 1))


def run_packed(place: Place, manifest: Manifest, attempt: int, cores: int = 1) -> tuple[Report, bytes]:
    place.write("work", "packed.json", manifest.to_bytes())
    score_chunk.run_attempt(f"{place.url('work')}/packed.json", attempt, place.storage, cores=cores)
    report = report_of(place, attempt)
    (part,) = report.parts
    return report, place.read("work", part.path)


def test_a_warm_node_reads_packs_alone_and_says_the_same(
    place: Place, packed: Manifest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "scorer.packs.cache")
    cold, data = run_packed(place, packed, 1)
    assert [v.reason for v in cold.results if v.reason] == [Reason.UNREADABLE_MODEL]
    made = [record.message for record in caplog.records if record.name == "scorer.packs.cache"]
    assert made == ["pack=first models=25, 25 of them new", "pack=then models=15, 15 of them new"]
    assert [path for path in place.paths("work") if path.startswith("packs/")] == [
        pack_path("first"),
        pack_path("then"),
    ]
    for model in packed.models:
        place.delete("models", model.name)

    warm, again = run_packed(place, packed, 2)

    assert (warm.results, warm.warnings) == (cold.results, cold.warnings)
    assert again == data
    table = pq.read_table(pa.BufferReader(data))
    assert table["device"].unique().to_pylist() == [m.device for m in packed.models if m.device != "pump-07"]
    assert pq.ParquetFile(pa.BufferReader(data)).num_row_groups == 2


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_the_same_input_gives_the_same_bytes_whatever_the_files_the_cores_and_the_memory(
    place: Place, packed: Manifest
) -> None:
    _, expected = run_packed(place, packed, 1)
    assert run_packed(place, packed, 2, cores=3)[1] == expected
    short = replace(packed, policy=ScoringOptions(limits=Limits(readings_memory=1)))
    assert run_packed(place, short, 3)[1] == expected

    whole = place.read("readings", READINGS).decode().splitlines()
    place.delete("readings", READINGS)
    for i, rows in enumerate((whole[:0:-3], whole[-1:0:-3][:0], whole[1:])):  # some twice, none, and all
        path = f"date=2026-11-21/hour=07/{'zyx'[i]}.csv"
        place.write("readings", path, "\n".join([whole[0], *rows]).encode())
    report, data = run_packed(place, packed, 4)
    assert data == expected
    assert any("were replaced by a later one" in warning for warning in report.warnings)


@pytest.mark.parametrize("place", ["folder"], indirect=True)
@pytest.mark.parametrize("memory", [None, 1])
def test_packs_that_are_cut_change_nothing_but_the_groups_of_rows(
    place: Place, packed: Manifest, memory: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(readings_memory=memory) if memory else Limits()
    chunk = replace(packed, policy=ScoringOptions(limits=limits))
    expected, data = run_packed(place, chunk, 1)
    rows = pq.read_table(pa.BufferReader(data))
    monkeypatch.setattr(
        cache, "PACKED_BYTES", 5_000
    )  # eleven of these models, or one with the form of one that no kernel knows
    for attempt in (2, 3):  # with packs of before, and with its own
        report, cut = run_packed(place, chunk, attempt)
        assert (report.results, report.warnings) == (expected.results, expected.warnings)
        assert pq.read_table(pa.BufferReader(cut)).equals(rows)
    stored = [path for path in place.paths("work") if path.startswith("packs/")]
    assert stored == sorted(pack_path(name) for name in ("first", "first.1", "first.2", "first.3", "then", "then.1"))
    for model in chunk.models:
        place.delete("models", model.name)
    report, cut = run_packed(place, chunk, 4)
    assert report.results == expected.results

    place.write("models", "pump-00.pkl", b"\0broken now")
    fleet = [replace(model, etag="another") if not index else model for index, model in enumerate(chunk.models)]
    report, _ = run_packed(place, replace(chunk, models=tuple(fleet)), 5)
    assert [result.model for result in report.results if result.reason] == ["pump-00", "pump-07"]


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_pack_that_is_torn_or_another_s_changes_nothing_of_the_result(place: Place, packed: Manifest) -> None:
    report, expected = run_packed(place, packed, 1)
    good = place.read("work", pack_path("first"))
    for attempt, junk in enumerate((good[:-9], place.read("work", pack_path("then")), b""), 2):
        place.write("work", pack_path("first"), junk)
        again, data = run_packed(place, packed, attempt)
        assert (again.results, data) == (report.results, expected)
        assert place.read("work", pack_path("first")) == good


@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_a_warm_node_imports_only_what_its_job_needs(place: Place, packed: Manifest) -> None:
    """Guards the time of a job's start, which its imports are: docs/performance.md."""
    usual = replace(packed, models=packed.models[:5], packs=(PackRef("few", 5),))
    run_packed(place, usual, 1)
    unneeded = (
        *("pandas", "sklearn", "skops", "joblib", "scipy", "numba", "fastavro", "yaml", "deltalake", "azure"),
        *("requests", "importlib.metadata", "scorer.commands.desk", "scorer.estimators", "scorer.model_files.reader"),
        *("scorer.families.registry", "scorer.families.predictors", "scorer.readings.avro", "scorer.device_formats"),
        *("scorer.kernels.numba_compiler", "scorer.readings.formats.parquet_alike"),
    )
    url = place.url("work") + "/packed.json"
    program = (
        "import sys; from scorer.__main__ import main; "
        f"assert main(['--manifest', {url!r}, '--attempt', '2']) == 0; "
        f"print([name for name in {unneeded} if name in sys.modules], file=sys.stderr)"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert ended.stderr == "[]\n"
    assert "scored=5 failed=0" in ended.stdout
