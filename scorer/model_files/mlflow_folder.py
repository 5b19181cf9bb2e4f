"""A model's folder as MLflow writes it, read as data and without MLflow: which of its files is the model.

Its file `MLmodel` is YAML: https://mlflow.org/docs/latest/ml/model/#storage-format
"""

from __future__ import annotations

from typing import Any

import yaml

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

SIZE_LIMIT = 2**20  # bytes of MLmodel
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the same in C, ten times as fast
_FLAVOUR = "sklearn"


def find_model_file(mlmodel: bytes) -> str:
    """The path of the model within its folder.

    Raises Unscorable: UNREADABLE_MODEL, UNSUPPORTED_MODEL where no flavour is one that is supported.
    """
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
    if _FLAVOUR not in flavours:
        names = ", ".join(sorted(name if isinstance(name, str) else _describe(name) for name in flavours))[:80]
        raise Unscorable(Reason.UNSUPPORTED_MODEL, f"MLmodel: expected the flavour {_FLAVOUR}, got {names}")
    flavour = flavours[_FLAVOUR]
    path = flavour.get("pickled_model") if isinstance(flavour, dict) else None
    if not isinstance(path, str) or not _is_inside(path):
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"MLmodel: expected pickled_model as a path in the folder, got {_describe(path)}"
        )
    return path


def _describe(value: object) -> str:
    """Not the content of a value: an alias of YAML may stand for millions of others."""
    return repr(value[:80]) if isinstance(value, str) else f"a {type(value).__name__}"


def _is_inside(path: str) -> bool:
    return bool(path) and "\\" not in path and not any(part in ("", ".", "..") for part in path.split("/"))
