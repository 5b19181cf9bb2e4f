"""The sidecar `X.features.json` beside a model: what its file does not say about its readings. Data only."""

from __future__ import annotations

import json

from scorer.errors import Unscorable
from shared.contract.fleet.listing import FEATURES_FILE, get_stem
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps

from .content import NO_SIDECAR, Sidecar

SIDECAR = FEATURES_FILE  # the kind of file
SIZE_LIMIT = 2**20  # bytes


def make_sidecar_name(model_name: str) -> str:
    """The name of the sidecar of the model whose file, or whose MLmodel, has this name."""
    return f"{get_stem(model_name)}.{SIDECAR}"


def parse_sidecar(data: bytes | None, name: str = SIDECAR) -> Sidecar:
    """The content of a sidecar; None is none. *name* is for the message. Raises Unscorable, UNREADABLE_MODEL."""
    if data is None:
        return NO_SIDECAR
    try:
        doc = json.loads(data, object_pairs_hook=_build_object)
        if not isinstance(doc, dict) or not doc.keys() <= {"features", "gaps"}:
            raise TypeError(f"got {_describe(doc)}")
        features = doc.get("features", [])
        if not isinstance(features, list) or not all(isinstance(feature, str) and feature for feature in features):
            raise TypeError(f"got the features {_describe(features)}")
        if len(set(features)) < len(features):
            raise TypeError("got a feature twice")
        return Sidecar(tuple(features), Gaps(doc["gaps"]) if "gaps" in doc else None)
    except (ValueError, TypeError, RecursionError) as error:
        message = (
            f'the sidecar {name}: expected {{"features": ["name", ...], "gaps": "model", "give" or "drop"}}: {error}'
        )
        raise Unscorable(Reason.UNREADABLE_MODEL, message) from error


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("got a key twice")
    return dict(pairs)


def _describe(value: object) -> str:
    return f"the keys {', '.join(value)[:80]}" if isinstance(value, dict) else f"{type(value).__name__} {value!s:.40}"
