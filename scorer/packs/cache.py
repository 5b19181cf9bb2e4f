"""Loads the models of a pack: from the pack file those that it has, the others from their files; then updates the pack.

No result depends on a pack, nor on whether it could be written: an error with one is logged and ignored.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from scorer.errors import Unscorable
from scorer.families.base import Family, Packed
from scorer.families.judging import judge_content
from scorer.model_files.companions import read_content
from scorer.model_files.content import ModelContent
from scorer.model_files.reader import SIZE_LIMIT
from scorer.storage.blob_store import Container, Content
from shared.contract.domain import Model
from shared.contract.errors import FleetError, Malformed, NotFound
from shared.contract.model_list import ModelList
from shared.contract.paths import pack_path
from shared.contract.reasons import Reason

from . import pack
from .fetch import Stores, fetch_files, make_refusals
from .pack import EMPTY, NO_COMPANIONS, Entry, Pack

PACKED_BYTES = 2**26  # of the numbers of a pack: a node has two of them in memory
STORED_BYTES = 2**18  # of a file in a pack: above, a request costs less than to copy it each time the pack changes
HELD_BYTES = 2**28  # of larger files that were read to be judged, and are held until they are scored

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The first models of a pack: model `i` is row `rows[i]` of the pack, where that is not -1.

    They are as many as *rows* has, and fewer than were asked for where their numbers are more than PACKED_BYTES.
    A refusal takes precedence over the pack. *etags* are of the files that changed since the plan. *contents* are of
    files that the pack does not store, as far as they were read and there is room for them.
    """

    pack: Pack
    rows: np.ndarray
    refusals: dict[int, Unscorable]
    etags: dict[int, str]
    contents: dict[int, Content] = field(default_factory=dict)


def load_models(stores: Stores, name: str, models: ModelList, excluded: Collection[int] = ()) -> LoadedModels:
    """Load the models to score, without those at the indices *excluded*. Without a *name* there is no pack.

    Of models whose numbers are large together only the first: at least one, and as many as fit into PACKED_BYTES.
    Raises Unavailable and Misconfigured where the store of the models does not answer.
    """
    try:
        old, state = _read_pack(stores.work, name) if name else (EMPTY, None)
    except FleetError as error:
        log.warning("pack=%s not read, all models are fetched: %s", name, error)
        old, state, name = EMPTY, None, ""
    rows = old.find_rows(models)
    is_cut = old.is_cut and bool((rows >= 0).any())
    if is_cut:  # what comes after its last model is in a further pack, and is not read to see that it does not fit
        rows = rows[: int(np.flatnonzero(rows >= 0)[-1]) + 1]
        models = models[: len(rows)]
    if stores.current:
        is_excluded = np.zeros(len(models), bool)
        is_excluded[list(excluded)] = True
        rows = np.where(is_excluded, rows, -1)
    read = _ReadFiles(make_refusals(stores, models), np.where(rows >= 0, old.count_bytes()[rows], 0))
    _read_missing(stores, models, rows, excluded, read)
    end, entries = read.find_end(), read.entries
    entries = {index: entry for index, entry in entries.items() if index < end}
    indices = np.union1d(np.flatnonzero(rows[:end] >= 0), np.array(list(entries), np.int64))
    new_pack = old.merge_rows(rows[indices], pack.build_pack(list(entries.values())))
    if new_pack.is_cut != (is_cut or end < len(models)):
        new_pack = replace(new_pack, is_cut=not new_pack.is_cut)
    if name and new_pack is not old:
        _write_pack(stores.work, name, new_pack, state)
        log.info("pack=%s models=%s, %s of them new", name, len(new_pack), len(entries))
    row_of_model = np.full(end, -1)
    row_of_model[indices] = np.arange(len(indices))
    etags = {index: entry.etag for index, entry in entries.items() if entry.etag != entry.model.etag}
    refusals = {index: refusal for index, refusal in read.refusals.items() if index < end}
    return LoadedModels(new_pack, row_of_model, refusals, etags, read.contents)


@dataclass(slots=True)
class _ReadFiles:
    """What was read of the files of models that a pack does not have, by the models' indices."""

    refusals: dict[int, Unscorable]
    n_bytes: np.ndarray  # int64: of the numbers of each model, as far as they are known
    entries: dict[int, Entry] = field(default_factory=dict)
    contents: dict[int, Content] = field(default_factory=dict)  # of files that the pack does not store
    held_bytes: int = 0

    def find_end(self) -> int:
        """How many of the first models fit into a pack."""
        fitting = int(np.searchsorted(np.cumsum(self.n_bytes), PACKED_BYTES, "right"))
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
        if before[index] + n_new > PACKED_BYTES:
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


def judge_file(
    data: bytes, size_limit: int = SIZE_LIMIT, companions: Mapping[str, bytes] = NO_COMPANIONS
) -> tuple[Packed, ModelContent]:
    """The numbers of a model, and what its files say. Nothing of them runs. Raises Unscorable, as `judge_content`."""
    content = read_content(data, companions, size_limit)
    return judge_content(content).packed, content


def pack_file(data: bytes, size_limit: int = SIZE_LIMIT) -> Packed:
    """The numbers of a model of one file. Raises Unscorable, as `judge_file`."""
    return judge_file(data, size_limit)[0]
