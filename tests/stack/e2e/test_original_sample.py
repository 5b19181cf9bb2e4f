"""The original sample's models and readings, as they are, through storage, the tick, the cluster, and back."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pyarrow import dataset

from shared.contract.domain import Tally
from shared.state.runs import Phase
from tests.stack.e2e.place import Place, tick_until

pytestmark = pytest.mark.data

HOURS = [f"201808{hour}00Z-PT1H" for hour in ("28T23", "29T00", "29T01", "29T02", "29T03")]
SAMPLE = {
    "MODEL_NAMES": "model_{device}_{sensor}",
    "READINGS_PATH": "sensor_data.csv",
    "READINGS_COLUMNS": "time=TS,device=Device,sensor=Tag,value=Value",
}


def converted(seed: Path, to: Path) -> dict[str, bytes]:
    """The skops files that `convert` makes of the old pickles."""
    command = [sys.executable, "-m", "scorer", "convert", "--models", str(seed / "models"), "--to", str(to)]
    subprocess.run([*command, "--model-names", SAMPLE["MODEL_NAMES"]], check=True)
    return {path.relative_to(to).as_posix(): path.read_bytes() for path in to.rglob("*.skops")}


@pytest.mark.parametrize("convert", [False, True])
def test_its_five_hours_hold_6757_anomalies_in_17768_rows(
    place: Place, seed: Path, tmp_path: Path, convert: bool
) -> None:
    sample = dict(SAMPLE)
    if convert:
        models = converted(seed, tmp_path / "models")
        del sample["MODEL_NAMES"]  # they are named as is usual here
    else:
        models = {path.name: path.read_bytes() for path in (seed / "models").iterdir()}
    assert len(models) == 15
    place.upload("models", models)
    place.upload("readings", {"sensor_data.csv": (seed / "sensor_data.csv").read_bytes()})
    plane = place.plane(**sample)
    first = plane if convert else place.plane(**sample, CHUNK_SIZE="1")  # a job for each model

    # On the empty ledger the last closed window is due; then nobody looks until all five have closed.
    first.tick(datetime(2018, 8, 29, 0, 5, tzinfo=UTC))
    runs = plane.ledger.list_runs
    late = datetime(2018, 8, 29, 4, 5, tzinfo=UTC)
    tick_until(plane, late, lambda: [r.id for r in runs(9).items if r.phase.terminal] == HOURS[::-1])

    found = runs(9).items
    assert {run.phase for run in found} == {Phase.SUCCEEDED}
    assert {run.tally.models for run in found} == {15}
    total = sum((run.tally for run in found), Tally())
    assert (total.rows, total.anomalies) == (17_768, 6_757)
    assert [run.chunks for run in found[::-1]] == [1 if convert else 15, 1, 1, 1, 1]
    check_readers(place.download("predictions", tmp_path / "predictions"), seed)


def check_readers(folder: Path, seed: Path) -> None:
    """DuckDB, pandas and pyarrow each read the folder as one table, and each reading is in it once."""
    told = pd.read_csv(seed / "sensor_data.csv", dtype={"Device": str, "Tag": str}, parse_dates=["TS"])
    expected = set(zip(told["TS"].dt.tz_localize("UTC"), told["Device"], told["Tag"], told["Value"], strict=True))
    assert len(expected) == 17_768

    frame = pd.read_parquet(folder)
    rows = set(zip(frame["time"], frame["device"], frame["sensor"], frame["value"], strict=True))
    assert (len(frame), rows, frame["anomaly"].sum()) == (17_768, expected, 6_757)

    table = dataset.dataset(folder, partitioning="hive").to_table()
    assert (table.num_rows, sum(table["anomaly"].to_pylist())) == (17_768, 6_757)

    counts = "count(*), count(DISTINCT (time, device, sensor)), sum(anomaly)"
    sql = f"SELECT {counts} FROM read_parquet(?, hive_partitioning=true)"
    with duckdb.connect() as connection:
        counted = connection.execute(sql, [f"{folder}/**/*.parquet"]).fetchall()
    assert counted == [(17_768, 17_768, 6_757)]
