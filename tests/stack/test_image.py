"""The image of a node, built in a folder, and a job's very command in it, against storage that takes no keys."""

from __future__ import annotations

import importlib.util
import io
import pickle
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.kernels.native.signatures import KERNELS
from scorer.kernels.native.target import LEVELS
from shared.contract import paths
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef, build_command
from shared.contract.outcomes import ModelResult
from shared.contract.report import Report
from shared.contract.text import make_digest
from shared.contract.windows import Window
from tests.clouds.stand_in import Answer, Request, StandIn
from tests.image import places
from tests.image.image import ROOT, Image, build
from tests.image.places import Account
from tests.reports import read_report
from tests.sandboxed import needs_sandbox

HOUR = Window.parse("20261121T0700Z-PT1H")
CHUNK = "c00000"
NORMAL = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=["heat", "noise"])
MODELS = {  # one that the kernels score, and one that scikit-learn does, in the sandbox
    "pump1": make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(NORMAL),
    "pump2": make_pipeline(PCA(2), OneClassSVM(nu=0.1)).fit(NORMAL),
}
NAMES = {"pump1": "pump1.skops", "pump2": "pump2.pkl"}


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """20 seconds and 600 MB, so that there is one; it goes when the tests have ended."""
    with tempfile.TemporaryDirectory() as folder:
        built = build(Path(folder))
        yield built
        for path in sorted(built.root.rglob("*")):  # its owner may not even remove it
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)


def test_every_package_in_it_is_pinned(image: Image, tmp_path: Path) -> None:
    command = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    told = image.run(f"python -c {shlex.quote(command)}", {}, tmp_path).stdout.split()
    pins = [(ROOT / "scorer" / f"{name}.txt").read_text() for name in ("requirements", "constraints")]
    pinned = {line.split("#")[0].split(";")[0].strip() for line in "\n".join(pins).splitlines()}
    assert len(told) > 20
    assert set(told) - pinned == set()


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with places.account(tmp_path_factory.mktemp("azurite")) as found:
        yield found


def readings() -> pd.DataFrame:
    start, rng = pd.Timestamp(HOUR.start), np.random.default_rng(1)
    times = [start + pd.Timedelta(minutes=minute) for minute in range(60)] * len(MODELS)
    devices = [device for device in MODELS for _ in range(60)]
    heat, noise = rng.normal(scale=2, size=(2, len(times)))
    return pd.DataFrame({"time": times, "device": devices, "heat": heat, "noise": noise})


@dataclass(frozen=True, slots=True)
class Order:
    """A chunk that waits in storage, and who looks at what became of it."""

    url: str  # of its manifest
    manifest: Manifest
    work: str

    def read(self, account: Account, attempt: int) -> tuple[Report, pd.DataFrame]:
        with account.client() as service, service.get_container_client(self.work) as work:
            at = paths.report_path(HOUR.id, CHUNK, attempt)
            report = read_report(work.download_blob(at).readall(), self.manifest)
            parts = [work.download_blob(part.path).readall() for part in report.parts]
        return report, pd.concat([pd.read_parquet(io.BytesIO(part)) for part in parts])


@pytest.fixture
def order(account: Account, fresh_name: str) -> Order:
    """The two models, their readings, and the manifest that orders them to be scored."""
    url = {what: f"{account.url}/{fresh_name}-{what}" for what in ("models", "readings", "work")}
    parquet = io.BytesIO()
    readings().to_parquet(parquet, index=False)
    with account.client() as service:
        models, found, work = (service.create_container(f"{fresh_name}-{what}") for what in url)
        data = {"pump1": skops.io.dumps(MODELS["pump1"]), "pump2": pickle.dumps(MODELS["pump2"])}
        etags = {device: models.upload_blob(NAMES[device], data[device]) for device in MODELS}
        fleet = [
            Model(device, "", NAMES[device], etags[device].get_blob_properties().etag.strip('"')) for device in MODELS
        ]
        found.upload_blob(f"{HOUR.start:date=%Y-%m-%d/hour=%H}/a.parquet", parquet.getvalue())
        manifest = Manifest(HOUR, CHUNK, tuple(fleet), url["models"], url["readings"], url["work"])
        manifest = replace(manifest, packs=(PackRef("p", len(fleet)),))
        name = paths.manifest_path(HOUR.id, make_digest(manifest.to_bytes()))
        work.upload_blob(name, manifest.to_bytes())
    return Order(f"{url['work']}/{name}", manifest, f"{fresh_name}-work")


def command(order: Order, attempt: int = 1) -> str:
    return shlex.join(build_command(order.url, attempt))


def test_every_module_of_the_image_is_compiled_and_none_is_a_test(image: Image) -> None:
    sources = [path for place in ("app", "opt") for path in (image.root / place).rglob("*.py")]
    assert len(sources) > 2000
    assert [path for path in sources if "tests" in path.parts] == []
    bare = [path for path in sources if not Path(importlib.util.cache_from_source(str(path))).exists()]
    assert bare == []


@pytest.mark.parametrize(("kind", "answer"), [("azure_ml", places.azure_ml), ("batch", places.metadata)])
@needs_sandbox
def test_a_job_scores_its_chunk_in_the_image_and_signs_in_once_by_managed_identity(
    image: Image, account: Account, order: Order, tmp_path: Path, kind: str, answer: object
) -> None:
    kernels = {path: path.read_bytes() for path in image.root.glob("app/.kernels/*")}
    assert len(kernels) == len(KERNELS) * len(LEVELS)
    trusted = {"SSL_CERT_FILE": str(account.authority)}  # what a node has in /etc/ssl

    with StandIn(answer) as endpoint:
        done = image.run(command(order), {**trusted, **places.signs_in(kind, endpoint)}, tmp_path)
        asked = len(endpoint.requests)

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert asked == 1
    report, rows = order.read(account, 1)
    counted = {device: int((model.predict(values(device)) != 1).sum()) for device, model in MODELS.items()}
    assert report.results == tuple(ModelResult(device, 60, counted[device]) for device in MODELS)
    assert report.warnings == ()  # the sandbox is whole
    for device, model in MODELS.items():
        scores = rows[rows["device"] == device]["score"].to_numpy()
        np.testing.assert_allclose(scores, model.decision_function(values(device)), rtol=0, atol=1e-9)
    assert "kernels" not in done.stdout  # they come from a file, and were not compiled here, which takes 7 s
    assert {path.name for path in (image.root / "tmp").iterdir()} == {"requirements.txt", "constraints.txt"}
    assert {path: path.read_bytes() for path in image.root.glob("app/.kernels/*")} == kernels
    assert list(tmp_path.iterdir()) == []


def values(device: str) -> pd.DataFrame:
    rows = readings()
    return rows[rows["device"] == device][["heat", "noise"]]


@pytest.mark.parametrize("kind", ["azure_ml", "batch"])
def test_a_job_whose_identity_is_refused_says_what_was_said(
    image: Image, account: Account, order: Order, tmp_path: Path, kind: str
) -> None:
    refused = Answer(400, {"error": "invalid_request", "error_description": "Identity not found"})

    with StandIn(lambda _: refused) as endpoint:
        environment = {"SSL_CERT_FILE": str(account.authority), **places.signs_in(kind, endpoint)}
        done = image.run(command(order), environment, tmp_path)

    holder = order.url.rpartition("/")[0]
    assert done.returncode == 1  # the control plane tries it again
    assert done.stderr.startswith(f"scorer: {holder}: no identity to sign in with (AZURE_CLIENT_ID "), done.stderr
    assert "Identity not found" in done.stderr


def test_a_job_without_a_right_in_the_storage_says_which_is_wanted(
    image: Image, account: Account, order: Order, tmp_path: Path
) -> None:
    def for_others(request: Request) -> Answer:
        return places.token(request, audience="https://vault.azure.net")

    with StandIn(for_others) as endpoint:
        environment = {"SSL_CERT_FILE": str(account.authority), **places.signs_in("azure_ml", endpoint)}
        done = image.run(command(order), environment, tmp_path)

    holder, _, name = order.url.rpartition("/")
    expected = "this identity needs the role Storage Blob Data Contributor there"
    assert (done.returncode, done.stderr) == (1, f"scorer: {holder} refused access to '{name}': {expected}\n")
