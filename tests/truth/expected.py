"""What is right for a fleet: the rows that a model must get, by what its maker knows, and which refusals are honest."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scorer.readings.projection import Projection
from shared.contract.reasons import Reason
from tests.truth.clocks import Clocks
from tests.truth.fleets import SENTINEL, Fleet, ModelSpec, Row
from tests.truth.product import Answer
from tests.truth.training import score_rows, takes_gaps
from tests.truth.writing import Part, list_parts

Cells = dict[int, dict[str, float]]  # what is known of a model's device, by minute and column
CLOSE = 1e-9
UNTRUSTED = ("columns", "imputed columns", "union", "union of one", "nested union")  # not on the allow-list


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of a fleet's files that are any: those with a value, and all of files of which a column was not read."""

    fleet: Fleet
    needed: Projection

    def has(self, part: Part, row: Row) -> bool:
        """Whether a row is one."""
        return self._has_unread(part) or any(not math.isnan(read_value(self.fleet, value)) for value in row.cells)

    def _has_unread(self, part: Part) -> bool:
        names = [self.fleet.columns[i] for i in part.columns]
        if self.fleet.is_long or names == ["value"]:
            return False
        has_sensor = any(row.sensor for row in part.rows)
        return len(self.needed.select_features(tuple(names), has_sensor=has_sensor, value="value")) < len(names)


def check_answer(rows_of_files: Rows, spec: ModelSpec, answer: Answer) -> tuple[str, int]:
    """What is wrong with an answer, "" where nothing is; and how many rows must be counted as left out."""
    fleet = rows_of_files.fleet
    if answer.reason is Reason.UNTRUSTED_MODEL and spec.step in UNTRUSTED:
        return "", 0
    cells = gather_cells(rows_of_files, spec)
    features = cells if isinstance(cells, str) else choose_features(rows_of_files, spec, cells)
    if isinstance(features, str):
        allowed = {Reason.WRONG_FEATURES}
        allowed |= set() if cells else {Reason.NO_READINGS, Reason.SENSOR_SILENT}
        allowed |= {Reason.MISSING_FEATURES} if isinstance(cells, str) else set()
        return ("" if answer.reason in allowed else f"expected a refusal: {features}"), 0
    assert not isinstance(cells, str)
    rows = {minute: [values.get(name, math.nan) for name in features] for minute, values in cells.items()}
    if fleet.is_long:  # a time at which none of the model's sensors has a value is no row of it
        rows = {minute: row for minute, row in rows.items() if not all(map(math.isnan, row))}
    given = {minute: row for minute, row in rows.items() if is_given(fleet, spec, row)}
    if answer.reason:
        return check_reason(fleet, spec, answer, features, rows, given), 0
    if sorted(answer.rows) != sorted(given):
        return f"expected rows at {sorted(given)}, got {sorted(answer.rows)}", 0
    return check_scores(spec, answer, given), len(rows) - len(given)


def read_value(fleet: Fleet, value: float | None) -> float:
    """A cell as it is meant: NaN where there is no value."""
    return math.nan if value is None or (fleet.sentinel and value == SENTINEL) else value


def read_rows(rows_of_files: Rows, clocks: Clocks) -> Iterator[tuple[str, str, int, dict[str, float]]]:
    """What the files say, in their order: device, sensor, minute, and values by column; in a long one a cell a time.

    No values where there is no row.
    """
    fleet = rows_of_files.fleet
    for part in list_parts(fleet):
        for row in part.rows:
            if not fleet.is_long:
                values = {name: read_value(fleet, value) for name, value in zip(fleet.columns, row.cells, strict=True)}
                minute = clocks.find_minute((row.device, row.sensor), row.minute)
                yield row.device, row.sensor, minute, values if rows_of_files.has(part, row) else {}
                continue
            for i in part.file.order:
                if not (part.file.drops_empty and row.cells[i] is None):
                    name = fleet.columns[i]
                    minute = clocks.find_minute((row.device, name), row.minute)
                    value = read_value(fleet, row.cells[i])
                    yield row.device, name, minute, {} if math.isnan(value) else {name: value}


def count_unknown(rows_of_files: Rows) -> int:
    """The readings of a doubled hour of which nothing tells the pass."""
    clocks = Clocks(rows_of_files.fleet)
    for _ in read_rows(rows_of_files, clocks):
        pass
    return clocks.count_unknown()


def gather_cells(rows_of_files: Rows, spec: ModelSpec) -> Cells | str:
    """What is known of a model's device at each minute; or why nobody can know.

    Of readings with the same time the last counts, in long rows by sensor and in wide ones by column.
    """
    fleet, by_sensor = rows_of_files.fleet, dict[str, Cells]()
    for device, sensor, minute, values in read_rows(rows_of_files, Clocks(fleet)):
        is_other = fleet.is_long and spec.sensor not in ("", sensor)
        if device == spec.device and not is_other and values:
            cells = by_sensor.setdefault("" if fleet.is_long else sensor, {})
            at = cells.setdefault(minute, {})
            at.update({name: value for name, value in values.items() if not math.isnan(value) or name not in at})
    if spec.sensor and not fleet.is_long:
        by_sensor = {sensor: cells for sensor, cells in by_sensor.items() if sensor in ("", spec.sensor)}
    if len(by_sensor) > 1:
        return "rows of several sensors"
    return next(iter(by_sensor.values()), {})


def names_sensor(rows_of_files: Rows, spec: ModelSpec) -> bool:
    """Whether rows of wide files name the model's sensor."""
    return any(
        (row.device, row.sensor) == (spec.device, spec.sensor) and rows_of_files.has(part, row)
        for part in list_parts(rows_of_files.fleet)
        for row in part.rows
    )


def list_layouts(fleet: Fleet) -> list[tuple[str, ...]]:
    """The columns of each file."""
    return [tuple(fleet.columns[i] for i in part.columns) for part in list_parts(fleet)]


def choose_features(rows_of_files: Rows, spec: ModelSpec, cells: Cells) -> tuple[str, ...] | str:
    """The columns that are a model's features, in its order; or why nobody can know."""
    fleet = rows_of_files.fleet
    count, has_names = len(spec.features), spec.fitted == "frame"
    if spec.sidecar and not has_names and len(spec.sidecar) != count:
        return "a sidecar for another number of features"
    names = spec.features if has_names else spec.sidecar
    setting = tuple(fleet.features.split(",")) if fleet.features not in ("", "as-in-file") else ()
    if spec.sensor and (fleet.is_long or not names_sensor(rows_of_files, spec)):
        return (spec.sensor,) if count == 1 else "a column has one value"
    if not fleet.is_long and count == 1 and {name for layout in list_layouts(fleet) for name in layout} == {"value"}:
        return ("value",)  # one value, whatever its name
    if names:
        return names
    if setting and count == len(setting):
        return setting
    if count == 1:
        return choose_single(rows_of_files, spec, cells)
    if setting or fleet.is_long or fleet.features != "as-in-file":
        return "nothing says which feature is which"
    return choose_by_files(rows_of_files, spec)


def choose_single(rows_of_files: Rows, spec: ModelSpec, cells: Cells) -> tuple[str, ...] | str:
    """The column of a model of one feature without a name: the only one, or that which is called `value`."""
    if rows_of_files.fleet.is_long:
        sensors = {name for values in cells.values() for name in values}
        return tuple(sensors) if len(sensors) == 1 else "one of several sensors"
    if any(not math.isnan(values.get("value", math.nan)) for values in cells.values()):
        return ("value",)
    return choose_by_files(rows_of_files, spec)


def choose_by_files(rows_of_files: Rows, spec: ModelSpec) -> tuple[str, ...] | str:
    """The columns of the device's files, which must be the same, and as many as the model has features."""
    layouts = [
        tuple(rows_of_files.fleet.columns[i] for i in part.columns)
        for part in list_parts(rows_of_files.fleet)
        if any(row.device == spec.device and rows_of_files.has(part, row) for row in part.rows)
    ]
    if len(set(layouts)) != 1 or len(layouts[0]) != len(spec.features):
        return "files of other columns"
    return layouts[0]


def bears_gaps(fleet: Fleet, spec: ModelSpec) -> bool:
    """Whether the library is to be asked for rows with gaps."""
    gaps = spec.sidecar_gaps or fleet.gaps
    return gaps == "give" or (gaps == "model" and takes_gaps(spec))


def is_given(fleet: Fleet, spec: ModelSpec, row: list[float]) -> bool:
    """Whether the library is to be asked for a row."""
    if all(map(math.isfinite, row)):
        return True
    has_some = any(map(math.isfinite, row)) and not any(map(math.isinf, row))
    return has_some and bears_gaps(fleet, spec)


def check_scores(spec: ModelSpec, answer: Answer, given: dict[int, list[float]]) -> str:
    """How the scores differ from the library's."""
    minutes = sorted(given)
    expected = score_rows(spec, np.array([given[minute] for minute in minutes]))
    if expected is None:
        return "the library refuses these rows"
    for minute, score, label in zip(minutes, *expected, strict=True):
        scored, labelled = answer.rows[minute]
        if not math.isclose(scored, score, rel_tol=CLOSE, abs_tol=CLOSE):
            return f"at {minute}: expected the score {score}, got {scored}"
        if labelled != label and abs(score) > CLOSE:  # rounding decides the others
            return f"at {minute}: expected the label {label}, got {labelled}"
    return ""


def check_reason(
    fleet: Fleet,
    spec: ModelSpec,
    answer: Answer,
    features: tuple[str, ...],
    rows: dict[int, list[float]],
    given: dict[int, list[float]],
) -> str:
    """Why a model may not be refused for this reason."""
    absent = set(features) - {name for layout in list_layouts(fleet) for name in layout}
    bears = bears_gaps(fleet, spec)
    allowed = set[Reason]()
    if given and absent and not fleet.is_long and not (bears and len(absent) < len(features)):
        allowed = {Reason.MISSING_FEATURES}
    elif given:
        expected = score_rows(spec, np.array(list(given.values())))
        if expected is None:
            allowed = {Reason.ESTIMATOR_ERROR}
        elif not np.isfinite(expected[0]).all():
            allowed = {Reason.BAD_SCORES}
    else:
        columns = list(zip(*rows.values(), strict=True)) or [()] * len(features)
        has_silent = any(not any(map(math.isfinite, column)) for column in columns)
        allowed = {Reason.SENSOR_SILENT} if has_silent and rows else {Reason.NO_READINGS}
        allowed |= {Reason.SENSOR_SILENT} if not rows and (fleet.is_long or spec.sensor) else set()
        allowed |= {Reason.MISSING_FEATURES} if absent and not fleet.is_long else set()
    expected_rows = f"rows at {sorted(given)}, or " * bool(given)
    return (
        "" if answer.reason in allowed
        else f"expected {expected_rows}one of {sorted(allowed)}, got {answer.reason}: {answer.message}"
    )  # fmt: skip
