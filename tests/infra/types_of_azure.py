"""Writes types.json: what Azure says that the resources of `infra` may hold. Run when a template wants more of it.

    python -m tests.infra.types_of_azure

The types come from Microsoft's npm package below, which carries them all and needs no network to tell one; those that
this version of it has lost, from the models of Microsoft's SDKs on PyPI; what is in neither, from the reference on the
web, by hand. The packages are fetched into a folder that goes away; only what the templates touch is kept, without
descriptions.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NPM = "@azure/mcp-linux-x64@2.0.5"
PYPI = ["azure-common==1.1.28", "azure-mgmt-iothub==4.0.0", "azure-mgmt-monitor==7.0.0"]
MONITOR, IOT_HUB = "azure.mgmt.monitor.models", "azure.mgmt.iothub.v2023_06_30.models"
OF_PYPI = {  # type: (version, module, class)
    "Microsoft.Devices/IotHubs": ("2023-06-30", IOT_HUB, "IotHubDescription"),
    "Microsoft.Insights/actionGroups": ("2023-01-01", MONITOR, "ActionGroupResource"),
    "Microsoft.Insights/activityLogAlerts": ("2020-10-01", MONITOR, "ActivityLogAlertResource"),
    "Microsoft.Insights/metricAlerts": ("2018-03-01", MONITOR, "MetricAlertResource"),
    "Microsoft.Insights/scheduledQueryRules": ("2023-12-01", MONITOR, "ScheduledQueryRuleResource"),
}
# https://learn.microsoft.com/azure/templates/microsoft.streamanalytics/2021-10-01-preview/streamingjobs: no package has
# the version in which a job writes each file once. What it adds to the version before: the property, and its type.
BY_HAND = {
    "Microsoft.StreamAnalytics/streamingjobs": (
        "2021-10-01-preview",
        {"BlobOutputDataSourceProperties": {"blobWriteMode": ["Append | Once | string", ""]}},
    )
}
HERE = Path(__file__).parent
RESULT = HERE / "types.json"
SIMPLE = {"str": "string", "int": "int", "bool": "bool", "float": "int", "object": "any"}
SIMPLE |= {"duration": "string", "iso-8601": "string"}  # as they are written


def main() -> None:
    """Fetch, read, prune, write."""
    from .checking import check, deployed_types, used

    expected = sorted(deployed_types())
    with tempfile.TemporaryDirectory() as folder:
        found = {name: of_npm for name in expected if name not in OF_PYPI for of_npm in [_of_npm(name, Path(folder))]}
        _run(sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", folder, *PYPI)
        sys.path.insert(0, folder)
        found |= {name: _of_pypi(*OF_PYPI[name]) for name in expected if name in OF_PYPI}
    _lend(found)
    for name, (version, more) in BY_HAND.items():
        found[name]["version"] = version
        for type_, properties in more.items():
            found[name]["types"][type_]["properties"] |= properties
    touched = used(found)
    for name, resource in found.items():
        types = resource["types"]
        kept = sorted({*types} & touched[name])
        resource["types"] = {each: _pruned(each, types[each], touched[name]) for each in kept}
    RESULT.write_text(json.dumps({"from": [NPM, *PYPI], "resources": found}, indent=1, sort_keys=True) + "\n")
    print(f"{RESULT.stat().st_size} bytes", *check(found), sep="\n")  # noqa: T201


def _run(*command: str, folder: Path | None = None) -> str:
    environment = os.environ | {"AZURE_MCP_COLLECT_TELEMETRY": "false"}
    return subprocess.run(command, check=True, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True).stdout


def _lend(found: Mapping[str, Any]) -> None:
    """The tool leaves out the types of what all kinds of a type share: a sibling of the same provider has them."""
    provider: dict[str, dict[str, Any]] = {}
    for name, resource in found.items():
        provider.setdefault(name.partition("/")[0], {}).update(resource["types"])
    for name, resource in found.items():
        resource["types"] = provider[name.partition("/")[0]] | resource["types"]


def _pruned(name: str, shape: Mapping[str, Any], touched: set[str]) -> dict[str, Any]:
    """A type without the fields of those of its kinds that no template has."""
    kinds = {kind: each if f"{name}={kind}" in touched else None for kind, each in shape.get("kinds", {}).items()}
    return dict(shape) | ({"kinds": kinds} if kinds else {})


def _of_npm(name: str, folder: Path) -> dict[str, Any]:
    tool = folder / "package" / "dist" / "azmcp"
    if not tool.exists():
        _run("tar", "xzf", _run("npm", "pack", "--silent", NPM, folder=folder).split()[-1], folder=folder)
    answer = json.loads(_run(str(tool), "bicepschema", "get", "--resource-type", name))
    parts = answer["results"]["BicepSchemaResult"]
    resource = next(part for part in parts if part["$type"] == "Resource")
    types = {part["name"]: _compact(part) for part in parts if part["$type"].endswith("Object")}
    return {"version": resource["name"].partition("@")[2], "types": types | {"": _compact(resource["bodyType"])}}


def _compact(part: Mapping[str, Any]) -> dict[str, Any]:
    properties = part.get("properties") or part.get("baseProperties") or []
    found: dict[str, Any] = {"properties": {each["name"]: _property(each) for each in properties}}
    if rest := part.get("additionalPropertiesType"):
        found["rest"] = rest
    if by := part.get("discriminator"):
        found["by"] = by
        found["kinds"] = {
            next(each["type"] for each in kind["properties"] if each["name"] == by): _compact(kind)
            for kind in part["elements"]
        }
    return found


def _property(each: Mapping[str, Any]) -> list[str]:
    flags = each.get("flags", "")
    mark = "read-only" if "ReadOnly" in flags else "required" if "Required" in flags else ""
    return [each["type"], mark]


def _of_pypi(version: str, module: str, root: str) -> dict[str, Any]:
    models = importlib.import_module(module)
    types: dict[str, Any] = {}
    waiting = [(root, "")]
    while waiting:
        of, name = waiting.pop()
        if name in types:
            continue
        model = getattr(models, of)
        types[name] = _shape(model, types, waiting)
        for by, kinds in getattr(model, "_subtype_map", {}).items():
            types[name]["by"] = _key(model._attribute_map[by]["key"])
            types[name]["kinds"] = {kind: _shape(getattr(models, each), types, waiting) for kind, each in kinds.items()}
    types[""]["properties"]["name"] = ["string", "required"]  # to the SDK it is a part of the address
    return {"version": version, "types": types}


def _shape(model: Any, types: dict[str, Any], waiting: list[tuple[str, str]]) -> dict[str, Any]:
    """The properties of a model; the types of these are told in *waiting*."""
    shape: dict[str, Any] = {"properties": {}}
    for attribute, entry in model._attribute_map.items():
        if not entry["key"]:
            continue  # what the SDK does not know
        *outer, key = re.split(r"(?<!\\)\.", entry["key"])
        holder = shape
        if outer:  # the SDK flattens what lies in `properties`
            shape["properties"].setdefault("properties", ["Properties", "required"])
            holder = types.setdefault("Properties", {"properties": {}})
        rules = model._validation.get(attribute, {})
        mark = "read-only" if rules.get("readonly") else "required" if rules.get("required") else ""
        kind = entry["type"].strip("[]{}")
        if known := _known_values(model, attribute):
            kind = " | ".join(known)
        elif kind not in SIMPLE:
            waiting.append((kind, kind))
        suffix = "[]" if entry["type"].startswith("[") else "{}" if entry["type"].startswith("{") else ""
        holder["properties"][_key(key)] = [SIMPLE.get(kind, kind) + suffix, mark]
    return shape


def _key(key: str) -> str:
    return key.replace("\\.", ".")


def _known_values(model: Any, attribute: str) -> list[str]:
    document = " ".join((inspect.getdoc(model) or "").split())
    told = re.search(rf":ivar {attribute}: (.*?):vartype", document)
    return re.findall(r'"([^"]+)"', told[1].partition("Known values are:")[2]) if told else []


if __name__ == "__main__":
    main()
