"""Reads the files of one model: that with its estimator, and those that lie beside it. Data only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from scorer.errors import Unscorable
from shared.contract.fleet.formats import MLMODEL
from shared.contract.fleet.listing import SCALER, THRESHOLD_FILE, find_companion
from shared.contract.reasons import Reason

from . import mlflow_folder, reader
from .bundle import TARGET, THRESHOLD, THRESHOLD_OF, join_scaler, parse_threshold
from .content import NO_SIGNATURE, Bundle, ModelContent, Threshold
from .file_formats import SIZE_LIMIT, is_skops
from .sidecar import read_sidecar


def read_content(data: bytes, companions: Mapping[str, bytes], size_limit: int = SIZE_LIMIT) -> ModelContent:
    """What the files of a model say. *companions* are those beside its own, and MLflow's own, by name.

    Raises Unscorable, as `reader.read_file`, and UNREADABLE_MODEL or UNSUPPORTED_MODEL for the other files.
    """
    bundle = reader.read_file(data, size_limit)
    signature = NO_SIGNATURE
    for name, content in companions.items():
        companion = find_companion(name)
        kind = companion[1] if companion else ""
        if kind.startswith(SCALER):
            bundle = _add_scaler(bundle, content, name, size_limit)
        elif kind == THRESHOLD_FILE:
            bundle = _add_threshold(bundle, content, name)
        elif name.rpartition("/")[2] == MLMODEL:
            signature = mlflow_folder.read_signature(content)
    return ModelContent(bundle, read_sidecar(companions), signature, is_skops(data))


def _add_scaler(bundle: Bundle, data: bytes, name: str, size_limit: int) -> Bundle:
    try:
        scaler = reader.read_transformer(data, size_limit)
        if bundle.has_scaler:
            raise Unscorable(Reason.UNREADABLE_MODEL, "expected one scaler, got another one in the model's file")
        return replace(bundle, estimator=join_scaler(scaler, bundle.estimator), has_scaler=True)
    except Unscorable as error:
        raise Unscorable(error.reason, f"the scaler {name}: {error}") from error


def _add_threshold(bundle: Bundle, data: bytes, name: str) -> Bundle:
    threshold = _parse_threshold_file(data, name)
    if bundle.threshold:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"expected one threshold, got one in the model and one in {name}")
    return replace(bundle, threshold=threshold)


def _parse_threshold_file(data: bytes, name: str) -> Threshold:
    """The threshold in `X.threshold.json`."""
    keys = (THRESHOLD, THRESHOLD_OF, TARGET)
    try:
        doc: Any = json.loads(data)
        if not isinstance(doc, dict) or THRESHOLD not in doc or not doc.keys() <= set(keys):
            raise TypeError(f"got {str(doc)[:80]}")
    except (ValueError, TypeError, RecursionError) as error:
        expected = f'{{"{THRESHOLD}": number, "{THRESHOLD_OF}": word, "{TARGET}": column}}'
        raise Unscorable(Reason.UNREADABLE_MODEL, f"the file {name}: expected {expected}: {error}"[:300]) from error
    threshold = parse_threshold(doc)
    if threshold is None:
        raise Unscorable(Reason.UNREADABLE_MODEL, f"the file {name}: expected a threshold, got null")
    return threshold
