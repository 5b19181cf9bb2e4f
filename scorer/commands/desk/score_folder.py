"""Score folders at a desk: no cloud, no manifest on disk. Prints for a person."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from scorer.arrow import build_numbers
from scorer.packs.cache import load_models
from scorer.packs.fetch import Stores
from scorer.predictions.stored_files import find_schemas
from scorer.predictions.table import NEWEST, to_parquet
from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.readings.layouts import find_table_above
from scorer.readings.projection import Projection
from scorer.readings.source import MICROSECOND
from scorer.readings.unmodelled import UnmodelledCounter
from scorer.sandbox.pool import WorkerPool
from scorer.scoring import pipeline
from scorer.scoring.needed_columns import find_needed_columns
from scorer.scoring.pack_state import PackOutput, ProgressCounter, add_predicted
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import RunWarnings
from scorer.storage.blob_store import Folder
from shared.contract.errors import Malformed
from shared.contract.manifest import DeviceRange
from shared.contract.model_list import ModelList
from shared.contract.model_names import Columns, ModelNames
from shared.contract.paths import make_chunk_id, prediction_path
from shared.contract.readings.path_pattern import PathPattern
from shared.contract.readings.paths import list_paths
from shared.contract.scoring_options import ScoringOptions, UnmodelledDevices
from shared.contract.summaries.predicted import Predicted, close_summary
from shared.contract.windows import EPOCH, MONDAY, WEEK, Window, format_length

from .folder_summary import Summary
from .folders import check_target, list_models
from .unscored import Output

BATCH_MODELS = 10_000  # that are scored together


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """The options of the command `folder`."""

    models: Path
    readings: Path
    predictions: Path
    window: Window | None = None  # None: all that the readings cover
    every: timedelta | None = None  # length of the windows that are written; an hour where no window is given
    window_origin: datetime | None = None  # the start of a window; None: a Monday for weeks, else 1970
    columns: Columns = field(default_factory=Columns)
    names: ModelNames = field(default_factory=ModelNames)
    readings_path: str = ""
    policy: ScoringOptions = field(default_factory=ScoringOptions)
    cores: int = 1
    output: Output = Output.SHORT
    predictions_schema: int | None = None  # None: 1 where the folder has files of schema 1 only, else the newest


def score_models(options: ScoreOptions) -> int:
    """Score a folder of models; 1 when a model failed or none was scored.

    Raises Malformed for options that make no sense, Misconfigured and Unavailable where predictions cannot be written.
    """
    fleet, ignored = list_models(options.models, options.names)
    store, reading_paths, pattern = _open_source(options)
    check_target("--predictions", options.predictions)
    _check_apart(options.predictions, options.readings, options.readings_path)
    schema, notes = _choose_schema(options.predictions, options.predictions_schema)
    devices, limits = [model.device for model in fleet], options.policy.limits
    is_counted = options.policy.unmodelled is UnmodelledDevices.COUNT
    counter = UnmodelledCounter(frozenset(devices), DeviceRange(), options.names) if is_counted else None
    opened = source.open_readings(
        store, reading_paths, options.columns, options.window, options.policy.readings, pattern, devices, counter,
    )  # fmt: skip
    warnings, outputs = RunWarnings(), list[PackOutput]()
    readings, projection = Readings({}), Projection()
    models_folder = Folder(options.models)
    stores = Stores(models_folder, models_folder, limits.model_bytes, formats=options.names.formats)
    with WorkerPool(
        options.cores,
        timeout=limits.model_seconds,
        memory=limits.model_memory,
        size_limit=limits.model_bytes,
        probabilities=options.policy.probabilities,
    ) as workers:
        policy = options.policy
        context = ScoringContext(workers, options.cores, policy.other_versions, schema, policy.probabilities)
        start = 0
        while start < len(fleet):
            models = ModelList.from_models(fleet[start : start + BATCH_MODELS])
            loaded = load_models(stores, "", models)
            models = models[: len(loaded.rows)]
            needed = find_needed_columns(models, loaded)
            if not start or not projection.covers(needed):
                projection |= needed
                readings = opened.read_devices(devices, projection)
            outputs.append(
                pipeline.score_pack(
                    PackInput(models, loaded, readings, stores=stores), context, ProgressCounter(), warnings
                )
            )
            start += len(models)
        opened.search_unmodelled()
        counted = RunWarnings()
        counted.add_counts((*opened.list_warnings(), *readings.list_warnings()))
        counted.add_counts(counter.list_warnings() if counter else ())
        warnings.counts = counted.counts + warnings.counts
        sentences = (*warnings.sentences, *workers.warnings)
    windows = _list_windows(options, readings)
    table = pa.concat_tables([output.rows for output in outputs]).unify_dictionaries()
    _write_predictions(options.predictions, windows, table, schema)
    results = [result for output in outputs for result in output.results]
    predicted = close_summary(functools.reduce(add_predicted, outputs, Predicted()))
    unmodelled = counter.count() if counter else None
    summary = Summary(
        results, len(windows), str(options.predictions), (*notes, *sentences), ignored, unmodelled, predicted
    )
    print(summary.format(options.output))
    return summary.exit_code


def _open_source(options: ScoreOptions) -> tuple[Folder, list[str], str]:
    """The folder to read from, the paths in it, and the pattern of files."""
    readings_folder, readings_path, window = options.readings, options.readings_path, options.window
    if not readings_folder.exists():
        raise Malformed(f"--readings: expected a file or a folder, got nothing at {readings_folder}")
    if problem := find_table_above(readings_folder):
        raise Malformed(f"--readings: {problem}")
    try:
        pattern = PathPattern.parse(readings_path)
    except Malformed as error:
        raise Malformed(f"--readings-path: {error}") from error
    if readings_folder.is_file():
        return Folder(readings_folder.parent), [readings_folder.name], ""
    has_times = pattern.has_times if pattern else "%" in readings_path
    if window is None and has_times:
        raise Malformed(f"--readings-path: {readings_path!r} has placeholders, so a --window is needed")
    if window is None or not has_times:
        return Folder(readings_folder), [pattern.prefix if pattern else readings_path], readings_path
    paths = list_paths(readings_path, window, options.policy.readings.time_zone)
    return Folder(readings_folder), paths, readings_path


def _check_apart(predictions: Path, readings_folder: Path, readings_path: str) -> None:
    """Refuse a folder inside the readings: its predictions would be read as readings the next time."""
    if predictions.resolve().is_relative_to(readings_folder.resolve()) and not readings_path:
        raise Malformed(
            f"--predictions: expected a folder outside the readings, got {predictions} in {readings_folder}"
        )


def _list_windows(options: ScoreOptions, readings: Readings) -> list[Window]:
    """The windows to write, in order and of one length."""
    window, every = options.window, options.every
    if window is None:
        length = every or timedelta(hours=1)
        origin = options.window_origin or (EPOCH if length % WEEK else MONDAY)
        start, step = (origin - EPOCH) // MICROSECOND, length // MICROSECOND
        numbers = {int(number) for frame in readings.frames for number in np.unique((frame.time - start) // step)}
        try:
            windows = [Window(origin + tile * length, length) for tile in sorted(numbers)]
        except OverflowError:
            raise Malformed(
                "--time-format: expected times before the year 10000, got later ones: are they ms, us or ns?"
            ) from None
        _check_tiling(options.predictions, length, origin)
        return windows
    length = every or window.length
    if window.length % length:
        raise Malformed(f"--every: expected a length that divides the window of {window.length}, got {length}")
    return [Window(window.start + i * length, length) for i in range(window.length // length)]


def _check_tiling(predictions: Path, length: timedelta, origin: datetime) -> None:
    """Raise Malformed where the folder has windows of this length that overlap with the new ones.

    Their rows would be read twice.
    """
    for file in predictions.rglob(f"*-{format_length(length)}-*.parquet"):
        try:
            stored = Window.parse(file.name.rsplit("-", 2)[0])
        except Malformed:  # not ours
            continue
        if stored != Window.containing(stored.start, length, origin):
            raise Malformed(
                f"--window-origin: {predictions} has the window {stored.id}, and windows counted from "
                f"{origin:%Y-%m-%d} overlap with it: set --window-origin {stored.start:%Y-%m-%d}, or choose another "
                "folder"
            )


def _choose_schema(predictions: Path, option: int | None) -> tuple[int, list[str]]:
    """The schema to write: that of the option, else the folder's own; and a note where old and new would mix."""
    schemas = find_schemas(Folder(predictions)) if predictions.exists() else set()
    schema = option or (1 if schemas == {1} else NEWEST)
    upgrade = f"`fleetscore predictions upgrade {predictions}` rewrites those of schema 1"
    if schemas - {schema}:
        stored = " and ".join(map(str, sorted(schemas)))
        note = (
            f"{predictions} has files of schema {stored}, and new ones are of schema {schema}: "
            f"queries must unite their columns by name; {upgrade}"
        )
        return schema, [note]
    if schema < NEWEST and option is None:
        return schema, [f"predictions are written in schema 1, as the files in {predictions} are; {upgrade}"]
    return schema, []


def _write_predictions(predictions: Path, windows: Sequence[Window], table: pa.Table, schema: int) -> None:
    """Write a file for each window that has rows; files of an earlier run of these windows are removed."""
    target = Folder(predictions)
    starts = [(window.start - EPOCH) // MICROSECOND for window in windows]
    window_indices = np.searchsorted(starts, table["time"].cast(pa.int64()).to_numpy(), "right") - 1
    order = np.argsort(window_indices, kind="stable")  # rows stay in the order of model and time
    bounds = np.searchsorted(window_indices[order], np.arange(len(windows) + 1))
    ordered = table.take(build_numbers(order))
    for i, window in enumerate(windows):
        path = prediction_path(window, make_chunk_id(0), 0)
        rows = ordered.slice(bounds[i], bounds[i + 1] - bounds[i])
        if rows.num_rows:
            target.write(path, to_parquet(rows, schema))
        for stale in (predictions / path).parent.glob(f"{window.id}-*.parquet"):
            if not rows.num_rows or stale.name != Path(path).name:
                target.remove(stale.relative_to(predictions).as_posix())
