"""Ten thousand models, and among them one of each kind that misbehaves: those are named, all others are scored."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.covariance import EllipticEnvelope
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import SGDOneClassSVM
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import OneClassSVM

from scorer.commands import score_chunk
from scorer.commands.score_chunk import AttemptOptions
from scorer.sandbox.pool import WorkerPool
from shared.contract.domain import Model, Tally
from shared.contract.manifest import Manifest, PackRef
from shared.contract.paths import manifest_path, report_path
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.scoring_options import Limits, ScoringOptions
from shared.contract.text import make_digest
from tests.patience import patience
from tests.reports import read_report
from tests.sandboxed import needs_sandbox
from tests.scorer.corpus import corpus, corpus_models
from tests.scorer.corpus.corpus import LIMIT, MARKER, BadModel
from tests.scorer.corpus.corpus_formats import DATA, to_skops
from tests.scorer.readings.seen import AS_IN_FILE, HOUR
from tests.scorer.sandbox import hostile

COUNT = 10_000
SECONDS = patience(3)  # for a model: a good one may wait for its turn; in much more "a million trees" takes its memory
CRASHED, ENDLESS, RAISED = Reason.CRASHED, Reason.ENDLESS, Reason.ESTIMATOR_ERROR
UNUSABLE = "its process gave no usable reply"
DEEDS = {
    "hang": (ENDLESS, f"did not end within {SECONDS} s"),
    "hang-in-c": (ENDLESS, f"did not end within {SECONDS} s"),
    "stop": (ENDLESS, f"did not end within {SECONDS} s"),
    "eat": (CRASHED, "took more than 300 MiB of memory"),
    "eat-at-once": (RAISED, "MemoryError"),
    "start-threads": (CRASHED, "started more than 64 threads"),
    "exit-0": (CRASHED, "ended with exit code 0"),
    "exit-3": (CRASHED, "ended with exit code 3"),
    "abort": (CRASHED, "ended by SIGABRT"),
    "kill": (CRASHED, "ended by SIGKILL"),
    "signal-35": (CRASHED, "ended by signal 35"),
    "segfault": (CRASHED, "ended by SIGSEGV"),
    "leave": (RAISED, "SystemExit: 42"),
    "interrupt": (RAISED, "KeyboardInterrupt"),
    "fork": (RAISED, "Operation not permitted"),
    "garbage": (CRASHED, UNUSABLE),
    "half-an-answer": (CRASHED, "ended with exit code 1"),
    "endless-answer": (CRASHED, UNUSABLE),
    "no-json": (CRASHED, UNUSABLE),
    "pickle": (CRASHED, UNUSABLE),
    "another": (CRASHED, "replied to another request"),
    "as-the-supervisor": (CRASHED, UNUSABLE),
    "hang-up": (CRASHED, "closed its pipe and continued"),
}
CORPUS = (
    "empty", "html", "skops-cut-at-0.5", "joblib-zlib-cut-at-0.5", "bomb-zlib", "bomb-zip", "tuple-doubled-100-times",
    "five-gigabytes-of-zeros", "schema-of-nodes-nested-deep", "hostile-os.system-pickle-4", "hostile-eval-pickle-2",
    "hostile-after-a-good-model", "skops-names-a-function", "dbscan-pickle-4", "unfitted-rbf-skops",
    "fits-two-features", "version-older-that-lacks", "support-vectors-gone-pickle-4", "lof-density-nan-pickle-2",
    "tree-goes-in-a-circle-skops", "lof-without-novelty-pickle-4",
)  # fmt: skip


ROWS = np.array([[10.0, 20.0, 30.0], [10.5, 18.0, 33.0], [30.0, 2.0, 3.0]])


def misbehaving() -> list[BadModel]:
    """One of each kind."""
    kinds = [BadModel(deed, hostile.that(deed), reason, says) for deed, (reason, says) in DEEDS.items()]
    kinds += [
        BadModel("a million trees", hostile.that_takes_for_ever(), ENDLESS, f"did not end within {SECONDS} s"),
        BadModel("features by the billion", hostile.that_wants_memory(), RAISED, "MemoryError"),
    ]
    return kinds + [bad for bad in corpus_models.models() if bad.name in CORPUS]


def good() -> list[tuple[bytes, np.ndarray, np.ndarray]]:
    """Models that neighbours have, each with what scikit-learn says: the scores, and which rows are anomalies."""
    fitted = [
        OneClassSVM(nu=0.1).fit(DATA),
        make_pipeline(StandardScaler(), OneClassSVM(nu=0.2, kernel="poly", degree=2)).fit(DATA),
        make_pipeline(MinMaxScaler(), SGDOneClassSVM(nu=0.1, random_state=0)).fit(DATA),
        EllipticEnvelope(random_state=0).fit(DATA),
        IsolationForest(n_estimators=5, random_state=0).fit(DATA),
    ]
    dumps = (pickle.dumps, to_skops)
    told = [
        (dumps[i % 2](model), model.decision_function(ROWS), model.predict(ROWS) == -1)
        for i, model in enumerate(fitted)
    ]
    lof = pickle.loads(hostile.kept())
    return [*told, (hostile.kept(), lof.decision_function(ROWS), lof.predict(ROWS) == -1)]


class Chunk:
    """Ten thousand models in a folder, their readings, and the manifest of the chunk that they are."""

    def __init__(self, root: Path, bads: Mapping[int, BadModel], kept_every: int = 400) -> None:
        self.root, self.bads, self.good = root, bads, good()
        for folder in ("models", "readings/date=2026-11-21/hour=07", "work"):
            (root / folder).mkdir(parents=True)
        self.names = [f"d{i:05}" for i in range(COUNT)]
        self.kind = [5 if i % kept_every == 1 else i % 5 for i in range(COUNT)]
        for i, name in enumerate(self.names):
            bad = bads.get(i) or BadModel(name, self.good[self.kind[i]][0], None, "")
            corpus.put(root / "models" / name, bad)
        times = np.datetime64("2026-11-21T07:00", "us") + np.arange(len(ROWS)) * np.timedelta64(60, "s")
        columns = {"time": np.tile(times, COUNT), "device": np.repeat(self.names, len(ROWS))}
        columns |= {name: np.tile(ROWS[:, i], COUNT) for i, name in enumerate("abc")}
        pq.write_table(
            pa.table(columns), root / "readings/date=2026-11-21/hour=07/a.parquet", row_group_size=1000 * len(ROWS)
        )
        limits = Limits(model_bytes=LIMIT, model_seconds=SECONDS, model_memory=300 * 2**20)
        policy = ScoringOptions(AS_IN_FILE, limits=limits)
        urls = [(root / folder).as_uri() for folder in ("models", "readings", "work")]
        models = tuple(Model(name, "", name, "planned") for name in self.names)
        packs = (PackRef("first", COUNT // 2), PackRef("second", COUNT - COUNT // 2))
        self.manifest = Manifest(HOUR, "c00000", models, *urls, policy=policy, packs=packs)
        data = self.manifest.to_bytes()
        path = root / "work" / manifest_path(HOUR.id, make_digest(data))
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        self.url = path.as_uri()

    def run(self, attempt: int, how: AttemptOptions | None = None) -> tuple[Report, bytes]:
        """The report of an attempt and its part; they agree."""
        score_chunk.run_attempt(self.url, attempt, options=how, cores=2)
        data = (self.root / "work" / report_path(HOUR.id, "c00000", attempt)).read_bytes()
        report = read_report(data, self.manifest)
        report.check_against(HOUR.id, "c00000", attempt, COUNT)
        (part,) = report.parts
        return report, (self.root / "work" / part.path).read_bytes()

    def check(self, report: Report, part: bytes) -> None:
        """Each bad model is named for what it is, and each other is scored as scikit-learn scores it."""
        failed = {verdict.model: verdict for verdict in report.results if verdict.reason}
        told = {self.names[place]: (bad.name, bad.reason) for place, bad in self.bads.items()}
        assert {name: (told.get(name, ("", None))[0], v.reason) for name, v in failed.items()} == told
        for place, bad in self.bads.items():
            assert bad.says in failed[self.names[place]].message
        labels = [int(anomalies.sum()) for *_, anomalies in self.good]
        rows = {v.model: (v.rows, v.anomalies) for v in report.results if not v.reason}
        left = [i for i in range(COUNT) if i not in self.bads]
        assert rows == {self.names[i]: (len(ROWS), labels[self.kind[i]]) for i in left}
        table = pq.read_table(pa.BufferReader(part), columns=["device", "score", "anomaly"])
        assert table["device"].to_pylist() == [self.names[i] for i in left for _ in ROWS]
        expected = np.concatenate([self.good[self.kind[i]][1] for i in left])
        np.testing.assert_allclose(np.array(table["score"]), expected, rtol=0, atol=1e-9)
        anomalies = np.concatenate([self.good[self.kind[i]][2] for i in left])
        sure = np.abs(expected) > 1e-9
        assert (np.array(table["anomaly"]) == anomalies)[sure].all()
        assert report.tally.scored == COUNT - len(self.bads)
        assert list(self.root.rglob(f"*{MARKER}*")) == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a marker would be; and children here do what stands behind a model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(score_chunk, "WorkerPool", partial(WorkerPool, scoring=hostile.scoring))
    return tmp_path


@needs_sandbox
def test_one_of_each_misbehaving_kind_among_ten_thousand_is_named_and_all_others_are_scored(here: Path) -> None:
    kinds = misbehaving()
    assert len(kinds) == len(DEEDS) + 2 + len(CORPUS) > 40
    places = np.linspace(0, COUNT - 1, len(kinds)).astype(int).tolist()  # the first and the last model too
    places[1] = 1  # two in a row
    chunk = Chunk(here, dict(zip(places, kinds, strict=True)))

    cold, part = chunk.run(1)
    warm, again = chunk.run(2)

    chunk.check(cold, part)
    chunk.check(warm, again)
    assert [(v.model, v.reason, v.message) for v in cold.results] == [
        (v.model, v.reason, v.message) for v in warm.results
    ]
    assert part == again
    assert cold.warnings == warm.warnings


@needs_sandbox
def test_three_of_ten_thousand_that_kill_their_process_in_three_ways_are_named_by_a_careful_attempt(here: Path) -> None:
    bads = {
        0: BadModel("segfault", hostile.that("segfault"), CRASHED, "ended by SIGSEGV"),
        4321: BadModel("exit-3", hostile.that("exit-3"), CRASHED, "ended with exit code 3"),
        COUNT - 1: BadModel("eat", hostile.that("eat"), CRASHED, "took more than 300 MiB of memory"),
    }
    chunk = Chunk(here, bads)

    report, part = chunk.run(1, AttemptOptions(isolated=True))

    chunk.check(report, part)
    assert report.tally == Tally(
        scored=COUNT - 3, failed=3, rows=(COUNT - 3) * len(ROWS), anomalies=report.tally.anomalies,
        seconds=report.tally.seconds,
    )  # fmt: skip
