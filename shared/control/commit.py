"""Copies the chosen parts of a chunk to where consumers read. Every call is conditional, and may be repeated."""

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
    """Copy the chosen parts to their final names, replacing those of an earlier round; returns the copies.

    Each call is conditional on the etag of the blob that it replaces: a late call, from a host that was paused or a
    request that was slow, meets another etag and changes nothing. Raises Malformed where the target holds other
    content, NotFound where a source is missing, and Unavailable, with nothing lost.
    """
    assert chunk.chosen
    before = chunk.committed.parts if chunk.committed else ()
    copies = []
    for index, (part, old) in enumerate(zip_longest(chunk.chosen.parts, before)):
        name = paths.prediction_path(window, chunk.id, index)
        if part:
            copies.append(_copy_part(work, predictions, name, part, old))
        else:
            predictions.delete(name, old.etag)  # the new result has fewer parts
    return tuple(copies)


def _copy_part(work: Blobs, predictions: Blobs, name: str, part: Part, old: Part | None) -> Part:
    try:
        blob = predictions.copy(work, part.path, name, replaces=old.etag if old else None)
    except Conflict:  # an earlier tick was killed after the copy, or another host was faster
        blob = predictions.read_properties(name)
    if (blob.size, blob.md5) != (part.bytes, part.md5):
        raise Malformed(f"{predictions.url}/{name} is not ours: expected {part}, got {blob}")
    return replace(part, etag=blob.etag)


def has_earlier_parts(predictions: Blobs, window: Window, chunk: Chunk) -> bool:
    """Whether the result of an earlier round is unchanged: every part exists, with its etag."""
    before = chunk.committed.parts if chunk.committed else ()
    try:
        blobs = [
            predictions.read_properties(paths.prediction_path(window, chunk.id, index)) for index in range(len(before))
        ]
    except NotFound:
        return False
    return [blob.etag for blob in blobs] == [part.etag for part in before]
