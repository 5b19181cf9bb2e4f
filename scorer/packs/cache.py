"""Loads the models of a pack: from the pack file those that it has, the others from their files; then updates the pack.

No result depends on a pack, nor on whether it could be written: an error with one is logged and ignored.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable, make_refusal
from scorer.families.base import Family, Packed
from scorer.families.registry import pack_model
from scorer.model_files import reader
from scorer.model_files.reader import SIZE_LIMIT, is_skops
from scorer.storage.blob_store import Container, Content, Oversized
from shared.contract.domain import Model, Reason
from shared.contract.errors import FleetError, Malformed, NotFound
from shared.contract.paths import pack_path

from . import pack
from .pack import EMPTY, Entry, Pack

FETCHERS = 8
AHEAD = 64  # files that are fetched ahead; bounds the memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """The containers of models and of packs, and the limit of a model file's size."""

    models: Container
    work: Container
    size_limit: int = SIZE_LIMIT  # bytes


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The models of a pack: model `i` is row `rows[i]` of the pack, where that is not -1.

    A refusal takes precedence over the pack. *etags* are of the files that changed since the plan.
    """

    pack: Pack
    rows: np.ndarray
    refusals: dict[int, Unscorable]
    etags: dict[int, str]


def load_models(stores: Stores, name: str, models: Sequence[Model], excluded: Collection[int] = ()) -> LoadedModels:
    """Load the models to score, without those at the indices *excluded*. Without a *name* there is no pack.

    Raises Unavailable and Misconfigured where the store of the models does not answer.
    """
    try:
        old, state = _read_pack(stores.work, name) if name else (EMPTY, None)
    except FleetError as error:
        log.warning("pack=%s not read, all models are fetched: %s", name, error)
        old, state, name = EMPTY, None, ""
    rows = old.find_rows(models)
    refusals = {index: make_refusal(model) for index, model in enumerate(models) if model.refused}
    missing = [index for index in np.flatnonzero(rows < 0).tolist() if index not in excluded and index not in refusals]
    entries: dict[int, Entry] = {}
    for index, content in zip(missing, fetch_files(stores, [models[index] for index in missing]), strict=True):
        if isinstance(content, Unscorable):
            refusals[index] = content
        else:
            entries[index] = _build_entry(models[index], content, stores.size_limit)
    indices = np.union1d(np.flatnonzero(rows >= 0), np.array(list(entries), np.int64))
    new_pack = old.merge_rows(rows[indices], pack.build_pack(list(entries.values())))
    if name and new_pack is not old:
        _write_pack(stores.work, name, new_pack, state)
        log.info("pack=%s models=%s, %s of them new", name, len(new_pack), len(entries))
    row_of_model = np.full(len(models), -1)
    row_of_model[indices] = np.arange(len(indices))
    etags = {index: entry.etag for index, entry in entries.items() if entry.etag != entry.model.etag}
    return LoadedModels(new_pack, row_of_model, refusals, etags)


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
    if model.refused:
        raise make_refusal(model)
    try:
        return stores.models.read(model.name, stores.size_limit)
    except NotFound as error:
        raise Unscorable(
            Reason.MODEL_REMOVED, f"{model.name} existed when the run was planned, and was removed since"
        ) from error
    except Oversized as error:
        limit = f"{stores.size_limit / 2**20:g} MiB"
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {limit}, got {error.args[0]} bytes") from error


def _build_entry(model: Model, content: Content, size_limit: int) -> Entry:
    try:
        packed = pack_file(content.data, size_limit)
    except Unscorable as error:
        return Entry(model, content.etag, error)
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever its file holds
        return Entry(model, content.etag, Unscorable(Reason.UNREADABLE_MODEL, f"{type(error).__name__}: {error}"))
    file = content.data if packed.family is Family.KEPT else b""
    return Entry(model, content.etag, packed, is_skops(content.data), file)


def _read_pack(work: Container, name: str) -> tuple[Pack, str | None]:
    """The stored pack and its state; an empty pack where there is none that can be used."""
    try:
        mapped = work.map(pack_path(name))
    except NotFound:
        return EMPTY, None
    try:
        return pack.from_buffer(mapped.data), mapped.state
    except Malformed as error:
        log.warning("pack=%s is built again: %s", name, error)
        return EMPTY, mapped.state


def _write_pack(work: Container, name: str, new_pack: Pack, state: str | None) -> None:
    try:
        if not work.exchange(pack_path(name), pack.to_bytes(new_pack), state):
            log.info("pack=%s: another node wrote it first; ours is dropped", name)
    except FleetError as error:
        log.warning("pack=%s not written, the next run will try: %s", name, error)


def pack_file(data: bytes, size_limit: int = SIZE_LIMIT) -> Packed:
    """The numbers of a model file. Nothing of the file runs. Raises Unscorable, as the reader and the registry do."""
    return pack_model(reader.read_model(data, size_limit))
