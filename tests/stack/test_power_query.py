"""Microsoft's own parser of M reads every query and parameter of the project of Power BI."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping

import pytest

from local import npm
from tests.powerbi import project

FOLDER = project.ROOT.parents[1] / "tests" / "powerbi" / "powerquery"


def parse_queries(queries: Mapping[str, str]) -> dict[str, str | None]:
    """By name None, or what the parser says against a query."""
    modules = npm.install(FOLDER / "package-lock.json")
    node, _ = npm.find_node()
    answer = subprocess.run(
        [node, str(FOLDER / "parse.cjs")],
        env={**os.environ, "NODE_PATH": str(modules)},
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    messages: dict[str, str | None] = json.loads(answer.stdout)
    return messages


def test_every_query_and_parameter_is_read() -> None:
    parameters = {item.name: item.expression for item in project.read_definition()["expressions.tmdl"]}
    tables = {name: source for name, source in project.list_sources().items() if not project.is_calculated(name)}
    assert {name: message for name, message in parse_queries({**parameters, **tables}).items() if message} == {}


@pytest.mark.parametrize(
    ("before", "after"),
    [("in\n", ""), ("each [start]", "each start]"), ("else if", "elseif"), ("\n    Typed", ",\n    Typed")],
)
def test_a_query_with_a_mistake_is_refused(before: str, after: str) -> None:
    source = project.list_sources()["runs"]
    assert before in source
    messages = parse_queries({"runs": source, "spoilt": after.join(source.rsplit(before, 1))})
    assert messages["runs"] is None
    assert messages["spoilt"]
