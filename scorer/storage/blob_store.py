"""Where blobs lie, by URL: a container in Azure or Azurite, or a folder. The only room that knows how each is opened.

Azure goes through obstore. Its paths are true to the service: what azure-storage-blob uploaded as `a#b%20c.skops` is
found by that very name, and so are `50%`, `q?x` and names outside ASCII. Only a name with an empty segment (`a//b`) is
refused, and one such blob makes the listing of its folder fail. Its own local store hides names that end in `#1`,
and knows no content hashes: folders are read with pathlib.
"""

from __future__ import annotations

import errno
import functools
import mmap
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from shared.contract.errors import Malformed, Misconfigured, NotFound, Unavailable
from shared.contract.text import make_digest

from .range_reader import Opened, open_ranges, translated

if TYPE_CHECKING:
    from obstore.auth.azure import AzureCredentialProvider
    from obstore.store import AzureStore

# Azurite's account, the same on every machine and printed in its manual: no secret.
AZURITE_ACCOUNT = "devstoreaccount1"
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

# What a folder answers as long as nobody changes it; a full disk, say, may pass.
_LASTING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


@dataclass(frozen=True, slots=True)
class Content:
    """A blob's bytes and the etag (without quotes) that they had."""

    data: bytes
    etag: str


@dataclass(frozen=True, slots=True)
class Mapped:
    """A blob's bytes where they lie, and what tells whether it was changed since. Not for models: it is no etag."""

    data: memoryview
    state: str


class Oversized(Exception):
    """A blob holds more bytes than the caller can take: (how many)."""


class Container(Protocol):
    """A container or a folder. A write is atomic: readers see the old content or the new.

    Every method may raise Unavailable, and Misconfigured where the container itself is not there or a folder takes
    no files.
    """

    def read(self, path: str, most: int | None = None) -> Content:
        """Raises NotFound, and Oversized where there are more than *most* bytes, before they are read."""

    def map(self, path: str) -> Mapped:
        """A large blob without copying it. Raises NotFound."""

    def open(self, path: str) -> Opened:
        """A blob to read here and there, as it was when it was opened. Raises NotFound, as its reading may."""

    def exchange(self, path: str, data: bytes, state: str | None) -> bool:
        """Replace what was in *state* when it was mapped, or create where that is None; False where it has changed."""

    def list(self, prefix: str) -> list[str]:
        """The sorted names under *prefix*, which is empty or ends in `/`; none where there is no such folder."""

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Create or replace."""

    def create(self, path: str, data: bytes) -> bool:
        """Write unless there is something; False when there is, whatever it holds."""


def open_container(url: str, storage: str = "") -> Container:
    """The container or folder at *url*. A container is not asked for anything yet.

    *storage* is a connection string, used where its endpoint is the URL's; else a managed identity is. Raises
    Malformed for a URL of no known form, Misconfigured where nothing opens it or no folder is there.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        folder = Path(unquote(parts.path))
        if not folder.is_dir():
            raise Misconfigured(f"there is no folder at {folder}")
        return Folder(folder)
    segments = [unquote(s) for s in parts.path.strip("/").split("/")]
    account = [] if ".blob." in parts.netloc else [segments.pop(0)]
    if parts.scheme not in ("http", "https") or not parts.netloc or not any(segments):
        raise Malformed(
            "expected https://ACCOUNT.blob.core.windows.net/CONTAINER, http://HOST:PORT/ACCOUNT/CONTAINER or "
            f"file:///PATH, got {url!r}"
        )
    endpoint = "/".join([f"{parts.scheme}://{parts.netloc}", *account])
    name = account[0] if account else parts.netloc.split(".")[0]
    return AzureBlobs(url, _azure(endpoint, name, segments[0], "/".join(segments[1:]), storage))


def split_url(url: str) -> tuple[str, str]:
    """A blob's URL as the URL of what holds it and its name there."""
    holder, _, name = url.rstrip("/").rpartition("/")
    if "://" not in holder or not name:
        raise Malformed(f"expected the URL of a blob, got {url!r}")
    return holder, unquote(name)


def _azure(endpoint: str, account: str, container: str, prefix: str, storage: str) -> AzureStore:
    """The store with the key or SAS that *storage* holds for this endpoint, or else with a managed identity."""
    from obstore.store import AzureStore

    given = _given(endpoint, account, storage)
    options: dict[str, Any] = {
        "account_name": account,
        "endpoint": endpoint,
        "client_options": {"timeout": "300s", "allow_http": True},  # a part is one request, however large
        "retry_config": {"max_retries": 6},
    }
    if "AccountKey" in given:
        options["account_key"] = given["AccountKey"]
    elif "SharedAccessSignature" in given:
        options["sas_key"] = given["SharedAccessSignature"].removeprefix("?")
    elif endpoint.startswith("https://"):
        options["credential_provider"] = _identity()
    else:
        raise Misconfigured(
            f"STORAGE: expected a connection string of {endpoint}, since that takes no managed identity"
        )
    return AzureStore(container, prefix=prefix or None, **options)


@functools.cache
def _identity() -> AzureCredentialProvider:
    """Azure's default credential; one for all containers, so that a node asks for one token."""
    from obstore.auth.azure import AzureCredentialProvider

    return AzureCredentialProvider()


def _given(endpoint: str, account: str, storage: str) -> dict[str, str]:
    """The fields of a connection string if it is this endpoint's; none otherwise."""
    if storage.strip().rstrip(";").lower() == "usedevelopmentstorage=true":
        return {"AccountKey": AZURITE_KEY} if account == AZURITE_ACCOUNT and endpoint.startswith("http://") else {}
    fields = dict(pair.split("=", 1) for pair in storage.split(";") if "=" in pair)
    name, suffix = fields.get("AccountName", ""), fields.get("EndpointSuffix", "core.windows.net")
    default = f"{fields.get('DefaultEndpointsProtocol', 'https')}://{name}.blob.{suffix}"
    return fields if fields.get("BlobEndpoint", default).rstrip("/") == endpoint else {}


@dataclass(frozen=True, slots=True)
class AzureBlobs:
    """A container, or a folder of one, in Azure or Azurite."""

    url: str
    store: AzureStore

    def read(self, path: str, most: int | None = None) -> Content:
        """See Container."""
        import obstore

        with translated(self.url, path):
            found = obstore.get(self.store, path)
            if most is not None and found.meta["size"] > most:
                raise Oversized(found.meta["size"])
            return Content(bytes(found.bytes()), (found.meta["e_tag"] or "").strip('"'))

    def map(self, path: str) -> Mapped:
        """See Container."""
        import obstore

        with translated(self.url, path):
            found = obstore.get(self.store, path)
            return Mapped(memoryview(found.bytes()), found.meta["e_tag"] or "")

    def open(self, path: str) -> Opened:
        """See Container."""
        return open_ranges(self.url, self.store, path)

    def exchange(self, path: str, data: bytes, state: str | None) -> bool:
        """See Container."""
        import obstore
        from obstore.exceptions import NotModifiedError, PreconditionError

        if state is None:
            return self.create(path, data)
        with translated(self.url, path):
            try:
                obstore.put(self.store, path, data, mode={"e_tag": state}, use_multipart=False)
            except (PreconditionError, NotModifiedError, FileNotFoundError):
                return False
            return True

    def list(self, prefix: str) -> list[str]:
        """See Container."""
        import obstore

        with translated(self.url, prefix):
            return sorted(blob["path"] for page in obstore.list(self.store, prefix=prefix or None) for blob in page)

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """See Container. One Put Blob, so that the service computes the content's MD5 and keeps it."""
        import obstore

        with translated(self.url, path):
            obstore.put(self.store, path, data, attributes=dict(metadata or {}), use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """See Container."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with translated(self.url, path):
            try:
                obstore.put(self.store, path, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine. Its etags are hashes of the content; it keeps no metadata."""

    root: Path

    def read(self, path: str, most: int | None = None) -> Content:
        """See Container."""
        with _reading(self.root, path), (self.root / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if most is not None and size > most:
                raise Oversized(size)
            data = file.read()
        return Content(data, make_digest(data))

    def map(self, path: str) -> Mapped:
        """See Container."""
        with _reading(self.root, path), (self.root / path).open("rb") as file:
            found = os.fstat(file.fileno())
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if found.st_size else b""
        return Mapped(memoryview(data), _state(found))

    def open(self, path: str) -> Opened:
        """See Container."""
        with _reading(self.root, path):
            return (self.root / path).open("rb")

    def exchange(self, path: str, data: bytes, state: str | None) -> bool:
        """See Container. Between the last look and the change another may be quicker; nothing depends on it."""
        if state is None:
            return self.create(path, data)
        with self._beside(path, data) as beside:
            try:
                if _state((self.root / path).stat()) != state:
                    return False
            except FileNotFoundError:
                return False
            beside.replace(self.root / path)
        return True

    def list(self, prefix: str) -> list[str]:
        """See Container."""
        files = (self.root / prefix).rglob("*")
        return sorted(file.relative_to(self.root).as_posix() for file in files if file.is_file())

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:  # noqa: ARG002  # has none
        """See Container. Written beside, under a name that readers pass over, and renamed."""
        with self._beside(path, data) as beside:
            beside.replace(self.root / path)

    def create(self, path: str, data: bytes) -> bool:
        """See Container."""
        with self._beside(path, data) as beside:
            try:
                os.link(beside, self.root / path)  # unlike a rename, fails where there is something
            except FileExistsError:
                return False
            return True

    def remove(self, path: str) -> None:
        """Delete a file. Raises Misconfigured, Unavailable."""
        with _changing(self.root, path):
            (self.root / path).unlink()

    @contextmanager
    def _beside(self, path: str, data: bytes) -> Iterator[Path]:
        parent = (self.root / path).parent
        with _changing(self.root, path):
            parent.mkdir(parents=True, exist_ok=True)
            beside = parent / f".{uuid.uuid4().hex}.tmp"
            try:
                beside.write_bytes(data)
                yield beside
            finally:
                beside.unlink(missing_ok=True)


def _state(found: os.stat_result) -> str:
    return f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"


@contextmanager
def _reading(root: Path, path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"no file {path!r} in {root}") from error
    except OSError as error:
        raise Unavailable(f"{path!r} in {root}: {error.strerror}") from error


@contextmanager
def _changing(root: Path, path: str) -> Iterator[None]:
    """What the system refuses, as our own errors: Misconfigured where waiting cannot help."""
    try:
        yield
    except OSError as error:
        message = f"cannot write {path!r} in {root}: {error.strerror}"
        raise (Misconfigured if error.errno in _LASTING else Unavailable)(message) from error
