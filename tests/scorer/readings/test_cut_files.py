"""How rows are cut into files, and which form each file has, changes no answer."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scorer.errors import Unscorable
from scorer.readings import features
from scorer.readings.features import Expected
from shared.contract.domain import Model
from shared.contract.reasons import Reason
from shared.contract.scoring_options import ReadingOptions
from tests.scorer.readings.seen import read

COLUMNS = ("temp", "amps", "value")
DEVICES = ("pump", "fan")


@st.composite
def draw_cuts(draw: st.DrawFn) -> tuple[bool, list[tuple[str, int, list[float | None]]], list[tuple[str, int]]]:
    """Rows of a wide or long fleet, and two ways to cut them: a form and a number of rows for each file."""
    cells = st.lists(st.none() | st.integers(0, 9).map(float), min_size=3, max_size=3)
    rows = draw(st.lists(st.tuples(st.sampled_from(DEVICES), st.integers(0, 5), cells), min_size=1, max_size=8))
    files = draw(st.lists(st.tuples(st.sampled_from(("csv", "json", "parquet")), st.integers(1, 4)), max_size=4))
    return draw(st.booleans()), rows, files


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(draw_cuts())
def test_how_rows_are_cut_into_files_changes_no_answer(
    drawn: tuple[bool, list[tuple[str, int, list[float | None]]], list[tuple[str, int]]],
) -> None:
    is_long, rows, files = drawn

    assert ask(is_long, rows, files) == ask(is_long, rows, [("csv", len(rows))])


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(draw_cuts())
def test_how_readings_are_cut_into_rows_changes_no_answer(
    drawn: tuple[bool, list[tuple[str, int, list[float | None]]], list[tuple[str, int]]],
) -> None:
    _, rows, files = drawn
    single = [
        (device, minute, [cell if i == column else None for i, cell in enumerate(cells)])
        for device, minute, cells in rows
        for column in range(len(COLUMNS))
    ]

    assert ask(False, single, files) == ask(False, rows, [])


def ask(is_long: bool, rows: list[tuple[str, int, list[float | None]]], files: list[tuple[str, int]]) -> list[object]:
    """What each model sees of rows that are cut so."""
    answers: list[object] = []
    with TemporaryDirectory() as folder:
        start = 0
        for number, (form, n_rows) in enumerate([*files, ("json", len(rows))]):
            write(Path(folder) / f"{number}", form, is_long, rows[start : start + n_rows])
            start += n_rows
        found = read(Path(folder), *DEVICES, policy=ReadingOptions())
    for device in DEVICES:
        for names, takes_gaps in [(("temp", "amps"), False), (("amps", "value", "temp"), True), (("value",), False)]:
            model = Model(device, "", "m", "e")
            try:
                rows_of_model = features.find_frame_rows(found, model)
                expected = Expected(names, len(names), takes_gaps)
                signal = features.build_model_readings(found, model, rows_of_model, expected)
            except Unscorable as error:
                is_silent = error.reason is Reason.SENSOR_SILENT  # other messages have columns in the files' order
                answers.append((error.reason, str(error) if is_silent else ""))
            else:
                values = np.where(np.isnan(signal.values), -1, signal.values).tolist()
                answers.append((signal.time.tolist(), values, signal.left_out))
    return answers


def write(path: Path, form: str, is_long: bool, rows: list[tuple[str, int, list[float | None]]]) -> None:
    """The rows of one file; columns without a value are not in it."""
    records = [
        {"time": f"2026-11-21T07:{minute:02}:00Z", "device": device, **dict(zip(COLUMNS, cells, strict=True))}
        for device, minute, cells in rows
    ]
    frame = pd.DataFrame(records, columns=["time", "device", *COLUMNS])
    if is_long:
        frame = frame.melt(["time", "device"], var_name="sensor", value_name="reading", ignore_index=False)
        frame = frame.sort_index(kind="stable").dropna().rename(columns={"reading": "value"})
    frame = frame.dropna(axis="columns", how="all")
    if len(frame.columns) < 3 or not len(frame):
        return
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "json":
        path.write_text("".join(row.dropna().to_json() + "\n" for _, row in frame.iterrows()))
    else:
        frame.to_parquet(path, index=False)
