"""The arithmetic of all packed models at once: scores and labels as scikit-learn gives them, without scikit-learn.

Knows numbers only, no files and no ids. `numba_backend` does the work where numba works, `numpy_backend` where it does
not; both give the same results. A score depends on its model and its row only: not on the models beside it, nor
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

from scorer.families.base import COUNT, Family
from scorer.families.steps import N_NUMBERS
from shared.contract.errors import Misconfigured

from .batch import Batch

_BLOCKS = 8  # for each core: so that cores do not wait long for the last block
_STEP = 20  # cost of a support vector for a row beyond its features, in units of a feature
_WALK = 60  # cost of a tree for a row, in the same unit

_chosen: dict[str, ModuleType] = {}  # one entry at most: the backend in use, by name

log = logging.getLogger(__name__)


def choose_backend(name: str = "") -> str:
    """Use the backend "numba" or "numpy"; "" takes numba where it works. Returns the name of the backend in use.

    Raises Misconfigured for another name, and where "numba" is named and does not work.
    """
    if name not in ("", "numba", "numpy"):
        raise Misconfigured(f"KERNELS: expected numba or numpy, got {name!r}")
    _chosen.clear()
    if name != "numpy":
        try:
            with _hide_scipy():
                _chosen["numba"] = importlib.import_module(".numba_backend", __package__)
        except Exception as error:
            if name == "numba":
                raise Misconfigured(f"KERNELS=numba, but numba cannot be used here: {error}") from error
            log.warning("kernels=numpy, at a quarter of the speed: numba cannot be used here: %s", error)
    if not _chosen:
        _chosen["numpy"] = importlib.import_module(".numpy_backend", __package__)
    return get_backend()


def compile_kernels(name: str = "") -> None:
    """Choose a backend as `choose_backend`, and compile all its kernels into numba's cache, if they are not in it."""
    choose_backend(name)
    _import_steps()
    if get_backend() == "numba":
        importlib.import_module(".numba_rows", __package__)


def _import_steps() -> ModuleType:
    """The kernels of chains of steps, which take a third of a second to load: only where there is such a model."""
    with _hide_scipy():
        return importlib.import_module(".numba_steps" if get_backend() == "numba" else ".numpy_steps", __package__)


@contextmanager
def _hide_scipy() -> Iterator[None]:
    """Keep numba from importing SciPy, for matrix products that these kernels do not use: 0.25 s on each node."""
    hidden = "scipy" not in sys.modules
    if hidden:
        sys.modules["scipy"] = None  # type: ignore[assignment]  # Python's own way to mark a module as absent
    try:
        yield
    finally:
        if hidden:
            del sys.modules["scipy"]


def get_backend() -> str:
    """The name of the backend in use, "numba" or "numpy"; chosen now if it was not before."""
    return next(iter(_chosen), None) or choose_backend()


def score_batch(batch: Batch, total: int, cores: int) -> tuple[np.ndarray, np.ndarray]:
    """The score of every row of every model, float64[total], and whether it is an anomaly, bool[total].

    A score that is not finite stays so, and is no anomaly. Rows that no model writes have score and label 0.
    """
    scores, anomalies = np.zeros(total), np.zeros(total, np.bool_)
    kernels = _chosen[get_backend()]
    ends = _split_batch(batch, cores)
    if len(ends) == 1:
        kernels.run_kernels(batch, 0, ends[0], scores, anomalies)
        return scores, anomalies
    with ThreadPoolExecutor(cores) as pool:  # the kernels release the GIL
        bounds = zip([0, *ends[:-1]], ends, strict=True)
        for future in [pool.submit(kernels.run_kernels, batch, begin, end, scores, anomalies) for begin, end in bounds]:
            future.result()
    return scores, anomalies


def predict_batch(batch: Batch, n_outputs: np.ndarray, cores: int) -> tuple[np.ndarray, np.ndarray]:
    """The outputs of every row of every model, all of them chains of STEPS, and the place of each row's label.

    *n_outputs*: int64[m]. Returns float64[sum of n_rows * n_outputs], row by row, and int32[sum of n_rows], of which -1
    is no label. Outputs that are not finite stay so.
    """
    totals = batch.n_rows * n_outputs
    output_index = np.cumsum(totals) - totals
    outputs, labels = np.empty(int(totals.sum())), np.empty(int(batch.n_rows.sum()), np.int32)
    kernels = _import_steps()
    ends = _split_evenly(_estimate_steps(batch), cores)
    with ThreadPoolExecutor(cores) as pool:  # the kernels release the GIL
        bounds = zip([0, *ends[:-1]], ends, strict=True)
        for future in [
            pool.submit(kernels.predict_models, batch, output_index, begin, end, outputs, labels)
            for begin, end in bounds
        ]:
            future.result()
    return outputs, labels


def _estimate_steps(batch: Batch) -> np.ndarray:
    """The work of each model: its numbers and integers, for each row."""
    n_numbers = batch.integers[batch.integer_index + N_NUMBERS]
    work: np.ndarray = (batch.integer_count + n_numbers) * (batch.n_rows + 1)
    return work


def _split_batch(batch: Batch, cores: int) -> list[int]:
    if cores == 1 or not len(batch.family):
        return [len(batch.family)]
    n = batch.numbers[batch.number_index + COUNT]
    forest, envelope = batch.family == Family.FOREST, batch.family == Family.ENVELOPE
    terms = np.where(
        forest, n * _WALK, np.where(envelope, batch.n_features * batch.n_features, n * (batch.n_features + _STEP))
    )
    return _split_evenly((terms + batch.n_features + _STEP) * (batch.n_rows + 1), cores)


def _split_evenly(work_of_model: np.ndarray, cores: int) -> list[int]:
    """The end of each block of models; all blocks are about the same amount of work."""
    if cores == 1 or not len(work_of_model):
        return [len(work_of_model)]
    work = np.cumsum(work_of_model)
    shares = np.linspace(0, work[-1], cores * _BLOCKS + 1)[1:-1]
    return [int(end) for end in np.unique([*np.searchsorted(work, shares), len(work)]) if end]
