"""Fetches model files: as they were planned, or, in a redrive, as they are now."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from scorer.errors import Unscorable, make_refusal
from scorer.model_files.reader import SIZE_LIMIT
from scorer.storage.blob_store import Container, Content, Oversized
from shared.contract.domain import Model
from shared.contract.errors import NotFound
from shared.contract.model_list import ModelList
from shared.contract.model_names import list_spellings
from shared.contract.reasons import Reason

FETCHERS = 8
AHEAD = 64  # files that are fetched ahead; bounds the memory
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


def make_refusals(models: ModelList, *, current: bool = False) -> dict[int, Unscorable]:
    """The errors of the models that the plan refused, by index; with *current* only those that no file can end."""
    return {
        index: make_refusal(models[index])
        for index, reason in models.refused.items()
        if not (current and reason in _PASSING)
    }


def fetch_files(stores: Stores, models: Sequence[Model]) -> Iterator[Content | Unscorable]:
    """Each model's file, or the error in its place, in their order. Raises Unavailable, Misconfigured."""
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[Future[Content]] = deque()
        rest = iter(models)
        while True:
            waiting.extend(pool.submit(_fetch_file, stores, m) for m in itertools.islice(rest, AHEAD - len(waiting)))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except Unscorable as error:
                yield error


def _fetch_file(stores: Stores, model: Model) -> Content:
    if stores.current:
        return _fetch_current(stores, model)
    if model.refused:
        raise make_refusal(model)
    content = _read_file(stores, model.name)
    if content is None:
        raise make_refusal(replace(model, refused=Reason.MODEL_REMOVED))
    return content


def _fetch_current(stores: Stores, model: Model) -> Content:
    """The model's only file now. Raises Unscorable where there is none, or more than one."""
    if model.refused and model.refused not in _PASSING:
        raise make_refusal(model)
    names = [model.name]
    content = None if model.refused is Reason.AMBIGUOUS else _read_file(stores, model.name)
    if content is None:
        names = list_spellings(model.name)
        contents = {name: data for name in names if (data := _read_file(stores, name)) is not None}
        if not contents:
            raise make_refusal(replace(model, refused=Reason.MODEL_REMOVED))
        if len(contents) > 1:
            raise make_refusal(replace(model, refused=Reason.AMBIGUOUS))
        ((_, content),) = contents.items()
    if model.refused is Reason.QUARANTINED and content.etag == model.etag:
        raise make_refusal(model)
    return content


def _read_file(stores: Stores, name: str) -> Content | None:
    """The content of a file, or None where there is no such file. Raises Unscorable where it is too large."""
    try:
        return stores.models.read(name, stores.size_limit)
    except NotFound:
        return None
    except Oversized as error:
        limit = f"{stores.size_limit / 2**20:g} MiB"
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {limit}, got {error.args[0]} bytes") from error
