"""Fetches model files: as they were planned, or, in a redrive, as they are now."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from scorer.errors import Unscorable, make_refusal
from scorer.model_files.file_formats import SIDECAR_LIMIT, SIZE_LIMIT
from scorer.storage.blob_store import Container, Content, Oversized
from shared.contract.domain import Model, ModelFile
from shared.contract.errors import NotFound
from shared.contract.fleet.formats import MLMODEL, ModelFormats
from shared.contract.fleet.listing import SCALER, find_companion, list_companion_names
from shared.contract.model_list import ModelList
from shared.contract.model_names import make_files_etag
from shared.contract.reasons import Reason

FETCHERS = 8
AHEAD = 64  # files that are fetched ahead; bounds the memory
AT_ONCE = 8  # of them by one task
ATTEMPTS = 4  # at reading files of one model that are replaced meanwhile
# Refusals of a plan that another file may end.
_PASSING = frozenset({Reason.AMBIGUOUS, Reason.QUARANTINED, Reason.MODEL_REMOVED})


@dataclass(frozen=True, slots=True)
class Stores:
    """The containers of models and of packs, and the limit of a model file's size.

    *current*: each file is fetched as it is now, under any of its model's names; what the plan refused, but for its
    name, is looked at once more. So a model that was replaced, repaired or restored since the plan is scored.
    """

    models: Container
    work: Container
    size_limit: int = SIZE_LIMIT  # bytes
    current: bool = False
    formats: ModelFormats = field(default_factory=ModelFormats)  # of the names of models, as in the plan

    def refuse(self, model: Model, reason: Reason | None = None) -> Unscorable:
        """The error of a model that the plan refused, or that is refused now for *reason*."""
        return make_refusal(replace(model, refused=reason) if reason else model, self.formats)

    def get_stem(self, model: Model) -> str:
        """The name of a model's file without its extension, or its folder: with it the files beside it begin."""
        return self.formats.get_stem(model.name)


def make_refusals(stores: Stores, models: ModelList) -> dict[int, Unscorable]:
    """The errors of the models that the plan refused, by index; of current files only those that no file can end."""
    return {
        index: stores.refuse(models[index])
        for index, reason in models.refused.items()
        if not (stores.current and reason in _PASSING)
    }


def fetch_files(stores: Stores, models: Sequence[Model]) -> Iterator[Content | Unscorable]:
    """Each model's file with those that belong to it, or the error in its place, in their order.

    Raises Unavailable, Misconfigured.
    """
    size = max(1, min(AT_ONCE, len(models) // FETCHERS))  # a task of each costs more than reading a small file
    batches = [models[start : start + size] for start in range(0, len(models), size)]
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[Future[list[Content | Unscorable]]] = deque()
        rest = iter(batches)
        while True:
            tasks = itertools.islice(rest, AHEAD // size - len(waiting))
            waiting.extend(pool.submit(_fetch_models, stores, batch) for batch in tasks)
            if not waiting:
                return
            yield from waiting.popleft().result()


def _fetch_models(stores: Stores, models: Sequence[Model]) -> list[Content | Unscorable]:
    contents: list[Content | Unscorable] = []
    for model in models:
        try:
            contents.append(_fetch_model(stores, model))
        except Unscorable as error:
            contents.append(error)
    return contents


def _fetch_model(stores: Stores, model: Model) -> Content:
    if stores.current:
        return _fetch_current(stores, model)
    if model.refused:
        raise stores.refuse(model)
    content = _fetch_content(stores, model)
    if content is None:
        raise stores.refuse(model, Reason.MODEL_REMOVED)
    return content


def _fetch_current(stores: Stores, model: Model) -> Content:
    """The model's only file now, with its sidecar. Raises Unscorable where there is none, or more than one."""
    if model.refused and model.refused not in _PASSING:
        raise stores.refuse(model)
    content = None if model.refused is Reason.AMBIGUOUS else _fetch_content(stores, model)
    if content is None:
        stem = stores.formats.get_stem(model.name)
        rivals = [file.name for file in model.files if stores.formats.get_stem(file.name) == stem]
        names = dict.fromkeys([model.name, *rivals, *stores.formats.list_spellings(model.name)])
        present = [name for name in names if _read_file(stores, name) is not None]
        if len(present) > 1:
            raise stores.refuse(model, Reason.AMBIGUOUS)
        content = _fetch_content(stores, replace(model, name=present[0], files=())) if present else None
        if content is None:
            raise stores.refuse(model, Reason.MODEL_REMOVED)
    if model.refused is Reason.QUARANTINED and content.etag == model.etag:
        raise stores.refuse(model)
    return content


def _fetch_content(stores: Stores, model: Model) -> Content | None:
    """The model's file with those that belong to it; None where one does not exist any more.

    Where one is not as it was planned, all are read until they are the same twice, so that they belong together. The
    etag is that of the plan, or is made of what was read. The files that belong to it are by their kind, MLflow's own
    file among them. Raises Unscorable.
    """
    planned = {file.name: file.etag for file in model.files} or {model.name: model.etag}
    contents = _read_files(stores, model, planned)
    for _ in range(ATTEMPTS):
        if not contents or len(contents) == 1 or _is_planned(contents, planned):
            break
        before, contents = contents, _read_files(stores, model, planned)
        if contents and _list_etags(contents) == _list_etags(before):
            break
    else:
        raise Unscorable(
            Reason.UNREADABLE_MODEL, f"expected files that belong together, got others at each of {ATTEMPTS + 1} reads"
        )
    if not contents:
        return None
    stem = stores.get_stem(model)
    companions = _list_companions(contents, stem)
    etags = _list_etags(contents)
    if model.files:  # of a folder only the files are read that are needed
        removed = set(_list_companions(planned, stem)) - etags.keys()
        etags = {name: etag for name, etag in planned.items() if name not in removed} | etags
    main = contents[_find_main(contents, model.name)]
    if etags == planned:
        etag = model.etag
    else:
        etag = main.etag if len(etags) == 1 else make_files_etag(itertools.starmap(ModelFile, etags.items()))
    if _is_folder(model.name):
        companions = [model.name, *companions]
    return Content(main.data, etag, {name: contents[name].data for name in companions})


def _read_files(stores: Stores, model: Model, planned: Collection[str]) -> dict[str, Content] | None:
    """The files that scoring needs, by name: first that of the model, of a folder then the one that it names.

    None where one is missing. A file beside the model that was not planned is looked for in a redrive only, and need
    not exist.
    """
    main = _read_file(stores, model.name)
    if main is None:
        return None
    contents = {model.name: main}
    if _is_folder(model.name):
        from scorer.model_files.mlflow_folder import find_model_file  # late: it needs PyYAML

        name = model.name.removesuffix(MLMODEL) + find_model_file(main.data)
        if (content := _read_file(stores, name)) is None:
            if name in planned:
                return None
            raise Unscorable(Reason.UNREADABLE_MODEL, f"{model.name} names the file {name}, which does not exist")
        contents[name] = content
    stem = stores.get_stem(model)
    names = _list_companions(planned, stem)
    if stores.current:
        names = list(dict.fromkeys([*names, *list_companion_names(stem)]))
    for name in names:
        size_limit = SIDECAR_LIMIT if name.endswith(".json") else None
        if (content := _read_file(stores, name, size_limit)) is not None:
            contents[name] = content
        elif not stores.current:
            return None
    _check_scalers(contents)
    return contents


def _list_companions(names: Iterable[str], stem: str) -> list[str]:
    """Those of the names that are files beside the model with this stem."""
    pairs = [(name, find_companion(name)) for name in names]
    return [name for name, companion in pairs if companion and companion[0] == stem]


def _is_folder(model_name: str) -> bool:
    return model_name.endswith(f"/{MLMODEL}")


def _find_main(contents: Mapping[str, Content], model_name: str) -> str:
    """The name of the file with the estimator: the model's own, or the one that MLflow's file names."""
    return list(contents)[1] if _is_folder(model_name) else model_name


def _check_scalers(contents: Iterable[str]) -> None:
    """Raise Unscorable where two files claim to be the scaler of a model."""
    scalers = [name for name in contents if (companion := find_companion(name)) and companion[1].startswith(SCALER)]
    if len(scalers) > 1:
        message = f"expected one scaler beside the model, got {scalers[0]} and {scalers[1]}"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)


def _is_planned(contents: Mapping[str, Content], planned: Mapping[str, str]) -> bool:
    """Whether the files are as they were planned; a folder's files have no etags at planning."""
    return all(planned.get(name) in ("", content.etag) for name, content in contents.items())


def _list_etags(contents: Mapping[str, Content]) -> dict[str, str]:
    return {name: content.etag for name, content in contents.items()}


def _read_file(stores: Stores, name: str, size_limit: int | None = None) -> Content | None:
    """The content of a file, or None where there is no such file. Raises Unscorable where it is too large."""
    size_limit = size_limit or stores.size_limit
    try:
        return stores.models.read(name, size_limit)
    except NotFound:
        return None
    except Oversized as error:
        limit = f"{size_limit / 2**20:g} MiB"
        raise Unscorable(Reason.TOO_LARGE, f"{name}: expected at most {limit}, got {error.args[0]} bytes") from error
