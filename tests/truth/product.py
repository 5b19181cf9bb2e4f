"""What the product answers for a fleet: its own functions, from files to predictions, in this process.

Only the worker processes are not started: what they would do is done here, and goes through their replies.
"""

from __future__ import annotations

import gzip
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from scorer.estimators.score_model import score_model_file
from scorer.packs.cache import load_models
from scorer.packs.fetch import Stores
from scorer.predictions.outcome import ModelOutcome
from scorer.readings import source
from scorer.readings.source import Readings
from scorer.sandbox import replies
from scorer.scoring import pipeline
from scorer.scoring.pipeline import PackInput, ProgressCounter, ScoringContext
from scorer.scoring.run_warnings import RunWarnings
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Features, Gaps, ReadingOptions, parse_missing_values
from shared.contract.windows import Window
from tests.truth.fleets import SENTINEL, FileSpec, Fleet, Row
from tests.truth.training import train

HOUR = Window.parse("20261121T0700Z-PT1H")


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one model: its rows by minute, each a score and a label; or the reason why there are none."""

    rows: dict[int, tuple[float, bool]]
    reason: Reason | None
    message: str


class WorkersInProcess:
    """Does what the worker processes do, without them."""

    def start_workers(self) -> None:
        """There are none."""

    def score_items(self, items: Iterable[tuple[Model, Content | Exception, Readings]]) -> Iterator[ModelOutcome]:
        for model, content, readings in items:
            outcome = score_model_file(model, content, readings)
            etag = "" if isinstance(content, Exception) else content.etag
            yield replies.parse_reply(replies.to_bytes(outcome), model, etag, readings)


def answer(fleet: Fleet, root: Path) -> tuple[list[Answer], dict[str, int]]:
    """What the product says of each model, and the counts of its warnings."""
    (root / "models").mkdir()
    models = []
    for number, spec in enumerate(fleet.models):
        (root / "models" / str(number)).write_bytes(train(spec)[1])
        models.append(Model(spec.device, spec.sensor, str(number), "planned"))
    write_files(fleet, root / "readings")
    options = ReadingOptions(
        features=Features.parse(fleet.features),
        gaps=Gaps(fleet.gaps),
        missing_values=parse_missing_values(str(SENTINEL) if fleet.sentinel else ""),
    )
    listed = ModelList.from_models(models)
    readings = source.read_readings(
        Folder(root / "readings"), [""], Columns(), [model.device for model in models], HOUR, options
    )
    assert not readings.unreadable, readings.unreadable
    stores, warnings = Stores(Folder(root / "models"), Folder(root)), RunWarnings()
    output = pipeline.score_pack(
        PackInput(listed, load_models(stores, "", listed), readings, stores=stores),
        ScoringContext(WorkersInProcess()),
        ProgressCounter(),
        warnings,
    )
    table = output.rows.to_pylist()
    answers = []
    for model, result in zip(models, output.results, strict=True):
        rows = [row for row in table if (row["device"], row["sensor"] or "") == (model.device, model.sensor)]
        assert len(rows) == result.rows
        by_minute = {row["time"].minute: (row["score"], bool(row["anomaly"])) for row in rows}
        assert len(by_minute) == len(rows), "a time is scored twice"
        answers.append(Answer(by_minute, result.reason, result.message))
    return answers, dict(warnings.counts)


def write_files(fleet: Fleet, folder: Path) -> None:
    """The rows in their files, each form as its usual writer writes it."""
    folder.mkdir()
    for number, (file, rows) in enumerate(split_rows(fleet)):
        records = make_records(fleet, file, rows)
        if records:
            (folder / f"{number}.{file.form}").write_bytes(to_bytes(file.form, records))


def split_rows(fleet: Fleet) -> list[tuple[FileSpec, list[Row]]]:
    """The rows of each file."""
    start, parts = 0, []
    for number, file in enumerate(fleet.files):
        end = len(fleet.rows) if number == len(fleet.files) - 1 else start + file.n_rows
        parts.append((file, list(fleet.rows[start:end])))
        start = end
    return [(file, rows) for file, rows in parts if rows]


def list_columns(file: FileSpec, rows: list[Row]) -> list[int]:
    """The columns of a wide file, in its order, by their index."""
    has_value = {i for row in rows for i, value in enumerate(row.cells) if value is not None}
    if not file.drops_empty:
        return list(file.order)
    if file.form == "json":  # in the order of the first row that has each
        return list(dict.fromkeys(i for row in rows for i in file.order if row.cells[i] is not None))
    return [i for i in file.order if i in has_value]


def make_records(fleet: Fleet, file: FileSpec, rows: list[Row]) -> list[dict[str, Any]]:
    """The rows of a file as they are written, wide or long."""
    keys = [{"time": f"2026-11-21T07:{row.minute:02}:00Z", "device": row.device} for row in rows]
    if fleet.is_long:
        return [
            {**key, "sensor": fleet.columns[i], "value": row.cells[i]}
            for key, row in zip(keys, rows, strict=True)
            for i in file.order
            if not (file.drops_empty and row.cells[i] is None)
        ]
    columns = list_columns(file, rows)
    records = [
        {**key, **{fleet.columns[i]: row.cells[i] for i in columns}} for key, row in zip(keys, rows, strict=True)
    ]
    if file.form == "json" and file.drops_empty:
        records = [{name: value for name, value in record.items() if value is not None} for record in records]
    return records if columns else []


def to_bytes(form: str, records: list[dict[str, Any]]) -> bytes:
    """The file."""
    names = list(dict.fromkeys(name for record in records for name in record))
    if form == "json":
        plain = [{name: text_of(value) for name, value in record.items()} for record in records]
        return "".join(json.dumps(record) + "\n" for record in plain).encode()
    if form == "parquet":
        texts = ("time", "device", "sensor")
        columns = {
            name: pa.array([record[name] for record in records], pa.string() if name in texts else pa.float64())
            for name in names
        }
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table(columns), sink)
        return sink.getvalue().to_pybytes()
    data = pd.DataFrame(records, columns=names).to_csv(index=False).encode()
    return gzip.compress(data) if form == "csv.gz" else data


def text_of(value: Any) -> Any:
    """JSON has no word for NaN and infinity; writers use texts."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
