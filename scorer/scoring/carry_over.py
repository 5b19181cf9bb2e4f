"""Carries over what an earlier attempt of the chunk scored: its results, and the rows of its part.

The report must agree with the manifest, and the part with the report, row by row. Otherwise nothing is carried over,
and all models are scored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from scorer.predictions import part_files
from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.rows import COMPLETE, NUMBERS, TEXTS, Predictions, Texts
from scorer.predictions.table import SCHEMA
from scorer.storage.blob_store import Container
from shared.contract.domain import Model
from shared.contract.errors import Malformed, NotFound
from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.outcomes import MODEL_IS_CONSTANT, ModelResult, Outcomes
from shared.contract.paths import report_path
from shared.contract.report import Report
from shared.contract.text import clip_text

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CarriedResults:
    """Results of an earlier attempt, by the model's index in the manifest, and warnings for the report.

    *replaceable* are those of models that are to be scored once more, by the model's id: they stay where it cannot be.
    """

    scored: Mapping[int, ModelOutcome]
    warnings: tuple[str, ...] = ()
    replaceable: Mapping[str, ModelOutcome] = field(default_factory=dict)


def carry_over_results(work: Container, manifest: Manifest, attempt: int) -> CarriedResults:
    """The results of *attempt* of the same chunk; none for 0. Raises Unavailable."""
    if not attempt:
        return CarriedResults({})
    try:
        report = _read_report(work, manifest, attempt)
        tables = [part_files.read_part(work, part) for part in report.parts]
        table = pa.concat_tables([SCHEMA.empty_table(), *tables])
        matched = _match_rows(ModelList.from_models(manifest.models), report.outcomes, table)
        rescore = frozenset(manifest.rescore)
        scored = {index: outcome for index, outcome in matched.items() if index not in rescore}
        replaceable = {outcome.result.model: outcome for index, outcome in matched.items() if index in rescore}
    except (NotFound, Malformed) as error:
        log.warning("nothing is carried over from attempt %s: %s", attempt, error)
        return CarriedResults(
            {}, (clip_text(f"attempt {attempt} could not be carried over, all models were scored: {error}"),)
        )
    log.info("carried=%s of %s models from attempt %s", len(scored), len(matched), attempt)
    prefix = f"attempt {attempt}: "
    warnings = [w if w.startswith("attempt ") else clip_text(f"{prefix}{w}") for w in report.warnings]
    return CarriedResults(scored, (*warnings, *_describe_other_files(scored)), replaceable)


def _describe_other_files(scored: Mapping[int, ModelOutcome]) -> list[str]:
    """The warning about rows by another file than the manifest's: the run shows two etags of one name."""
    ids = [outcome.result.model for outcome in scored.values() if outcome.result.etag]
    return [f"{len(ids)} models keep rows by another file than is planned now, such as {ids[0]}"] if ids else []


def _read_report(work: Container, manifest: Manifest, attempt: int) -> Report:
    run, chunk, models = manifest.window.id, manifest.chunk, ModelList.from_models(manifest.models)
    report = Report.from_bytes(work.read(report_path(run, chunk, attempt)).data, len(models))
    report.check_against(run, chunk, attempt, len(models))
    if any(
        reported and reported != expected for reported, expected in zip(report.outcomes.ids, models.ids, strict=True)
    ):
        raise Malformed(f"report of {run} {chunk}-{attempt}: its models are not the manifest's")
    return report


def _match_rows(models: ModelList, outcomes: Outcomes, table: pa.Table) -> dict[int, ModelOutcome]:
    """The models that were scored, each with its rows of the table. Raises Malformed.

    Rows are in the models' order, so the outcomes say where the rows of each model begin and end. To check this, the
    columns of ids are built as they should be, and compared. The etag of a model is that in its rows: it scored them,
    whatever the manifest says by now.
    """
    indices = [index for index in range(len(models)) if index not in outcomes.reasons]
    row_counts = [int(outcomes.rows[index]) for index in indices]
    ends = np.cumsum([0, *row_counts])
    if ends[-1] != table.num_rows:
        raise Malformed(f"expected {ends[-1]} rows in its parts, got {table.num_rows}")
    etags = _read_etags(models, outcomes, table, indices, ends)
    model_of_row = pa.array(np.repeat(np.arange(len(indices)), np.diff(ends)))
    devices, sensors = models.read_texts("device"), models.read_texts("sensor")
    expected = {
        "device": [devices[i] for i in indices],
        "sensor": [sensors[i] or None for i in indices],
        "model": etags,
    }
    for name, ids in expected.items():
        if table[name] != pa.chunked_array([pa.array(ids, pa.string()).take(model_of_row)]):
            raise Malformed(f"the rows of its part are not those of its models: column {name!r}")
    columns = _CarriedColumns.from_table(table)
    scored = {}
    for i, etag, start, end in zip(indices, etags, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        model = models[i]
        predictions = columns.select_model(model, etag, slice(start, end))
        result = ModelResult(model.id, end - start, int(outcomes.anomalies[i]), etag=get_changed_etag(etag, model))
        scored[i] = ModelOutcome(
            result, predictions if end > start else None, is_constant=outcomes.remarks.get(i) == MODEL_IS_CONSTANT
        )
    return scored


@dataclass(frozen=True, slots=True)
class _CarriedColumns:
    """The columns of a table of predictions that may be null, and its times."""

    time: np.ndarray
    numbers: Mapping[str, np.ndarray]  # NaN is null
    anomaly: np.ndarray  # int8; -1 is null
    texts: Mapping[str, Texts]

    @classmethod
    def from_table(cls, table: pa.Table) -> Self:
        """Columns without any value are left out."""
        filled = {name for name in table.column_names if table[name].null_count < table.num_rows}
        return cls(
            table["time"].cast(pa.int64()).to_numpy(),
            {name: table[name].to_numpy() for name in NUMBERS if name in filled},
            table["anomaly"].fill_null(-1).to_numpy(),
            {name: _read_texts(table[name]) for name in TEXTS if name in filled},
        )

    def select_model(self, model: Model, etag: str, rows: slice) -> Predictions:
        """The rows of one model, which has a column where its rows have values in it. Raises Malformed."""
        numbers = {name: column[rows] for name, column in self.numbers.items()}
        texts = {name: column.select_rows(rows) for name, column in self.texts.items()}
        columns: dict[str, Any] = {name: column for name, column in numbers.items() if not np.isnan(column).all()}
        columns |= {name: column for name, column in texts.items() if not column.is_none()}
        anomaly = self.anomaly[rows]
        complete = (anomaly < 0, *(np.isnan(numbers[name]) for name in COMPLETE if name in numbers))
        if any(null.any() and not null.all() for null in complete):
            raise Malformed(f"expected values in all rows of {model.id} or in none, got some without")
        return Predictions(
            model,
            etag,
            self.time[rows],
            anomaly=anomaly != 0 if (anomaly >= 0).all() else None,
            **columns,
        )


def _read_texts(column: pa.ChunkedArray) -> Texts:
    encoded = column.dictionary_encode().combine_chunks()
    return Texts(encoded.indices.fill_null(-1).to_numpy(), tuple(encoded.dictionary.to_pylist()))


def _read_etags(
    models: ModelList, outcomes: Outcomes, table: pa.Table, indices: Sequence[int], ends: np.ndarray
) -> list[str]:
    """The etag in the first row of each scored model; of a model without rows, what the report says."""
    starts, has_rows = ends[:-1], np.diff(ends) > 0
    first_rows = iter(table["model"].take(pa.array(starts[has_rows])).to_pylist())
    return [
        str(next(first_rows)) if any_rows else outcomes.etags.get(i) or models[i].etag
        for i, any_rows in zip(indices, has_rows.tolist(), strict=True)
    ]
