"""The arithmetic of all packed models at once: scores and labels as scikit-learn gives them, without scikit-learn.

Knows numbers only, no files and no ids. `fused` does the work where numba can be had, `padded` with NumPy alone where
it cannot; both give the same answers. A score depends on its model and its row only: not on the models beside it, nor
on the number of threads.
"""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType

import numpy as np

from scorer.families.base import Family
from shared.contract.errors import Misconfigured

from .batch import Batch

_BLOCKS = 8  # for each core: so that the last one to end does not keep the others waiting for long
_STEP = 20  # what one support vector costs a row beyond its features; measured in features
_WALK = 60  # what one tree costs a row, in the same unit

_chosen: dict[str, ModuleType] = {}  # one entry at most: the name of the kernels in use

log = logging.getLogger(__name__)


def choose(name: str = "") -> str:
    """Take the kernels called "numba" or "numpy"; "" takes numba's where they work. Returns what is now in use.

    Raises Misconfigured for another name, and where "numba" was asked for by name and cannot be had.
    """
    if name not in ("", "numba", "numpy"):
        raise Misconfigured(f"KERNELS: expected numba or numpy, got {name!r}")
    _chosen.clear()
    if name != "numpy":
        try:
            with _without_scipy():
                _chosen["numba"] = importlib.import_module(".numba_backend", __package__)
        except Exception as error:
            if name == "numba":
                raise Misconfigured(f"KERNELS=numba, but numba cannot be used here: {error}") from error
            log.warning("kernels=numpy, at a quarter of the speed: numba cannot be used here: %s", error)
    if not _chosen:
        _chosen["numpy"] = importlib.import_module(".numpy_backend", __package__)
    return in_use()


@contextmanager
def _without_scipy() -> Iterator[None]:
    """Keep numba from importing SciPy, for products of matrices that these kernels do not make: 0.25 s of each node."""
    hidden = "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # Python's own way to say that there is none
    try:
        yield
    finally:
        if hidden:
            del sys.modules["scipy"]


def in_use() -> str:
    """Whose kernels score: "numba" or "numpy". Chooses, where nobody has."""
    return next(iter(_chosen), None) or choose()


def score(batch: Batch, total: int, cores: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of every row of every model, float64[total], and whether it is an anomaly, bool[total].

    A score that is not finite stays so, and is no anomaly. Where no model writes, score and label are 0.
    """
    scores, anomalies = np.zeros(total), np.zeros(total, np.bool_)
    kernels = _chosen[in_use()]
    ends = _blocks(batch, cores)
    if len(ends) == 1:
        kernels.run(batch, 0, ends[0], scores, anomalies)
        return scores, anomalies
    with ThreadPoolExecutor(cores) as pool:  # the kernels hold no GIL where it takes time
        spans = zip([0, *ends[:-1]], ends, strict=True)
        for done in [pool.submit(kernels.run, batch, begin, end, scores, anomalies) for begin, end in spans]:
            done.result()
    return scores, anomalies


def _blocks(batch: Batch, cores: int) -> list[int]:
    """Where each block of models ends; a block is about as much work as the others."""
    if cores == 1 or not len(batch.family):
        return [len(batch.family)]
    n = batch.numbers[batch.number_at + 7]
    forest, envelope = batch.family == Family.FOREST, batch.family == Family.ENVELOPE
    terms = np.where(forest, n * _WALK, np.where(envelope, batch.width * batch.width, n * (batch.width + _STEP)))
    work = np.cumsum((terms + batch.width + _STEP) * (batch.rows + 1))
    shares = np.linspace(0, work[-1], cores * _BLOCKS + 1)[1:-1]
    return [int(end) for end in np.unique([*np.searchsorted(work, shares), len(work)]) if end]
