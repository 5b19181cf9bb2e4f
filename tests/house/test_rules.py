"""The import rules hold, and they would see what breaks them wherever it lies."""

import ast

import pytest

from tests.house.rules import OURS, ROOT, find_violations, list_imports, read_sources


def test_no_import_breaks_the_rules() -> None:
    assert find_violations(read_sources()) == []


PLANTED = """
scorer.readings.deep.x  | pass                                     | scorer.readings.deep: no rule names this package
shared.new.x            | pass                                     | shared.new: no rule names this package
scorer.readings.x       | import sklearn                           | scorer.readings.x imports sklearn
scorer.readings.x       | from scorer.model_files import reader    | scorer.readings.x imports scorer.model_files.reader
scorer.readings.x       | f = lambda: import_module("sklearn.svm") | scorer.readings.x imports sklearn.svm
scorer.storage.x        | import adbc_driver_manager               | scorer.storage.x imports adbc_driver_manager
shared.adapters.x       | import mssql_python                      | shared.adapters.x imports mssql_python
scorer.kernels.x        | import numba                             | scorer.kernels.x imports numba
scorer.scoring.x        | from scorer.estimators import loader     | scorer.scoring.x imports scorer.estimators.loader
scorer.scoring.x        | from shared.state.runs import Run        | scorer.scoring.x imports shared.state.runs.Run
shared.tracking.x       | import subprocess                        | shared.tracking.x imports subprocess
shared.contract.x       | from shared.state import runs            | shared.contract.x imports shared.state.runs
shared.contract.x       | from ..state import runs                 | shared.contract.x imports shared.state.runs
shared.api.x            | from shared.control.loop import A        | shared.api.x imports shared.control.loop.A
shared.api.x            | import numpy as np                       | shared.api.x imports numpy
shared.control.x        | import azure.storage.blob                | shared.control.x imports azure.storage.blob
shared.control.x        | importlib.import_module("scorer.errors") | shared.control.x imports scorer.errors
shared.adapters.batch.x | from shared.control import tick          | shared.adapters.batch.x imports shared.control.tick
shared.config.x         | import local.stack                       | shared.config.x imports local.stack
shared.cli.x            | from fleetscore import __main__          | shared.cli.x imports fleetscore.__main__
scorer.commands.x       | import fleetscore                        | scorer.commands.x imports fleetscore
fleetscore.x            | from shared.state.runs import Run        | fleetscore.x imports shared.state.runs.Run
fleetscore.x            | import numpy                             | fleetscore.x imports numpy
shared.planning.x       | os.environ["A"]                          | shared.planning.x reads the environment
shared.control.x        | datetime.now(UTC)                        | shared.control.x reads the clock
"""


@pytest.mark.parametrize("row", PLANTED.strip().splitlines())
def test_a_planted_violation_is_seen(row: str) -> None:
    module, text, violation = (cell.strip() for cell in row.split("|"))
    assert violation in find_violations({**read_sources(), module: text})


def test_the_console_script_imports_both_sides_late() -> None:
    for module, text in read_sources().items():
        if module.startswith("fleetscore."):
            tree = ast.parse(text)
            tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            ours = {name for name in list_imports(module, ast.unparse(tree)) if name.startswith(OURS)}
            assert {name for name in ours if not name.startswith("shared.contract.")} == set()


def test_each_import_is_named_in_full() -> None:
    text = "from . import a\nfrom .b import c\nfrom .. import d\nimport e.f as g\nfrom h import (\n    i,\n)"
    assert list(list_imports("shared.x.y", text)) == ["shared.x.a", "shared.x.b.c", "shared.d", "e.f", "h.i"]


def test_no_file_outgrows_a_sitting() -> None:
    sources = [path for top in (*OURS, "local") for path in (ROOT / top).rglob("*.py")]
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in sources
               if "node_modules" not in path.parts}  # fmt: skip
    assert {name: length for name, length in lengths.items() if length > 350} == {}
