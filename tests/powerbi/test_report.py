"""The four pages ask for fields that the model has, and their visuals stand beside each other."""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest

from tests.powerbi.project import (
    PAGES,
    FieldUse,
    list_columns,
    list_field_uses,
    list_measures,
    list_tables,
    list_visuals,
)

NAMES = json.loads((PAGES / "pages.json").read_text())["pageOrder"]
ROLES = {  # the roles of a visual that have to be filled, and those that may
    "card": ({"Values"}, set[str]()),
    "slicer": ({"Values"}, set[str]()),
    "tableEx": ({"Values"}, set[str]()),
    "lineChart": ({"Category", "Y"}, {"Series"}),
    "columnChart": ({"Category", "Y"}, {"Series"}),
    "barChart": ({"Category", "Y"}, set[str]()),
}
VISUALS = [(page, name) for page in NAMES for name in list_visuals(page)]


def read_page(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((PAGES / name / "page.json").read_text())
    return document


def list_projections(visual: dict[str, Any]) -> list[dict[str, Any]]:
    return [p for state in visual["visual"]["query"]["queryState"].values() for p in state["projections"]]


def test_the_report_has_four_pages_in_this_order() -> None:
    pages = [read_page(name) for name in NAMES]
    assert [page["displayName"] for page in pages] == ["Fleet now", "Worst devices", "One device", "Runs"]
    assert [page["name"] for page in pages] == NAMES
    assert {path.parent.name for path in PAGES.rglob("page.json")} == set(NAMES)
    assert json.loads((PAGES / "pages.json").read_text())["activePageName"] == NAMES[0]


@pytest.mark.parametrize("use", sorted(list_field_uses(), key=repr), ids=lambda use: f"{use.path}-{use.name}")
def test_a_field_that_the_report_asks_for_is_in_the_model(use: FieldUse) -> None:
    assert use.table in list_tables()
    if use.kind == "Measure":
        assert list_measures()[use.name][0] == use.table
    else:
        assert use.kind == "Column"
        assert use.name in list_columns(use.table)


@pytest.mark.parametrize(("page", "name"), VISUALS)
def test_a_visual_has_its_roles_a_title_and_names_of_its_fields(page: str, name: str) -> None:
    visual = list_visuals(page)[name]
    required, allowed = ROLES[visual["visual"]["visualType"]]
    roles = set(visual["visual"]["query"]["queryState"])
    assert required <= roles <= required | allowed
    assert visual["name"] == name
    assert visual["visual"]["visualContainerObjects"]["title"]
    for projection in list_projections(visual):
        ((_, body),) = projection["field"].items()
        assert projection["queryRef"] == f"{body['Expression']['SourceRef']['Entity']}.{body['Property']}"
        assert projection["nativeQueryRef"] == body["Property"]


@pytest.mark.parametrize(("page", "name"), VISUALS)
def test_a_visual_is_sorted_by_a_field_that_it_shows(page: str, name: str) -> None:
    visual = list_visuals(page)[name]
    sorts = visual["visual"]["query"].get("sortDefinition", {}).get("sort", [])
    fields = [projection["field"] for projection in list_projections(visual)]
    assert all(sort["field"] in fields for sort in sorts)
    assert sorts or visual["visual"]["visualType"] in {"card", "slicer"}


@pytest.mark.parametrize("page", NAMES)
def test_visuals_stand_on_the_page_and_beside_each_other(page: str) -> None:
    size = read_page(page)
    boxes = [visual["position"] for visual in list_visuals(page).values()]
    for box in boxes:
        assert box["x"] >= 0
        assert box["y"] >= 0
        assert box["x"] + box["width"] <= size["width"]
        assert box["y"] + box["height"] <= size["height"]
    for a, b in combinations(boxes, 2):
        apart = a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
        assert apart or a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"]
    assert len({box["tabOrder"] for box in boxes}) == len(boxes)


def test_a_device_of_any_page_leads_to_the_page_of_one_device() -> None:
    page = read_page("device")
    (drill,) = page["filterConfig"]["filters"]
    (parameter,) = page["pageBinding"]["parameters"]
    assert (page["type"], page["pageBinding"]["type"], drill["howCreated"]) == ("Drillthrough",) * 3
    assert (parameter["boundFilter"], parameter["fieldExpr"]) == (drill["name"], drill["field"])
    shown = [
        p["field"]
        for name in ("fleet_now", "worst_devices")
        for v in list_visuals(name).values()
        for p in list_projections(v)
    ]
    assert shown.count(drill["field"]) == 4


def test_titles_of_times_say_utc() -> None:
    times = {"start", "end", "time", "published_at", "date", "Last reading"}
    for page, name in VISUALS:
        visual = list_visuals(page)[name]
        title = visual["visual"]["visualContainerObjects"]["title"][0]["properties"]["text"]["expr"]["Literal"]["Value"]
        labels = [p.get("displayName", "") for p in list_projections(visual) if p["nativeQueryRef"] in times]
        assert all("UTC" in label or "UTC" in title for label in labels), (page, name)


def test_every_measure_is_shown_or_used_by_a_measure() -> None:
    shown = {use.name for use in list_field_uses()}
    formulas = " ".join(formula for _, formula in list_measures().values())
    assert [name for name in list_measures() if name not in shown and f"[{name}]" not in formulas] == []
