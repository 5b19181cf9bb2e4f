"""A keeper on a system without Landlock: imported there, it takes Landlock away."""

import errno
import os
import sys

import misdeeds

from scorer import sandbox
from scorer.readings import Readings
from scorer.single import Scored
from scorer.stores import Content
from shared.domain import Model


def scoring(model: Model, content: Content, found: Readings) -> Scored:
    """As ever."""
    return misdeeds.scoring(model, content, found)


def without(*_: object) -> int:
    raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))


if sys.argv[0].endswith("keeper.py"):
    sandbox._landlock = without
