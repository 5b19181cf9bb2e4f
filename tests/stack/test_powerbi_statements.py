"""What Power BI asks a database gives the columns and types of its model, in UTC, on a real PostgreSQL.

The statements are taken from the model's files, where Power Query joins them; T-SQL takes the same, and was not there.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from adbc_driver_postgresql import dbapi

from local import postgres
from local.postgres import PASSWORD, Postgres
from scorer.sinks.sql.open_sink import open_sql_sink
from shared.contract.publishing.documents import PublishingManifest
from shared.contract.publishing.sinks import SinkKind
from tests.powerbi.formulas import join_texts
from tests.powerbi.project import list_columns, list_expressions
from tests.scorer.sinks.stage import HOUR_7, HOUR_8, QUARTER, Stage

FIRST, NEXT = "20261121T0000Z", "20261122T0000Z"
TYPES = {"int64": pa.types.is_integer, "double": pa.types.is_floating, "string": pa.types.is_string}


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    running = postgres.start(die_with_parent=True)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def published(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Postgres:
    """Two runs in the range, a run that was removed, one from before and one from after; as the sink writes them."""
    stage = Stage(tmp_path_factory.mktemp("stage"))
    target = {"url": server.url, "table": "plant.predictions"}
    sink = open_sql_sink(PublishingManifest(SinkKind.SQL, 1, "fleetscore", "file:///work", (), target), PASSWORD)
    sink.publish(stage.make_item(HOUR_7, [("pump-9", 0.5, 1)]), stage.parts)
    rows = [("pump-1", 0.5, 1), ("pump-1", -0.25, 59), ("pump-2", 2.0, 0)]
    sink.publish(stage.make_item(HOUR_7, rows, number=1), stage.parts)
    sink.publish(stage.make_item(HOUR_8, [("pump-1", 1.0, 0)]), stage.parts)
    for run in ("20261120T2300Z-PT1H", "20261122T0000Z-PT1H"):
        sink.publish(stage.make_item(run, [("pump-1", 1.0, 0)]), stage.parts)
    removed = stage.make_item(QUARTER, [("pump-1", 1.0, 0)])
    sink.publish(removed, stage.parts)
    sink.publish(stage.make_removal(removed), stage.parts)
    sink.close()
    return server


def make_time(hour: int, minute: int) -> datetime:
    """A time of 2026-11-21 in UTC, as a database says it without a zone."""
    return datetime(2026, 11, 21, hour, minute, tzinfo=UTC).replace(tzinfo=None)


def ask(server: Postgres, name: str, *before: str) -> pa.Table:
    """The answer to a statement of the model, in a session far from UTC."""
    expressions = {**list_expressions(), "SchemaName": '"plant"', "TableName": '"predictions"'}
    statement = join_texts(expressions, name, {"first": FIRST, "next": NEXT, "folders": ""})
    with dbapi.connect(server.url.replace("@", f":{PASSWORD}@")) as connection, connection.cursor() as cursor:
        for text in ("SET TIME ZONE 'Asia/Tokyo'", *before, statement):
            cursor.execute(text)
        return cursor.fetch_arrow_table()


def check_types(answer: pa.Table, table: str) -> None:
    """A time has no zone any more: it is UTC as it stands."""
    for field in answer.schema:
        kind = list_columns(table)[field.name]
        assert field.type == pa.timestamp("us") if kind == "dateTime" else TYPES[kind](field.type), field


def test_summaries_have_a_row_for_each_model_of_a_run(published: Postgres) -> None:
    answer = ask(published, "SummaryStatement")
    check_types(answer, "summaries")
    texts = ("sensor", "output")
    assert {column for column in texts if answer[column].null_count == len(answer)} == set(texts)
    assert sorted(answer.drop_columns(list(texts)).to_pylist(), key=lambda row: (row["run"], row["device"])) == [
        {"run": HOUR_7, "device": "pump-1", "model": "0x1", "row_count": 2, "detector_rows": 2, "anomaly_count": 1,
         "score_count": 2, "score_sum": 0.25, "score_min": -0.25, "last_time": make_time(7, 59)},
        {"run": HOUR_7, "device": "pump-2", "model": "0x1", "row_count": 1, "detector_rows": 1, "anomaly_count": 0,
         "score_count": 1, "score_sum": 2.0, "score_min": 2.0, "last_time": make_time(7, 0)},
        {"run": HOUR_8, "device": "pump-1", "model": "0x1", "row_count": 1, "detector_rows": 1, "anomaly_count": 0,
         "score_count": 1, "score_sum": 1.0, "score_min": 1.0, "last_time": make_time(8, 0)},
    ]  # fmt: skip


def test_runs_are_those_that_the_table_has(published: Postgres) -> None:
    answer = ask(published, "RunStatement")
    check_types(answer, "runs")
    rows = sorted((row["run"], row["round"], row["published_rows"]) for row in answer.to_pylist())
    assert rows == [(HOUR_7, 1, 3), (HOUR_8, 0, 1)]


def test_published_at_is_in_utc(published: Postgres) -> None:
    move = "UPDATE plant.predictions_runs SET published_at = '2026-11-21 18:05:00+09:00'"
    assert ask(published, "RunStatement", move)["published_at"].to_pylist() == [make_time(9, 5)] * 2


def test_runs_of_a_view_are_those_that_have_rows(published: Postgres) -> None:
    answer = ask(published, "RunStatementOfViews")
    check_types(answer, "runs")
    assert sorted(answer["run"].to_pylist()) == [HOUR_7, HOUR_8]


def test_predictions_come_row_by_row(published: Postgres) -> None:
    answer = ask(published, "PredictionStatement")
    check_types(answer, "predictions")
    assert sorted(answer.column_names) == sorted(list_columns("predictions"))
    rows = [(row["device"], row["time"], row["score"], row["anomaly"]) for row in answer.to_pylist()]
    assert sorted(rows) == [
        ("pump-1", make_time(7, 1), 0.5, 0),
        ("pump-1", make_time(7, 59), -0.25, 1),
        ("pump-1", make_time(8, 0), 1.0, 0),
        ("pump-2", make_time(7, 0), 2.0, 0),
    ]


def test_a_fleet_without_detectors_has_rows_and_no_anomalies(published: Postgres) -> None:
    clear = "UPDATE plant.predictions SET score = NULL, anomaly = NULL, prediction = 1.5"
    answer = ask(published, "SummaryStatement", clear)
    names = ["row_count", "detector_rows", "anomaly_count", "score_count", "score_sum", "score_min"]
    assert {tuple(row.values()) for row in answer.select(names).to_pylist()} == {
        (2, 0, None, 0, None, None),
        (1, 0, None, 0, None, None),
    }
