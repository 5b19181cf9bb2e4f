"""What the product answers for a fleet: its own functions, from listing to predictions, in this process.

Only the worker processes are not started: what they would do is done here, and goes through their replies.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np

from scorer.estimators.score_model import score_model_file
from scorer.packs.cache import LoadedModels, load_models
from scorer.packs.fetch import Stores, make_refusals
from scorer.packs.pack import EMPTY
from scorer.predictions.outcome import ModelOutcome
from scorer.readings import source
from scorer.readings.device_readings import Readings
from scorer.readings.projection import EVERYTHING, Projection
from scorer.sandbox import replies
from scorer.scoring import pipeline
from scorer.scoring.needed_columns import find_needed_columns
from scorer.scoring.pack_state import ProgressCounter
from scorer.scoring.pipeline import PackInput, ScoringContext
from scorer.scoring.run_warnings import LEFT_OUT, RunWarnings
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.model_list import ModelList
from shared.contract.model_names import Blob, Columns, ModelNames
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Features, Gaps, ReadingOptions, parse_missing_values
from tests.truth.clocks import get_window
from tests.truth.fleets import SENTINEL, Fleet
from tests.truth.training import train
from tests.truth.writing import write_files

MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one model: a score and a label by the minute of the window; or the reason why there are none."""

    rows: dict[int, tuple[float, bool]]
    reason: Reason | None
    message: str


@dataclass(frozen=True, slots=True)
class Answers:
    """What became of the models, in their order, and what was counted."""

    models: list[Answer]
    left_out: int  # rows that lacked a feature
    unknown: int  # readings of a doubled hour of which nothing tells the pass
    needed: Projection  # the columns that were read of wide files


class WorkersInProcess:
    """Does what the worker processes do, without them."""

    def start_workers(self) -> None:
        """There are none."""

    def score_items(self, items: Iterable[tuple[Model, Content | Exception, Readings]]) -> Iterator[ModelOutcome]:
        for model, content, readings in items:
            outcome = score_model_file(model, content, readings)
            etag = "" if isinstance(content, Exception) else content.etag
            yield replies.parse_reply(replies.to_bytes(outcome), model, etag, readings)


def answer(fleet: Fleet, root: Path) -> Answers:
    """What the product says of each model."""
    listed = ModelList.from_models(list_models(fleet, root / "models"))
    write_files(fleet, root / "readings")
    stores, warnings, window = Stores(Folder(root / "models"), Folder(root)), RunWarnings(), get_window(fleet)
    if fleet.is_isolated:
        loaded = LoadedModels(EMPTY, np.full(len(listed), -1), make_refusals(stores, listed), {})
    else:
        loaded = load_models(stores, "", listed)
    options = ReadingOptions(
        time_zone=fleet.zone,
        features=Features.parse(fleet.features),
        gaps=Gaps(fleet.gaps),
        missing_values=parse_missing_values(str(SENTINEL) if fleet.sentinel else ""),
    )
    devices = listed.read_texts("device")
    pattern = "device={device}/" if fleet.in_folders and fleet.by_path else ""
    opened = source.open_readings(Folder(root / "readings"), [""], Columns(), window, options, pattern, devices)
    needed = EVERYTHING if fleet.is_isolated else find_needed_columns(listed, loaded)
    readings = opened.read_devices(devices, needed)
    assert not readings.unreadable, readings.unreadable
    output = pipeline.score_pack(
        PackInput(listed, loaded, readings, stores=stores, is_isolated=fleet.is_isolated),
        ScoringContext(WorkersInProcess()),
        ProgressCounter(),
        warnings,
    )
    table, answers = output.rows.to_pylist(), {}
    for model, result in zip(listed, output.results, strict=True):
        rows = [row for row in table if (row["device"], row["sensor"] or "") == (model.device, model.sensor)]
        assert len(rows) == result.rows
        scored = {(row["time"] - window.start) // MINUTE: (row["score"], bool(row["anomaly"])) for row in rows}
        assert len(scored) == len(rows), "a time is scored twice"
        answers[model.id] = Answer(scored, result.reason, result.message)
    return Answers(
        [answers[spec.id] for spec in fleet.models], warnings.counts[LEFT_OUT], readings.doubled_hours.unknown, needed
    )


def list_models(fleet: Fleet, folder: Path) -> list[Model]:
    """The models' files and their sidecars, written, and listed as the app lists them."""
    store, names = Folder(folder), list[str]()
    folder.mkdir()
    for spec in fleet.models:
        name = f"{spec.id}.{'skops' if spec.skops else 'pkl'}"
        store.write(name, train(spec)[1])
        names.append(name)
        said = {"features": list(spec.sidecar), "gaps": spec.sidecar_gaps}
        if any(said.values()):
            names.append(f"{spec.id}.features.json")
            store.write(names[-1], json.dumps({key: value for key, value in said.items() if value}).encode())
    blobs = [Blob(name, store.read(name).etag, 1) for name in sorted(names)]
    return list(list_fleet(blobs, ModelNames(), IgnoredFiles()))
