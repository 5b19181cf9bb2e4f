"""Decides how a fleet is split into chunks and packs. Pure."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.manifest import DeviceRange, PackRef
from shared.contract.model_names import ModelNames
from shared.contract.reasons import Reason
from shared.state.runs import Run

CHUNK_SECONDS = 120  # the least work for which a job is worth its start
CHUNK_MOST = 50_000  # models in a chunk with `auto`: the memory of a tick does not grow with the fleet
FIRST_RATE = 300.0  # models per second and process, until a run was measured
SHRINKAGE = 0.8  # a fleet below this share of the last one is listed again before it is planned

PACK_LEAST = 4_096  # models; a pack has twice as many on average
PACK_MOST_SCALES = 4  # times the least
PACK_MOST = PACK_MOST_SCALES * PACK_LEAST
PACK_BYTES = 256 * 2**20  # of model files


NO_DEVICES = DeviceRange(".", ".")  # no id is a dot


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How many models a job scores: at most *models*, or as many as are worth a job where that is None (`auto`)."""

    models: int | None = None

    @classmethod
    def parse(cls, text: str) -> ChunkSize:
        """`auto`, or a number of at least 1; raises Malformed."""
        if text == "auto":
            return cls()
        if not text.isdecimal() or int(text) < 1:
            raise Malformed(f"expected auto or a number of models of at least 1, got {text!r}")
        return cls(int(text))


def choose_least_models(earlier: Sequence[Run], cores: int) -> int:
    """The models of a chunk of CHUNK_SECONDS at the last run's rate, or a core's share of the last fleet, if larger."""
    last = next((run for run in earlier if run.tally.seconds and run.tally.scored), None)
    rate = last.tally.scored / last.tally.seconds if last else FIRST_RATE
    fleet = last.models if last else 0
    return min(CHUNK_MOST, max(1, math.ceil(rate * CHUNK_SECONDS), math.ceil(fleet / cores)))


@dataclass(frozen=True, slots=True)
class ChunkModels:
    """The models of one chunk, and their packs."""

    models: tuple[Model, ...]
    packs: tuple[PackRef, ...] = ()
    devices: DeviceRange | None = None  # of `add_ranges`


def add_ranges(chunks: Iterable[ChunkModels], names: ModelNames) -> Iterator[ChunkModels]:
    """The chunks with the devices that each answers for; together they answer for every device once.

    A bound is the device of a chunk's first model, and never less than the bound before. A device whose models are in
    several chunks belongs to the last of them; with three, the middle one answers for none, as does a chunk whose names
    give no ids.
    """
    bound = ""
    held: list[ChunkModels] = []  # a chunk, and those after it whose names give no ids
    for chunk in chunks:
        first = next((model.device for model in chunk.models if model.refused is not Reason.BAD_NAME), None)
        if held and first is not None:
            end = max(first, bound or first, key=names.make_listing_key)
            yield from _set_range(held, DeviceRange(bound, end))
            held, bound = [], end
        held.append(chunk)
    yield from _set_range(held, DeviceRange(bound, ""))


def _set_range(chunks: Sequence[ChunkModels], devices: DeviceRange) -> Iterator[ChunkModels]:
    """The chunks; the first answers for *devices*, the others for none."""
    return (replace(chunk, devices=NO_DEVICES if i else devices) for i, chunk in enumerate(chunks))


def split_into_chunks(models: Iterable[Model], size: ChunkSize, least: int) -> Iterator[ChunkModels]:
    """Split a listing into chunks, in its order, while it is read.

    With a number: so many models each; their packs are named by the chunk's index, since a new or removed model moves
    only one model from each chunk to the next. With `auto`: whole packs, until there are at least *least* models. A
    chunk of one model has no packs.
    """
    if size.models:
        yield from _split_by_number(models, size.models)
        return
    chunk: list[Model] = []
    refs: list[PackRef] = []
    for name, pack in split_into_packs(models, choose_pack_scale(least)):
        chunk += pack
        refs.append(PackRef(name, len(pack)))
        if len(chunk) >= least:
            yield ChunkModels(tuple(chunk), tuple(refs))
            chunk, refs = [], []
    if chunk:
        yield ChunkModels(tuple(chunk), tuple(refs))


def _split_by_number(models: Iterable[Model], count: int) -> Iterator[ChunkModels]:
    stream = iter(models)
    for index in itertools.count():
        chunk = tuple(itertools.islice(stream, count))
        if not chunk:
            return
        starts = range(0, len(chunk), PACK_MOST) if count > 1 else ()
        refs = [PackRef(f"{count}-{index:05d}-{n}", min(PACK_MOST, len(chunk) - s)) for n, s in enumerate(starts)]
        yield ChunkModels(chunk, tuple(refs))


def choose_pack_scale(least: int) -> int:
    """The least models of a pack where a chunk has at least *least*: a power of two, so that it seldom changes."""
    return min(PACK_LEAST, 1 << (max(1, least).bit_length() - 1))


def split_into_packs(models: Iterable[Model], scale: int = PACK_LEAST) -> Iterator[tuple[str, list[Model]]]:
    """Split a listing into packs of *scale* to four times as many models, with their names.

    The hash of a model's id decides whether a pack ends after it. So a new or removed model changes only the packs
    beside it; with a fixed count it would change all that follow. A pack is named after the model before it, and keeps
    its name when its own models change. Where the files are large a pack is smaller, since a node holds it in memory.
    """
    pack: list[Model] = []
    name, size = f"{scale}-first", 0
    for model in models:
        pack.append(model)
        size += model.size
        digest = hashlib.blake2b(model.id.encode(errors="surrogatepass"), digest_size=8).digest()
        full = len(pack) >= PACK_MOST_SCALES * scale or size >= PACK_BYTES
        if full or (len(pack) >= scale and int.from_bytes(digest) % scale == 0):
            yield name, pack
            pack, name, size = [], f"{scale}-{digest.hex()}", 0
    if pack:
        yield name, pack


def is_suspicious(models: int, listed_before: int | None, last: int) -> bool:
    """Whether a fleet is so small that the listing may be wrong.

    It is compared with the listing of this run at the previous tick, or else with the fleet of the last plan.
    """
    if listed_before is not None:
        return models < SHRINKAGE * listed_before
    return models == 0 or models < SHRINKAGE * last
