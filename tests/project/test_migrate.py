"""The commands and queries of docs/migrate.md, carried out on the original sample."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import duckdb
import pandas as pd
import pytest
import skops.io

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "migrate.md").read_text()

pytestmark = pytest.mark.data


def blocks(kind: str) -> list[str]:
    """The document's code of that kind."""
    return [
        re.sub(r"^   ", "", code, flags=re.MULTILINE) for code in re.findall(rf"```{kind}\n(.+?)```", TEXT, re.DOTALL)
    ]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the document has run."""
    return tmp_path_factory.mktemp("desk")


def run(command: str, seed: Path, desk: Path) -> str:
    words = [word.replace("SEED", str(seed)) for word in shlex.split(command.replace("\\\n", " "))]
    words = [str(desk / word) if word in ("OUT", "OUT2", "NEW") else word for word in words]
    assert words[0] == "python"
    done = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.replace(f"{desk}/", "")


def old_predictions(desk: Path, seed: Path) -> None:
    """What the sample's predict.py would have left: scikit-learn on the converted models, and its own names."""
    (desk / "OLD").mkdir()
    readings = pd.read_csv(seed / "sensor_data.csv")
    for (device, tag), rows in readings.groupby(["Device", "Tag"]):
        data = (desk / "NEW" / str(device) / f"{tag}.skops").read_bytes()
        model = skops.io.loads(data, trusted=skops.io.get_untrusted_types(data=data))
        normal = model.predict(rows[["Value"]].to_numpy()) == 1
        told = rows.rename(columns={"Value": "Val"}).assign(Prediction=(~normal).astype(int))
        told.to_csv(desk / "OLD" / f"preds_{device}_{tag}_181121120000", index=None)


def test_the_commands_say_what_the_document_says_and_the_outputs_agree_row_by_row(seed: Path, desk: Path) -> None:
    printed = [run(command, seed, desk) for command in blocks("sh")]

    told = [line for line in TEXT.splitlines() if line.startswith(("note: 15", "15 of 15"))]
    assert printed[0].splitlines() == told
    assert "6757 anomalies in 17768 rows" in printed[2]
    old_predictions(desk, seed)
    with duckdb.connect() as connection:
        renamed, compared = (
            connection.sql(query.replace("OUT/", f"{desk}/OUT/").replace("OLD/", f"{desk}/OLD/"))
            for query in blocks("sql")
        )
        assert compared.columns == ["rows", "only_old", "only_new", "differ"]
        assert compared.fetchall() == [(17_768, 0, 0, 0)]
        assert renamed.columns == ["TS", "Device", "Tag", "Val", "Prediction"]
        assert renamed.aggregate('sum("Prediction")').fetchall() == [(6_757,)]


def test_the_models_that_call_everything_an_anomaly_are_those_that_the_document_names(seed: Path, desk: Path) -> None:
    run(blocks("sh")[0], seed, desk)
    frame = pd.read_parquet(desk / "OUT")
    means = frame.groupby(["device", "sensor"])["anomaly"].mean()
    always = [f"{device}_{sensor}" for device, sensor in means[means == 1].index]
    ((named, count),) = re.findall(r"of the fifteen \((.+?)\) have a single support vector.+?: ([\d,]+) of the", TEXT)
    assert always == re.findall(r"\d_\d", named)
    both = frame[(frame["device"] + "_" + frame["sensor"]).isin(always)]
    assert both["anomaly"].sum() == int(count.replace(",", ""))
