"""The sidecar `X.features.json` beside a model: what its file does not say about its readings. Data only."""

from __future__ import annotations

import json
from collections.abc import Mapping

from scorer.errors import Unscorable
from shared.contract.fleet.listing import FEATURES_FILE
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps

from .content import NO_SIDECAR, Sidecar

SIDECAR = FEATURES_FILE  # the kind of file
SIZE_LIMIT = 2**20  # bytes


def read_sidecar(companions: Mapping[str, bytes]) -> Sidecar:
    """The sidecar among the files beside a model's own, by name. Raises Unscorable, UNREADABLE_MODEL."""
    name = next((name for name in companions if name.endswith(f".{SIDECAR}")), None)
    return NO_SIDECAR if name is None else parse_sidecar(companions[name], name)


def parse_sidecar(data: bytes, name: str = SIDECAR) -> Sidecar:
    """The content of a sidecar. *name* is for the message. Raises Unscorable, UNREADABLE_MODEL."""
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
