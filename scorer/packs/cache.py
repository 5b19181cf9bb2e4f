"""Brings the models of a portion together: from their pack what it has, the rest from their files, and the pack anew.

No result depends on a pack, nor on whether it could be written: what goes wrong with one is told and passed over.
"""

from __future__ import annotations

import itertools
import logging
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from scorer.errors import Unscorable, refused
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
AHEAD = 64  # files that are fetched before their turn; bounds the memory

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stores:
    """Where models lie, where packs do, and how large the file of a model may be."""

    models: Container
    work: Container
    size_limit: int = SIZE_LIMIT  # bytes


@dataclass(frozen=True, slots=True)
class Ready:
    """The models of a portion: model `i` is row `rows[i]` of the pack, where that is not -1.

    A refusal goes before what a pack holds. *etags* are of the files whose content changed since the plan.
    """

    pack: Pack
    rows: np.ndarray
    refused: dict[int, Unscorable]
    etags: dict[int, str]


def bring(stores: Stores, name: str, models: Sequence[Model], done: Collection[int] = ()) -> Ready:
    """Have the models ready to score, but for those at the places *done*. Without a *name* there is no pack.

    Raises Unavailable and Misconfigured when the store of the models does not answer.
    """
    try:
        old, state = _read(stores.work, name) if name else (EMPTY, None)
    except FleetError as error:
        log.warning("pack=%s not read, all models are fetched: %s", name, error)
        old, state, name = EMPTY, None, ""
    rows = old.find(models)
    refusals = {place: refused(model) for place, model in enumerate(models) if model.refused}
    expected = [place for place in np.flatnonzero(rows < 0).tolist() if place not in done and place not in refusals]
    entries: dict[int, Entry] = {}
    for place, content in zip(expected, fetch(stores, [models[place] for place in expected]), strict=True):
        if isinstance(content, Unscorable):
            refusals[place] = content
        else:
            entries[place] = _entry(models[place], content, stores.size_limit)
    places = np.union1d(np.flatnonzero(rows >= 0), np.array(list(entries), np.int64))
    merged = old.merged(rows[places], pack.build(list(entries.values())))
    if name and merged is not old:
        _write(stores.work, name, merged, state)
        log.info("pack=%s models=%s, %s of them new", name, len(merged), len(entries))
    at = np.full(len(models), -1)
    at[places] = np.arange(len(places))
    etags = {place: entry.etag for place, entry in entries.items() if entry.etag != entry.model.etag}
    return Ready(merged, at, refusals, etags)


def fetch(stores: Stores, models: Sequence[Model]) -> Iterator[Content | Unscorable]:
    """Each model's file, or why there is none, in their order. Raises Unavailable, Misconfigured."""
    with ThreadPoolExecutor(FETCHERS) as pool:
        waiting: deque[Future[Content]] = deque()
        rest = iter(models)
        while True:
            waiting.extend(pool.submit(_fetch, stores, m) for m in itertools.islice(rest, AHEAD - len(waiting)))
            if not waiting:
                return
            try:
                yield waiting.popleft().result()
            except Unscorable as error:
                yield error


def _fetch(stores: Stores, model: Model) -> Content:
    if model.refused:
        raise refused(model)
    try:
        return stores.models.read(model.name, stores.size_limit)
    except NotFound as error:
        raise Unscorable(Reason.MODEL_REMOVED, f"{model.name} was there when the run was planned") from error
    except Oversized as error:
        limit = f"{stores.size_limit / 2**20:g} MiB"
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {limit}, got {error.args[0]} bytes") from error


def _entry(model: Model, content: Content, size_limit: int) -> Entry:
    try:
        found = pack_file(content.data, size_limit)
    except Unscorable as error:
        return Entry(model, content.etag, error)
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever is in its file
        return Entry(model, content.etag, Unscorable(Reason.UNREADABLE_MODEL, f"{type(error).__name__}: {error}"))
    kept = content.data if found.family is Family.KEPT else b""
    return Entry(model, content.etag, found, is_skops(content.data), kept)


def _read(work: Container, name: str) -> tuple[Pack, str | None]:
    """The pack as it lies there, and its state; an empty one where there is none that can be used."""
    try:
        found = work.map(pack_path(name))
    except NotFound:
        return EMPTY, None
    try:
        return pack.from_buffer(found.data), found.state
    except Malformed as error:
        log.warning("pack=%s is made anew: %s", name, error)
        return EMPTY, found.state


def _write(work: Container, name: str, merged: Pack, state: str | None) -> None:
    try:
        if not work.exchange(pack_path(name), pack.to_bytes(merged), state):
            log.info("pack=%s: another node was quicker; ours is dropped", name)
    except FleetError as error:
        log.warning("pack=%s not written, the next run will try: %s", name, error)


def pack_file(data: bytes, size_limit: int = SIZE_LIMIT) -> Packed:
    """The numbers of a model file. Nothing of the file runs. Raises Unscorable, as the reader and the registry do."""
    return pack_model(reader.read(data, size_limit))
