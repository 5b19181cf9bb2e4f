"""The manifest of one chunk, and the command line of its job. Pure. docs/contract.md has its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from .columns import Column, dump_document, make_integers, make_texts, parse_columns, split_document
from .documents import NEWEST, check_needs, parse_count, parse_document
from .domain import Model, ModelFile
from .model_list import COLUMNS, ModelList
from .model_names import DEFAULT_PATTERN, Columns, ModelNames
from .readings.path_pattern import PathPattern, has_tokens
from .reasons import Reason
from .scoring_options import ScoringOptions
from .windows import Window

PREDICTION_SCHEMAS = (1, 2)
FILES = "files"  # in `needs` where a model has several files, each of which the node must read
PATH_TOKENS = "path_tokens"  # where READINGS_PATH has {device} or the like, which strftime would leave as they are
NESTED = "nested"  # where the readings' features are within an object, or their values in arrays
RESCORE = "rescore"  # where models are scored although an earlier attempt scored them
KNOWN_NEEDS = frozenset(
    {FILES, PATH_TOKENS, NESTED, RESCORE}
)  # what a manifest may name in `needs` (see `check_needs`)


def build_command(
    manifest_url: str,
    attempt: int,
    *,
    isolated: bool = False,
    carry: int = 0,
    include_quarantined: bool = False,
    current: bool = False,
) -> tuple[str, ...]:
    """The command that every cluster runs. The node reads everything else from the manifest.

    *carry*: the attempt whose report names the models that are already scored; their rows are copied from its parts,
    and only the other models are scored. 0: all models are scored. *isolated*: each model is scored in a child
    process. *include_quarantined*: models that the plan left out because they were in quarantine are scored too.
    *current*: models are scored as their files are now, not as they were planned; nodes before 0.2 do not know it.
    """
    words = ("python", "-m", "scorer", "--manifest", manifest_url, "--attempt", str(attempt))
    flags = (*(("--careful",) if isolated else ()), *(("--pardon",) if include_quarantined else ()))
    flags = (*flags, *(("--current",) if current else ()))
    return (*words, *flags, *(("--carry", str(carry)) if carry else ()))


@dataclass(frozen=True, slots=True)
class PackRef:
    """The next so many models of a manifest, and the name of the pack that they share."""

    name: str
    models: int


@dataclass(frozen=True, slots=True)
class DeviceRange:
    """The devices that a chunk answers for: from the device *first* on, up to but without *end*.

    "" is no bound. Devices are compared as MODEL_NAMES lists their models, see `ModelNames.make_listing_key`. Where
    *first* is *end* the chunk answers for none.
    """

    first: str = ""
    end: str = ""

    def includes(self, device: str, names: ModelNames) -> bool:
        """Whether the chunk answers for *device*; *names* are those of the manifest."""
        key = names.make_listing_key
        after_first = not self.first or key(self.first) <= key(device)
        return after_first and (not self.end or key(device) < key(self.end))

    @property
    def is_empty(self) -> bool:
        """Whether it includes no device."""
        return bool(self.first) and self.first == self.end

    def settles(self, device: str, names: ModelNames) -> bool:
        """Whether the chunk answers for *device*, and has a model of it if any chunk of its plan has one.

        The models of a device may be in another chunk than the one that answers for it, where ids are so near to a
        bound that listings have the two in either order. The device *first* itself always has models somewhere.
        """
        bounds = (bound for bound in (self.first, self.end) if bound)
        return self.includes(device, names) and all(names.are_apart(device, bound) for bound in bounds)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The task of one chunk: its models, its window, and the locations of all files.

    `models_url`, `readings_url` and `work_url` are containers or folders; `readings_path` is a strftime pattern of
    the folder of an hour, or of one file, within the readings. `packs` cover the models from first to last, or there
    are none. From *app* on the fields are of schema 2.
    """

    window: Window
    chunk: str
    models: Sequence[Model]
    models_url: str
    readings_url: str
    work_url: str
    readings_path: str = "date=%Y-%m-%d/hour=%H/"
    columns: Columns = field(default_factory=Columns)
    policy: ScoringOptions = field(default_factory=ScoringOptions)
    packs: tuple[PackRef, ...] = ()
    schema: int = NEWEST  # that it is written in; the report is written in the same
    app: str = ""  # that made the plan
    round: int = 0  # of the run
    model_names: str = DEFAULT_PATTERN  # by which devices are compared
    model_formats: tuple[str, ...] = ()  # the further formats of `ModelFormats`
    devices: DeviceRange | None = None  # None: an extension, which answers for no devices but those of its models
    predictions_schema: int = 1
    rescore: tuple[int, ...] = ()  # indices of models that are not carried over
    tasks: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))  # by the model's index, where known

    @property
    def has_tokens(self) -> bool:
        """Whether its readings' path has `{device}` or the like."""
        return has_tokens(self.readings_path)

    def to_bytes(self) -> bytes:
        """The same manifest gives the same bytes."""
        return self._to_json() if self.schema == 1 else self._to_columns()

    def _make_head(self) -> dict[str, Any]:
        return {
            "schema": self.schema,
            "window": self.window.id,
            "chunk": self.chunk,
            "models_url": self.models_url,
            "readings_url": self.readings_url,
            "work_url": self.work_url,
            "readings_path": self.readings_path,
            "columns": self.columns.to_json(),
            "policy": self.policy.to_json(self.schema, has_tokens=self.has_tokens),
            "packs": [[span.name, span.models] for span in self.packs],
        }

    def _to_json(self) -> bytes:
        models = ModelList.from_models(self.models)
        if models.files:
            raise ValueError("a manifest of schema 1 cannot have models of several files")
        head = {
            **self._make_head(),
            "models": [list(models.read_texts(name)) for name in COLUMNS],
            "refused": {i: reason.first_code for i, reason in sorted(models.refused.items())},
        }
        return json.dumps(head, separators=(",", ":")).encode()

    def _to_columns(self) -> bytes:
        models = ModelList.from_models(self.models)
        is_full = len(models) == models.columns["device"].count
        columns = {name: models.columns[name] if is_full else make_texts(models.read_texts(name)) for name in COLUMNS}
        columns |= _make_file_columns(models)
        head = self._make_head()
        head["readings_columns"] = head.pop("columns")
        head |= {
            "app": self.app,
            "round": self.round,
            "model_names": self.model_names,
            "model_formats": self.model_formats,
            "devices": [self.devices.first, self.devices.end] if self.devices else None,
            "predictions_schema": self.predictions_schema,
            "models": len(models),
            "refused": _group_indices(models.refused),
            "tasks": _group_indices(self.tasks),
            **({"rescore": self.rescore} if self.rescore else {}),
            "needs": self._list_needs(models),
        }
        return dump_document(head, columns)

    def _list_needs(self, models: ModelList) -> list[str]:
        needs = {FILES: bool(models.files), PATH_TOKENS: self.has_tokens, NESTED: self.columns.is_nested}
        needs[RESCORE] = bool(self.rescore)
        return [word for word, is_needed in needs.items() if is_needed]

    @classmethod
    def from_bytes(cls, data: bytes) -> Manifest:
        """Raises Malformed."""
        text, blocks = split_document(data)

        def build_manifest(doc: dict[str, Any]) -> Manifest:
            schema = doc["schema"]
            packs = tuple(PackRef(str(name), parse_count(count)) for name, count in doc["packs"])
            models = _parse_models(doc) if schema == 1 else _parse_columns(doc, blocks)
            if packs and sum(span.models for span in packs) != len(models):
                raise ValueError(f"its packs are of {sum(span.models for span in packs)} models, it has {len(models)}")
            fields: dict[str, Any] = {} if schema == 1 else _parse_second(doc, len(models))
            return cls(
                window=Window.parse(doc["window"]),
                chunk=doc["chunk"],
                models=models,
                models_url=doc["models_url"],
                readings_url=doc["readings_url"],
                work_url=doc["work_url"],
                readings_path=_check_path(doc["readings_path"]),
                columns=Columns.from_json(doc["columns" if schema == 1 else "readings_columns"]),
                policy=ScoringOptions.from_json(doc["policy"]),
                packs=packs,
                schema=schema,
                **fields,
            )

        return parse_document(text, "manifest", build_manifest)


def _check_path(text: str) -> str:
    """*text* if it is a pattern of readings; raises Malformed."""
    PathPattern.parse(text)
    return text


def _parse_models(doc: dict[str, Any]) -> ModelList:
    """The models of a manifest of schema 1."""
    columns = [list(map(str, column)) for column in doc["models"]]
    by_name = {name: make_texts(column) for name, column in zip(COLUMNS, columns, strict=True)}
    return ModelList(by_name, {int(i): Reason(reason) for i, reason in doc["refused"].items()})


def _parse_columns(doc: dict[str, Any], blocks: memoryview) -> ModelList:
    """The models of a manifest of schema 2."""
    columns = parse_columns(doc, blocks)
    refused = {i: Reason(reason) for i, reason in _list_grouped(doc["refused"])}
    models = ModelList(columns, refused, files=_parse_files(columns))
    if len(models) != parse_count(doc["models"]):
        raise ValueError(f"expected {doc['models']} models, got {len(models)}")
    return models


def _make_file_columns(models: ModelList) -> dict[str, Column]:
    """A row for each file of each model that has several; no columns where none has."""
    if not models.files:
        return {}
    rows = [(index, file) for index, files in sorted(models.files.items()) for file in files]
    return {
        "file_model": make_integers([index for index, _ in rows]),
        "file_name": make_texts([file.name for _, file in rows]),
        "file_etag": make_texts([file.etag for _, file in rows]),
    }


def _parse_files(columns: Mapping[str, Column]) -> dict[int, tuple[ModelFile, ...]]:
    """The files of the models that have several, by the model's index. Raises KeyError, ValueError, Malformed."""
    if "file_model" not in columns:
        return {}
    files: dict[int, list[ModelFile]] = {}
    texts = columns["file_name"].texts, columns["file_etag"].texts
    for index, name, etag in zip(columns["file_model"].integers, *texts, strict=True):
        files.setdefault(index, []).append(ModelFile(name, etag))
    return {index: tuple(entries) for index, entries in files.items()}


def _parse_second(doc: dict[str, Any], count: int) -> dict[str, Any]:
    """The fields that schema 1 did not have, of a manifest of so many models."""
    check_needs(doc, KNOWN_NEEDS)
    tasks = dict(_list_grouped(doc["tasks"]))
    if max(tasks, default=-1) >= count:
        raise ValueError(f"expected tasks of {count} models, got one of model {max(tasks)}")
    rescore = tuple(map(parse_count, doc.get("rescore", ())))
    if max(rescore, default=-1) >= count:
        raise ValueError(f"expected indices of {count} models, got {max(rescore)}")
    if parse_count(doc["predictions_schema"]) not in PREDICTION_SCHEMAS:
        raise ValueError(f"expected predictions of schema 1 or 2, got {doc['predictions_schema']}")
    return {
        "app": str(doc["app"]),
        "round": parse_count(doc["round"]),
        "model_names": str(doc["model_names"]),
        "model_formats": tuple(map(str, doc.get("model_formats", ()))),
        "devices": DeviceRange(*map(str, doc["devices"])) if doc["devices"] is not None else None,
        "predictions_schema": doc["predictions_schema"],
        "rescore": rescore,
        "tasks": MappingProxyType(tasks),
    }


def _group_indices(values: Mapping[int, str]) -> dict[str, list[int]]:
    """The indices of each distinct value."""
    groups: dict[str, list[int]] = {}
    for index, value in sorted(values.items()):
        groups.setdefault(str(value), []).append(index)
    return groups


def _list_grouped(groups: dict[str, list[int]]) -> list[tuple[int, str]]:
    """The inverse of `_group_indices`."""
    return [(parse_count(index), value) for value, indices in groups.items() for index in indices]
