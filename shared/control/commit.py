"""Copies the chosen parts of a chunk to where consumers read. Every call is conditional, and may be repeated.

Without a folder of predictions (PREDICTIONS_FOLDER=false) they stay where the node wrote them, and have no etag.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import zip_longest

from shared.contract import paths
from shared.contract.domain import Original, Part
from shared.contract.errors import Conflict, Malformed, NotFound, Protected
from shared.contract.windows import Window
from shared.ports import BlobInfo, Blobs
from shared.state.runs import Chunk


def copy_parts(
    work: Blobs, predictions: Blobs, window: Window, chunk: Chunk, *, has_folder: bool = True
) -> tuple[Part, ...]:
    """Copy the chosen parts to their final names, replacing those of an earlier round; returns the copies.

    Each call is conditional on the etag of the blob that it replaces: a late call, from a host that was paused or a
    request that was slow, meets another etag and changes nothing. Raises Malformed where the target holds other
    content, Protected where a lease or a policy protects it, NotFound where a source is missing, and Unavailable, with
    nothing lost.
    """
    assert chunk.chosen
    before = chunk.committed.parts if chunk.committed else ()
    copies = []
    for index, (part, old) in enumerate(zip_longest(chunk.chosen.parts, before)):
        name = paths.prediction_path(window, chunk.id, index)
        try:
            if part and has_folder:
                copies.append(_copy_part(work, predictions, name, part, old))
                continue
            if part:
                copies.append(_check_part(work, part))
            if old and old.etag:  # the new result has fewer parts, or there is no folder any more
                _delete_part(predictions, name, old)
        except Protected as error:  # the service's own message names two URLs, and its end may be cut
            raise Protected(f"{name} is protected by {error.protection}", error.protection) from error
    return tuple(copies)


def _copy_part(work: Blobs, predictions: Blobs, name: str, part: Part, old: Part | None) -> Part:
    try:
        blob = predictions.copy(work, part.path, name, replaces=old.etag if old and old.etag else None)
    except Conflict as error:
        # An earlier tick was killed after the copy, another host was faster, or the file was upgraded.
        blob = predictions.read_properties(name)
        if isinstance(error, Protected) and not _is_copy(blob, part):
            raise
        if old and _is_same(blob, old):
            blob = predictions.copy(work, part.path, name, replaces=blob.etag)
    if not _is_copy(blob, part):
        raise Malformed(
            f"{predictions.url}/{name} is not ours: expected {part.bytes} bytes with MD5 {part.md5}, got {blob.size} "
            f"with {blob.md5 or 'none'}"
        )
    return replace(part, etag=blob.etag)


def _check_part(work: Blobs, part: Part) -> Part:
    blob = work.read_properties(part.path)
    if (blob.size, blob.md5) != (part.bytes, part.md5):
        raise Malformed(
            f"{part.path}: expected {part.bytes} bytes with MD5 {part.md5}, got {blob.size} with {blob.md5}"
        )
    return replace(part, etag="")


def _delete_part(predictions: Blobs, name: str, old: Part) -> None:
    """Delete a part of an earlier round, also where it was upgraded; other content stays.

    A file is upgraded once. So if the first call meets another etag, the second one sees the upgraded file.
    """
    predictions.delete(name, old.etag)
    try:
        blob = predictions.read_properties(name)
    except NotFound:
        return
    if _is_same(blob, old):
        predictions.delete(name, blob.etag)


def get_original(blob: BlobInfo) -> Original:
    """The blob as ledger and report know it, whether or not it was upgraded since."""
    return Original.from_metadata(blob.metadata) or Original(blob.etag, blob.size, blob.md5)


def _is_copy(blob: BlobInfo, part: Part) -> bool:
    """Whether the blob has the content of the chosen part, or had it when it was upgraded."""
    original = get_original(blob)
    return (original.bytes, original.md5) == (part.bytes, part.md5)


def _is_same(blob: BlobInfo, part: Part) -> bool:
    """Whether the blob is the committed part, or was when it was upgraded."""
    return part.etag in (blob.etag, get_original(blob).etag)


def has_earlier_parts(work: Blobs, predictions: Blobs, window: Window, chunk: Chunk) -> bool:
    """Whether the result of an earlier round still exists: every part, with its etag or upgraded."""
    before = chunk.committed.parts if chunk.committed else ()
    try:
        return all(
            _is_same(predictions.read_properties(paths.prediction_path(window, chunk.id, index)), part)
            if part.etag
            else work.read_properties(part.path).md5 == part.md5
            for index, part in enumerate(before)
        )
    except NotFound:
        return False
