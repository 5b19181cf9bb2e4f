"""Whatever bytes come to a door, what comes out is a sound value or the door's own error, soon and in little memory.

Each door is tried in a process of its own, so that one that ends it is seen. FLEETSCORE_FUZZ: seconds for all of them.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from scorer.errors import Unscorable
from scorer.families.base import HEAD, Family, Packed
from scorer.families.trees.lightgbm import read_lightgbm
from scorer.families.trees.xgboost import read_xgboost
from scorer.model_files import reader
from scorer.model_files.boosters.lightgbm_text import read_text
from scorer.packs import pack, stored_pack
from scorer.packs.cache import pack_file
from scorer.packs.pack import Entry
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.rows import Predictions
from scorer.readings.device_readings import Readings
from scorer.readings.frames import Frame
from scorer.sandbox import replies
from scorer.storage.blob_store import MappedFile
from shared.contract.columns import split_document
from shared.contract.domain import Model, Part, PartStatistics
from shared.contract.errors import Malformed
from shared.contract.manifest import DeviceRange, Manifest, PackRef
from shared.contract.model_list import ModelList
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.reasons import Reason
from shared.contract.report import Report, Summary
from shared.contract.windows import Window
from shared.planning.plan import Plan, Planner, RoundPlan
from shared.state.runs import Chunk, Phase, Run
from tests.patience import patience
from tests.scorer.families.reference_trees import sum_leaves

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("FLEETSCORE_FUZZ", "15"))
MOST = 300 * 2**20  # bytes that a door may take beyond what its process began with
SLOWEST = patience(2)  # seconds for one file
MODEL_LIMIT = 2**20
NUMBERS = (b"NaN", b"-1", b"1e999", b"null", b"[]", b"{}", b'""', b"1" * 30, b"true", b'"\\ud800"', b"[" * 9999)

Door = Callable[[bytes], object]


def mutated(data: bytes, others: list[bytes], random: np.random.Generator) -> bytes:  # noqa: C901  # a case for each kind of damage
    """The file with some of what happens to files, and what people do to them on purpose."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 5))):
        size = len(changed)
        if not size:
            break
        at, end = sorted(random.integers(0, size + 1, 2).tolist())
        end = min(end, at + 2 ** int(random.integers(0, 12)))
        match int(random.integers(0, 10)):
            case 0 | 1 | 2:
                changed[at % size] = int(random.integers(0, 256))
            case 3:
                changed[at % size] ^= 1 << int(random.integers(0, 8))
            case 4:
                del changed[at:end]
            case 5:
                changed[at:at] = changed[at:end]
            case 6:
                changed[at : at + 4] = int(random.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1])).to_bytes(4, "little")
            case 7:
                other = others[int(random.integers(0, len(others)))]
                start = int(random.integers(0, len(other) + 1))
                changed[at:end] = other[start : start + end - at]
            case 8:
                changed[at:end] = NUMBERS[int(random.integers(0, len(NUMBERS)))]
            case 9:
                changed = changed[: max(1, end)]
    return bytes(changed)


def through_models(data: bytes) -> object:
    try:
        found = pack_file(data, MODEL_LIMIT)
    except Unscorable as error:
        return error.reason
    if found.family is Family.STEPS:
        assert found.n_features > 0
        assert found.integers[:2].tolist() == [len(found.integers), len(found.numbers)]
    elif found.family is not Family.KEPT:  # and now the doors behind it
        assert found.n_features > 0
        assert np.isfinite(found.numbers[3:]).all()
        assert found.numbers.dtype == np.float64
        assert len(found.numbers) >= HEAD + 2 * found.n_features
        assert found.family is not Family.FOREST or walks_end(found)
    return through_packs(stored_pack.to_bytes(pack.build_pack([Entry(Model("d", "", "d", "e"), "e", found)])))


def through_lightgbm(data: bytes) -> object:
    """A text of LightGBM: what is read of it has trees that every row leaves."""
    try:
        ensemble = read_lightgbm(read_text(data).state)
    except Unscorable as error:
        return error.reason
    except (LookupError, ValueError) as error:  # which the reader calls truncated or corrupt
        return str(error)[:20]
    totals = sum_leaves(ensemble, np.full((2, ensemble.n_features), [[0.5], [np.nan]]))
    assert totals.shape == (2, len(ensemble.start))
    return ensemble.link


def walks_end(found: Packed) -> bool:
    trees = int(found.numbers[7])
    feature, left, right = found.integers[trees:].reshape(3, -1)
    here, inner = np.arange(len(feature)), feature >= 0
    ahead = ((left > here) & (right > here) & (left < len(here)) & (right < len(here)))[inner].all()
    return bool(ahead and (feature < found.n_features).all() and (found.integers[:trees] < len(here)).all())


def through_xgboost(data: bytes) -> object:
    try:
        model = reader.read_model(data, MODEL_LIMIT)
        ensemble = read_xgboost(model.state)
    except Unscorable as error:
        return error.reason
    except (AttributeError, TypeError, LookupError, ValueError, OverflowError) as error:
        return str(error)[:20]
    if ensemble.n_features <= 100 and len(ensemble.trees.roots) <= 1000:
        sum_leaves(ensemble, np.zeros((2, ensemble.n_features)))
    return model.kind


def through_packs(data: bytes) -> object:
    try:
        found = stored_pack.from_buffer(memoryview(data))
    except Malformed as error:
        return str(error)[:20]
    for row in range(len(found)):
        assert found.get_refusal(row) or found.get_content(row).etag is not None
        assert isinstance(found.get_content(row).data, bytes)
    assert (found.find_rows(ModelList.from_models([Model("d", "", "d", "e")])) < len(found)).all()
    for name in ("features", "made_by"):
        codes, texts = found.get_texts(name)
        assert all(texts[code] is not None for code in codes.tolist())
    return len(found)


def through_foreign_packs(data: bytes) -> object:
    """A pack with a head that fits: by a slip of ours, or by one who may write into the working container."""
    n_index, n_body = (int.from_bytes(data[at : at + 8], "little") % (len(data) + 1) for at in (24, 32))
    end_of_index, start = 64 + n_index + -n_index % 64, len(data) - n_body
    if not end_of_index <= start:
        return through_packs(data)
    data = with_digest(data, start)
    try:
        blocks = stored_pack.open_pack(MappedFile(memoryview(data), "")).blocks.tolist()
    except Malformed as error:
        return str(error)[:20]
    digests = b"".join(xxhash.xxh3_128_digest(data[at:end]) for at, end in itertools.pairwise(blocks))
    return through_packs(
        with_digest(data[:end_of_index] + digests.ljust(start - end_of_index, b"\0") + data[start:], start)
    )


def with_digest(data: bytes, start: int) -> bytes:
    return data[:48] + xxhash.xxh3_128_digest(data[16:48] + data[64:start]) + data[64:]


def through_answers(data: bytes) -> object:
    try:
        found = replies.parse_reply(data, MODEL, "etag", READINGS)
    except ValueError:
        return None
    assert found.result.reason or (found.predictions and np.isfinite(found.predictions.score).all())
    return found.result


def through_reports(data: bytes) -> object:
    try:
        found = Report.from_bytes(data, 3)
        found.check_against("run", "c00000", 1, 3)
    except Malformed:
        return None
    assert found.tally.models == len(found.results) == 3
    outcomes = found.outcomes
    texts = [
        *(failure.message for failure in found.failures),
        *outcomes.tracebacks.values(),
        *outcomes.remarks.values(),
    ]
    json.dumps([*texts, dict(found.libraries)], ensure_ascii=False).encode()
    return found.to_bytes()


def through_manifests(data: bytes) -> object:
    try:
        found = Manifest.from_bytes(data)
        models = list(found.models)
    except Malformed:
        return None
    assert len(models) == len(found.models)
    assert all(place < len(models) for place in found.tasks)
    assert not found.packs or sum(pack.models for pack in found.packs) == len(models)
    return found.to_bytes()


def with_a_sum_that_fits(data: bytes) -> bytes:
    """A document whose columns have the checksum of its head: by one who may write into the working container."""
    head, blocks = split_document(data)
    return re.sub(rb'"crc32":\d+', b'"crc32":%d' % zlib.crc32(blocks), head) + b"\n" + blocks


def through_foreign_reports(data: bytes) -> object:
    return through_reports(with_a_sum_that_fits(data))


def through_foreign_manifests(data: bytes) -> object:
    return through_manifests(with_a_sum_that_fits(data))


def through_plans(data: bytes) -> object:
    """A plan or the plan of a round."""
    answers = []
    for read in (partial(Plan.from_bytes, RUN, now=NOW), partial(RoundPlan.from_bytes, run=RUN.id, number=1)):
        try:
            answers.append(read(data).to_bytes())
        except Malformed as error:
            answers.append(str(error)[:20].encode())
    return answers


NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
MODEL = Model("d", "", "d.skops", "planned")
TIMES = np.arange(3) * 10**6
RUN = Run(Window.parse("20261121T0700Z-PT1H"), Phase.RUNNING, NOW)
READINGS = Readings(
    {"d": 0},
    frames=[Frame(("a",), False, np.array([0, 3]), None, TIMES, np.ones((1, 3)), np.zeros(3, np.int32))],
)


def seeds(door: str) -> list[bytes]:
    """Valid files of a door. Only here scikit-learn is imported."""
    match door:
        case "lightgbm":
            releases = ROOT / "tests" / "scorer" / "releases" / "lightgbm"
            archives = [zipfile.ZipFile(path) for path in sorted(releases.glob("*.zip"))]
            return [file.read(name) for file in archives for name in file.namelist() if name.endswith(".txt")]
        case "answers":
            return list(_answers())
        case "reports" | "foreign reports":
            return list(_reports())
        case "manifests" | "foreign manifests":
            return list(_manifests())
        case "plans":
            chunks = tuple(Chunk(RUN.id, f"c0000{i}", "0123456789abcdef", 2, "a", "b") for i in range(2))
            plan = Plan(chunks, 3, Planner("app", "https://m", "https://p"))
            rounds = RoundPlan(1, {chunk.id: chunk.manifest for chunk in chunks})
            return [plan.to_bytes(), replace(plan, schema=1).to_bytes(), rounds.to_bytes()]
    if door == "xgboost":
        archives = [zipfile.ZipFile(path) for path in sorted((ROOT / "tests/scorer/releases/xgboost").glob("*.zip"))]
        return [archive.read(name) for archive in archives for name in archive.namelist() if name != "expected.npz"]
    from tests.scorer.corpus import corpus_formats, corpus_wrong

    fitted = [model for name, model in corpus_wrong.whole().items() if name != "linear"]
    files = [dump(model) for model in fitted for dump in corpus_formats.FORMATS.values()]
    files = [data for data in files if data[:1] in (b"\x80", b"P", b"\x1f", b"x", b"B", b"\xfd")]
    if door == "models":
        return files
    entries = [Entry(replace(MODEL, device=f"d{i}"), "e", pack_file(data), file=data) for i, data in enumerate(files)]
    refused = Entry(MODEL, "e", Unscorable(Reason.EMPTY_MODEL, "the file is empty"))
    return [
        stored_pack.to_bytes(pack.build_pack(some))
        for some in (entries[:1], entries[::9], [refused, *entries[::20]], [])
    ]


def _answers() -> Iterator[bytes]:
    for value in (None, np.ones(3)):
        found = Predictions(MODEL, "etag", TIMES, value, np.array([0.5, -0.5, 1]), np.array([False, True, False]))
        yield replies.to_bytes(ModelOutcome(ModelResult("d", 3, 1), found, left_out=1, made_by="1.5.2"))
    yield replies.to_bytes(ModelOutcome(ModelResult("d", reason=Reason.WRONG_FEATURES, message="expected 2 features")))


def _reports() -> Iterator[bytes]:
    verdicts = (
        ModelResult("a", 3, 1),
        ModelResult("b", reason=Reason.CRASHED, message="its process"),
        ModelResult("c", etag="e"),
    )
    part = Part("results/run/c00000/abc.parquet", 100, "md5", 3)
    report = Report("run", "c00000", 1, NOW, NOW, Outcomes.from_results(verdicts), (part,), ("1 rows were left out",))
    yield replace(report, schema=1).to_bytes()
    yield report.to_bytes()
    outcomes = replace(report.outcomes, readings=[4, 0, 1], tracebacks={1: "Traceback:\n x"}, remarks={0: "old"})
    yield replace(
        report,
        outcomes=outcomes,
        libraries={"numpy": "2.4.0"},
        summary=Summary("results/run/c00000/abc.summary", 9, "md5"),
        statistics=(PartStatistics(1, 2, "a", "c", {"value": 3}),),
    ).to_bytes()


def _manifests() -> Iterator[bytes]:
    models = (MODEL, replace(MODEL, refused=Reason.AMBIGUOUS))
    manifest = Manifest(RUN.window, "c00000", models, "file:///m", "file:///r", "file:///w")
    devices = DeviceRange("a", "z")
    for one in (manifest, replace(manifest, packs=(PackRef("p", 2),), devices=devices, tasks={0: "detect"})):
        yield replace(one, schema=1).to_bytes()
        yield one.to_bytes()
    many = [replace(MODEL, device=f"d{i:04}", name=f"d{i:04}.skops", etag=f"{i * 7919:x}") for i in range(400)]
    yield replace(manifest, models=many).to_bytes()


DOORS: dict[str, Door] = {
    "models": through_models,
    "lightgbm": through_lightgbm,
    "xgboost": through_xgboost,
    "packs": through_packs,
    "foreign packs": through_foreign_packs,
    "answers": through_answers,
    "reports": through_reports,
    "foreign reports": through_foreign_reports,
    "manifests": through_manifests,
    "foreign manifests": through_foreign_manifests,
    "plans": through_plans,
}


LEAST = 50  # a machine may stand still for as long as a door has


def fuzz(door: str, folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Try for so long, and LEAST at least; what was tried last lies in the folder, should nobody come back."""
    files = [path.read_bytes() for path in sorted(folder.glob("seed-*"))]
    random = np.random.default_rng(seed)
    for data in files:
        assert DOORS[door](data) is not None, data[:50]
    began, tried, slowest, faults = time.monotonic(), 0, 0.0, dict[str, str]()
    memory = peak()
    last = os.open(folder / "last", os.O_RDWR | os.O_CREAT)
    while (time.monotonic() - began < seconds or tried < LEAST) and len(faults) < 5:
        data = mutated(files[int(random.integers(0, len(files)))], files, random)
        os.truncate(last, 0)
        os.pwrite(last, data, 0)
        start = time.monotonic()
        try:
            DOORS[door](data)
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is a fault
            *_, where = traceback.extract_tb(error.__traceback__)
            kind = f"{type(error).__name__} in {where.name}, line {where.lineno}"
            if kind not in faults:
                faults[kind] = str(folder / f"fault-{len(faults)}")
                Path(faults[kind]).write_bytes(data)
        took, tried = time.monotonic() - start, tried + 1
        if took > slowest:
            slowest = took
            (folder / "slowest").write_bytes(data)
    return {"tried": tried, "slowest": slowest, "grown": peak() - memory, "faults": faults}


def peak() -> int:
    """The most bytes that this process ever held. Not `getrusage`: that begins with what our parent held."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0


@pytest.mark.parametrize("door", DOORS)
def test_no_bytes_bring_a_door_down(door: str, tmp_path: Path) -> None:
    for i, data in enumerate(seeds(door)):
        (tmp_path / f"seed-{i:03}").write_bytes(data)
    seconds = SECONDS / len(DOORS)

    done = subprocess.run(
        [sys.executable, __file__, door, tmp_path, str(seconds), os.environ.get("FLEETSCORE_FUZZ_SEED", "1")],
        check=False, capture_output=True, text=True, timeout=seconds + 60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, ""), f"over the file {tmp_path / 'last'}"
    told = json.loads(done.stdout)
    print(door, told)  # noqa: T201  # the figures, with -s
    assert told["faults"] == {}
    assert told["slowest"] < SLOWEST, f"over the file {tmp_path / 'slowest'}"
    assert told["grown"] < MOST
    assert told["tried"] >= LEAST


if __name__ == "__main__":
    print(json.dumps(fuzz(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))))  # noqa: T201  # to the test that has started us
