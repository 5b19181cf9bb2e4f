"""The schema of a chunk's predictions: the manifest's, whatever it carries over was written in."""

from __future__ import annotations

import base64
import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.svm import OneClassSVM

from scorer.commands import score_chunk
from scorer.commands.score_chunk import AttemptOptions
from scorer.predictions.part_files import read_part
from scorer.predictions.table import SCHEMA, encode_texts, identify_schema, to_parquet
from scorer.storage.blob_store import Folder
from shared.contract.domain import Model, Part, PartStatistics
from shared.contract.errors import Malformed
from shared.contract.manifest import Manifest
from shared.contract.paths import report_path
from shared.contract.report import Report
from shared.contract.summaries.predicted import LabelCount, Predicted
from shared.contract.text import make_digest
from shared.contract.windows import Window

HOUR = Window.parse("20261121T0700Z-PT1H")
START = 1_795_244_400_000_000  # microseconds
CHUNK = "c00000"
CASES = {"old": (1, 1), "new, schema 1": (2, 1), "new, schema 2": (2, 2)}  # of the manifest, of its predictions


class Desk:
    """A chunk of two models on folders."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, Folder(root / "work")
        for name in ("models", "readings", "work"):
            (root / name).mkdir()
        svm = OneClassSVM(nu=0.1).fit(np.random.default_rng(0).normal(10, 1, (100, 1)))
        (root / "models" / "fan.pkl").write_bytes(pickle.dumps(svm))
        rows = [f"2026-11-21T07:{m:02},{d},{10 + m % 4}" for d in ("fan", "pump") for m in range(60)]
        self.svm, self.readings = svm, root / "readings" / "date=2026-11-21" / "hour=07" / "a.csv"
        self.readings.parent.mkdir(parents=True)
        self.readings.write_text("\n".join(["time,device,value", *rows]))

    def repair(self) -> None:
        """The second model's file, which was not there before."""
        (self.root / "models" / "pump.pkl").write_bytes(pickle.dumps(self.svm))

    def run(self, attempt: int, case: tuple[int, int], carry: int = 0) -> Report:
        models = tuple(Model(name, "", f"{name}.pkl", "planned") for name in ("fan", "pump"))
        urls = [(self.root / name).as_uri() for name in ("models", "readings", "work")]
        data = Manifest(HOUR, CHUNK, models, *urls, schema=case[0], predictions_schema=case[1]).to_bytes()
        name = f"{make_digest(data)}.json"
        self.work.write(name, data)
        score_chunk.run_attempt(f"{urls[2]}/{name}", attempt, options=AttemptOptions(carry_attempt=carry))
        return Report.from_bytes(self.work.read(report_path(HOUR.id, CHUNK, attempt)).data)

    def read_columns(self, part: Part) -> pa.Schema:
        return pq.read_schema(pa.BufferReader(self.work.read(part.path).data))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_chunk_writes_the_schema_that_its_manifest_names(case: tuple[int, int], desk: Desk) -> None:
    report = desk.run(1, case)

    (part,) = report.parts
    assert (report.schema, identify_schema(desk.read_columns(part))) == case
    names = desk.read_columns(part).names
    nulls = {name: 60 if name in ("sensor", "output", "prediction", "label", "probability") else 0 for name in names}
    expected = PartStatistics(START, START + 59 * 60_000_000, "fan", "fan", nulls)
    assert report.statistics == ((expected,) if case[0] == 2 else ())


@pytest.mark.parametrize("before", CASES.values(), ids=CASES)
@pytest.mark.parametrize("after", CASES.values(), ids=CASES)
def test_a_redrive_carries_rows_over_from_any_schema_to_any(
    before: tuple[int, int], after: tuple[int, int], desk: Desk
) -> None:
    (first,) = desk.run(1, before).parts
    desk.repair()

    report = desk.run(2, after, carry=1)

    (part,) = report.parts
    assert [warning for warning in report.warnings if "carried over" in warning] == []
    assert identify_schema(desk.read_columns(part)) == after[1]
    rows, carried = read_part(desk.work, part), read_part(desk.work, first)
    assert (carried.num_rows, rows.num_rows) == (60, 120)
    assert rows.slice(0, 60).equals(carried)
    assert rows["device"].to_pylist() == ["fan"] * 60 + ["pump"] * 60


def test_labels_are_carried_over_with_their_rows_and_summed_up(desk: Desk) -> None:
    report = desk.run(1, (2, 2))
    (part,) = report.parts
    table = read_part(desk.work, part)
    index = SCHEMA.names.index("label")
    labelled = table.set_column(index, SCHEMA.field(index), pa.array(["on"] * 60))
    data = to_parquet(encode_texts(labelled))
    desk.work.write(part.path, data)
    md5 = base64.b64encode(hashlib.md5(data).digest()).decode()
    changed = replace(part, bytes=len(data), md5=md5)
    desk.work.write(report_path(HOUR.id, CHUNK, 1), replace(report, parts=(changed,)).to_bytes())

    carried = desk.run(2, (2, 2), carry=1)

    assert read_part(desk.work, carried.parts[0])["label"].to_pylist() == ["on"] * 60
    assert carried.predicted == Predicted({"detector": 1}, 60, (LabelCount("on", 60),))
    assert report.predicted is None


def test_a_manifest_that_wants_a_later_schema_is_refused_before_anything_is_scored(desk: Desk) -> None:
    with pytest.raises(Malformed, match="expected predictions of schema 1 or 2, got 3"):
        desk.run(1, (2, 3))
