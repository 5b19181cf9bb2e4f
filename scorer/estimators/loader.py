"""The bytes of a model file -> a fitted detector, without running any code of the file.

The content decides the format, not the name. Every refusal is an Unscorable with a reason of the closed list.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from dataclasses import dataclass
from functools import partial
from typing import Any

from scorer.errors import Unscorable
from scorer.estimators import unpickler
from scorer.families import training
from scorer.model_files.parsed import ParsedObject
from scorer.model_files.reader import SIZE_LIMIT, decompress_model, is_skops, make_too_large
from shared.contract.reasons import Reason

from . import outlier_detector

# In addition to scikit-learn's estimators, which skops trusts by default.
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
    """A checked estimator: a fitted outlier detector without contradictions."""

    estimator: Any
    made_by: str  # scikit-learn's version where it is not the installed one; else ""
    feature_names: tuple[str, ...] = ()  # that it was fitted with
    n_features: int | None = None  # None: not known
    takes_gaps: bool = False  # whether it was trained to bear missing values


def load_model(data: bytes, size_limit: int = SIZE_LIMIT) -> Detector:
    """The detector in a model file: skops, or a pickle (joblib's too, compressed or not) of allowed globals only.

    Raises Unscorable: EMPTY_MODEL, TOO_LARGE, UNREADABLE_MODEL, UNTRUSTED_MODEL, INCOMPATIBLE_MODEL, UNSUPPORTED_MODEL,
    UNFITTED_MODEL.
    """
    if not data:
        raise Unscorable(Reason.EMPTY_MODEL, "the file is empty")
    if len(data) > size_limit:
        raise make_too_large(size_limit)
    data = decompress_model(data, size_limit)
    # scikit-learn warns that another version made the model; the report says it once instead.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = _load_skops(data, size_limit) if is_skops(data) else _load_pickle(data)
        except Unscorable:
            raise
        except (pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
            raise Unscorable(Reason.UNREADABLE_MODEL, f"truncated or corrupt: {error}") from error
        except Exception as error:
            raise _explain_error(data, error) from error
    versions = (str(getattr(w.message, "original_sklearn_version", "")) for w in caught)
    made_by = next((version for version in versions if version), "")
    made_by = made_by if not made_by or _RELEASE.fullmatch(made_by) else "unknown"
    try:
        if made_by:
            outlier_detector.upgrade_estimator(estimator)
        outlier_detector.check_detector(estimator)
        return _describe_training(estimator, made_by)
    except Unscorable:
        raise
    except Exception as error:
        raise _explain_error(data, error) from error


def _describe_training(estimator: Any, made_by: str) -> Detector:
    describe = partial(_describe_object, made_by)
    return Detector(
        estimator,
        made_by,
        training.read_feature_names(estimator, describe),
        training.count_features(estimator, describe),
        training.takes_gaps(estimator, describe),
    )


def _describe_object(made_by: str, part: Any) -> ParsedObject | None:
    """The class and attributes of a loaded estimator or tree, as its file has them; None for anything else."""
    import sklearn

    kind = type(part)
    if kind.__module__.partition(".")[0] != "sklearn":
        return None
    state = part.__getstate__() if hasattr(part, "node_count") else vars(part)
    return ParsedObject(
        f"{kind.__module__}.{kind.__qualname__}", {"_sklearn_version": made_by or sklearn.__version__, **state}
    )


def _load_pickle(data: bytes) -> Any:
    if data[:1] != b"\x80":
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"neither skops nor a pickle of protocol 2 or later: it begins with {data[:12]!r}"
        )
    return unpickler.unpickle_model(data)


def _load_skops(data: bytes, size_limit: int) -> Any:
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > size_limit:
            raise make_too_large(size_limit)
    try:
        return skops.io.loads(data, trusted=list(SKOPS_TRUSTED))
    except UntrustedTypesFoundException as error:
        raise Unscorable(Reason.UNTRUSTED_MODEL, f"the skops file holds types that are not trusted: {error}") from error


def _explain_error(data: bytes, error: Exception) -> Unscorable:
    """Why loading failed: the file of another version, or a broken file."""
    import sklearn

    match = _VERSION.search(data)
    version = match[1].decode() if match else sklearn.__version__
    message = f"{type(error).__name__}: {error}"
    if version != sklearn.__version__:
        return Unscorable(
            Reason.INCOMPATIBLE_MODEL,
            f"made by scikit-learn {version}, which {sklearn.__version__} cannot read: {message}",
        )
    return Unscorable(Reason.UNREADABLE_MODEL, f"corrupt: {message}")
