"""What an earlier attempt scored is taken over whole, or, where anything of it does not agree, not at all."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scorer.predictions.rows import Predictions, join_predictions
from scorer.predictions.table import to_parquet, to_table
from scorer.scoring.carry_over import CarriedResults, carry_over_results
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model, Part
from shared.contract.errors import Unavailable
from shared.contract.manifest import Manifest
from shared.contract.model_list import ModelList
from shared.contract.outcomes import ModelResult, Outcomes
from shared.contract.paths import parts_prefix, report_path
from shared.contract.reasons import Reason
from shared.contract.report import Report
from shared.contract.windows import Window
from tests.reports import read_report

HOUR = Window.parse("20261121T0700Z-PT1H")
CHUNK = "c00003"
NOW = datetime(2026, 11, 21, 8, 5, tzinfo=UTC)
MODELS = (
    Model("a#b", "x", "a#b/x.skops", "1"),
    Model("a", "", "a.skops", "2"),
    Model("a", "y", "a/y.skops", "3"),
    Model("bad", "", "bad.skops", "4"),
    Model("none", "", "none.skops", "5"),
)
MANIFEST = Manifest(HOUR, CHUNK, MODELS, "", "", "")
VERDICTS = (
    ModelResult("a#b/x", 2, 1),
    ModelResult("a", 3, 2, etag="newer"),
    ModelResult("a/y", 1, 1),
    ModelResult("bad", reason=Reason.BAD_SCORES, message="2 of 2 scores are not finite"),
    ModelResult("none"),
)


def said(model: Model, etag: str, rows: int, value: float | None) -> Predictions:
    values = None if value is None else np.full(rows, value)
    return Predictions(model, etag, np.arange(rows), values, np.full(rows, -0.5), np.arange(rows) % 2 == 0)


PREDICTIONS = [said(MODELS[0], "1", 2, 7.5), said(MODELS[1], "newer", 3, None), said(MODELS[2], "3", 1, -1.0)]


def table_of(predictions: Sequence[Predictions]) -> pa.Table:
    models = ModelList.from_models(one.model for one in predictions)
    etags = [one.etag for one in predictions]
    return to_table(models, etags, [join_predictions(list(enumerate(predictions)))])


@pytest.fixture(params=[1, 2])
def work(tmp_path: Path, request: pytest.FixtureRequest) -> Folder:
    """Where attempt 1 has left its report, of either schema, and its part."""
    folder = Folder(tmp_path)
    leave(folder, table_of(PREDICTIONS))
    write(folder, replace(report_of(folder), schema=request.param))
    return folder


def leave(work: Folder, table: pa.Table, *, warnings: tuple[str, ...] = ()) -> Report:
    """Write a part and the report of attempt 1 over it."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, store_schema=False)
    data = sink.getvalue().to_pybytes()
    path = f"{parts_prefix(HOUR.id, CHUNK)}{uuid.uuid4().hex}.parquet"
    work.write(path, data)
    part = Part(path, len(data), base64.b64encode(hashlib.md5(data).digest()).decode(), table.num_rows)
    ended, outcomes = NOW + timedelta(seconds=1), Outcomes.from_results(VERDICTS)
    report = Report(HOUR.id, CHUNK, 1, NOW, ended, outcomes, (part,), warnings)
    write(work, report)
    return report


def write(work: Folder, report: Report) -> None:
    work.write(report_path(HOUR.id, CHUNK, 1), report.to_bytes())


def report_of(work: Folder) -> Report:
    return read_report(work.read(report_path(HOUR.id, CHUNK, 1)).data, MANIFEST)


OTHER_FILE = f"1 models keep rows by another file than is planned now, such as {MODELS[1].id}"


def test_every_model_that_was_scored_is_taken_over_with_its_verdict_and_its_rows(work: Folder) -> None:
    carried = carry_over_results(work, MANIFEST, 1)

    found = {i: (one.result, one.predictions and one.predictions.etag) for i, one in carried.scored.items()}
    assert carried.warnings == (OTHER_FILE,)
    assert found == {
        0: (VERDICTS[0], "1"),
        1: (VERDICTS[1], "newer"),
        2: (VERDICTS[2], "3"),
        4: (VERDICTS[4], None),  # scored, and had no rows
    }
    for place, expected in enumerate(PREDICTIONS):
        taken = carried.scored[place].predictions
        assert taken
        assert table_of([taken]).equals(table_of([expected]))


def test_a_model_of_a_later_round_keeps_the_etag_that_scored_its_rows(work: Folder) -> None:
    now = replace(MANIFEST, models=tuple(replace(model, etag="newer") for model in MODELS))

    carried = carry_over_results(work, now, 1)

    etags = {i: (one.result.etag, one.predictions and one.predictions.etag) for i, one in carried.scored.items()}
    assert etags == {0: ("1", "1"), 1: ("", "newer"), 2: ("3", "3"), 4: ("", None)}


def test_rows_that_are_carried_over_are_written_as_the_same_bytes(work: Folder) -> None:
    (part,) = report_of(work).parts

    carried = carry_over_results(work, MANIFEST, 1)

    again = table_of([one.predictions for one in carried.scored.values() if one.predictions])
    assert to_parquet(again) == to_parquet(table_of(PREDICTIONS))
    assert part.rows == again.num_rows


def test_an_attempt_that_scored_nothing_gives_nothing_and_is_no_trouble(work: Folder) -> None:
    none = [ModelResult(model.id, reason=Reason.NO_READINGS) for model in MODELS]
    write(work, replace(report_of(work), outcomes=Outcomes.from_results(none), parts=()))

    assert carry_over_results(work, MANIFEST, 1) == CarriedResults({})


def test_what_the_earlier_report_warned_of_is_told_as_its_word(work: Folder) -> None:
    leave(work, table_of(PREDICTIONS), warnings=("attempt 0: long ago", "3 rows were left out"))

    assert carry_over_results(work, MANIFEST, 1).warnings == (
        "attempt 0: long ago",
        "attempt 1: 3 rows were left out",
        OTHER_FILE,
    )


def test_without_an_attempt_to_carry_nothing_is_read(tmp_path: Path) -> None:
    assert carry_over_results(Silent(tmp_path), MANIFEST, 0) == CarriedResults({})


def gone(work: Folder) -> None:
    work.remove(report_path(HOUR.id, CHUNK, 1))


def cut(work: Folder) -> None:
    path = report_path(HOUR.id, CHUNK, 1)
    work.write(path, work.read(path).data[:-9])


def of_another_chunk(work: Folder) -> None:
    write(work, replace(report_of(work), chunk="c00004"))


def of_other_models(work: Folder) -> None:
    name_another(work, 3, schema=2)  # which has the ids of models that were not scored


def of_other_models_in_schema_1(work: Folder) -> None:
    name_another(work, 0, schema=1)


def name_another(work: Folder, place: int, schema: int) -> None:
    results = [*VERDICTS]
    results[place] = results[place]._replace(model="a#b/z")
    write(work, replace(report_of(work), outcomes=Outcomes.from_results(results), schema=schema))


def part_gone(work: Folder) -> None:
    work.remove(report_of(work).parts[0].path)


def part_with_a_flipped_bit(work: Folder) -> None:
    path = report_of(work).parts[0].path
    data = bytearray(work.read(path).data)
    data[len(data) // 2] ^= 1
    work.write(path, bytes(data))


def part_that_is_no_parquet(work: Folder) -> None:
    report = report_of(work)
    path = report.parts[0].path
    work.write(path, b"abc")
    write(work, replace(report, parts=(Part(path, 3, "kAFQmDzST7DWlj99KOF/cg==", 6),)))


def part_of_other_columns(work: Folder) -> None:
    leave(work, table_of(PREDICTIONS).drop_columns(["value"]))


def part_in_another_order(work: Folder) -> None:
    leave(work, table_of([PREDICTIONS[1], PREDICTIONS[2], PREDICTIONS[0]]))


def part_with_rows_of_a_model_that_failed(work: Folder) -> None:
    leave(work, table_of([*PREDICTIONS[:2], said(MODELS[3], "4", 1, -1.0)]))


def part_with_another_sensor(work: Folder) -> None:
    leave(work, table_of([*PREDICTIONS[:2], said(replace(MODELS[2], sensor="z"), "3", 1, -1.0)]))


def part_with_rows_of_two_versions_of_a_model(work: Folder) -> None:
    table = table_of(PREDICTIONS)
    etags = ["1", "older", *table["model"].to_pylist()[2:]]
    index = table.schema.get_field_index("model")
    leave(work, table.set_column(index, table.schema.field(index), pa.array(etags, table.schema.field(index).type)))


def part_with_a_row_too_many_for_one_and_too_few_for_another(work: Folder) -> None:
    leave(work, table_of([PREDICTIONS[0], said(MODELS[1], "newer", 2, None), said(MODELS[2], "3", 2, -1.0)]))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (gone, "no file"),
        (cut, "report: "),
        (of_another_chunk, "expected the report of"),
        (of_other_models, "its models are not the manifest's"),
        (of_other_models_in_schema_1, "its models are not the manifest's"),
        (part_gone, "no file"),
        (part_with_a_flipped_bit, "with MD5"),
        (part_that_is_no_parquet, "Parquet"),
        (part_of_other_columns, "expected columns"),
        (part_in_another_order, "column 'device'"),
        (part_with_rows_of_a_model_that_failed, "column 'device'"),
        (part_with_another_sensor, "of its models: column 'sensor'"),
        (part_with_rows_of_two_versions_of_a_model, "of its models: column 'model'"),
        (part_with_a_row_too_many_for_one_and_too_few_for_another, "of its models: column 'sensor'"),
    ],
)
def test_what_does_not_agree_is_not_carried_at_all_and_the_report_will_say_so(
    work: Folder, damage: Callable[[Folder], None], says: str
) -> None:
    damage(work)

    carried = carry_over_results(work, MANIFEST, 1)

    (warning,) = carried.warnings
    assert carried.scored == {}
    assert warning.startswith("attempt 1 could not be carried over, all models were scored: ")
    assert says in warning


class Silent(Folder):
    """A store that does not answer."""

    def read(self, path: str) -> Content:
        raise Unavailable(f"no answer for {path}")


def test_a_store_that_does_not_answer_is_asked_again_by_another_attempt(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match=r"c00003-1\.report"):
        carry_over_results(Silent(tmp_path), MANIFEST, 1)
