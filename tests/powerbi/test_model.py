"""The model holds together: its columns are those of what is published, and its formulas name what there is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from scorer.sinks.delta import TABLE_SCHEMA
from scorer.sinks.sql.columns import CONTROL_NAMES, NAMES
from shared.cli.sql_views import Names, write_synapse
from shared.contract.windows import Window, parse_length
from tests.powerbi.formulas import M_FUNCTIONS, join_texts, read_dax, read_m
from tests.powerbi.project import (
    MODEL,
    is_calculated,
    list_columns,
    list_expressions,
    list_measures,
    list_parameters,
    list_sources,
    list_tables,
    read_definition,
)
from tests.powerbi.tmdl import split_reference, walk

TYPES: Mapping[pa.DataType, str] = {
    pa.timestamp("us", "UTC"): "dateTime",
    pa.date32(): "dateTime",
    pa.string(): "string",
    pa.float64(): "double",
    pa.int8(): "int64",
    pa.int32(): "int64",
}
OF_M = {"string": "type text", "int64": "Int64.Type", "double": "type number"}
QUERIES = {"runs": "RunStatement", "summaries": "SummaryStatement", "predictions": "PredictionStatement"}
ARGUMENTS = {"first": "a", "next": "b", "folders": ""}
IMPORTED = ["predictions", "runs", "summaries"]


def list_selected(name: str) -> list[str]:
    """The columns that a statement gives."""
    text = join_texts(list_expressions(), name, ARGUMENTS)
    columns = text.removeprefix("SELECT ").removeprefix("DISTINCT ").split(" FROM ")[0]
    return [part.split('"')[-2] for part in columns.split(", ")]


# Columns


def test_predictions_have_the_columns_of_the_published_table_and_their_types() -> None:
    folders = {"date", "hour"}  # of the Delta table: `runs` has them for each source
    expected = {field.name: TYPES[field.type] for field in TABLE_SCHEMA if field.name not in folders}
    assert list_columns("predictions") == expected
    assert set(expected) == set(NAMES)


@pytest.mark.parametrize("table", IMPORTED)
def test_the_columns_of_an_imported_table_are_those_that_its_query_gives(table: str) -> None:
    source = list_sources()[table]
    added = re.findall(r"Table\.AddColumn\(\w+, \"(\w+)\"", source)
    calculated = [column.name for column in list_tables()[table].list_children("column") if column.default]
    assert set(list_columns(table)) == {*list_selected(QUERIES[table]), *added, *calculated}
    assert len(set(added)) == len(added)


def test_views_and_delta_lack_only_what_the_control_table_says() -> None:
    assert list_selected("RunStatementOfViews") == ["run"]
    empty = re.search(r"Empty = \{(.*?)\}", list_sources()["runs"])
    assert empty
    assert set(re.findall(r'"(\w+)"', empty[1])) | {"run"} == set(list_selected("RunStatement"))


def test_delta_is_summed_up_into_the_columns_that_the_statement_gives() -> None:
    grouped = list_sources()["summaries"].split("Table.Group(")[1].split("else")[0]
    assert re.findall(r'"(\w+)"', grouped) == list_selected("SummaryStatement")


@pytest.mark.parametrize("table", IMPORTED)
def test_a_column_gets_its_type_in_the_query(table: str) -> None:
    source = list_sources()[table]
    added = dict(re.findall(r"Table\.AddColumn\(\w+, \"(\w+)\", .*, (type \w+|Int64\.Type)\),?$", source, re.MULTILINE))
    timed = dict(re.findall(r'\{"(\w+)", ToUtc, (type datetime)\}', source))
    typed = dict(re.findall(r'\{"(\w+)", (type \w+|Int64\.Type)\}', source))
    columns = {c.name: c.properties["dataType"] for c in list_tables()[table].list_children("column") if not c.default}
    assert set(columns) == set(added) | set(timed) | set(typed)
    for name, kind in {**added, **timed, **typed}.items():
        assert kind in {OF_M.get(columns[name]), "type datetime" if columns[name] == "dateTime" else None, "type date"}


def test_every_column_has_the_source_of_its_own_name() -> None:
    for name, table in list_tables().items():
        for column in table.list_children("column"):
            expected = f"[{column.name}]" if is_calculated(name) else None if column.default else column.name
            assert column.properties.get("sourceColumn") == expected


def test_a_time_comes_to_utc_whichever_the_source() -> None:
    times = {(t, c) for t in IMPORTED for c, kind in list_columns(t).items() if kind == "dateTime"}
    of_runs = {("runs", name) for name in ("start", "end", "date")}  # made of the name of the run, which is in UTC
    assert times - of_runs == {(t, c) for t in IMPORTED for c in re.findall(r'\{"(\w+)", ToUtc', list_sources()[t])}


def test_fields_that_queries_read_are_columns() -> None:
    columns = {*TABLE_SCHEMA.names, *list_columns("runs")}
    for text in [*(list_sources()[table] for table in IMPORTED), *list_expressions().values()]:
        assert read_m(text).fields <= columns


def test_statements_read_columns_of_the_tables_of_the_sink() -> None:
    for name in ("SummaryStatement", "PredictionStatement", "RunStatementOfViews"):
        text = join_texts(list_expressions(), name, ARGUMENTS)
        read = re.findall(r'(?<!AS )(?<!\.)"(\w+)"(?!\.)', text)
        assert set(read) <= set(NAMES), name
    text = join_texts(list_expressions(), "RunStatement", ARGUMENTS)
    assert set(re.findall(r'(?<!AS )(?<!\.)"(\w+)"(?!\.)', text)) <= set(CONTROL_NAMES)


def test_a_condition_on_folders_names_a_column_that_the_source_has() -> None:
    views, delta = re.findall(r'SourceKind = "([^"]+)" then " AND ""(\w+)"" >= "', list_expressions()["FolderFilter"])
    assert views == ("Views", "date_folder")
    view = write_synapse(Names("account", "predictions", "", "dbo", "fleetscore_predictions"))
    assert f"r.filepath(1) AS [{views[1]}], -- a text: '2026-11-21'" in view
    assert delta[0] == "Delta view"
    assert TABLE_SCHEMA.field(delta[1]).type == pa.date32()
    texts = read_m(list_expressions()["FolderFilter"]).texts
    assert {"-", "'", ""} <= texts
    assert {name for name, text in list_expressions().items() if "& folders" in text} == {
        "RunStatementOfViews",
        "SummaryStatement",
        "PredictionStatement",
    }


# The name of a run, which says its window


def test_the_start_of_a_run_is_read_from_its_name() -> None:
    started = list_sources()["runs"].split('"start"')[1].split("type datetime")[0]
    places = [(int(start), int(count)) for start, count in re.findall(r"Text\.Range\(\[run\], (\d+), (\d+)\)", started)]
    window = Window(datetime(2026, 11, 21, 7, 15, tzinfo=UTC), timedelta(minutes=15))
    numbers = [int(window.id[start : start + count]) for start, count in places]
    assert datetime(*numbers, tzinfo=UTC) == window.start  # type: ignore[misc, arg-type]  # five numbers


@pytest.mark.parametrize("length", ["PT15M", "PT1H", "PT36H", "P1D", "P7D"])
def test_the_length_of_a_run_is_read_from_its_name(length: str) -> None:
    record = re.search(r"Minutes = \[(.*?)\]", list_sources()["runs"])
    assert record
    minutes = {unit: int(number) for unit, number in re.findall(r"(\w) = (\d+)", record[1])}
    text = Window(datetime(2026, 11, 16, tzinfo=UTC), parse_length(length)).id.split("-")[1]
    number = int("".join(filter(str.isdigit, text)))
    assert timedelta(minutes=number * minutes[text[-1]]) == parse_length(length)


def test_the_bounds_of_a_query_sort_as_names_of_runs_do() -> None:
    (pattern,) = {text for text in read_m(list_expressions()["FirstRun"]).texts if "yyyy" in text}
    for spelling, ours in {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M", "'": ""}.items():
        pattern = pattern.replace(spelling, ours)
    window = Window(datetime(2026, 11, 21, 7, tzinfo=UTC), timedelta(hours=1))
    bound = window.start.strftime(pattern)
    assert window.id.startswith(bound)
    before = Window(window.start - timedelta(minutes=15), timedelta(minutes=15))
    assert before.id < bound <= window.id
    assert bound[:8] + "T0000Z" <= before.id


# Names


@pytest.mark.parametrize("name", [*list_expressions(), *IMPORTED])
def test_power_query_names_what_there_is(name: str) -> None:
    names = read_m(list_expressions().get(name) or list_sources()[name])
    assert names.used - M_FUNCTIONS - set(list_expressions()) - names.steps == set()
    assert names.steps <= names.used


def test_every_parameter_and_every_function_is_used() -> None:
    texts = [*list_expressions().values(), *(list_sources()[table] for table in IMPORTED)]
    assert set().union(*(read_m(text).used for text in texts)) >= set(list_expressions())


def test_a_source_that_is_compared_is_one_that_can_be_chosen() -> None:
    (source,) = [o for o in read_definition()["expressions.tmdl"] if o.name == "SourceKind"]
    choices = set(re.findall(r'"([^"]+)"', source.expression.split("List={")[1].split("}")[0]))
    texts = [*list_expressions().values(), *(list_sources()[table] for table in IMPORTED)]
    compared = {kind for text in texts for kind in re.findall(r'SourceKind = "([^"]+)"', text)}
    assert choices == {"PostgreSQL", "SQL Server", "Views", "Delta view", "Delta"}
    assert compared <= choices


@pytest.mark.parametrize("name", list_measures())
def test_a_measure_names_columns_and_measures_that_there_are(name: str) -> None:
    check_formula(list_measures()[name][1])


def test_a_calculated_column_or_table_names_what_there_is() -> None:
    for table in list_tables().values():
        for column in table.list_children("column"):
            if column.default:
                check_formula(column.default)
        if is_calculated(table.name):
            check_formula(list_sources()[table.name], frozenset({"Date"}))  # of CALENDAR


def check_formula(text: str, names: frozenset[str] = frozenset()) -> None:
    formula = read_dax(text)
    for table, column in formula.columns:
        assert column in list_columns(table), (table, column)
    assert formula.measures <= set(list_measures()) | names
    assert formula.tables <= set(list_tables())


def test_no_two_measures_and_no_measure_and_column_of_a_table_have_a_name_in_common() -> None:
    names = [name.lower() for name in list_measures()]
    assert len(set(names)) == len(names)
    for name, (table, _) in list_measures().items():
        assert name.lower() not in {column.lower() for column in list_columns(table)}
    assert not set(names) & {table.lower() for table in list_tables()}


def test_every_measure_says_what_it_is() -> None:
    undescribed = [
        o.name for items in read_definition().values() for o in walk(items) if o.kind == "measure" and not o.description
    ]
    assert undescribed == []


# Relationships, and the list of tables


def test_the_ends_of_a_relationship_are_columns_of_a_type_and_lead_to_a_key() -> None:
    ends = []
    for relationship in read_definition()["relationships.tmdl"]:
        (many, many_column), (key, key_column) = (
            split_reference(relationship.properties[name]) for name in ("fromColumn", "toColumn")
        )
        assert list_columns(many)[many_column] == list_columns(key)[key_column]
        (column,) = [c for c in list_tables()[key].list_children("column") if c.name == key_column]
        assert column.properties.get("isKey") == "true"
        ends.append((many, key))
    assert len(set(ends)) == len(ends)
    assert {many for many, _ in ends} == {"summaries", "predictions", "runs"}


def test_a_path_between_two_tables_is_the_only_one() -> None:
    ends = [
        tuple(split_reference(relationship.properties[name])[0] for name in ("fromColumn", "toColumn"))
        for relationship in read_definition()["relationships.tmdl"]
    ]

    def count_paths(start: str, end: str) -> int:
        return (start == end) + sum(count_paths(after, end) for before, after in ends if before == start)

    assert {count_paths(a, b) for a in list_tables() for b in list_tables()} == {0, 1}


def test_the_model_lists_its_tables_and_queries() -> None:
    objects = read_definition()["model.tmdl"]
    references = [item.name for item in objects if item.kind == "ref"]
    assert sorted(references) == sorted(f"table {name}" for name in list_tables())
    assert {f"tables/{name}.tmdl" for name in list_tables()} == {
        n for n in read_definition() if n.startswith("tables/")
    }
    (order,) = [item.expression for item in objects if item.name == "PBI_QueryOrder"]
    assert sorted(re.findall(r'"(\w+)"', order)) == sorted([*list_expressions(), *IMPORTED])


def test_a_partition_is_called_as_its_table_and_imports() -> None:
    for name, table in list_tables().items():
        (partition,) = table.list_children("partition")
        assert (partition.name, partition.properties) == (name, {"mode": "import"})
        assert partition.default in {"m", "calculated"}


def test_the_parameters_are_placeholders() -> None:
    places = {name: list_parameters()[name] for name in ("Server", "Database", "DeltaAddress")}
    assert places == {
        "Server": "SERVER.postgres.database.azure.com",
        "Database": "DATABASE",
        "DeltaAddress": "https://ACCOUNT.dfs.core.windows.net/tables/predictions",
    }
    assert len(list(MODEL.rglob("*.tmdl"))) == len(read_definition())
