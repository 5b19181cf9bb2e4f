"""Reports as nodes wrote them, with the ids of all models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scorer.commands.score_chunk import AttemptOptions, run_attempt
from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.paths import manifest_path, report_path
from shared.contract.report import Report
from shared.contract.text import make_digest


def read_report(data: bytes, manifest: Manifest) -> Report:
    """A report of the manifest's chunk. In schema 2 it has no ids of models that were scored: the manifest has them."""
    report = Report.from_bytes(data)
    ids = ModelList.from_models(manifest.models).ids
    assert len(report.outcomes) == len(ids)
    assert all(named in ("", known) for named, known in zip(report.outcomes.ids, ids, strict=True))
    return replace(report, outcomes=replace(report.outcomes, ids=ids))


def run_manifest(work: Path, manifest: Manifest, attempt: int, **options: object) -> Report:
    """The report of an attempt at a chunk whose manifest is written into the folder *work*."""
    data = manifest.to_bytes()
    path = work / manifest_path(manifest.window.id, make_digest(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    run_attempt(path.as_uri(), attempt, options=AttemptOptions(**options))  # type: ignore[arg-type]
    return read_report((work / report_path(manifest.window.id, manifest.chunk, attempt)).read_bytes(), manifest)
