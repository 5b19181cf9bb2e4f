"""The faults that the script plants can be planted, and the document tells of the same ones."""

import ast
import re

import pytest

from tests.mutants import BEGIN, END, NEVER_ENDS, ROOT, Fault, faults, main

FAULTS = faults()
DOCUMENT = ROOT / "docs" / "mutants.md"


def told() -> list[list[str]]:
    """The rows of the document's table: fault, file, test, seconds."""
    lines = DOCUMENT.read_text().partition(BEGIN)[2].partition(END)[0].splitlines()
    return [[cell.strip("` ") for cell in line.strip("|").split("|")] for line in lines if line.startswith("| ")][1:]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_one_place_and_leaves_python_behind(fault: Fault) -> None:
    source = (ROOT / fault.file).read_text()
    before, after = ast.parse(source), ast.parse(fault.planted(source))
    assert ast.dump(before) != ast.dump(after)


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 30


def test_a_fault_whose_place_is_gone_is_not_planted() -> None:
    with pytest.raises(ValueError, match=r"expected its text once in here\.py, found it 0 times: 'then'"):
        Fault("a fault", "here.py", "then", "now").planted("something else")


def test_the_document_tells_of_each_fault() -> None:
    assert [row[:2] for row in told()] == [[fault.name, fault.file] for fault in FAULTS]


def test_every_fault_was_seen_by_a_test_that_there_is() -> None:
    for name, _, red, _ in told():
        file, _, test = red.partition("::")
        if red != NEVER_ENDS:
            expected = rf"\b{re.escape(test.rpartition('::')[2])}\b|^Test{test.removeprefix('Test').split('::')[0]} ="
            assert re.search(expected, (ROOT / file).read_text(), re.MULTILINE), name


def test_a_document_gets_the_table_of_all_faults_or_none() -> None:
    with pytest.raises(SystemExit):
        main(["--into", str(DOCUMENT), "quarantine"])
