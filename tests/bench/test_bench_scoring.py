"""Ours and what people use today give the right answers on the fleet that the benchmark scores."""

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from bench import peers, scoring, scoring_cost, scoring_fleet, scoring_tables
from bench.measure import run_alone
from bench.peaks import Peaks
from bench.scoring_cost import Spent, run_commands, summarise_runs
from bench.scoring_fleet import Checked, Fleet, check_predictions
from bench.scoring_lab import START, Measured, Way
from scorer.predictions import table

MODELS, ROWS, VECTORS = 20, 10, 20


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module")
def fleet(base: Path) -> Fleet:
    return scoring_fleet.make_fleet(base, MODELS, ROWS, VECTORS, ["pkl"])


@pytest.fixture(scope="module")
def predictions(fleet: Fleet) -> pa.Table:
    """What the loop says; made here, so that a process of its own is not needed."""
    file = fleet.root / "loop.parquet"
    peers.loop(fleet.root, file)
    return parquet.read_table(file)


def changed(fleet: Fleet, table: pa.Table, name: str, values: Sequence[object]) -> list[Path]:
    column = pa.array(values, table.schema.field(name).type)
    file = fleet.root / "changed.parquet"
    parquet.write_table(table.set_column(table.schema.names.index(name), table.schema.field(name), column), file)
    return [file]


def test_peers_write_the_first_schema_of_the_predictions_which_has_fewer_columns() -> None:
    assert peers.SCHEMA.equals(table.SCHEMAS[1])


def test_the_check_accepts_what_scikit_learn_says(fleet: Fleet, predictions: pa.Table) -> None:
    score = predictions["score"].to_pylist()
    assert check_predictions(fleet, changed(fleet, predictions, "score", score), MODELS) == Checked(
        MODELS * ROWS, 0.0, 0
    )


def test_the_check_sees_a_score_that_is_off(fleet: Fleet, predictions: pa.Table) -> None:
    score = predictions["score"].to_numpy().copy()
    score[77] += 2e-9
    with pytest.raises(AssertionError, match="a score differs by "):
        check_predictions(fleet, changed(fleet, predictions, "score", score), MODELS)


def test_the_check_sees_a_label_that_differs(fleet: Fleet, predictions: pa.Table) -> None:
    label = predictions["anomaly"].to_numpy().copy()
    label[[3, 90]] ^= 1
    with pytest.raises(AssertionError, match="2 labels differ"):
        check_predictions(fleet, changed(fleet, predictions, "anomaly", label), MODELS)


def test_the_check_sees_a_row_that_is_there_twice_and_one_that_is_missing(fleet: Fleet, predictions: pa.Table) -> None:
    order = np.arange(MODELS * ROWS)
    order[5] = 6
    file = fleet.root / "doubled.parquet"
    parquet.write_table(predictions.take(order), file)
    with pytest.raises(AssertionError, match="2 rows are missing or doubled"):
        check_predictions(fleet, [file], MODELS)


def test_the_cost_of_a_command_holds_that_of_its_children() -> None:
    burn = "import time; t = time.process_time()\nwhile time.process_time() < t + 0.3: pass"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}])"
    daemon = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}], start_new_session=True)"
    found = run_alone(run_commands, [[sys.executable, "-c", child], [sys.executable, "-c", daemon]], 2, {})
    assert found.cpu > 0.6
    assert found.mebibytes > 5


def test_a_command_that_fails_fails_the_measurement() -> None:
    with pytest.raises(RuntimeError, match="ended with code 3"):
        run_alone(run_commands, [[sys.executable, "-c", "raise SystemExit(3)"]], 1, {})


def test_a_spread_is_the_median_with_its_least_and_most() -> None:
    found = summarise_runs([Spent(3, 30, 5), Spent(1, 10, 9), Spent(2, 40, 7)])
    assert found == scoring_cost.Spread(Spent(2, 30, 7), Spent(1, 10, 5), Spent(3, 40, 9), 3)


def measured(name: str, micro: float) -> Measured:
    """A thousand models more than the start, each of which takes so many µs."""
    models = START + 1_000
    whole, start = (summarise_runs([Spent(cpu, cpu, 100.0)]) for cpu in (1.0 + micro / 1_000, 1.0))
    return Measured(Way(name), models, 60, 100, whole, start, 1, Checked(60 * models, 1e-12, 0))


def test_ours_is_compared_with_the_best_that_people_use() -> None:
    micro = {"warm": 10, "loop": 3_000, "groupby": 2_000, "tuned": 500, "onnx": 300}
    found = [measured(name, each) for name, each in micro.items()]
    assert scoring_tables.describe_ratio(found, 5.0) == (
        "For a second of CPU, without the start, ours scores 200 times the models of the best that people use for the "
        "same answers (pandas groupby-apply), 30 times those of an onnxruntime session each (float32), 50 times those "
        "of a specialist's loop, on all cores. With the start, at 1,032 models against 1,032: 3 times. The limit is 5 "
        "µs: ours takes 2.0 times that."
    )


def test_what_a_further_model_takes_is_told_without_the_start_of_each_chunk() -> None:
    one = measured("warm", 10)
    two = replace(one, models=2 * START + 1_000, total=summarise_runs([Spent(9.0, 2.01, 100.0)]), starts=2)
    assert two.micro == pytest.approx(one.micro)
    assert math.isnan(replace(two, total=summarise_runs([Spent(9.0, 1.99, 100.0)])).micro)


def test_the_plot_has_a_bar_for_each_and_the_limit() -> None:
    drawn = scoring_tables.draw_plot([measured("warm", 10), measured("loop", 3_000)], 5.0)
    told = ("the limit", "ours, warm packs", "a loop over joblib.load", ">3,000<")
    assert [text for text in told if text not in drawn] == []
    assert drawn.count("<rect") == 4  # with the paper


def test_the_limit_counts_products_and_exponentials() -> None:
    assert Peaks(flops=1e9, exponentials=1e8).seconds(60, 100, 4) == pytest.approx(60e-6 + 60e-6)


def test_a_document_without_marks_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text("no marks")
    with pytest.raises(SystemExit, match="expected a document with <!-- scoring -->"):
        scoring.main(["--into", str(document)])
    assert document.read_text() == "no marks"
