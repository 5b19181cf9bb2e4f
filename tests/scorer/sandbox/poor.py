"""A keeper on a system without Landlock: imported there, it takes Landlock away."""

import errno
import os
import sys

from scorer.predictions.outcome import Scored
from scorer.readings.source import Readings
from scorer.sandbox import isolation
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from tests.scorer.sandbox import misdeeds


def scoring(model: Model, content: Content, found: Readings) -> Scored:
    """As ever."""
    return misdeeds.scoring(model, content, found)


def without(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


if sys.argv[0].endswith("supervisor.py"):
    isolation._landlock = without
