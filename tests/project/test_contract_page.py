"""`docs/contract.md` lists the fields that the documents have, in the schemas in which they have them."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from scorer.predictions.table import SCHEMA
from shared.contract import columns
from shared.contract.columns import split_document
from shared.contract.domain import Part
from shared.contract.publishing.documents import (
    PublicationItem,
    PublicationResult,
    PublishedPart,
    PublishingManifest,
    PublishingReport,
)
from shared.contract.publishing.sinks import SinkKind, SinkReason
from shared.contract.text import LINES_LIMIT
from shared.state.publications import PUBLICATION_FOLLOWS
from tests.project.test_docs import between
from tests.shared.contract.test_schemas import DOCUMENTS

PAGE = (Path(__file__).parents[2] / "docs" / "contract.md").read_text()
OF_MARK: Mapping[str, list[str]] = {
    "plan": ["plan 1", "plan 2"],
    "round": ["round"],
    "manifest": ["manifest 1", "manifest 2"],
    "report": ["report 1", "report 2"],
}


def list_fields(table: str) -> set[tuple[str, int]]:
    """Each field of a table with each schema that it is in."""
    rows = [row.split(" | ") for row in table.splitlines()[2:]]
    assert all(len(row) == 3 for row in rows)
    return {
        (name, int(schema))
        for names, schemas, _ in rows
        for name in re.findall(r"`(\w+)`", names)
        for schema in schemas.split(", ")
    }


@pytest.mark.parametrize(("mark", "names"), OF_MARK.items())
def test_the_fields_of_each_document_are_those_that_are_written(mark: str, names: list[str]) -> None:
    heads = [json.loads(split_document(DOCUMENTS[name][1])[0]) for name in names]
    assert list_fields(between(PAGE, mark)) == {(field, head["schema"]) for head in heads for field in head}


PART = PublishedPart("c00000", 1, Part("results/x.parquet", 9, "md5", 3))
PUBLISHING = {
    "publishing manifest": PublishingManifest(
        SinkKind.DELTA, 1, "fleetscore", "https://x", (PublicationItem("20261121T0700Z-PT1H", 0, 0, parts=(PART,)),)
    ),
    "publishing report": PublishingReport(SinkKind.DELTA, 1, (PublicationResult("20261121T0700Z-PT1H", 0, 0),)),
}


@pytest.mark.parametrize("mark", PUBLISHING)
def test_the_fields_of_the_publishing_documents_are_those_that_are_written(mark: str) -> None:
    doc, table = json.loads(PUBLISHING[mark].to_bytes()), between(PAGE, mark)
    assert {name for name, _ in list_fields(table)} == set(doc)
    inner = (doc["items"] if "items" in doc else doc["results"])[0]
    assert set(inner) <= set(re.findall(r"`(\w+)`", table))


PUBLISHING_PAGE = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text()


def test_the_states_of_a_publication_and_the_reasons_are_those_of_the_code() -> None:
    chapter = PUBLISHING_PAGE.split("## States")[1].split("## What shows it")[0]
    states, reasons = (
        [row.strip("| ").split(" | ") for row in table.splitlines() if row.startswith("| `")]
        for table in chapter.split("| Reason")
    )
    rows = {state.strip("`"): set(re.findall(r"`(\w+)`", after)) for state, _, after in states}
    assert rows == {state: set(after) for state, after in PUBLICATION_FOLLOWS.items()}
    assert {code.strip("`"): person == "no" for code, _, person in reasons} == {r: r.may_pass for r in SinkReason}


def test_the_columns_of_each_document_are_named() -> None:
    for name in ("manifest 2", "report 2"):
        head = json.loads(split_document(DOCUMENTS[name][1])[0])
        assert {column for column, *_ in head["columns"]} <= set(re.findall(r"`(\w+)`", PAGE))


def test_the_columns_of_predictions_are_named() -> None:
    table = PAGE.split("## Predictions")[1].split("\n## ")[0]
    assert set(SCHEMA.names) <= set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_the_limits_are_those_of_the_code() -> None:
    for limit in (
        f"at most {columns.COUNT_LIMIT:,} values and {columns.RAW_LIMIT >> 20} MiB",
        f"at most {columns.TEXT_LIMIT >> 10} KiB",
        f"at most {LINES_LIMIT:,} characters",
    ):
        assert limit in PAGE.replace("\n", " ").replace("texts have at most", "at most")
