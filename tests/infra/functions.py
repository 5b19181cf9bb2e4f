"""The functions and operators of Bicep that `infra` uses, and what only Azure knows, invented the same each time."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .syntax import Wrong

SUBSCRIPTION = "/subscriptions/11111111-1111-1111-1111-111111111111"
CLOUD = {
    "resourceManager": "https://management.azure.com/",
    "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
    "suffixes": {"storage": "core.windows.net"},
}


def invented(resource: str, what: str) -> str:
    """What Azure would make up for a property of a resource, by its id."""
    name = resource.rpartition("/")[2]
    known = {
        "loginServer": f"{name}.azurecr.io",
        "accountEndpoint": f"{name}.westeurope.batch.azure.com",
        "defaultHostName": f"{name}.azurewebsites.net",
        "ConnectionString": f"InstrumentationKey={uuid.uuid5(uuid.NAMESPACE_URL, resource)};ApplicationId=invented",
    }
    if what in {"principalId", "clientId"}:
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{resource}/{what}"))
    if what not in known:
        raise Wrong(f"{resource} has no {what} that this knows")
    return known[what]


def calculated(sign: str, left: Any, right: Any) -> Any:
    """What an operator between two values comes to."""
    if sign == "??":
        return right if left is None else left
    if sign in {"==", "!="}:
        return (left == right) is (sign == "==")
    if not (isinstance(left, int) and isinstance(right, int)):
        raise Wrong(f"{left!r} {sign} {right!r}")
    return {
        "+": lambda: left + right,
        "-": lambda: left - right,
        "*": lambda: left * right,
        "/": lambda: left // right,
        "%": lambda: left % right,
        "<": lambda: left < right,
        "<=": lambda: left <= right,
        ">": lambda: left > right,
        ">=": lambda: left >= right,
    }[sign]()


def _union(*given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for each in given for name, value in each.items()}


def _concat(*given: Iterable[Any]) -> list[Any]:
    return [item for each in given for item in each]


def _unique(*given: str) -> str:
    return "u" + hashlib.sha256("|".join(given).encode()).hexdigest()[:12]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "subscription": lambda: {"id": SUBSCRIPTION},
    "tenant": lambda: {"tenantId": "22222222-2222-2222-2222-222222222222"},
    "environment": lambda: CLOUD,
    "utcNow": lambda form: form.replace("yyyy", "2026").replace("MM", "11").replace("dd", "21").replace("HH", "07"),
    "uniqueString": _unique,
    "guid": lambda *given: str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(given))),
    "subscriptionResourceId": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
    "toLower": str.lower,
    "string": str,
    "max": max,
    "length": len,
    "contains": lambda given, item: item in given,  # of a text, a list or an object, as Bicep has it
    "empty": lambda given: not given,
    "take": lambda given, size: given[:size],
    "last": lambda given: given[-1],
    "split": lambda given, by: given.split(by),
    "format": lambda form, *given: form.format(*given),
    "concat": _concat,
    "union": _union,
}
