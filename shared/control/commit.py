"""Puts the chosen parts of a chunk where consumers read. Every call is conditional, and may be repeated at any time."""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from shared.contract import paths
from shared.contract.domain import Part
from shared.contract.errors import Conflict, Malformed, NotFound
from shared.contract.windows import Window
from shared.ports import Blobs
from shared.state.runs import Chunk


def copy_parts(work: Blobs, predictions: Blobs, window: Window, chunk: Chunk) -> tuple[Part, ...]:
    """Copy the chosen parts to their final names, in place of those of an earlier round; returns them as they lie.

    Each call is conditional on the etag of what it replaces: so one that comes late, from a host that was paused or a
    request that was slow, finds another etag and changes nothing. Raises Malformed or NotFound where something else
    lies there, or nothing here; Unavailable, with nothing lost.
    """
    assert chunk.chosen
    before = chunk.committed.parts if chunk.committed else ()
    lying = []
    for index, (part, old) in enumerate(zip_longest(chunk.chosen.parts, before)):
        name = paths.prediction_path(window, chunk.id, index)
        if part:
            lying.append(_put(work, predictions, name, part, old))
        else:
            predictions.delete(name, old.etag)  # the new result has fewer parts
    return tuple(lying)


def _put(work: Blobs, predictions: Blobs, name: str, part: Part, old: Part | None) -> Part:
    try:
        there = predictions.copy(work, part.path, name, replaces=old.etag if old else None)
    except Conflict:  # an earlier tick was killed after it had copied, or another host was quicker
        there = predictions.head(name)
    if (there.size, there.md5) != (part.bytes, part.md5):
        raise Malformed(f"{predictions.url}/{name} is not ours: expected {part}, got {there}")
    return replace(part, etag=there.etag)


def earlier_lies(predictions: Blobs, window: Window, chunk: Chunk) -> bool:
    """Whether consumers still read the result of an earlier round: every part is there, under the etag that it had."""
    before = chunk.committed.parts if chunk.committed else ()
    try:
        there = [predictions.head(paths.prediction_path(window, chunk.id, index)) for index in range(len(before))]
    except NotFound:
        return False
    return [found.etag for found in there] == [part.etag for part in before]
