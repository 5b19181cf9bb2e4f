"""Whether what `infra` deploys is what Azure's types allow: known names, right values, nothing read-only, all there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .evaluate import INFRA, Resource, Template

TYPES = Path(__file__).parent / "types.json"
PERSON = "33333333-3333-3333-3333-333333333333"
BASE = {"environmentName": "dev", "location": "westeurope", "scorerTag": "0123456789ab"}

# Between them these deploy every resource and take every turn of every condition.
CASES: Mapping[str, Mapping[str, Any]] = {
    "least": BASE,
    "azureml": BASE
    | {
        "lowPriority": True,
        "keepWarm": True,
        "purgeProtection": True,
        "alertEmail": "duty@example.com",
        "personId": PERSON,
        "sinks": "delta",
        "streaming": "analytics",
        "staticData": "aggregate",
        "entraClientId": "44444444-4444-4444-4444-444444444444",
    },
    "batch": BASE
    | {
        "cluster": "batch",
        "lowPriority": True,
        "dedicatedNodes": 1,
        "readKeySha256": "0" * 64,
        "streaming": "capture",
        "streamSource": "iot-hub",
        "throughputUnits": 4,
    },
    "dedicated": BASE
    | {
        "cluster": "batch",
        "maxNodes": 7,
        "waitFor": "marker:_SUCCESS",
        "sinks": "sql",
        "settings": {"WINDOW": "PT15M", "SQL_URL": "mssql://fleet.database.windows.net/fleet"},
        "streaming": "capture",
        "staticData": "copy",
        "staticEndpoint": "https://example.blob.core.windows.net",
    },
}


def deployed(parameters: Mapping[str, Any], infra: Path = INFRA) -> list[Resource]:
    """What `main.bicep` deploys with these parameters."""
    return Template(infra / "main.bicep", parameters).deploy()


def deployed_types() -> set[str]:
    """The types of all resources that any case deploys."""
    return {resource.type for case in CASES.values() for resource in deployed(case)}


def check(types: Mapping[str, Any], infra: Path = INFRA) -> list[str]:
    """Every problem with what the cases deploy, once."""
    resources = [resource for case in CASES.values() for resource in deployed(case, infra)]
    return sorted({problem for resource in resources for problem in problems(resource, types)})


def used(types: Mapping[str, Any]) -> dict[str, set[str]]:
    """By resource, the names of the types that were looked into."""
    seen: dict[str, set[str]] = {name: {""} for name in types}
    for case in CASES.values():
        for resource in deployed(case):
            list(problems(resource, types, seen[resource.type]))
    return seen


def load() -> Mapping[str, Any]:
    """The types that are kept, by the name of the resource."""
    return dict(json.loads(TYPES.read_text())["resources"])


def problems(resource: Resource, types: Mapping[str, Any], seen: set[str] | None = None) -> Iterator[str]:
    """What Azure would refuse of one resource."""
    known = types.get(resource.type)
    if known is None or known["version"] != resource.version:
        yield f"{resource.place}: no type {resource.type}@{resource.version} in types.json"
        return
    look = _Look(known["types"], set() if seen is None else seen)
    for problem in look.record(resource.body, "", resource.type):
        yield f"{resource.place}: {problem}"


class _Look:
    def __init__(self, types: Mapping[str, Any], seen: set[str]) -> None:
        self.types = types
        self.seen = seen

    def record(self, value: Any, name: str, path: str) -> Iterator[str]:
        self.seen.add(name)
        if name not in self.types:
            yield f"{path}: type {name} is not kept in types.json: run types_of_azure.py"
            return
        yield from self.fields(value, name, path)

    def fields(self, value: Any, name: str, path: str) -> Iterator[str]:
        if not isinstance(value, Mapping):
            yield f"{path}: expected an object, got {value!r}"
            return
        shape = self.types[name]
        properties = dict(shape["properties"])
        if "by" in shape:
            problem = self.kind(value, name, path)
            if problem:
                yield problem
                return
            properties |= shape["kinds"][value[shape["by"]]]["properties"]
        for key, given in value.items():
            if key in properties:
                type_, mark = properties[key]
                if mark == "read-only":
                    yield f"{path}.{key} is Azure's to set"
                yield from self.one(given, type_, f"{path}.{key}")
            elif "rest" in shape:
                yield from self.one(given, shape["rest"], f"{path}.{key}")
            else:
                yield f"{path}.{key}: no such property; there are {sorted(properties)}"
        for key, (_, mark) in properties.items():
            if mark == "required" and key not in value:
                yield f"{path}.{key} is expected"

    def kind(self, value: Mapping[str, Any], name: str, path: str) -> str:
        """What is wrong with the kind of an object of several kinds, if anything."""
        shape = self.types[name]
        by, kinds = shape["by"], shape["kinds"]
        if value.get(by) not in kinds:
            return f"{path}.{by}: expected one of {sorted(kinds)}, got {value.get(by)!r}"
        self.seen.add(f"{name}={value[by]}")
        if kinds[value[by]] is None:
            return f"{path}: {name} {value[by]} is not kept in types.json: run types_of_azure.py"
        return ""

    def one(self, value: Any, type_: str, path: str) -> Iterator[str]:  # noqa: C901, PLR0912  # one case a kind
        if value is None:
            return
        if type_.endswith("[]"):
            if not isinstance(value, list):
                yield f"{path}: expected a list, got {value!r}"
                return
            for at, item in enumerate(value):
                yield from self.one(item, type_[:-2], f"{path}[{at}]")
            return
        if type_.endswith("{}"):
            for key, each in value.items():
                yield from self.one(each, type_[:-2], f"{path}.{key}")
            return
        names = type_.split(" | ")
        literals = [name for name in names if name not in {"string", "int", "bool", "any"}]
        if type_ == "any":
            return
        if isinstance(value, Mapping) and not literals[1:]:
            yield from self.record(value, type_, path)
        elif isinstance(value, bool):
            if "bool" not in names:
                yield f"{path}: expected {type_}, got {value}"
        elif isinstance(value, int):
            if "int" not in names:
                yield f"{path}: expected {type_}, got {value}"
        # An open list of words may have others beside: but those that we use stand in it.
        elif value not in literals if literals else "string" not in names:
            yield f"{path}: expected {type_}, got {value!r}"
