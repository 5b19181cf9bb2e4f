"""Small fleets as people have them: how each model was trained, what the readings hold, how files cut them.

A fleet is plain data, so that Hypothesis can show the smallest one. The product gets only what a person would give it:
the files, and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

WORDS = ("temp", "amps", "flow", "value")
NUMBERS = ("1", "10", "2", "0")
KINDS = ("svm", "poly", "sgd", "forest", "lof", "envelope")
STEPS = (
    "alone", "standard", "minmax", "robust", "passthrough", "none", "nested", "nested passthrough", "set_output",
    "imputer", "scaled imputer", "pca",
)  # fmt: skip
FITTED = ("array", "frame", "numbered frame")
FORMS = ("csv", "csv.gz", "json", "parquet")
SENTINEL = -999.0


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """How a model was made. *features*: the columns that it was trained on, in its order."""

    device: str
    sensor: str  # "" for a model of its whole device
    features: tuple[str, ...]
    kind: str
    step: str
    fitted: str
    saw_gaps: bool  # rows with gaps were among those that it was trained on, where scikit-learn takes them
    skops: bool


@dataclass(frozen=True, slots=True)
class Row:
    """What a device measured at a minute: a value for each column of the fleet, None where there is none."""

    device: str
    minute: int
    cells: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class FileSpec:
    """How some rows are written. *order*: the columns as this file has them, by their index in the fleet's."""

    form: str
    n_rows: int  # of the next rows of the fleet
    order: tuple[int, ...]
    drops_empty: bool  # columns without a value are not in the file (in JSON, keys without one not in the row)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Models, readings, files and settings."""

    columns: tuple[str, ...]
    is_long: bool
    models: tuple[ModelSpec, ...]
    rows: tuple[Row, ...]
    files: tuple[FileSpec, ...]  # the last one takes the rest
    features: str  # of the setting: "", "as-in-file", or names
    gaps: str
    sentinel: bool  # whether MISSING_VALUES says it


@st.composite
def draw_models(draw: st.DrawFn, columns: tuple[str, ...], device: str, sensor: str) -> ModelSpec:
    """A model of a device, trained on some of the columns in an order of its own; or of one sensor."""
    order = columns if draw(st.booleans()) else tuple(draw(st.permutations(columns)))
    features = order[: draw(st.sampled_from([len(columns), len(columns), 1, 2]))]
    return ModelSpec(
        device=device,
        sensor=sensor,
        features=(sensor,) if sensor else features,
        kind=draw(st.sampled_from(KINDS)),
        step=draw(st.sampled_from(STEPS)),
        fitted=draw(st.sampled_from(FITTED)),
        saw_gaps=draw(st.booleans()),
        skops=draw(st.booleans()),
    )


@st.composite
def draw_fleets(draw: st.DrawFn) -> Fleet:
    """A fleet of one or two devices."""
    pool = draw(st.sampled_from((WORDS, NUMBERS)))
    columns = tuple(draw(st.permutations(pool)))[: draw(st.sampled_from([2, 3, 4, 1]))]
    is_long = draw(st.booleans())
    devices = ("a", "b")[: draw(st.integers(1, 2))]
    models = []
    for device in devices:
        sensors = draw(st.sampled_from([[""], [""], [""], ["", columns[-1]]]))
        models += [draw(draw_models(columns, device, sensor)) for sensor in sensors]
    numbers = st.integers(-40, 40).map(lambda number: number / 8)
    cells = st.one_of(numbers, st.sampled_from([None, SENTINEL, float("nan"), float("inf")]))
    whole, gappy = (st.tuples(*[cell] * len(columns)) for cell in (numbers, cells))
    row = st.tuples(st.integers(0, 9), st.one_of(whole, whole, gappy))
    rows = [Row(device, *pair) for device in devices for pair in draw(st.lists(row, min_size=2, max_size=7))]
    rows = draw(st.permutations(rows)) if draw(st.booleans()) else rows
    silent = draw(st.sampled_from([None, None, ("a", 0), ("a", len(columns) - 1)]))
    rows = [
        Row(row.device, row.minute, tuple(None if (row.device, i) == silent else v for i, v in enumerate(row.cells)))
        for row in rows
    ]
    in_order = st.just(tuple(range(len(columns))))
    file = st.builds(
        FileSpec,
        st.sampled_from(FORMS),
        st.integers(1, 4),
        st.one_of(in_order, in_order, st.permutations(range(len(columns))).map(tuple)),
        st.booleans(),
    )
    names = st.sampled_from([",".join(model.features) for model in models] or [""])
    return Fleet(
        columns,
        is_long,
        tuple(models),
        tuple(rows),
        tuple(draw(st.lists(file, min_size=1, max_size=3))),
        draw(st.sampled_from(["", "as-in-file", "as-in-file"]) | names),
        draw(st.sampled_from(["model", "model", "give", "drop"])),
        draw(st.booleans()),
    )
