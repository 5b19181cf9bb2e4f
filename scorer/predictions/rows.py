"""Rows of predictions in columns: those of one model, and those of several models one after the other. Pure.

A column that no row has is None. Within a joined column NaN, the code -1 or the anomaly -1 is null.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.contract.domain import Model

NUMBERS = ("value", "score", "prediction", "probability")
TEXTS = ("output", "label")
COMPLETE = ("value", "score", "prediction")  # of which a model has one in each row, or in none
_NO_ANOMALY = -1


@dataclass(frozen=True, slots=True)
class Texts:
    """A text for each row: the index of each row's text in *names*, -1 for none."""

    codes: np.ndarray  # int32
    names: tuple[str, ...]  # different ones

    def select_rows(self, rows: np.ndarray | slice) -> Texts:
        """The texts of some rows: a mask, indices or a slice."""
        return Texts(self.codes[rows], self.names)

    def is_none(self) -> bool:
        """Whether no row has a text."""
        return not len(self.codes) or int(self.codes.max()) < 0


@dataclass(frozen=True, slots=True)
class Predictions:
    """One model's predictions for its rows, oldest first; all its columns are complete, or None."""

    model: Model
    etag: str
    time: np.ndarray  # int64, microseconds since 1970; several rows may have one time, if *output* tells them apart
    value: np.ndarray | None = None  # float64, as are the other numbers; of a model with one feature
    score: np.ndarray | None = None  # of a detector or a clusterer; higher is more normal
    anomaly: np.ndarray | None = None  # bool, of a detector
    prediction: np.ndarray | None = None  # of a regressor
    probability: np.ndarray | None = None  # of a classifier; NaN where it has none
    output: Texts | None = None  # one of several outputs of the model
    label: Texts | None = None  # of a classifier or a clusterer

    def count_readings(self) -> int:
        """How many rows of readings were scored: the different times."""
        return 1 + int(np.count_nonzero(self.time[1:] != self.time[:-1])) if len(self.time) else 0

    def list_new_columns(self) -> list[str]:
        """The columns with values that schema 1 of predictions does not have; of a detector there are none."""
        return [name for name in ("output", "prediction", "label", "probability") if getattr(self, name) is not None]


@dataclass(frozen=True, slots=True)
class PredictionRows:
    """Predictions of some models of a pack, one after the other; each model's rows oldest first."""

    indices: np.ndarray  # int64, the models' indices in the pack
    row_counts: np.ndarray  # int64, rows of each model
    time: np.ndarray  # int64, microseconds since 1970
    value: np.ndarray | None = None  # float64, as are the other numbers
    score: np.ndarray | None = None
    anomaly: np.ndarray | None = None  # bool; or int8, where some rows have none
    prediction: np.ndarray | None = None
    probability: np.ndarray | None = None
    output: Texts | None = None
    label: Texts | None = None

    def select_models(self, keep: np.ndarray) -> PredictionRows:
        """The rows of the models that the mask *keep* selects."""
        is_kept = np.repeat(keep, self.row_counts)
        columns = {name: getattr(self, name) for name in (*NUMBERS, "anomaly")}
        texts = {name: getattr(self, name) for name in TEXTS}
        return PredictionRows(
            self.indices[keep],
            self.row_counts[keep],
            self.time[is_kept],
            **{name: None if column is None else column[is_kept] for name, column in columns.items()},
            **{name: None if column is None else column.select_rows(is_kept) for name, column in texts.items()},
        )


def join_predictions(predictions: Sequence[tuple[int, Predictions]]) -> PredictionRows:
    """The predictions of single models, each with its index in the pack."""
    models = [model_predictions for _, model_predictions in predictions]
    columns: dict[str, Any] = {name: join_numbers(models, name) for name in NUMBERS}
    columns |= {name: join_texts(models, name) for name in TEXTS}
    return PredictionRows(
        np.array([index for index, _ in predictions], np.int64),
        np.array([len(model.time) for model in models], np.int64),
        join_arrays([model.time for model in models], np.int64),
        anomaly=join_anomalies(models),
        **columns,
    )


def join_arrays(arrays: Sequence[np.ndarray], kind: type) -> np.ndarray:
    """The arrays one after the other; a single one as it is."""
    if len(arrays) == 1:
        return arrays[0]
    return np.concatenate(arrays) if arrays else np.empty(0, kind)


def join_numbers(tables: Sequence[Predictions | PredictionRows], name: str) -> np.ndarray | None:
    """A column of numbers of all tables, NaN for rows that have none; None where no table has it."""
    columns = [getattr(table, name) for table in tables]
    if all(column is None for column in columns):
        return None
    pairs = zip(tables, columns, strict=True)
    filled = [np.full(len(table.time), np.nan) if column is None else column for table, column in pairs]
    return join_arrays(filled, np.float64)


def join_anomalies(tables: Sequence[Predictions | PredictionRows]) -> np.ndarray | None:
    """The anomalies of all tables: bool, or int8 with -1 for rows that have none; None where no table has any."""
    columns = [table.anomaly for table in tables]
    if all(column is None for column in columns):
        return None
    if all(column is not None and column.dtype == bool for column in columns):
        return join_arrays([column for column in columns if column is not None], bool)
    pairs = zip(tables, columns, strict=True)
    filled = [
        np.full(len(table.time), _NO_ANOMALY, np.int8) if column is None else column.astype(np.int8)
        for table, column in pairs
    ]
    return join_arrays(filled, np.int8)


def join_texts(tables: Sequence[Predictions | PredictionRows], name: str) -> Texts | None:
    """A column of texts of all tables; None where no table has it."""
    columns: list[Texts | None] = [getattr(table, name) for table in tables]
    if all(column is None for column in columns):
        return None
    code_of: dict[str, int] = {}
    arrays = []
    for table, column in zip(tables, columns, strict=True):
        if column is None:
            arrays.append(np.full(len(table.time), -1, np.int32))
            continue
        codes = [code_of.setdefault(text, len(code_of)) for text in column.names]
        arrays.append(np.array([*codes, -1], np.int32)[column.codes])  # the code -1 takes the last
    return Texts(join_arrays(arrays, np.int32), tuple(code_of))


def make_texts(texts: Iterable[str | None]) -> Texts:
    """A column of these texts; None is no text."""
    code_of: dict[str, int] = {}
    codes = [-1 if text is None else code_of.setdefault(text, len(code_of)) for text in texts]
    return Texts(np.array(codes, np.int32), tuple(code_of))
