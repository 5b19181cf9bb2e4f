"""A supervisor on a system without Landlock: imported there, it removes Landlock."""

import errno
import os
import sys

from scorer.predictions.outcome import ModelOutcome
from scorer.readings.device_readings import Readings
from scorer.sandbox import isolation
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from tests.scorer.sandbox import misdeeds


def scoring(model: Model, content: Content, found: Readings) -> ModelOutcome:
    """As ever."""
    return misdeeds.scoring(model, content, found)


def without(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


if sys.argv[0].endswith("supervisor.py"):
    isolation._call_landlock = without
