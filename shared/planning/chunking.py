"""Decides which windows are due, and how a fleet is cut into chunks. Pure."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.manifest import PackRef
from shared.state.runs import Run

CHUNK_SECONDS = 120  # the least work that is worth the start of a job
CHUNK_MOST = 50_000  # models that `auto` puts into a chunk: what a tick holds in memory does not grow with the fleet
FIRST_RATE = 300.0  # models per second and process, until a run has shown its own
SHRINKAGE = 0.8  # a fleet below this share of the last one is listed again before it is believed

PACK_LEAST = 4_096  # models; a cut comes after twice as many on average
PACK_MOST_SCALES = 4  # times the least
PACK_MOST = PACK_MOST_SCALES * PACK_LEAST
PACK_BYTES = 256 * 2**20  # of model files


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How many models a job scores: at most *models*, or as many as pay for a job where that is None (`auto`)."""

    models: int | None = None

    @classmethod
    def parse(cls, text: str) -> ChunkSize:
        """`auto`, or a number of at least 1; raises Malformed."""
        if text == "auto":
            return cls()
        if not text.isdecimal() or int(text) < 1:
            raise Malformed(f"expected auto or a number of models of at least 1, got {text!r}")
        return cls(int(text))


def worthwhile(earlier: Sequence[Run], cores: int) -> int:
    """Models for a chunk of CHUNK_SECONDS by the last run's rate, or for each core's share of the last fleet."""
    last = next((run for run in earlier if run.tally.seconds and run.tally.scored), None)
    rate = last.tally.scored / last.tally.seconds if last else FIRST_RATE
    fleet = last.models if last else 0
    return min(CHUNK_MOST, max(1, math.ceil(rate * CHUNK_SECONDS), math.ceil(fleet / cores)))


@dataclass(frozen=True, slots=True)
class Cut:
    """The models of one chunk, and how they lie in packs."""

    models: tuple[Model, ...]
    packs: tuple[PackRef, ...] = ()


def cut(models: Iterable[Model], size: ChunkSize, least: int) -> Iterator[Cut]:
    """The chunks, in the order of the listing, as it streams by.

    With a number: so many models each; their packs are named by the chunk's place, since a model that comes or goes
    moves no more than itself from each chunk to the next. With `auto`: whole packs, until there are at least *least*
    models. A job for each model has no packs.
    """
    if size.models:
        yield from _by_number(models, size.models)
        return
    chunk: list[Model] = []
    spans: list[PackRef] = []
    for name, pack in packs(models, pack_scale(least)):
        chunk += pack
        spans.append(PackRef(name, len(pack)))
        if len(chunk) >= least:
            yield Cut(tuple(chunk), tuple(spans))
            chunk, spans = [], []
    if chunk:
        yield Cut(tuple(chunk), tuple(spans))


def _by_number(models: Iterable[Model], count: int) -> Iterator[Cut]:
    stream = iter(models)
    for index in itertools.count():
        batch = tuple(itertools.islice(stream, count))
        if not batch:
            return
        names = (f"{count}-{index:05d}-{n}" for n in itertools.count())
        starts = range(0, len(batch), PACK_MOST) if count > 1 else ()
        yield Cut(batch, tuple(PackRef(name, min(PACK_MOST, len(batch) - at)) for name, at in zip(names, starts)))  # noqa: B905  # names are without end


def pack_scale(least: int) -> int:
    """The fewest models of a pack where a chunk wants *least*: a power of two, so that it seldom changes."""
    return min(PACK_LEAST, 1 << (max(1, least).bit_length() - 1))


def packs(models: Iterable[Model], scale: int = PACK_LEAST) -> Iterator[tuple[str, list[Model]]]:
    """Neighbours, *scale* to four times as many, and their pack's name. A cut falls where the hash of an id says so.

    So a model that comes or goes moves only the cuts beside it, where a fixed count would move all that follow. A pack
    is named by the model before it, and so keeps its name whatever happens within. Where the files are large it is cut
    earlier, since a node holds a pack in memory.
    """
    pack: list[Model] = []
    name, size = f"{scale}-first", 0
    for model in models:
        pack.append(model)
        size += model.size
        word = hashlib.blake2b(model.id.encode(errors="surrogatepass"), digest_size=8).digest()
        full = len(pack) >= PACK_MOST_SCALES * scale or size >= PACK_BYTES
        if full or (len(pack) >= scale and int.from_bytes(word) % scale == 0):
            yield name, pack
            pack, name, size = [], f"{scale}-{word.hex()}", 0
    if pack:
        yield name, pack


def doubtful(models: int, listed_before: int | None, last: int) -> bool:
    """Whether so small a fleet is rather a listing gone wrong than the truth.

    It is compared with what this run listed at the tick before, or else with the fleet of the last plan.
    """
    if listed_before is not None:
        return models < SHRINKAGE * listed_before
    return models == 0 or models < SHRINKAGE * last
