"""The bad files that people and accidents feed a scorer, each with what must become of it.

To look at them: `python -m tests.scorer.corpus.corpus FOLDER`.

The files are made by code, from scikit-learn's estimators and from plain bytes, and are the same each time. What a
hostile one would do if it ran is to make a file called MARKER in the folder where it ran.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.contract.reasons import Reason

LIMIT = 16 * 2**20  # bytes of a model, for which the corpus is made; so that bombs need not be gigabytes
MARKER = "marker-of-what-ran"


@dataclass(frozen=True, slots=True)
class BadModel:
    """A model file, and its verdict: the reason, and a piece of the message. No reason: it is scored all the same."""

    name: str
    data: bytes
    reason: Reason | None
    says: str
    hole: int = 0  # so many bytes of zero behind the data; on a disk they take no room


@dataclass(frozen=True, slots=True)
class BadReadings:
    """A file of readings, and what a model of one feature of the device `pump` sees of it under both policies.

    Values: these are scored. A reason: it fails or is skipped. *says* is a piece of that message, or of the remarks.
    """

    name: str
    data: bytes
    skip: Reason | tuple[float, ...]
    fail: Reason | tuple[float, ...]
    says: str = ""
    columns: str = ""  # the setting READINGS_COLUMNS


def write(folder: Path, models: Sequence[BadModel], readings: Sequence[BadReadings]) -> None:
    """Every file, and `manifest.json` with what is expected of each."""
    for part in ("models", "readings"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for bad in models:
        put(folder / "models" / bad.name, bad)
    for one in readings:
        (folder / "readings" / one.name).write_bytes(one.data)
    told = {
        "models": {bad.name: {"reason": bad.reason, "says": bad.says} for bad in models},
        "readings": {one.name: {"skip": one.skip, "fail": one.fail, "says": one.says} for one in readings},
    }
    (folder / "manifest.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def put(path: Path, bad: BadModel) -> None:
    """The file, as it is."""
    with path.open("wb") as file:
        file.write(bad.data)
        file.truncate(len(bad.data) + bad.hole)


if __name__ == "__main__":
    from tests.scorer.corpus import corpus_models, corpus_readings

    write(Path(sys.argv[1]), corpus_models.models(), corpus_readings.readings())
