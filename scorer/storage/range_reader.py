"""Random access to blobs in Azure, and blobs in memory, by ranges; and the errors of obstore as our own errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from shared.contract.errors import PROTECTIONS, Misconfigured, NotFound, Protected, Unavailable, describe_protection
from shared.contract.text import clip_text, find_sign_in_line, get_first_line

if TYPE_CHECKING:
    from obstore import GetResult
    from obstore.store import AzureStore

_ROLE = "this identity needs the role Storage Blob Data Contributor there"
HEAD = 2**20  # bytes that are read when a blob is opened
HEAD_IN_MEMORY = 2**21  # bytes that are read when it is mapped: the index of a pack of 16,000 models
GAP = 2**20  # bytes between two ranges that are read with them: to transfer them takes about as long as a request
CHUNK = 2**22  # bytes of an answer that are in memory twice, while they are copied to where they belong


class AccessDenied(Unavailable):
    """The store refuses this identity: a person grants a role, or what is asked for is no part of what was granted."""


class Changed(Unavailable):
    """A blob was written to since it was opened."""


class OpenFile(Protocol):
    """A file, open for reading at any position."""

    @property
    def closed(self) -> bool:
        """Whether it is closed."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to *size* bytes from the position on; all where that is negative."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move the position: relative to the beginning, the position (1) or the end (2)."""

    def tell(self) -> int:
        """The position."""

    def close(self) -> None:
        """Close it."""


class MappedBlob(Protocol):
    """A blob in memory, as it was when it was mapped: of *data* only what was loaded is its content."""

    @property
    def data(self) -> memoryview:
        """As many bytes as the blob has."""

    @property
    def state(self) -> str:
        """It changes with the blob: what `exchange` expects. Not an etag."""

    def load(self, ranges: Sequence[tuple[int, int]]) -> None:
        """Load the bytes of some ranges (start, end), in their order and apart from each other.

        Raises Unavailable, also where the blob has changed, and NotFound where it is gone; *data* is of no use then.
        """


def open_ranges(url: str, store: AzureStore, path: str) -> OpenFile:
    """A blob of the container at *url*. Raises NotFound, Misconfigured, Unavailable."""
    with translate_errors(url, path):
        response = _get_head(store, path, HEAD)
        return RangeReader(
            url, store, path, response.meta["size"], response.meta["e_tag"] or "", bytes(response.bytes())
        )


def map_ranges(url: str, store: AzureStore, path: str) -> MappedBlob:
    """A blob of the container at *url*, whose beginning is loaded. Raises NotFound, Misconfigured, Unavailable."""
    with translate_errors(url, path):
        response = _get_head(store, path, HEAD_IN_MEMORY)
        size, head = response.meta["size"], response.bytes()
        data = np.zeros(size, np.uint8).data  # pages that nothing is written to take no memory
        data[: len(head)] = memoryview(head)
        return BlobMap(url, store, path, response.meta["e_tag"] or "", data, len(head))


def _get_head(store: AzureStore, path: str, n_bytes: int) -> GetResult:
    import obstore
    from obstore.exceptions import BaseError

    try:
        return obstore.get(store, path, options={"range": (0, n_bytes)})
    except BaseError as error:
        if "InvalidRange" not in str(error):
            raise
        return obstore.get(store, path)  # an empty blob has no range


def join_ranges(ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The requests for ranges in their order: over gaps of up to GAP bytes, and one where it has most of all bytes."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and start - joined[-1][1] <= GAP:
            joined[-1] = joined[-1][0], end
        elif start < end:
            joined.append((start, end))
    if joined and 2 * sum(end - start for start, end in joined) > joined[-1][1] - joined[0][0]:
        return [(joined[0][0], joined[-1][1])]
    return joined


@dataclass(frozen=True, slots=True)
class BlobMap:
    """A blob in Azure, in memory as far as it was loaded: see MappedBlob. Its first *n_head* bytes are."""

    url: str
    store: AzureStore
    path: str
    state: str
    data: memoryview
    n_head: int

    def load(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See MappedBlob."""
        rest = [(max(start, self.n_head), end) for start, end in ranges if end > self.n_head]
        for start, end in join_ranges(rest):
            self._load_range(start, end)

    def _load_range(self, start: int, end: int) -> None:
        import obstore

        with translate_errors(self.url, self.path):
            options: Any = {"range": (start, end), "if_match": self.state}
            for chunk in obstore.get(self.store, self.path, options=options).stream(CHUNK):
                self.data[start : start + len(chunk)] = memoryview(chunk)
                start += len(chunk)
        if start != end:
            raise Unavailable(f"{self.path!r} in {self.url}: expected {end - start} bytes more")


@dataclass(slots=True)
class RangeReader:
    """A blob in Azure, read by ranges. Its beginning was read when it was opened: a small blob is complete then."""

    url: str
    store: AzureStore
    path: str
    size: int
    etag: str
    head: bytes
    position: int = 0
    closed: bool = False

    def read(self, size: int = -1, /) -> bytes:
        """See OpenFile. Raises Changed where the blob is another one by now."""
        import obstore

        end = self.size if size < 0 else min(self.position + size, self.size)
        start, self.position = self.position, max(self.position, end)
        if start >= end or end <= len(self.head):
            return self.head[start:end]
        with translate_errors(self.url, self.path):
            options: Any = {"range": (start, end), "if_match": self.etag}
            return bytes(obstore.get(self.store, self.path, options=options).bytes())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See OpenFile."""
        self.position = offset + (0, self.position, self.size)[whence]
        return self.position

    def tell(self) -> int:
        """See OpenFile."""
        return self.position

    def close(self) -> None:
        """See OpenFile."""
        self.closed = True


@contextmanager
def translate_errors(url: str, path: str) -> Iterator[None]:
    """Errors of obstore as our own errors."""
    from obstore.exceptions import BaseError, PermissionDeniedError, PreconditionError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError as error:
        raise _explain_missing_container(url, error) or NotFound(f"no {path!r} in {url}") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _explain_sign_in(url, str(error)) or AccessDenied(f"{url} refused access to {path!r}: {_ROLE}") from error
    except (BaseError, ValueError) as error:
        if code := find_protection(error):
            protection = describe_protection(code)
            raise Protected(f"{path!r} in {url} is protected by {protection}", protection) from error
        if isinstance(error, PreconditionError):
            raise Changed(f"{path!r} in {url} was written to since it was opened") from error
        if "403 Forbidden" in str(error):  # of a listing, which obstore has no class for
            raise AccessDenied(f"{url} refused to list {path!r}: {_ROLE}") from error
        raise _explain_missing_container(url, error) or Unavailable(
            f"{path!r} in {url}: {get_first_line(error)}"
        ) from error


def find_protection(error: Exception) -> str:
    """The code of the answer where a lease or a policy protects a blob, else ""; obstore has no class for these."""
    return next((code for code in PROTECTIONS if f"<Code>{code}</Code>" in str(error)), "")


def _explain_sign_in(url: str, message: str) -> Unavailable | None:
    """A failed sign-in, which is not a refusal of the storage: with the message of the managed identity's endpoint."""
    if "DefaultAzureCredential" not in message:
        return None
    return Unavailable(
        f"{url}: no identity to sign in with (AZURE_CLIENT_ID must be the client id of an identity of this node): "
        f"{clip_text(find_sign_in_line(message))}"
    )


def _explain_missing_container(url: str, error: Exception) -> Misconfigured | None:
    """A missing container, which is not a missing blob: else every model of a lost container would count as removed."""
    return Misconfigured(f"expected a container, got nothing at {url}") if "ContainerNotFound" in str(error) else None
