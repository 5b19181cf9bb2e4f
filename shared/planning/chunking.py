"""Decides which windows are due, and how a fleet is cut into chunks. Pure."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from shared.contract.documents import SCHEMA, PackSpan
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.windows import Window
from shared.state.runs import Chunk, Run

from .schedule import Schedule

CATCH_UP_LIMIT = 24  # windows that may wait; older ones are missed
CHUNK_SECONDS = 120  # the least work that is worth the start of a job
CHUNK_MOST = 50_000  # models that `auto` puts into a chunk: what a tick holds in memory does not grow with the fleet
FIRST_RATE = 300.0  # models per second and process, until a run has shown its own
SHRINKAGE = 0.8  # a fleet below this share of the last one is listed again before it is believed

PACK_LEAST = 4_096  # models; a cut comes after twice as many on average
PACK_MOST_SCALES = 4  # times the least
PACK_MOST = PACK_MOST_SCALES * PACK_LEAST
PACK_BYTES = 256 * 2**20  # of model files


class CatchUp(StrEnum):
    """What becomes of windows that fell due while nobody looked."""

    ALL = "all"  # the newest CATCH_UP_LIMIT are scored, oldest first
    LATEST = "latest"  # only the newest is


@dataclass(frozen=True, slots=True)
class Due:
    """The windows that fell due since the watermark: a stretch that is given up, and those that wait."""

    missed: tuple[Window, ...]
    waiting: tuple[Window, ...]


def due(schedule: Schedule, length: timedelta, watermark: datetime | None, now: datetime, catch_up: CatchUp) -> Due:
    """Which windows are to be opened, oldest first, and which will never be.

    A closed window becomes due at the schedule's first instant at or after its end. So those are due whose end is no
    later than the schedule's last instant: early, late, doubled or missed ticks change nothing.
    """
    if watermark is not None and now < watermark + length:
        return Due((), ())  # no further window has even closed
    newest_end = Window.containing(schedule.last_fire(now), length).start
    if watermark is None:
        return Due((), (Window(newest_end - length, length),))
    missed = []
    first = Window.containing(watermark, length).start
    if first < watermark:  # the length was changed: a window that began before the watermark would score rows twice
        first += length
        if first <= newest_end:
            missed.append(Window(watermark, first - watermark))
    count = max(0, (newest_end - first) // length)
    keep = min(count, CATCH_UP_LIMIT if catch_up is CatchUp.ALL else 1)
    if count > keep:
        missed.append(Window(first, (count - keep) * length))
    waiting = tuple(Window(newest_end - n * length, length) for n in range(keep, 0, -1))
    return Due(tuple(missed), waiting)


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
            raise Malformed(f"wanted auto or a number of models of at least 1, found {text!r}")
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
    packs: tuple[PackSpan, ...] = ()


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
    spans: list[PackSpan] = []
    for name, pack in packs(models, pack_scale(least)):
        chunk += pack
        spans.append(PackSpan(name, len(pack)))
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
        yield Cut(batch, tuple(PackSpan(name, min(PACK_MOST, len(batch) - at)) for name, at in zip(names, starts)))  # noqa: B905  # names are without end


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


@dataclass(frozen=True, slots=True)
class Plan:
    """The chunks of a run, as committed by one create-once write. Never edited."""

    chunks: tuple[Chunk, ...]
    ignored: int = 0

    @property
    def models(self) -> int:
        """The plan's total."""
        return sum(chunk.models for chunk in self.chunks)

    def to_bytes(self) -> bytes:
        """JSON; the same plan gives the same bytes."""
        rows = [[c.id, c.manifest, c.models, c.first, c.last] for c in self.chunks]
        return json.dumps({"schema": SCHEMA, "ignored": self.ignored, "chunks": rows}, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, run: Run, data: bytes, now: datetime) -> Plan:
        """The plan as waiting chunks of the run's round, since *now*; raises Malformed."""
        try:
            doc: dict[str, Any] = json.loads(data)
            if doc["schema"] != SCHEMA:
                raise Malformed(f"wanted schema {SCHEMA}, found {doc['schema']!r}")
            rows = [
                Chunk(run.id, str(chunk), str(manifest), int(models), str(first), str(last), since=now, round=run.round)
                for chunk, manifest, models, first, last in doc["chunks"]
            ]
            return cls(tuple(rows), int(doc["ignored"]))
        except (KeyError, TypeError, ValueError, Malformed) as error:
            raise Malformed(f"plan of run {run.id}: {error}") from error
