"""The settings, from the environment. No other module reads it.

All problems are reported at once, each with the setting's name, what was expected and what came. The table in the
documents is made from the descriptions in `fields.py`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from shared.contract.errors import Misconfigured
from shared.contract.windows import format_length

from . import setting_types
from .fields import ClusterKind, Settings
from .setting_checks import find_shared_containers, find_sink_problems, find_wait_problems

# The settings that each cluster needs.
_REQUIRED: Mapping[ClusterKind, tuple[str, ...]] = {
    ClusterKind.DASK: (),
    ClusterKind.AZUREML: ("aml_workspace", "aml_environment", "node_client_id"),
    ClusterKind.BATCH: ("batch_endpoint", "batch_image"),
}


def list_names() -> list[str]:
    """The names of all settings in the environment."""
    return [name.upper() for name in Settings.model_fields]


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings; raises Misconfigured with every problem, one a line. An empty value counts as not set."""
    values = {name: value for name in Settings.model_fields if (value := environment.get(name.upper(), "")) != ""}
    texts = _fill_defaults(values)
    problems = [*_find_missing(values), *find_shared_containers(texts)]
    problems += [*find_wait_problems(texts), *find_sink_problems(texts)]
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += [_describe_problem(problem) for problem in error.errors()]
    if problems:
        raise Misconfigured("\n".join(["settings are wrong:", *problems]))
    return settings


def _find_missing(values: Mapping[str, str]) -> list[str]:
    """Problems of the settings that the chosen cluster needs and that are missing."""
    cluster = values.get("cluster")
    expected = next((names for kind, names in _REQUIRED.items() if kind == cluster), ())
    descriptions = {
        name: str(Settings.model_fields[name].description).partition("; needed for")[0] for name in expected
    }
    return [
        f"  {name.upper()}: expected {descriptions[name]}, for CLUSTER={cluster}, got nothing"
        for name in expected
        if name not in values
    ]


def _fill_defaults(values: Mapping[str, str]) -> Mapping[str, str]:
    """The texts of settings that are checked together, by field."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    texts = {name: text for name, text in defaults.items() if isinstance(text, str)}
    return {**texts, "window": format_length(defaults["window"]), "wait_for": "", "sinks": "", **values}


def _describe_problem(problem: Any) -> str:
    name = str(problem["loc"][0])
    if problem["type"] == "missing":
        return f"  {name.upper()}: expected {Settings.model_fields[name].description}, got nothing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    extra = Settings.model_fields[name].json_schema_extra
    secret = isinstance(extra, dict) and setting_types.SECRET in extra
    suffix = "" if secret or " got " in message else f", got {problem['input']!r}"
    return f"  {name.upper()}: {message}{suffix}"
