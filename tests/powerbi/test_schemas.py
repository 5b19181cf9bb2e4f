"""Every JSON file of the project is what Microsoft's published schemas say, and its paths lead somewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry
from referencing.jsonschema import DRAFT7

from tests.powerbi.project import JSON_ENDINGS, MODEL, PAGES, REPORT, ROOT

SCHEMAS = Path(__file__).parent / "schemas"
ADDRESS = "https://developer.microsoft.com/json-schemas/"
FILES = sorted(path for path in ROOT.rglob("*") if path.suffix in JSON_ENDINGS)


@cache
def read_schemas() -> Registry[Any]:
    """The published schemas by their addresses. Of some the `$id` is another spelling than references to them have."""
    texts = {ADDRESS + p.relative_to(SCHEMAS).as_posix(): p.read_text() for p in SCHEMAS.rglob("*.json")}
    contents = {uri: {k: v for k, v in json.loads(text).items() if k != "$id"} for uri, text in texts.items()}
    return Registry().with_resources([(uri, DRAFT7.create_resource(content)) for uri, content in contents.items()])


def find_errors(document: dict[str, Any]) -> list[str]:
    """What the schema that a document names says against it."""
    validator = Draft7Validator({"$ref": document["$schema"]}, registry=read_schemas())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_is_valid_by_the_schema_that_it_names(path: Path) -> None:
    text = path.read_text()
    document = json.loads(text)
    assert document["$schema"].startswith(ADDRESS + "fabric/")
    assert find_errors(document) == []
    assert text == json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def test_all_kinds_of_files_are_there() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in FILES}
    expected = {"fleetscore.pbip", "fleetscore.SemanticModel/definition.pbism", "fleetscore.Report/definition.pbir"}
    assert names >= expected | {f"fleetscore.Report/definition/{n}" for n in ("version.json", "report.json")}
    assert {path.relative_to(ROOT).parts[0] for path in ROOT.rglob("*") if path.is_file()} == {
        ".gitignore",
        "fleetscore.pbip",
        "fleetscore.SemanticModel",
        "fleetscore.Report",
    }


def test_each_schema_is_used() -> None:
    uris = {json.loads(path.read_text())["$schema"] for path in FILES}
    texts = [path.read_text() for path in SCHEMAS.rglob("*.json")]
    for path in SCHEMAS.rglob("*.json"):
        name = path.relative_to(SCHEMAS / "fabric").as_posix()
        assert ADDRESS + "fabric/" + name in uris or any("/".join(path.parts[-3:]) in text for text in texts), name


# What the schemas refuse

VISUAL = PAGES / "fleet_now" / "visuals" / "rows" / "visual.json"
PAGE = PAGES / "device" / "page.json"
Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (VISUAL, lambda document: document.update(colour="red")),
        (VISUAL, lambda document: document.pop("position")),
        (VISUAL, lambda document: document["visual"].pop("visualType")),
        (VISUAL, lambda document: document["visual"]["query"]["queryState"]["Values"].pop("projections")),
        (VISUAL, lambda document: document["visual"]["query"]["queryState"]["Values"]["projections"][0].pop("field")),
        (PAGE, lambda document: document.update(displayOption="Wide")),
        (PAGE, lambda document: document["filterConfig"]["filters"][0].update(type="Drillthrough")),
        (PAGE, lambda document: document["pageBinding"]["parameters"][0].update(fieldExpr={"Column": {}})),
        (REPORT / "definition" / "report.json", lambda document: document.pop("themeCollection")),
        (REPORT / "definition" / "version.json", lambda document: document.update(version="2")),
        (REPORT / "definition.pbir", lambda document: document["datasetReference"]["byPath"].pop("path")),
        (MODEL / "definition.pbism", lambda document: document.pop("version")),
        (ROOT / "fleetscore.pbip", lambda document: document["artifacts"][0].pop("report")),
    ],
)
def test_a_spoilt_file_is_refused(path: Path, change: Change) -> None:
    document = json.loads(path.read_text())
    change(document)
    assert find_errors(document)


# Paths, and what must not be in them


def test_the_project_leads_to_the_report_and_the_report_to_the_model() -> None:
    project = json.loads((ROOT / "fleetscore.pbip").read_text())
    assert [ROOT / artifact["report"]["path"] for artifact in project["artifacts"]] == [REPORT]
    reference = json.loads((REPORT / "definition.pbir").read_text())["datasetReference"]
    assert (REPORT / reference["byPath"]["path"]).resolve() == MODEL


@pytest.mark.parametrize("path", sorted(p for p in ROOT.rglob("*") if p.is_file()), ids=lambda p: p.name)
def test_a_file_has_no_credentials_and_no_path_of_a_machine(path: Path) -> None:
    text = path.read_text().lower()
    for word in ("password", "pwd=", "accountkey", "sig=", "c:\\", "/home/", "/users/", "lineagetag", "@"):
        assert word not in text, word
    assert not path.name.startswith(("localSettings", "cache"))
