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
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.table import SCHEMA, Predictions
from scorer.storage.blob_store import Container
from shared.contract.domain import Model
from shared.contract.errors import Malformed, NotFound
from shared.contract.manifest import Manifest
from shared.contract.paths import report_path
from shared.contract.report import ModelResult, Report
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
        scored = _match_rows(manifest.models, report.results, table)
    except (NotFound, Malformed) as error:
        log.warning("nothing is carried over from attempt %s: %s", attempt, error)
        return CarriedResults(
            {}, (clip_text(f"attempt {attempt} could not be carried over, all models were scored: {error}"),)
        )
    log.info("carried=%s models, %s rows from attempt %s", len(scored), table.num_rows, attempt)
    prefix = f"attempt {attempt}: "
    return CarriedResults(
        scored, tuple(w if w.startswith("attempt ") else clip_text(f"{prefix}{w}") for w in report.warnings)
    )


def _read_report(work: Container, manifest: Manifest, attempt: int) -> Report:
    run, chunk, models = manifest.window.id, manifest.chunk, manifest.models
    report = Report.from_bytes(work.read(report_path(run, chunk, attempt)).data)
    report.check_against(run, chunk, attempt, len(models))
    if [v.model for v in report.results] != [m.id for m in models]:
        raise Malformed(f"report of {run} {chunk}-{attempt}: its models are not the manifest's")
    return report


def _match_rows(models: Sequence[Model], results: Sequence[ModelResult], table: pa.Table) -> dict[int, ModelOutcome]:
    """The models that were scored, each with its rows of the table. Raises Malformed.

    Rows are in the models' order, so the results say where the rows of each model begin and end. To check this, the
    columns of ids are built as they should be, and compared.
    """
    indices = [i for i, result in enumerate(results) if result.reason is None]
    etags = [results[i].etag or models[i].etag for i in indices]
    ends = np.cumsum([0, *(results[i].rows for i in indices)])
    model_of_row = pa.array(np.repeat(np.arange(len(indices)), np.diff(ends)))
    expected = {
        "device": [models[i].device for i in indices],
        "sensor": [models[i].sensor or None for i in indices],
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
        rows = slice(start, end)
        values = None if no_value[start:end].any() else value[rows]
        predictions = Predictions(models[i], etag, time[rows], values, score[rows], anomaly[rows])
        scored[i] = ModelOutcome(results[i], predictions if end > start else None)
    return scored
