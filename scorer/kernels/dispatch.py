"""The arithmetic of all packed models at once: scores and labels as scikit-learn gives them, without scikit-learn.

Knows numbers only, no models' files and no ids. `native` does the work with what numba has compiled, `numpy_backend`
where numba does not work; both are equal to the library to 1e-9. A score depends on its model and its row only: not on
the models beside it, nor on the number of threads.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import numpy as np

from scorer.families.base import COUNT, Family
from scorer.families.steps import N_NUMBERS
from shared.contract.errors import Misconfigured

from .batch import Batch

_BLOCKS = 8  # for each core: so that cores do not wait long for the last block
_STEP = 20  # cost of a support vector for a row beyond its features, in units of a feature
_WALK = 60  # cost of a tree for a row, in the same unit

_NO_NUMBA = "kernels=numpy, at a quarter of the speed: numba cannot be used here: %s"

_chosen: dict[str, ModuleType] = {}  # one entry at most: the backend in use, by name

log = logging.getLogger(__name__)


def choose_backend(name: str = "") -> str:
    """Use the backend "numba" or "numpy"; "" takes numba's compiled kernels where they work. Returns the one in use.

    Raises Misconfigured for another name, and where "numba" is named and does not work.
    """
    if name not in ("", "numba", "numpy"):
        raise Misconfigured(f"KERNELS: expected numba or numpy, got {name!r}")
    _chosen.clear()
    if name != "numpy":
        try:
            backend = _import_compiled()
            backend.load_kernel(backend.SCORE_MODELS)
            _chosen["numba"] = backend
        except Exception as error:
            if name == "numba":
                raise Misconfigured(f"KERNELS=numba, but numba cannot be used here: {error}") from error
            log.warning(_NO_NUMBA, error)
    if not _chosen:
        _chosen["numpy"] = importlib.import_module(".numpy_backend", __package__)
    return get_backend()


def compile_kernels(name: str = "") -> None:
    """Choose a backend as `choose_backend`, and keep the machine code of all its kernels, where none is kept.

    NUMBA_CPU_NAME may name a processor that this machine cannot run the code of.
    """
    if name != "numpy":
        try:
            _import_compiled().compile_kernels()
        except Exception as error:
            if name == "numba":
                raise Misconfigured(f"KERNELS=numba, but numba cannot be used here: {error}") from error
            log.warning(_NO_NUMBA, error)


def _import_compiled() -> ModuleType:
    return importlib.import_module(".native.backend", __package__)


def _choose_predict() -> Callable[[Batch, np.ndarray, int, int, np.ndarray, np.ndarray], None]:
    """The kernel of chains of steps: loaded, or compiled in ten seconds, only where there is such a model."""
    if get_backend() == "numba":
        backend = _chosen["numba"]
        try:
            backend.load_kernel(backend.PREDICT_MODELS)
        except Exception as error:  # noqa: BLE001  # no file for this kernel, and no numba
            log.warning(_NO_NUMBA, error)
        else:
            predict: Callable[..., None] = backend.predict_models
            return predict
    from .numpy_steps import predict_models

    return predict_models


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
    predict_models = _choose_predict()
    ends = _split_evenly(_estimate_steps(batch), cores)
    with ThreadPoolExecutor(cores) as pool:  # the kernels release the GIL
        bounds = zip([0, *ends[:-1]], ends, strict=True)
        for future in [
            pool.submit(predict_models, batch, output_index, begin, end, outputs, labels) for begin, end in bounds
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
