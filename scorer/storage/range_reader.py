"""Blobs in Azure that are read here and there, by ranges; and what obstore raises, as our own errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shared.contract.errors import Misconfigured, NotFound, Unavailable
from shared.contract.text import clip_text

if TYPE_CHECKING:
    from obstore.store import AzureStore

HEAD = 2**20  # bytes that come when a blob is opened


class Opened(Protocol):
    """A file, open for reading at any place."""

    @property
    def closed(self) -> bool:
        """Whether it is."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to *size* bytes from the place on; all where that is negative."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to another place: from the beginning, from here (1) or from the end (2)."""

    def tell(self) -> int:
        """The place."""

    def close(self) -> None:
        """Let go of it."""


def open_ranges(url: str, store: AzureStore, path: str) -> Opened:
    """A blob of the container at *url*. Raises NotFound, Misconfigured, Unavailable."""
    import obstore
    from obstore.exceptions import BaseError

    with translated(url, path):
        try:
            found = obstore.get(store, path, options={"range": (0, HEAD)})
        except BaseError as error:
            if "InvalidRange" not in str(error):
                raise
            found = obstore.get(store, path)  # an empty blob has no range at all
        return Ranges(url, store, path, found.meta["size"], found.meta["e_tag"] or "", bytes(found.bytes()))


@dataclass(slots=True)
class Ranges:
    """A blob in Azure, read by ranges. Its beginning came when it was opened: of a small one that is all."""

    url: str
    store: AzureStore
    path: str
    size: int
    etag: str
    head: bytes
    place: int = 0
    closed: bool = False

    def read(self, size: int = -1, /) -> bytes:
        """See Opened. Raises Unavailable too where the blob has changed."""
        import obstore

        end = self.size if size < 0 else min(self.place + size, self.size)
        start, self.place = self.place, max(self.place, end)
        if start >= end or end <= len(self.head):
            return self.head[start:end]
        with translated(self.url, self.path):
            options: Any = {"range": (start, end), "if_match": self.etag}
            return bytes(obstore.get(self.store, self.path, options=options).bytes())

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """See Opened."""
        self.place = offset + (0, self.place, self.size)[whence]
        return self.place

    def tell(self) -> int:
        """See Opened."""
        return self.place

    def close(self) -> None:
        """See Opened."""
        self.closed = True


@contextmanager
def translated(url: str, path: str) -> Iterator[None]:
    """What obstore raises, as our own errors."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError as error:
        raise _missing_container(url, error) or NotFound(f"no {path!r} in {url}") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise _unsigned(url, str(error)) or Unavailable(
            f"{url} refused us {path!r}: this identity wants the role Storage Blob Data Contributor there"
        ) from error
    except (BaseError, ValueError) as error:
        raise _missing_container(url, error) or Unavailable(
            f"{path!r} in {url}: {str(error).splitlines()[0]}"
        ) from error


def _unsigned(url: str, said: str) -> Unavailable | None:
    """Told apart from a refusal of the storage, to which nobody came: what the managed identity's endpoint said."""
    if "DefaultAzureCredential" not in said:
        return None
    found = re.search(r"\tManagedIdentityCredential: (.+)", said)
    return Unavailable(
        f"{url}: no identity to sign in with (AZURE_CLIENT_ID wants to be the client id of one that this node has): "
        f"{clip_text(found[1] if found else said)}"
    )


def _missing_container(url: str, error: Exception) -> Misconfigured | None:
    """Told apart from a missing blob, since else every model of a lost container would count as removed."""
    return Misconfigured(f"there is no container at {url}") if "ContainerNotFound" in str(error) else None
