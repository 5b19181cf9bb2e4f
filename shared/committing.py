"""Puts the chosen parts of a chunk where consumers read. Every call is conditional, and may be repeated at any time."""

from __future__ import annotations

from itertools import zip_longest

from . import contract
from .domain import Part
from .errors import Conflict, Malformed, NotFound
from .ports import Blobs, Found
from .runs import Chunk
from .windows import Window


def copy_parts(work: Blobs, predictions: Blobs, window: Window, chunk: Chunk) -> None:
    """Copy the chosen parts to their final names, in place of those of an earlier round.

    Each copy is conditional on the etag of what it replaces: so one that comes late, from a host that was paused or a
    request that was slow, finds another etag and changes nothing. Raises Malformed or NotFound where something else
    lies there, or nothing here; Unavailable, with nothing lost.
    """
    assert chunk.chosen
    before = chunk.committed.parts if chunk.committed else ()
    for index, (part, old) in enumerate(zip_longest(chunk.chosen.parts, before)):
        name = contract.prediction_path(window, chunk.id, index)
        if part:
            _put(work, predictions, name, part, old)
        else:
            _take_away(predictions, name, old)


def _put(work: Blobs, predictions: Blobs, name: str, part: Part, old: Part | None) -> None:
    there = _lying(predictions, name) if old else None
    if there is None or _is(there, old):
        try:
            there = predictions.copy(work, part.path, name, replaces=there.etag if there else None)
        except Conflict:  # an earlier tick was killed after it had copied, or another host was quicker
            there = predictions.head(name)
    if not _is(there, part):
        raise Malformed(f"{predictions.url}/{name} is not ours: wanted {part}, found {there}")


def _take_away(predictions: Blobs, name: str, old: Part | None) -> None:
    """Where the result has fewer parts than the one that it replaces."""
    there = _lying(predictions, name)
    if there is None:
        return
    if not _is(there, old):
        raise Malformed(f"{predictions.url}/{name} is not ours: wanted {old}, found {there}")
    predictions.delete(name, there.etag)


def _lying(predictions: Blobs, name: str) -> Found | None:
    try:
        return predictions.head(name)
    except NotFound:
        return None


def _is(there: Found, part: Part | None) -> bool:
    return part is not None and (there.size, there.md5) == (part.bytes, part.md5)
