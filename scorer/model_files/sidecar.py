"""The sidecar `X.features.json` beside a model: what its file does not say about its readings. Data only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from scorer.errors import Unscorable
from shared.contract.fleet.listing import FEATURES_FILE
from shared.contract.reasons import Reason
from shared.contract.scoring_options import Gaps

SIDECAR = FEATURES_FILE  # the kind of file
SIZE_LIMIT = 2**20  # bytes


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the sidecar of a model says; it beats the settings FEATURES and GAPS, and the model's own names beat it."""

    features: tuple[str, ...] = ()  # the names of the model's features, in its order
    gaps: Gaps | None = None


NO_SIDECAR = Sidecar()


def make_sidecar_name(stem: str) -> str:
    """The name of the sidecar of the model whose file, or whose folder, has this name without its extension."""
    return f"{stem}.{SIDECAR}"


def read_sidecar(companions: Mapping[str, bytes]) -> Sidecar:
    """The sidecar among the files beside a model's own, by name. Raises Unscorable, UNREADABLE_MODEL."""
    name = next((name for name in companions if name.endswith(SIDECAR)), None)
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


def dump_sidecar(sidecar: Sidecar) -> bytes:
    """The content of a sidecar that says the same, in ASCII."""
    gaps = {"gaps": sidecar.gaps} if sidecar.gaps else {}
    return json.dumps({"features": sidecar.features, **gaps}).encode()


def _build_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("got a key twice")
    return dict(pairs)


def check_sidecar(sidecar: Sidecar, count: int | None) -> None:
    """Raise Unscorable, WRONG_FEATURES, where a model without names expects another number of features."""
    n_names = len(sidecar.features)
    if n_names and count not in (None, n_names):
        raise Unscorable(
            Reason.WRONG_FEATURES, f"expected {count} features, got {n_names} names in the sidecar {SIDECAR}"
        )


def _describe(value: object) -> str:
    return f"the keys {', '.join(value)[:80]}" if isinstance(value, dict) else f"{type(value).__name__} {value!s:.40}"
