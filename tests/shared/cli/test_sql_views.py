"""The statements for views, word for word; the files beside this one are what a person compares with the manuals."""

from __future__ import annotations

from pathlib import Path

import pytest

from scorer.predictions.table import SCHEMA
from shared.cli import sql_views
from shared.contract.paths import prediction_path
from shared.contract.windows import Window

VIEWS = Path(__file__).parent / "views"
ARGUMENTS = ["--storage-account", "stfleet1", "--delta", "published/predictions"]


def call(*arguments: str) -> int:
    return sql_views.main(arguments, "fleetscore sql views")


@pytest.mark.parametrize("engine", list(sql_views.ENGINES))
def test_the_statements_of_an_engine(engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--for", engine, *ARGUMENTS) == 0
    assert capsys.readouterr().out == (VIEWS / f"{engine}.sql").read_text()


def test_without_an_engine_all_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*ARGUMENTS) == 0
    texts = [(VIEWS / f"{engine}.sql").read_text() for engine in sql_views.ENGINES]
    assert capsys.readouterr().out == "\n".join(texts)


def test_without_a_delta_table_there_is_no_view_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    call("--storage-account", "stfleet1")
    text = capsys.readouterr().out
    assert text.count("CREATE VIEW [dbo].[fleetscore_predictions] AS") == 3
    assert "delta" not in text.lower()


def test_the_names_are_those_of_the_deployment(capsys: pytest.CaptureFixture[str]) -> None:
    call("--for", "synapse", "--storage-account", "st2", "--predictions-container", "out-1", "--delta", "lake",
         "--schema", "plant", "--view", "scores")  # fmt: skip
    text = capsys.readouterr().out
    assert "CREATE VIEW [plant].[scores] AS" in text
    assert "CREATE VIEW [plant].[scores_delta] AS" in text
    assert "'https://st2.dfs.core.windows.net/out-1/date=*/hour=*/*.parquet'" in text
    assert "'https://st2.dfs.core.windows.net/lake/'" in text


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--storage-account", "St"],
        ["--storage-account", "st2", "--view", "a'; DROP TABLE b"],
        ["--storage-account", "st2", "--schema", "a]"],
        ["--storage-account", "st2", "--delta", "lake/../other's"],
        ["--storage-account", "st2", "--for", "oracle"],
    ],
)
def test_what_is_no_name_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^2$"):
        call(*arguments)
    assert "usage: fleetscore sql views" in capsys.readouterr().err


def test_the_columns_are_those_of_the_files_and_each_has_its_type() -> None:
    kinds = {"time": "time", "text": "text", "number": "number", "small": "small"}
    arrow = {"timestamp[us, tz=UTC]": "time", "string": "text", "double": "number", "int8": "small"}
    assert list(sql_views.COLUMNS) == SCHEMA.names
    assert {column.name: kinds[arrow[str(column.type)]] for column in SCHEMA} == {
        name: sql_views._name_kind(name) for name in sql_views.COLUMNS
    }


def test_the_folders_and_names_of_files_are_those_that_the_views_take_apart() -> None:
    run = "20261121T0700Z-PT1H"
    folder_date, folder_hour, name = prediction_path(Window.parse(run), "c00000", 0).split("/")
    assert (folder_date, folder_hour) == ("date=2026-11-21", "hour=07")
    assert name[: name.lower().index("-c")] == run  # CHARINDEX, also where a database ignores case
