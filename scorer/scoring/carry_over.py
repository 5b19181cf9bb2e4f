"""Carries over what an earlier attempt of the chunk scored: its results, and the rows of its part.

The report must agree with the manifest, and the part with the report, row by row. Otherwise nothing is carried over,
and all models are scored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scorer.predictions import part_files
from scorer.predictions.outcome import ModelOutcome, get_changed_etag
from scorer.predictions.table import ADDED, SCHEMA, Predictions
from scorer.storage.blob_store import Container
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
    """Results of an earlier attempt, by the model's index in the manifest, and warnings for the report."""

    scored: Mapping[int, ModelOutcome]
    warnings: tuple[str, ...] = ()


def carry_over_results(work: Container, manifest: Manifest, attempt: int) -> CarriedResults:
    """The results of *attempt* of the same chunk; none for 0. Raises Unavailable."""
    if not attempt:
        return CarriedResults({})
    try:
        report = _read_report(work, manifest, attempt)
        tables = [part_files.read_part(work, part) for part in report.parts]
        table = pa.concat_tables([SCHEMA.empty_table(), *tables])
        scored = _match_rows(ModelList.from_models(manifest.models), report.outcomes, table)
    except (NotFound, Malformed) as error:
        log.warning("nothing is carried over from attempt %s: %s", attempt, error)
        return CarriedResults(
            {}, (clip_text(f"attempt {attempt} could not be carried over, all models were scored: {error}"),)
        )
    log.info("carried=%s models, %s rows from attempt %s", len(scored), table.num_rows, attempt)
    prefix = f"attempt {attempt}: "
    warnings = [w if w.startswith("attempt ") else clip_text(f"{prefix}{w}") for w in report.warnings]
    return CarriedResults(scored, (*warnings, *_describe_other_files(scored)))


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
    _check_detectors(table)
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
    time, score = (table[name].cast(kind).to_numpy() for name, kind in (("time", pa.int64()), ("score", pa.float64())))
    value, no_value = table["value"].to_numpy(), table["value"].is_null().to_numpy()
    anomaly = table["anomaly"].to_numpy() != 0
    scored = {}
    for i, etag, start, end in zip(indices, etags, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        rows, model = slice(start, end), models[i]
        values = None if no_value[start:end].any() else value[rows]
        predictions = Predictions(model, etag, time[rows], values, score[rows], anomaly[rows])
        result = ModelResult(model.id, end - start, int(outcomes.anomalies[i]), etag=get_changed_etag(etag, model))
        scored[i] = ModelOutcome(
            result, predictions if end > start else None, is_constant=outcomes.remarks.get(i) == MODEL_IS_CONSTANT
        )
    return scored


def _check_detectors(table: pa.Table) -> None:
    """Raise Malformed where rows are not those of detectors: only a later version carries them over without a loss."""
    filled = [name for name in ADDED if table[name].null_count < table.num_rows]
    lacking = [name for name in ("score", "anomaly") if table[name].null_count]
    if filled or lacking:
        raise Malformed(f"expected rows of detectors, got values in {filled} and nulls in {lacking}")


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
