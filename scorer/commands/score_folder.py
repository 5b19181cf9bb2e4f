"""Score folders, and convert models, at a desk: no cloud, no manifest on disk. Prints for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from scorer.arrow import numbers
from scorer.packs.cache import Stores, bring
from scorer.predictions.table import to_parquet
from scorer.readings import source
from scorer.readings.source import MICROSECOND, Readings
from scorer.sandbox.pool import Children
from scorer.scoring import pipeline
from scorer.scoring.pipeline import DoneCount, Means, Notes, Portion, Slab
from scorer.storage.blob_store import Folder
from shared.contract.domain import Outcome, decide_outcome
from shared.contract.errors import Malformed
from shared.contract.model_names import Columns, ModelNames
from shared.contract.paths import make_chunk_id, prediction_path
from shared.contract.report import ModelResult
from shared.contract.scoring_options import ScoringOptions
from shared.contract.windows import EPOCH, MINUTE, Window

from .folders import check_target, list_fleet

PORTION = 10_000  # models that are scored together


@dataclass(frozen=True, slots=True)
class Errand:
    """What somebody at a desk wants scored, and how."""

    models: Path
    readings: Path
    predictions: Path
    window: Window | None = None  # all that the readings span, where there is none
    every: timedelta | None = None  # length of the windows that are written; hours, where no window is given
    columns: Columns = field(default_factory=Columns)
    names: ModelNames = field(default_factory=ModelNames)
    readings_path: str = ""
    policy: ScoringOptions = field(default_factory=ScoringOptions)
    cores: int = 1


def folder(errand: Errand) -> int:
    """Score a folder of models; 1 when one failed or none was scored.

    Raises Malformed for what cannot be meant, Misconfigured and Unavailable where the predictions cannot be written.
    """
    fleet = list_fleet(errand.models, errand.names)
    store, where = _source(errand.readings, errand.readings_path, errand.window)
    check_target("--predictions", errand.predictions)
    _keep_apart(errand.predictions, errand.readings, errand.readings_path)
    devices, limits = [model.device for model in fleet], errand.policy.limits
    found = source.read(store, where, errand.columns, devices, errand.window, errand.policy.readings)
    notes, slabs = Notes(), list[Slab]()
    notes.add(found.remarks())
    files = Folder(errand.models)
    with Children(errand.cores, patience=limits.model_seconds, memory=limits.model_memory) as children:
        means = Means(children, errand.cores, errand.policy.other_versions)
        for at in range(0, len(fleet), PORTION):
            some = fleet[at : at + PORTION]
            ready = bring(Stores(files, files, limits.model_bytes), "", some)
            slabs.append(pipeline.score(Portion(some, ready, found), means, DoneCount(), notes))
        warnings = (*notes.remarks, *children.warnings)
    windows = _windows(errand.window, errand.every, found)
    _write(errand.predictions, windows, pa.concat_tables([slab.rows for slab in slabs]).unify_dictionaries())
    for remark in warnings:
        print(f"note: {remark}")
    verdicts = [verdict for slab in slabs for verdict in slab.verdicts]
    return _summary(verdicts, len(windows), errand.predictions)


def parse_window(text: str) -> Window:
    """`START/END`, two ISO 8601 times; without an offset they are UTC. Raises Malformed."""
    try:
        start, end = (datetime.fromisoformat(part) for part in text.split("/"))
    except ValueError:
        raise Malformed(
            f"--window: expected START/END such as 2026-11-21T07:00/2026-11-21T08:00, got {text!r}"
        ) from None
    start, end = (t.astimezone(UTC) if t.tzinfo else t.replace(tzinfo=UTC) for t in (start, end))
    if end <= start or (end - start) % MINUTE or (start - EPOCH) % MINUTE:
        raise Malformed(f"--window: expected a START before its END, both at whole minutes, got {text!r}")
    return Window(start, end - start)


def parse_columns(text: str) -> Columns:
    """`time=TS,device=Device,...`; what is not named keeps its default. Raises Malformed."""
    try:
        return Columns.parse(text)
    except Malformed as error:
        raise Malformed(f"--columns: {error}") from error


def _source(readings_at: Path, readings_path: str, window: Window | None) -> tuple[Folder, list[str]]:
    """The folder to read from, and what to read of it."""
    if not readings_at.exists():
        raise Malformed(f"--readings: expected a file or a folder, got nothing at {readings_at}")
    if readings_at.is_file():
        return Folder(readings_at.parent), [readings_at.name]
    if "%" not in readings_path:
        return Folder(readings_at), [readings_path]
    if window is None:
        raise Malformed(f"--readings-path: {readings_path!r} has placeholders, and they want a --window")
    return Folder(readings_at), source.paths(readings_path, window)


def _keep_apart(predictions: Path, readings_at: Path, readings_path: str) -> None:
    """Predictions among the readings would be read as readings the next time."""
    if predictions.resolve().is_relative_to(readings_at.resolve()) and not readings_path:
        raise Malformed(f"--predictions: expected a folder outside the readings, got {predictions} in {readings_at}")


def _windows(window: Window | None, every: timedelta | None, found: Readings) -> list[Window]:
    """The windows to write, in order and of one length."""
    if window is None:
        length = every or timedelta(hours=1)
        tiles = {int(tile) for frame in found.frames for tile in np.unique(frame.time // (length // MICROSECOND))}
        return [Window(EPOCH + tile * length, length) for tile in sorted(tiles)]
    length = every or window.length
    if window.length % length:
        raise Malformed(f"--every: expected a length that divides the window of {window.length}, got {length}")
    return [Window(window.start + i * length, length) for i in range(window.length // length)]


def _write(predictions: Path, windows: Sequence[Window], table: pa.Table) -> None:
    """A file for each window that has rows; what an earlier run left of these windows goes."""
    target = Folder(predictions)
    starts = [(window.start - EPOCH) // MICROSECOND for window in windows]
    of_window = np.searchsorted(starts, table["time"].cast(pa.int64()).to_numpy(), "right") - 1
    order = np.argsort(of_window, kind="stable")  # rows stay by model and time
    bounds = np.searchsorted(of_window[order], np.arange(len(windows) + 1))
    ordered = table.take(numbers(order))
    for i, window in enumerate(windows):
        path = prediction_path(window, make_chunk_id(0), 0)
        rows = ordered.slice(bounds[i], bounds[i + 1] - bounds[i])
        if rows.num_rows:
            target.write(path, to_parquet(rows))
        for stale in (predictions / path).parent.glob(f"{window.id}-*.parquet"):
            if not rows.num_rows or stale.name != Path(path).name:
                target.remove(stale.relative_to(predictions).as_posix())


def _summary(verdicts: Sequence[ModelResult], windows: int, predictions: Path) -> int:
    """Print how it went: each model that failed by name, those skipped by reason. Returns the exit code."""
    failed = [v for v in verdicts if decide_outcome(v.reason) is Outcome.FAILED]
    skipped = Counter(v.reason for v in verdicts if decide_outcome(v.reason) is Outcome.SKIPPED)
    for verdict in failed:
        print(f"failed: {verdict.model}: {verdict.reason}: {verdict.message}")
    for reason, count in sorted(skipped.items()):
        print(f"skipped: {count} models: {reason}")
    scored, rows = sum(v.reason is None for v in verdicts), sum(v.rows for v in verdicts)
    anomalies = sum(v.anomalies for v in verdicts)
    print(
        f"{scored} of {len(verdicts)} models scored, {len(failed)} failed, {skipped.total()} skipped; "
        f"{anomalies} anomalies in {rows} rows, {windows} windows, in {predictions}"
    )
    if not scored:
        ((reason, count),) = Counter(v.reason for v in verdicts).most_common(1)
        print(f"nothing was scored: {reason} for {count} of {len(verdicts)} models")
    return 1 if failed or not scored else 0
