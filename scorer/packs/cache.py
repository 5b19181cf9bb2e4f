"""Loads the models of a pack: from the pack file those that it has, the others from their files; then updates the pack.

Of a pack that has all models only the index is read at first, and the numbers of the models that have readings when
these are known. No result depends on a pack, nor on whether it could be written: an error with one is logged and
ignored.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from scorer.errors import Unscorable
from scorer.families.base import Family, Packed
from scorer.model_files.file_formats import SIZE_LIMIT
from scorer.storage.blob_store import Container, Content
from shared.contract.domain import Model
from shared.contract.errors import FleetError, NotFound
from shared.contract.model_list import ModelList
from shared.contract.paths import pack_path
from shared.contract.reasons import Reason

from .fetch import Stores, fetch_files, make_refusals
from .pack import EMPTY, NO_COMPANIONS, Entry, Pack, build_pack
from .stored_pack import StoredPack, open_pack, to_bytes

if TYPE_CHECKING:
    from scorer.model_files.content import ModelContent

PACKED_BYTES = 2**26  # of the numbers of a pack: a node has two of them in memory
STORED_BYTES = 2**18  # of a file in a pack: above, a request costs less than to copy it each time the pack changes
HELD_BYTES = 2**28  # of larger files that were read to be judged, and are held until they are scored

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The first models of a pack: model `i` is row `rows[i]` of the pack, where that is not -1.

    They are as many as *rows* has, and fewer than were asked for where their numbers are more than PACKED_BYTES.
    A refusal takes precedence over the pack. *etags* are of the files that changed since the plan. *contents* are of
    files that the pack does not store, as far as they were read and there is room for them. *index* is of a pack whose
    numbers are not loaded yet: `load_numbers` does.
    """

    pack: Pack
    rows: np.ndarray
    refusals: dict[int, Unscorable]
    etags: dict[int, str]
    contents: dict[int, Content] = field(default_factory=dict)
    index: StoredPack | None = None


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where a pack is stored, and how much goes into it. Without a name: nowhere."""

    name: str
    limit: float
    is_lost: bool = False  # what is there is of no use
    state: str | None = None  # of what is there; None: nothing


class _LostPack(Exception):
    """The pack is damaged, or has changed since its index was read: (the problem, the state at that time)."""


def load_models(stores: Stores, name: str, models: ModelList, excluded: Collection[int] = ()) -> LoadedModels:
    """Load the models to score, without those at the indices *excluded*. Without a *name* there is no pack.

    Of models whose numbers are large together only the first: at least one, and as many as fit into PACKED_BYTES.
    Raises Unavailable and Misconfigured where the store of the models does not answer.
    """
    slot = _Slot(name, PACKED_BYTES)
    try:
        return _load_models(stores, slot, models, excluded)
    except _LostPack as error:
        problem, state = error.args
    log.warning("pack=%s is built again: %s", name, problem)
    return _load_models(stores, replace(slot, is_lost=True, state=state), models, excluded)


def load_numbers(
    stores: Stores, name: str, models: ModelList, excluded: Collection[int], loaded: LoadedModels, is_needed: np.ndarray
) -> LoadedModels:
    """The models that `load_models` loaded with numbers and files: at least of those that the mask *is_needed* says.

    Where the pack is damaged, or has changed since its index was read, the models are read from their files, and the
    pack is built again: so they may have other refusals, and need other columns. Raises as `load_models`.
    """
    if loaded.index is None:
        return loaded
    try:
        pack = _load_rows(loaded.index, loaded.rows[is_needed & (loaded.rows >= 0)])
        return replace(loaded, pack=pack, index=None)
    except _LostPack as error:
        problem, state = error.args
    log.warning("pack=%s is built again: %s", name, problem)
    slot = _Slot(name, math.inf, is_lost=True, state=state)  # they were in one pack
    return _load_models(stores, slot, models, excluded, is_cut=loaded.pack.is_cut)


def _load_models(
    stores: Stores, slot: _Slot, models: ModelList, excluded: Collection[int], *, is_cut: bool = False
) -> LoadedModels:
    """Load the models, and update the pack. *is_cut*: of one that is lost. Raises _LostPack, and as `load_models`."""
    stored, slot = _open_pack(stores.work, slot)
    old = stored.pack if stored else replace(EMPTY, is_cut=is_cut)
    rows = old.find_rows(models)
    if stored and (is_cut := old.is_cut and bool((rows >= 0).any())):
        # What comes after its last model is in a further pack, and is not read to see that it does not fit.
        rows = rows[: int(np.flatnonzero(rows >= 0)[-1]) + 1]
        models = models[: len(rows)]
    if stores.current:
        is_excluded = np.zeros(len(models), bool)
        is_excluded[list(excluded)] = True
        rows = np.where(is_excluded, rows, -1)
    read = _ReadFiles(make_refusals(stores, models), np.where(rows >= 0, old.count_bytes()[rows], 0), slot.limit)
    _read_missing(stores, models, rows, excluded, read)
    end = read.find_end()
    new = [index for index in read.entries if index < end]
    etags = {index: read.entries[index].etag for index in new if read.entries[index].etag != models[index].etag}
    indices = np.union1d(np.flatnonzero(rows[:end] >= 0), np.array(new, np.int64))
    if new or len(indices) != len(old) or (rows[indices] != np.arange(len(old))).any():
        if stored:
            old = _load_rows(stored, rows[indices][rows[indices] >= 0])
        fresh = build_pack([read.entries[index] for index in new])
        read.entries.clear()  # before more copies are made of the files in them, which may be large together
        old = replace(old.merge_rows(rows[indices], fresh), is_cut=is_cut or end < len(models))
        stored = None  # before the bytes of the new one are made: packs are large
        if slot.name:
            _write_pack(stores.work, slot, old)
            log.info("pack=%s models=%s, %s of them new", slot.name, len(old), len(new))
    row_of_model = np.full(end, -1)
    row_of_model[indices] = np.arange(len(indices))
    refusals = {index: refusal for index, refusal in read.refusals.items() if index < end}
    return LoadedModels(old, row_of_model, refusals, etags, read.contents, stored)


@dataclass(slots=True)
class _ReadFiles:
    """What was read of the files of models that a pack does not have, by the models' indices."""

    refusals: dict[int, Unscorable]
    n_bytes: np.ndarray  # int64: of the numbers of each model, as far as they are known
    limit: float  # of all of them
    entries: dict[int, Entry] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)  # of files that the pack does not store
    held_bytes: int = 0

    def find_end(self) -> int:
        """How many of the first models fit into a pack."""
        fitting = int(np.searchsorted(np.cumsum(self.n_bytes), self.limit, "right"))
        return min(len(self.n_bytes), max(1, fitting))


def _read_missing(
    stores: Stores, models: ModelList, rows: np.ndarray, excluded: Collection[int], read: _ReadFiles
) -> None:
    """Read the files of the models that have no row, in their order, until the pack is full."""
    missing = [i for i in np.flatnonzero(rows < 0).tolist() if i not in excluded and i not in read.refusals]
    before = np.cumsum(read.n_bytes)
    n_new = 0
    files = fetch_files(stores, [models[index] for index in missing])
    for index, content in zip(missing, files, strict=True):
        if isinstance(content, Unscorable):
            read.refusals[index] = content
            continue
        entry = read.entries[index] = _build_entry(models[index], content, stores.size_limit)
        n_bytes = _count_bytes(content)
        if _is_kept(entry.packed) and not entry.file and read.held_bytes + n_bytes <= HELD_BYTES:
            read.contents[index] = content
            read.held_bytes += n_bytes
        if isinstance(entry.packed, Packed):
            read.n_bytes[index] = entry.packed.numbers.nbytes + entry.packed.integers.nbytes
            n_new += int(read.n_bytes[index])
        if before[index] + n_new > read.limit:
            return


def _build_entry(model: Model, content: Content, size_limit: int) -> Entry:
    try:
        judged = judge_file(content.data, size_limit, content.companions)
    except Unscorable as error:
        return Entry(model, content.etag, error)
    except Exception as error:  # noqa: BLE001  # a model fails alone, whatever its file holds
        return Entry(model, content.etag, Unscorable(Reason.UNREADABLE_MODEL, f"{type(error).__name__}: {error}"))
    packed, model_content = judged
    is_stored = _is_kept(packed) and _count_bytes(content) <= STORED_BYTES
    return Entry(
        model,
        content.etag,
        packed,
        model_content.is_skops,
        content.data if is_stored else b"",
        content.companions if is_stored else NO_COMPANIONS,
        model_content.sidecar.gaps,
    )


def _count_bytes(content: Content) -> int:
    return len(content.data) + sum(len(data) for data in content.companions.values())


def _is_kept(packed: Packed | Unscorable) -> bool:
    return isinstance(packed, Packed) and packed.family is Family.KEPT


def _open_pack(work: Container, slot: _Slot) -> tuple[StoredPack | None, _Slot]:
    """The stored pack and its state; none where there is none that can be used, and no slot where it cannot be read."""
    if not slot.name or slot.is_lost:
        return None, slot
    try:
        blob = work.map(pack_path(slot.name))
    except NotFound:
        return None, slot
    except FleetError as error:
        log.warning("pack=%s not read, all models are fetched: %s", slot.name, error)
        return None, replace(slot, name="")
    try:
        return open_pack(blob), replace(slot, state=blob.state)
    except FleetError as error:
        log.warning("pack=%s is built again: %s", slot.name, error)
        return None, replace(slot, state=blob.state)


def _load_rows(stored: StoredPack, rows: np.ndarray) -> Pack:
    """The pack with the numbers and files of these rows. Raises _LostPack."""
    try:
        return stored.load_rows(rows)
    except FleetError as error:
        raise _LostPack(str(error), stored.blob.state) from error


def _write_pack(work: Container, slot: _Slot, new_pack: Pack) -> None:
    try:
        if not work.exchange(pack_path(slot.name), to_bytes(new_pack), slot.state):
            log.info("pack=%s: another node wrote it first; ours is dropped", slot.name)
    except FleetError as error:
        log.warning("pack=%s not written, the next run will try: %s", slot.name, error)


def judge_file(
    data: bytes, size_limit: int = SIZE_LIMIT, companions: Mapping[str, bytes] = NO_COMPANIONS
) -> tuple[Packed, ModelContent]:
    """The numbers of a model, and what its files say. Nothing of them runs. Raises Unscorable, as `judge_content`."""
    from scorer.families.judging import judge_content  # late: a warm node reads no model file
    from scorer.model_files.companions import read_content

    content = read_content(data, companions, size_limit)
    return judge_content(content).packed, content


def pack_file(data: bytes, size_limit: int = SIZE_LIMIT) -> Packed:
    """The numbers of a model of one file. Raises Unscorable, as `judge_file`."""
    return judge_file(data, size_limit)[0]
