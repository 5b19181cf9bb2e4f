"""The sidecar `X.features.json` beside a model: what its file does not say about its readings. Data only."""

from __future__ import annotations

import json
from dataclasses import dataclass

from scorer.errors import Unscorable
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps

SIDECAR = "features.json"  # the kind of file
SIZE_LIMIT = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the sidecar of a model says; it beats the settings FEATURES and GAPS, and the model's own names beat it."""

    features: tuple[str, ...] = ()  # the names of the model's features, in its order
    gaps: Gaps | None = None


NO_SIDECAR = Sidecar()


def parse_sidecar(data: bytes) -> Sidecar:
    """The content of a sidecar; b"" is none. Raises Unscorable, UNREADABLE_MODEL."""
    if not data:
        return NO_SIDECAR
    try:
        doc = json.loads(data)
        if not isinstance(doc, dict) or not doc.keys() <= {"features", "gaps"}:
            raise TypeError(f"got {_describe(doc)}")
        features = doc.get("features", [])
        if not isinstance(features, list) or not all(isinstance(name, str) and name for name in features):
            raise TypeError(f"got the features {_describe(features)}")
        if len(set(features)) < len(features):
            raise TypeError("got a feature twice")
        return Sidecar(tuple(features), Gaps(doc["gaps"]) if "gaps" in doc else None)
    except (ValueError, TypeError, RecursionError) as error:
        message = f'{SIDECAR}: expected {{"features": ["name", ...], "gaps": "model", "give" or "drop"}}: {error}'
        raise Unscorable(Reason.UNREADABLE_MODEL, message) from error


def check_sidecar(sidecar: Sidecar, count: int | None) -> None:
    """Raise Unscorable, WRONG_FEATURES, where a model without names expects another number of features."""
    n_names = len(sidecar.features)
    if n_names and count not in (None, n_names):
        raise Unscorable(
            Reason.WRONG_FEATURES, f"expected {count} features, got {n_names} names in the sidecar {SIDECAR}"
        )


def _describe(value: object) -> str:
    return f"the keys {', '.join(value)[:80]}" if isinstance(value, dict) else f"{type(value).__name__} {value!s:.40}"
