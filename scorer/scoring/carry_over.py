"""What an earlier attempt of the chunk has scored, taken over: its verdicts, and the rows of its part.

Nothing of it is believed before it agrees: the report with the manifest, the part with the report, row by row. Where
they do not, nothing is taken over, and all models are scored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from scorer.predictions import part_files
from scorer.predictions.outcome import Scored
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
class Carried:
    """What is taken over, by the model's place in the manifest, and what a person should hear of it."""

    scored: Mapping[int, Scored]
    warnings: tuple[str, ...] = ()


def take_over(work: Container, manifest: Manifest, attempt: int) -> Carried:
    """What *attempt* of the same chunk scored; nothing for 0. Raises Unavailable."""
    if not attempt:
        return Carried({})
    try:
        report = _report(work, manifest, attempt)
        tables = [part_files.read(work, part) for part in report.parts]
        table = pa.concat_tables([SCHEMA.empty_table(), *tables])
        scored = _scored(manifest.models, report.results, table)
    except (NotFound, Malformed) as error:
        log.warning("nothing is carried over from attempt %s: %s", attempt, error)
        return Carried(
            {}, (clip_text(f"attempt {attempt} could not be carried over, all models were scored: {error}"),)
        )
    log.info("carried=%s models, %s rows from attempt %s", len(scored), table.num_rows, attempt)
    told = f"attempt {attempt}: "
    return Carried(scored, tuple(w if w.startswith("attempt ") else clip_text(f"{told}{w}") for w in report.warnings))


def _report(work: Container, manifest: Manifest, attempt: int) -> Report:
    run, chunk, models = manifest.window.id, manifest.chunk, manifest.models
    report = Report.from_bytes(work.read(report_path(run, chunk, attempt)).data)
    report.check_against(run, chunk, attempt, len(models))
    if [v.model for v in report.results] != [m.id for m in models]:
        raise Malformed(f"report of {run} {chunk}-{attempt}: its models are not the manifest's")
    return report


def _scored(models: Sequence[Model], verdicts: Sequence[ModelResult], table: pa.Table) -> dict[int, Scored]:
    """The models that were scored, with their rows cut out of the table. Raises Malformed.

    Rows lie in the models' order, so the verdicts say where each model's must begin and end. That they do is seen by
    laying out the columns of ids as they should be, and comparing.
    """
    places = [i for i, verdict in enumerate(verdicts) if verdict.reason is None]
    etags = [verdicts[i].etag or models[i].etag for i in places]
    ends = np.cumsum([0, *(verdicts[i].rows for i in places)])
    of_row = pa.array(np.repeat(np.arange(len(places)), np.diff(ends)))
    expected = {
        "device": [models[i].device for i in places],
        "sensor": [models[i].sensor or None for i in places],
        "model": etags,
    }
    for name, ids in expected.items():
        if table[name] != pa.chunked_array([pa.array(ids, pa.string()).take(of_row)]):
            raise Malformed(f"the rows of its part are not those of its models, by their column {name!r}")
    time, score = (table[name].cast(kind).to_numpy() for name, kind in (("time", pa.int64()), ("score", pa.float64())))
    value, no_value = table["value"].to_numpy(), table["value"].is_null().to_numpy()
    anomaly = table["anomaly"].to_numpy() != 0
    scored = {}
    for i, etag, start, end in zip(places, etags, ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        rows = slice(start, end)
        values = None if no_value[start:end].any() else value[rows]
        predictions = Predictions(models[i], etag, time[rows], values, score[rows], anomaly[rows])
        scored[i] = Scored(verdicts[i], predictions if end > start else None)
    return scored
