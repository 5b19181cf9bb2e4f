"""The models of a manifest, in columns: no object for a model until one is asked for. Pure."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from types import MappingProxyType
from typing import overload

from .columns import Column, make_texts
from .domain import Model, ModelFile
from .reasons import Reason

COLUMNS = ("device", "sensor", "name", "etag")
_NONE: Mapping[int, Reason] = MappingProxyType({})
_NO_FILES: Mapping[int, tuple[ModelFile, ...]] = MappingProxyType({})


class ModelList(Sequence[Model]):
    """Models in the order of a manifest, or the ones from *start* to *stop* of such a list.

    It is a sequence of `Model`, and equal to any sequence of equal models. Whoever handles all models takes a column
    at once: ten times as fast as an object for each.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        refused: Mapping[int, Reason] = _NONE,
        start: int = 0,
        stop: int | None = None,
        files: Mapping[int, tuple[ModelFile, ...]] = _NO_FILES,
    ) -> None:
        """*columns* by the names in COLUMNS, all of one length; *refused* and *files* by index in them.

        Raises ValueError.
        """
        counts = {columns[name].count for name in COLUMNS}
        if len(counts) > 1:
            raise ValueError(f"expected columns of one length, got {sorted(counts)}")
        (count,) = counts
        for indices in (refused, files):
            if not all(0 <= index < count for index in indices):
                raise ValueError(f"expected indices of {count} models, got {min(indices)} to {max(indices)}")
        self.columns = columns
        self.start, self.stop = start, count if stop is None else stop
        self._all_refused, self._all_files = refused, files

    @classmethod
    def from_models(cls, models: Iterable[Model]) -> ModelList:
        """The list of these models; *models* itself if it is one. Sizes of files are dropped."""
        if isinstance(models, cls):
            return models
        rows = list(models)
        columns = {name: make_texts([getattr(model, name) for model in rows]) for name in COLUMNS}
        return cls(
            columns,
            {index: model.refused for index, model in enumerate(rows) if model.refused},
            files={index: model.files for index, model in enumerate(rows) if model.files},
        )

    def __len__(self) -> int:
        return self.stop - self.start

    @overload
    def __getitem__(self, index: int) -> Model: ...

    @overload
    def __getitem__(self, index: slice) -> ModelList: ...

    def __getitem__(self, index: int | slice) -> Model | ModelList:
        if isinstance(index, slice):
            first, last, step = index.indices(len(self))
            if step != 1:
                raise ValueError(f"expected a slice with step 1, got {step}")
            start, stop = self.start + first, self.start + max(first, last)
            return ModelList(self.columns, self._all_refused, start, stop, self._all_files)
        place = range(self.start, self.stop)[index]
        device, sensor, name, etag = (self.columns[column].texts[place] for column in COLUMNS)
        refused, files = self._all_refused.get(place), self._all_files.get(place, ())
        return Model(device, sensor, name, etag, refused, files=files)

    def __iter__(self) -> Iterator[Model]:
        device, sensor, name, etag = (self.read_texts(column) for column in COLUMNS)
        models = map(Model, device, sensor, name, etag, map(self.refused.get, range(len(self))))
        if not self.files:
            return models
        files = self.files
        return (replace(model, files=files[i]) if i in files else model for i, model in enumerate(models))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(operator.eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"ModelList({len(self)} models)"

    def read_texts(self, name: str) -> Sequence[str]:
        """One column: device, sensor, name or etag."""
        texts = self.columns[name].texts
        return texts if len(texts) == len(self) else texts[self.start : self.stop]

    @cached_property
    def ids(self) -> Sequence[str]:
        """The id of each model."""
        if not self.has_sensors:
            return self.read_texts("device")
        pairs = zip(self.read_texts("device"), self.read_texts("sensor"), strict=True)
        return [f"{device}/{sensor}" if sensor else device for device, sensor in pairs]

    @property
    def has_sensors(self) -> bool:
        """Whether any model is of a sensor; may be true for a part of a list that has none."""
        sensor = self.columns["sensor"]
        return sensor.kind != "same" or bool(sensor.value)

    @cached_property
    def refused(self) -> Mapping[int, Reason]:
        """The models that the plan refused, by index in this list."""
        return {i - self.start: reason for i, reason in self._all_refused.items() if self.start <= i < self.stop}

    @cached_property
    def files(self) -> Mapping[int, tuple[ModelFile, ...]]:
        """The files of the models that have several, by index in this list."""
        return {i - self.start: files for i, files in self._all_files.items() if self.start <= i < self.stop}

    def lift(self, reason: Reason) -> ModelList:
        """The same models; those that the plan refused for *reason* are not refused."""
        rest = {index: other for index, other in self._all_refused.items() if other is not reason}
        return ModelList(self.columns, rest, self.start, self.stop, self._all_files)
