"""docs/powerbi.md names the parameters and measures of the model, with what the model says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.powerbi.project import list_parameters, list_tables, read_definition

PAGE = (Path(__file__).parents[2] / "docs" / "powerbi.md").read_text()


def make_parameters() -> str:
    objects = {item.name: item for item in read_definition()["expressions.tmdl"]}
    lines = ["| Parameter | Default | What it is |", "|---|---|---|"]
    lines += [
        f"| `{name}` | `{default}` | {objects[name].description} |" for name, default in list_parameters().items()
    ]
    return "\n".join(lines)


def make_measures() -> str:
    lines = ["| Measure | What it is |", "|---|---|"]
    for table in list_tables().values():
        lines += [f"| {measure.name} | {measure.description} |" for measure in table.list_children("measure")]
    return "\n".join(lines)


@pytest.mark.parametrize(("mark", "expected"), [("parameters", make_parameters()), ("measures", make_measures())])
def test_a_table_of_the_page_is_that_of_the_model(mark: str, expected: str) -> None:
    assert PAGE.split(f"<!-- {mark} -->\n")[1].split(f"<!-- /{mark} -->", maxsplit=1)[0].strip() == expected
