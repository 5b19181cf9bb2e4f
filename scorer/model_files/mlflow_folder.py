"""A model's folder as MLflow writes it, read as data and without MLflow: which of its files is the model, its inputs.

Its file `MLmodel` is YAML: https://mlflow.org/docs/latest/ml/model/#storage-format
"""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import yaml

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from .content import NO_SIGNATURE, Signature

SIZE_LIMIT = 2**20  # bytes of MLmodel
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, ten times as fast
_FLAVOURS = {
    "sklearn": "pickled_model",
    "lightgbm": "data",
    "xgboost": "data",
}  # and the key of each that names the model's file
NUMBER_TYPES = ("integer", "long", "float", "double", "boolean")  # of MLflow's columns
_TENSOR = "tensor"


def find_model_file(mlmodel: bytes) -> str:
    """The path of the model within its folder.

    Raises Unscorable: UNREADABLE_MODEL, UNSUPPORTED_MODEL where no flavour is one that is supported.
    """
    flavours = _load_document(mlmodel)["flavors"]
    name = next((name for name in _FLAVOURS if name in flavours), None)
    if name is None:
        names = ", ".join(sorted(name if isinstance(name, str) else _describe(name) for name in flavours))[:80]
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL, f"MLmodel: expected the flavour {' or '.join(_FLAVOURS)}, got {names}"
        )
    flavour, key = flavours[name], _FLAVOURS[name]
    path = flavour.get(key) if isinstance(flavour, dict) else None
    if not isinstance(path, str) or not _is_inside(path):
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"MLmodel: expected {key} as a path in the folder, got {_describe(path)}"
        )
    return path


def read_signature(mlmodel: bytes) -> Signature:
    """The inputs that the signature names, or none where there is no signature. Raises Unscorable, UNREADABLE_MODEL.

    A signature is a list of columns with names and types, or a tensor, of which only the shape is known:
    https://mlflow.org/docs/latest/ml/model/signatures/
    """
    signature = _load_document(mlmodel).get("signature")
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    if inputs is None:
        return NO_SIGNATURE
    try:
        columns = json.loads(inputs)
        types = {str(column["name"]): str(column["type"]) for column in columns if "name" in column}
        if len(types) not in (0, len(columns)):
            raise ValueError("expected names of all columns or of none, each once")
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        line = " ".join(str(error).split())[:200]
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"MLmodel: expected a signature with a JSON list of inputs: {line}"
        ) from error
    kinds = {kind for kind in types.values() if kind not in (*NUMBER_TYPES, _TENSOR)}
    if kinds:
        name = next(name for name, kind in types.items() if kind in kinds)
        raise Unscorable(
            Reason.UNSUPPORTED_MODEL,
            f"MLmodel: expected inputs that are numbers ({', '.join(NUMBER_TYPES)}), got {types[name][:40]!r} for "
            f"{name[:40]!r}",
        )
    return NO_SIGNATURE if _TENSOR in types.values() else Signature(tuple(types), MappingProxyType(types))


def _load_document(mlmodel: bytes) -> dict[str, Any]:
    """The content of MLmodel, which has flavours by name. Raises Unscorable, UNREADABLE_MODEL."""
    try:
        doc = yaml.load(mlmodel, _LOADER)  # noqa: S506  # a safe loader: it makes no objects but plain values
        flavours = doc["flavors"]
        if not isinstance(flavours, dict):
            raise TypeError(f"expected flavors by name, got a {type(flavours).__name__}")
    except (yaml.YAMLError, ValueError, TypeError, LookupError, RecursionError) as error:
        line = " ".join(str(error).split())[:200]
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"MLmodel: expected YAML with flavors, got {type(error).__name__}: {line}"
        ) from error
    return dict(doc)


def _describe(value: object) -> str:
    """Not the content of a value: an alias of YAML may stand for millions of others."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def _is_inside(path: str) -> bool:
    return bool(path) and "\\" not in path and not any(part in ("", ".", "..") for part in path.split("/"))
