"""The bytes of a model blob -> a fitted detector, without running anything that the bytes bring along.

What a file is, its content says, not its name. Every refusal is an Unscorable with a reason of the closed list.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass
from typing import Any

from scorer.errors import Unscorable
from scorer.estimators import unpickler
from scorer.model_files.reader import SIZE_LIMIT, decompressed, is_skops, too_large
from shared.contract.domain import Reason

from . import outlier_detector

# Beyond scikit-learn's estimators, which skops trusts by itself.
SKOPS_TRUSTED = (
    "numpy.dtype",
    "scipy.sparse._csr.csr_matrix",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
)

_RELEASE = re.compile(r"\d{1,4}(\.[0-9a-z+]{1,12}){1,4}")
_VERSION = re.compile(rb"_sklearn_version.{1,9}?(\d+\.\d+[0-9a-z.]*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Detector:
    """An estimator that was checked: a fitted outlier detector whose parts agree with each other."""

    estimator: Any
    made_by: str  # scikit-learn's version, where that is not the one installed here; else ""


def load(data: bytes, size_limit: int = SIZE_LIMIT) -> Detector:
    """The detector in a model file: skops, or a pickle (joblib's too, compressed or not) of allowed globals only.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, INCOMPATIBLE_MODEL, NOT_A_DETECTOR,
    UNFITTED_MODEL.
    """
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise too_large(size_limit)
    data = decompressed(data, size_limit)
    # scikit-learn says by a warning that another version made the model; we say it once in the report instead.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = _skops(data, size_limit) if is_skops(data) else _pickle(data)
        except Unscorable:
            raise
        except (pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
            raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {error}") from error
        except Exception as error:
            raise _unreadable(data, error) from error
    versions = (str(getattr(w.message, "original_sklearn_version", "")) for w in caught)
    made_by = next((version for version in versions if version), "")
    made_by = made_by if not made_by or _RELEASE.fullmatch(made_by) else "unknown"
    try:
        if made_by:
            outlier_detector.mend(estimator)
        outlier_detector.check(estimator)
    except Unscorable:
        raise
    except Exception as error:
        raise _unreadable(data, error) from error
    return Detector(estimator, made_by)


def _pickle(data: bytes) -> Any:
    if data[:1] != b"\x80":
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"neither skops nor a pickle of protocol 2 or later: it begins with {data[:12]!r}"
        )
    return unpickler.unpickle(data)


def _skops(data: bytes, size_limit: int) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > size_limit:
            raise too_large(size_limit)
    try:
        return skops.io.loads(data, trusted=list(SKOPS_TRUSTED))
    except UntrustedTypesFoundException as error:
        raise Unscorable(Reason.UNTRUSTED_MODEL, f"the skops file holds types that are not trusted: {error}") from error


def _unreadable(data: bytes, error: Exception) -> Unscorable:
    """What an error while loading means: another version's file, or a broken one."""
    import sklearn

    found = _VERSION.search(data)
    version = found[1].decode() if found else sklearn.__version__
    said = f"{type(error).__name__}: {error}"
    if version != sklearn.__version__:
        return Unscorable(
            Reason.INCOMPATIBLE_MODEL,
            f"made by scikit-learn {version}, which {sklearn.__version__} cannot read: {said}",
        )
    return Unscorable(Reason.UNREADABLE_MODEL, f"corrupt: {said}")
