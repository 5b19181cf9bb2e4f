"""Small fleets as people have them: how each model was trained, what the readings hold, how files cut them.

A fleet is plain data, so that Hypothesis can show the smallest one. The product gets only what a person would give it:
the files, and the settings.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import strategies as st

WORDS = ("temp", "amps", "flow", "value")
NUMBERS = ("1", "10", "2", "0")
KINDS = ("svm", "poly", "sgd", "forest", "lof", "envelope")
STEPS = (
    "alone", "standard", "minmax", "robust", "passthrough", "none", "nested", "nested passthrough", "set_output",
    "imputer", "scaled imputer", "pca", "columns", "imputed columns", "union", "union of one", "nested union",
)  # fmt: skip
FITTED = ("array", "frame", "numbered frame")
FORMS = ("csv", "csv.gz", "csv.zst", "semicolon.csv", "json", "array.json", "parquet", "avro", "capture.avro")
BY_OBJECT = ("json", "array.json", "capture.avro")  # forms whose rows may lack columns that others have
SENTINEL = -999.0
# Two of each: one of two spellings that Parquet and JSON may write as numbers or UUIDs.
IDS = (
    ("a", "b"), ("7", "12"),
    ("0b4f0f6e-6ad1-4d09-9b5b-3f1c2f5a9f00", "c1d2e3f4-0000-4000-8000-000000000001"),
)  # fmt: skip
ZONE = "Europe/Berlin"


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
    sidecar: tuple[str, ...] = ()  # the features that its sidecar names
    sidecar_gaps: str = ""  # what its sidecar says of gaps

    @property
    def id(self) -> str:
        """The name of its file without the ending."""
        return f"{self.device}/{self.sensor}" if self.sensor else self.device


@dataclass(frozen=True, slots=True)
class Row:
    """What a device measured at a minute: a value for each column of the fleet, None where there is none."""

    device: str
    minute: int  # of the hour; in a fleet by the clocks of a zone it stands for ten minutes, see `clocks`
    cells: tuple[float | None, ...]
    sensor: str = ""  # of wide rows, where the fleet's have one


@dataclass(frozen=True, slots=True)
class FileSpec:
    """How some rows are written. *order*: the columns as this file has them, by their index in the fleet's."""

    form: str
    n_rows: int  # of the next rows of the fleet
    order: tuple[int, ...]
    drops_empty: bool  # columns without a value are not in the file (in JSON, keys without one not in the row)
    typed: bool  # Parquet and JSON have ids as numbers and UUIDs, Parquet has times as timestamps, where they can


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
    zone: str = ""  # the clocks that times without an offset are by, in the night in which an hour comes twice
    in_folders: bool = False  # `device=a/`
    by_path: bool = False  # folders of devices are those of READINGS_PATH
    is_isolated: bool = False  # whether the attempt is: only worker processes read the models' files


@st.composite
def draw_models(draw: st.DrawFn, columns: tuple[str, ...], device: str, sensor: str) -> ModelSpec:
    """A model of a device, trained on some of the columns in an order of its own; or of one sensor."""
    order = columns if draw(st.booleans()) else tuple(draw(st.permutations(columns)))
    features = order[: draw(st.sampled_from([len(columns), len(columns), 1, 2]))]
    is_whole = not sensor or sensor not in columns
    features = features if is_whole else (sensor,)
    return ModelSpec(
        device=device,
        sensor=sensor,
        features=features,
        kind=draw(st.sampled_from(KINDS)),
        step=draw(st.sampled_from(STEPS)),
        fitted=draw(st.sampled_from(FITTED)),
        saw_gaps=draw(st.booleans()),
        skops=draw(st.booleans()),
        sidecar=draw(st.sampled_from([(), (), ()]) | st.permutations(features).map(tuple) | st.just(columns)),
        sidecar_gaps=draw(st.sampled_from(["", "", "", "model", "give", "drop"])),
    )


@st.composite
def draw_fleets(draw: st.DrawFn) -> Fleet:
    """A fleet of one or two devices."""
    pool = draw(st.sampled_from((WORDS, NUMBERS)))
    columns = tuple(draw(st.permutations(pool)))[: draw(st.sampled_from([2, 3, 4, 1]))]
    is_long = draw(st.booleans())
    devices = draw(st.sampled_from(IDS))[: draw(st.integers(1, 2))]
    row_sensors = (
        () if is_long or "value" in columns else draw(st.sampled_from([(), (), ("s",), ("s", "t"), ("", "s")]))
    )
    models = []
    for device in devices:
        sensors = draw(st.sampled_from([[""], [""], [""], ["", columns[-1]], ["", *row_sensors[-1:]]]))
        models += [draw(draw_models(columns, device, sensor)) for sensor in sensors]
    file = st.builds(
        FileSpec,
        st.sampled_from(FORMS),
        st.integers(1, 4),
        draw_orders(len(columns)),
        st.booleans(),
        st.booleans(),
    )
    names = st.sampled_from([",".join(model.features) for model in models] or [""])
    return Fleet(
        columns,
        is_long,
        tuple(models),
        tuple(draw(draw_rows(devices, len(columns), row_sensors))),
        tuple(draw(st.lists(file, min_size=1, max_size=3))),
        draw(st.sampled_from(["", "as-in-file", "as-in-file"]) | names),
        draw(st.sampled_from(["model", "model", "give", "drop"])),
        draw(st.booleans()),
        draw(st.sampled_from(["", "", ZONE])),
        draw(st.sampled_from([False, False, True])),
        draw(st.booleans()),
        draw(st.sampled_from([False, False, True])),
    )


def draw_orders(n_columns: int) -> st.SearchStrategy[tuple[int, ...]]:
    """An order of columns, most often their own."""
    in_order = st.just(tuple(range(n_columns)))
    return st.one_of(in_order, in_order, st.permutations(range(n_columns)).map(tuple))


@st.composite
def draw_rows(draw: st.DrawFn, devices: tuple[str, ...], n_columns: int, sensors: tuple[str, ...]) -> list[Row]:
    """The rows of each device, of some of which one column may be silent."""
    numbers = st.integers(-40, 40).map(lambda number: number / 8)
    cells = st.one_of(numbers, st.sampled_from([None, SENTINEL, float("nan"), float("inf")]))
    whole, gappy = (st.tuples(*[cell] * n_columns) for cell in (numbers, cells))
    row = st.tuples(st.integers(0, 9), st.one_of(whole, whole, gappy), st.sampled_from(sensors or ("",)))
    rows = [Row(device, *parts) for device in devices for parts in draw(st.lists(row, min_size=2, max_size=7))]
    rows = draw(st.permutations(rows)) if draw(st.booleans()) else rows
    silent = draw(st.sampled_from([None, None, (devices[0], 0), (devices[0], n_columns - 1)]))
    return [
        replace(row, cells=tuple(None if (row.device, i) == silent else v for i, v in enumerate(row.cells)))
        for row in rows
    ]
