"""Reports as nodes wrote them, with the ids of all models."""

from __future__ import annotations

from dataclasses import replace

from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.report import Report


def read_report(data: bytes, manifest: Manifest) -> Report:
    """A report of the manifest's chunk. In schema 2 it has no ids of models that were scored: the manifest has them."""
    report = Report.from_bytes(data)
    ids = ModelList.from_models(manifest.models).ids
    assert len(report.outcomes) == len(ids)
    assert all(named in ("", known) for named, known in zip(report.outcomes.ids, ids, strict=True))
    return replace(report, outcomes=replace(report.outcomes, ids=ids))
