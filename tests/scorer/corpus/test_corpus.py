"""Each bad file of the corpus gets its reason, whatever lies beside it, and none of them hurts a neighbour."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from _pytest.mark import ParameterSet
from sklearn.svm import OneClassSVM

from scorer.commands import score_chunk
from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.packs.cache import LoadedModels, Stores, load_models
from scorer.packs.pack import EMPTY
from scorer.readings import features, source
from scorer.readings.features import Expected
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.pack_state import ProgressCounter
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import LEFT_OUT, RunWarnings
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.manifest import Manifest, PackRef
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns
from shared.contract.outcomes import ModelResult
from shared.contract.paths import manifest_path, pack_path, report_path
from shared.contract.reasons import Reason, Source
from shared.contract.scoring_options import BadRows, Limits, OtherVersion, OtherVersions, ReadingOptions, ScoringOptions
from shared.contract.text import make_digest
from tests.patience import patience
from tests.reports import read_report
from tests.scorer.corpus import corpus, corpus_formats, corpus_models, corpus_readings
from tests.scorer.corpus.corpus import LIMIT, MARKER, BadModel, BadReadings
from tests.scorer.readings.seen import AS_IN_FILE, HOUR

MODELS = corpus_models.models()
READINGS = corpus_readings.readings()
LINES = ["time,device,a,b,c", *(f"2026-11-21T07:{i:02},{{device}},{10 + i % 3},20,{30 + i % 7}" for i in range(20))]
SLOW = patience(10)  # seconds that no file may take; the slowest takes one
ROOT = Path(__file__).parents[3]


def test_the_corpus_holds_as_many_kinds_as_it_should_and_is_the_same_each_time() -> None:
    assert len({bad.name for bad in MODELS}) == len(MODELS) >= 300
    assert len({one.name for one in READINGS}) == len(READINGS) >= 250
    assert {reason for bad in MODELS if (reason := bad.reason)} == {
        Reason.EMPTY_MODEL,
        Reason.TOO_LARGE,
        Reason.UNREADABLE_MODEL,
        Reason.UNTRUSTED_MODEL,
        Reason.INCOMPATIBLE_MODEL,
        Reason.UNSUPPORTED_MODEL,
        Reason.NOT_NOVELTY,
        Reason.UNFITTED_MODEL,
        Reason.WRONG_FEATURES,
        Reason.MISSING_FEATURES,
        Reason.BAD_SCORES,
        Reason.ESTIMATOR_ERROR,
    }
    again = [bad for bad, other in zip(MODELS, corpus_models.models(), strict=True) if bad != other]
    assert [bad.name for bad in again] == []
    assert corpus_readings.readings() == READINGS


def test_the_corpus_is_written_for_people_to_look_at(tmp_path: Path) -> None:
    script = [sys.executable, corpus.__file__, tmp_path / "here"]
    subprocess.run(script, check=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": "."})

    manifest = json.loads((tmp_path / "here" / "manifest.json").read_text())
    assert manifest["models"]["empty"] == {"reason": "empty_model", "says": "the file is empty"}
    for kind in ("models", "readings"):
        assert sorted(manifest[kind]) == sorted(path.name for path in (tmp_path / "here" / kind).iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the module works, so that a marker would be here."""
    root, before = tmp_path_factory.mktemp("corpus"), Path.cwd()
    (root / "models").mkdir()
    os.chdir(root)
    yield root
    os.chdir(before)


@pytest.fixture(scope="module")
def children(place: Path) -> Iterator[WorkerPool]:
    """They begin where the marker would be."""
    assert Path.cwd() == place
    with WorkerPool(1, timeout=60, memory=2**29, size_limit=LIMIT) as ready:
        yield ready


def told(files: list[BadModel]) -> list[ParameterSet]:
    """One case for each file."""
    return [pytest.param(one, id=one.name) for one in files]


def rows_of(devices: list[str]) -> bytes:
    head, *lines = LINES
    return "\n".join([head, *(line.format(device=device) for device in devices for line in lines)]).encode()


def marked(place: Path) -> list[Path]:
    return [*place.rglob(f"*{MARKER}*"), *ROOT.glob(MARKER), *Path("/tmp").glob(MARKER)]


def judged(bad: BadModel, children: WorkerPool, place: Path) -> tuple[ModelResult, str]:
    """What becomes of a model alone, and what is remarked."""
    corpus.put(place / "models" / bad.name, bad)
    (place / "alone.csv").write_bytes(rows_of(["pump"]))
    found = source.read_readings(Folder(place), ["alone.csv"], Columns(), ["pump"], None, AS_IN_FILE)
    models, notes = ModelList.from_models([Model("pump", "", bad.name, "planned")]), RunWarnings()
    try:
        ready = load_models(Stores(Folder(place / "models"), Folder(place), LIMIT), "", models)
        slab = pipeline.score_pack(PackInput(models, ready, found), ScoringContext(children), ProgressCounter(), notes)
    finally:
        (place / "models" / bad.name).unlink()
    return slab.results[0], "; ".join(notes.sentences)


@pytest.mark.parametrize("bad", told(MODELS))
def test_a_bad_model_alone_gets_its_reason_in_words_and_in_time(
    bad: BadModel, children: WorkerPool, place: Path
) -> None:
    children.start_workers()
    list(children.score_items([]))
    began = time.monotonic()

    verdict, remarks = judged(bad, children, place)

    assert (verdict.reason, verdict.rows) == (bad.reason, 0 if bad.reason else len(LINES) - 1), verdict.message
    assert bad.says in (verdict.message if bad.reason else remarks)
    assert time.monotonic() - began < SLOW
    assert marked(place) == []
    if bad.reason:
        assert len(verdict.message) > 10
        assert verdict.message.isprintable(), ascii(verdict.message)


# What a model's file is called, whoever reads it. Others depend on the readings, which `convert` does not have.
OF_FILES = {reason for reason in Reason if reason.source is Source.MODEL} - {Reason.BAD_SCORES, Reason.ESTIMATOR_ERROR}


@pytest.mark.parametrize("policy", [OtherVersion.WARN, OtherVersion.REFUSE])
def test_the_same_file_gets_the_same_reason_in_the_usual_way_in_an_isolated_attempt_and_from_convert(
    policy: OtherVersion, children: WorkerPool, place: Path
) -> None:
    files = {bad.name: bad for bad in MODELS if not bad.hole}
    for bad in files.values():
        corpus.put(place / "models" / bad.name, bad)
    (place / "all.csv").write_bytes(rows_of(list(files)))
    found = source.read_readings(Folder(place), ["all.csv"], Columns(), list(files), None, AS_IN_FILE)
    models = ModelList.from_models([Model(name, "", name, "planned") for name in files])
    stores = Stores(Folder(place / "models"), Folder(place), LIMIT)
    context = ScoringContext(children, other_versions=OtherVersions(policy, policy))
    nothing = LoadedModels(EMPTY, np.full(len(models), -1), {}, {})

    def score(**how: Any) -> dict[str, tuple[Reason | None, str]]:
        output = pipeline.score_pack(PackInput(models, **how), context, ProgressCounter(), RunWarnings())
        return {result.model: (result.reason, result.message) for result in output.results}

    usual = score(loaded=load_models(stores, "", models), readings=found)
    isolated = score(loaded=nothing, readings=found, stores=stores, is_isolated=True)
    converted = {name: refusal(bad.data) for name, bad in files.items()}
    for bad in files.values():
        (place / "models" / bad.name).unlink()

    assert usual == isolated
    if policy is OtherVersion.WARN:
        assert converted == {name: (reason if reason in OF_FILES else None) for name, (reason, _) in usual.items()}
    else:
        refused = [name for name, (_, message) in usual.items() if "as OTHER_VERSIONS says" in message]
        assert {f"version-{age}-{kind}" for age in ("older", "newer", "garbage") for kind in ("svm", "lof")} <= {
            *refused
        }


def refusal(data: bytes) -> Reason | None:
    """Why `convert` cannot load a file."""
    try:
        loader.load_model(data, LIMIT)
    except Unscorable as error:
        return error.reason
    return None


def test_all_bad_models_in_one_chunk_leave_their_neighbours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("models", "readings/date=2026-11-21/hour=07", "work"):
        (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    good = OneClassSVM(nu=0.1).fit(corpus_formats.DATA)
    files = MODELS
    names = [name for bad in files for name in (f"before {bad.name}", bad.name)] + ["behind all"]
    bads = {bad.name: bad for bad in files}
    for name in names:
        corpus.put(tmp_path / "models" / name, bads.get(name) or BadModel(name, pickle.dumps(good), None, ""))
    (tmp_path / "readings/date=2026-11-21/hour=07/a.csv").write_bytes(rows_of(names))
    policy = ScoringOptions(AS_IN_FILE, limits=Limits(model_bytes=LIMIT, model_seconds=60, model_memory=2**29))
    urls = [(tmp_path / folder).as_uri() for folder in ("models", "readings", "work")]
    models = tuple(Model(name, "", name, "planned") for name in names)
    manifest = Manifest(HOUR, "c00000", models, *urls, policy=policy, packs=(PackRef("p", len(models)),))
    path = manifest_path(HOUR.id, make_digest(manifest.to_bytes()))
    (tmp_path / "work" / path).parent.mkdir(parents=True)
    (tmp_path / "work" / path).write_bytes(manifest.to_bytes())
    before = (os.system, subprocess.Popen, Path.cwd(), dict(os.environ), np.geterr(), os.umask(0o22), os.umask(0o22))

    reports = []
    for attempt in (1, 2):  # the second one finds a pack, and refusals in it
        score_chunk.run_attempt(f"{urls[2]}/{path}", attempt, cores=2)
        data = (tmp_path / "work" / report_path(HOUR.id, "c00000", attempt)).read_bytes()
        reports.append(read_report(data, manifest))

    for report in reports:
        report.check_against(HOUR.id, "c00000", 1 + reports.index(report), len(models))
        found = {verdict.model: verdict.reason for verdict in report.results}
        assert {name: found[name] for name in bads} == {bad.name: bad.reason for bad in files}
        assert Counter(found[name] for name in names if name not in bads) == {None: len(files) + 1}
    assert [v.message for v in reports[0].results] == [v.message for v in reports[1].results]
    assert (tmp_path / "work" / pack_path("p")).is_file()
    parts = [(tmp_path / "work" / report.parts[0].path).read_bytes() for report in reports]
    table = pq.read_table(pa.BufferReader(parts[0]))
    expected = good.decision_function(np.array([[10 + i % 3, 20, 30 + i % 7] for i in range(20)], float))
    scores, devices = np.array(table["score"]), np.array(table["device"])
    for name in names:
        if name not in bads:
            np.testing.assert_allclose(scores[devices == name], expected, atol=1e-9)
    assert parts[0] == parts[1]
    assert marked(tmp_path) == []
    after = (os.system, subprocess.Popen, Path.cwd(), dict(os.environ), np.geterr(), os.umask(0o22), os.umask(0o22))
    assert before == after


def test_a_hostile_file_would_leave_its_mark_if_it_ran(tmp_path: Path) -> None:
    files = {bad.name: bad.data for bad in MODELS}
    for name in ("hostile-os.system-pickle-4", "hostile-eval-pickle-2", "hostile-in-protocol-0"):
        program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
        subprocess.run([sys.executable, "-c", program], check=False, cwd=tmp_path, input=files[name])
        assert [path.name for path in marked(tmp_path)] == [MARKER]
        (tmp_path / MARKER).unlink()


def test_no_bad_model_makes_the_node_import_an_estimators_library(tmp_path: Path) -> None:
    corpus.write(tmp_path, MODELS, [])
    program = f"""
import sys
from pathlib import Path
from typing import Any
from scorer.packs.cache import pack_file
from scorer.errors import Unscorable
before = set(sys.modules)
for path in sorted(Path("models").iterdir()):
    if path.stat().st_size < 2**30:
        try:
            pack_file(path.read_bytes(), {LIMIT})
        except Unscorable:
            pass
print(sorted(set(sys.modules) - before - {{"encodings.utf_16"}}))
print(sorted({{"sklearn", "skops", "joblib", "pandas", "scipy", "pickle"}} & set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], check=False, cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "[]"
    assert marked(tmp_path) == []


PUMP = Model("pump", "", "pump.skops", "etag")


def seen(one: BadReadings, rule: BadRows, root: Path) -> tuple[Reason | tuple[float, ...], str]:
    """What a model of one feature sees of a file, and what is said."""
    (root / one.name).write_bytes(one.data)
    opened = source.open_readings(Folder(root), [""], Columns.parse(one.columns), HOUR, ReadingOptions(rule))
    found = opened.read_devices(["fan0", "pump"])
    remarks = [text for _, text in (*found.list_warnings(), *opened.list_warnings())]
    try:
        signal = features.build_model_readings(found, PUMP, features.find_frame_rows(found, PUMP), Expected((), 1))
    except Unscorable as error:
        return error.reason, str(error)
    left_out = [LEFT_OUT] if signal.left_out else []
    return tuple(signal.values[:, 0].tolist()), "; ".join([*remarks, *left_out])


@pytest.mark.parametrize("one", READINGS, ids=lambda one: one.name)
def test_a_bad_file_of_readings_gets_what_it_deserves_under_both_policies(one: BadReadings, tmp_path: Path) -> None:
    began = time.monotonic()

    skip, said = seen(one, BadRows.SKIP, tmp_path)
    fail, _ = seen(one, BadRows.FAIL, tmp_path)

    assert (skip, fail) == (one.skip, one.fail), said
    assert one.says in said
    assert time.monotonic() - began < SLOW


@pytest.mark.parametrize("packed", [False, True])
def test_a_value_nested_deep_in_json_does_not_end_the_process(packed: bool, tmp_path: Path) -> None:
    line = '{"time":"2026-11-21T07:00Z","device":"pump","value":1,"note":' + "[" * 10**5 + "]" * 10**5 + "}\n"
    (tmp_path / "a.json").write_bytes(gzip.compress(line.encode()) if packed else line.encode())
    program = f"""
from pathlib import Path
from typing import Any
from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.model_names import Columns
print(source.read_readings(Folder(Path({str(tmp_path)!r})), [""], Columns(), ["pump"], None).unreadable)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("['a.json: ")
