"""Stores of blobs, by URL: a container in Azure or Azurite, or a folder. Only this module knows how each is opened.

Azure is accessed by obstore. Its paths are the names of the service: a blob that azure-storage-blob uploaded as
`a#b%20c.skops` has the same name here, and so have `50%`, `q?x` and names outside ASCII. Only a name with an empty
segment (`a//b`) is refused, and one such blob makes the listing of its folder fail. obstore's own local store hides
names that end in `#1`, and has no content hashes: folders are read with pathlib.
"""

from __future__ import annotations

import errno
import itertools
import mmap
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from shared.contract.errors import Malformed, Misconfigured, NotFound, Unavailable
from shared.contract.text import make_digest

from .azure_store import locate_table, open_store
from .range_reader import MappedBlob, OpenFile, find_protection, map_ranges, open_ranges, translate_errors

if TYPE_CHECKING:
    from obstore.store import AzureStore

# Errors of a folder that stay until a person changes something; a full disk, for example, may pass.
_LASTING = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}


@dataclass(frozen=True, slots=True)
class Content:
    """A blob's bytes and their etag (without quotes). Those of a model may have more files, by their name."""

    data: bytes
    etag: str
    companions: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MappedFile:
    """A file's bytes without a copy: see MappedBlob."""

    data: memoryview
    state: str

    def load(self, ranges: Sequence[tuple[int, int]]) -> None:
        """See MappedBlob. The system reads a page of a mapped file where it is used."""


class Oversized(Exception):
    """A blob has more bytes than the caller's limit: (how many)."""


class Container(Protocol):
    """A container or a folder. A write is atomic: readers see the old content or the new.

    Every method may raise Unavailable, and Misconfigured where the container itself does not exist or a folder cannot
    be written to.
    """

    def read(self, path: str, limit: int | None = None) -> Content:
        """Raises NotFound, and Oversized where there are more than *limit* bytes, before they are read."""

    def map(self, path: str) -> MappedBlob:
        """A large blob, as it was when it was mapped, of which only what is loaded is read. Raises NotFound."""

    def open(self, path: str) -> OpenFile:
        """A blob for random access, as it was when it was opened. Raises NotFound, as reads of it may."""

    def exchange(self, path: str, data: bytes, state: str | None, metadata: Mapping[str, str] | None = None) -> bool:
        """Replace a blob that is still in *state*, or create it where that is None; False where it has changed.

        Only a blob that is replaced gets *metadata*. Raises Protected where a lease or a policy protects it.
        """

    def list_folders(self, prefix: str) -> list[str]:
        """The sorted names of the folders directly under *prefix*, which is empty or ends in `/`, without it."""

    def locate_delta(self, folder: str) -> tuple[str, dict[str, str]]:
        """The URL of a folder, its path quoted, and the options by which `deltalake` reads it."""

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        """The sorted names under *prefix*, which is empty or ends in `/`; none where the folder does not exist.

        With *limit* any so many of them, for the cost of a page. Raises AccessDenied where that is why there are none.
        """

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """Create or replace."""

    def create(self, path: str, data: bytes) -> bool:
        """Write unless the blob exists; False when it does, whatever it holds."""

    def remove(self, path: str) -> None:
        """Delete a blob; nothing where there is none."""


def open_container(url: str, storage: str = "") -> Container:
    """The container or folder at *url*. No request is sent yet.

    *storage* is a connection string, used where its endpoint is the URL's; else a managed identity is. Raises
    Malformed for a URL of an unknown form, Misconfigured without a credential for it or where a folder does not exist.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.path and not parts.netloc:
        folder = Path(unquote(parts.path))
        if not folder.is_dir():
            raise Misconfigured(f"expected a folder, got nothing at {folder}")
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
    return AzureBlobs(url, open_store(endpoint, name, segments[0], "/".join(segments[1:]), storage))


def split_url(url: str) -> tuple[str, str]:
    """A blob's URL as the URL of its folder and its name in it."""
    holder, _, name = url.rstrip("/").rpartition("/")
    if "://" not in holder or not name:
        raise Malformed(f"expected the URL of a blob, got {url!r}")
    return holder, unquote(name)


@dataclass(frozen=True, slots=True)
class AzureBlobs:
    """A container, or a folder of one, in Azure or Azurite."""

    url: str
    store: AzureStore

    def read(self, path: str, limit: int | None = None) -> Content:
        """See Container."""
        import obstore

        with translate_errors(self.url, path):
            response = obstore.get(self.store, path)
            if limit is not None and response.meta["size"] > limit:
                raise Oversized(response.meta["size"])
            return Content(bytes(response.bytes()), (response.meta["e_tag"] or "").strip('"'))

    def map(self, path: str) -> MappedBlob:
        """See Container."""
        return map_ranges(self.url, self.store, path)

    def open(self, path: str) -> OpenFile:
        """See Container."""
        return open_ranges(self.url, self.store, path)

    def exchange(self, path: str, data: bytes, state: str | None, metadata: Mapping[str, str] | None = None) -> bool:
        """See Container."""
        import obstore
        from obstore.exceptions import NotModifiedError, PreconditionError

        if state is None:
            return self.create(path, data)
        with translate_errors(self.url, path):
            try:
                obstore.put(
                    self.store, path, data, mode={"e_tag": state}, attributes=dict(metadata or {}), use_multipart=False
                )
            except (PreconditionError, NotModifiedError, FileNotFoundError) as error:
                if find_protection(error):
                    raise
                return False
            return True

    def list_folders(self, prefix: str) -> list[str]:
        """See Container."""
        import obstore

        with translate_errors(self.url, prefix):
            folders = obstore.list_with_delimiter(self.store, prefix=prefix or None)["common_prefixes"]
            return sorted(folder.rstrip("/").rpartition("/")[2] for folder in folders)

    def locate_delta(self, folder: str) -> tuple[str, dict[str, str]]:
        """See Container."""
        return locate_table(self.store, folder)

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        """See Container."""
        import obstore

        with translate_errors(self.url, prefix):
            names = (blob["path"] for page in obstore.list(self.store, prefix=prefix or None) for blob in page)
            return sorted(itertools.islice(names, limit))

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """See Container. One Put Blob, so that the service computes and stores the content's MD5."""
        import obstore

        with translate_errors(self.url, path):
            obstore.put(self.store, path, data, attributes=dict(metadata or {}), use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """See Container."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with translate_errors(self.url, path):
            try:
                obstore.put(self.store, path, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    def remove(self, path: str) -> None:
        """See Container. One request for each: a request for several stops at none that fails."""
        import obstore

        with translate_errors(self.url, path), suppress(FileNotFoundError):
            obstore.delete(self.store, path)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine. Its etags are hashes of the content; it stores no metadata."""

    root: Path

    def read(self, path: str, limit: int | None = None) -> Content:
        """See Container."""
        with _translate_read_errors(self.root, path), (self.root / path).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if limit is not None and size > limit:
                raise Oversized(size)
            data = file.read()
        return Content(data, make_digest(data))

    def map(self, path: str) -> MappedFile:
        """See Container."""
        with _translate_read_errors(self.root, path), (self.root / path).open("rb") as file:
            status = os.fstat(file.fileno())
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if status.st_size else b""
        return MappedFile(memoryview(data), _make_state(status))

    def open(self, path: str) -> OpenFile:
        """See Container."""
        with _translate_read_errors(self.root, path):
            return open(os.path.join(self.root, path), "rb")  # noqa: PTH118, PTH123  # a Path takes as long as the read

    def exchange(self, path: str, data: bytes, state: str | None, metadata: Mapping[str, str] | None = None) -> bool:  # noqa: ARG002  # a folder stores none
        """See Container. Between the check and the change another process may write; nothing depends on it."""
        if state is None:
            return self.create(path, data)
        with self._write_temporary(path, data) as temporary:
            try:
                if _make_state((self.root / path).stat()) != state:
                    return False
            except FileNotFoundError:
                return False
            temporary.replace(self.root / path)
        return True

    def list_folders(self, prefix: str) -> list[str]:
        """See Container."""
        with _translate_read_errors(self.root, prefix):
            return sorted(e.name for e in _scan_folder(self.root / prefix) if e.is_dir(follow_symlinks=False))

    def locate_delta(self, folder: str) -> tuple[str, dict[str, str]]:
        """See Container."""
        return (self.root / folder).absolute().as_uri(), {}

    def list(self, prefix: str, limit: int | None = None) -> list[str]:
        """See Container."""
        with _translate_read_errors(self.root, prefix):
            return sorted(itertools.islice(_walk_files(self.root / prefix, prefix), limit))

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:  # noqa: ARG002  # a folder stores none
        """See Container. Written to a temporary name that readers ignore, and renamed."""
        with self._write_temporary(path, data) as temporary:
            temporary.replace(self.root / path)

    def create(self, path: str, data: bytes) -> bool:
        """See Container."""
        with self._write_temporary(path, data) as temporary:
            try:
                os.link(temporary, self.root / path)  # unlike a rename, fails where the file exists
            except FileExistsError:
                return False
            return True

    def remove(self, path: str) -> None:
        """See Container."""
        with _translate_write_errors(self.root, path):
            (self.root / path).unlink(missing_ok=True)

    @contextmanager
    def _write_temporary(self, path: str, data: bytes) -> Iterator[Path]:
        parent = (self.root / path).parent
        with _translate_write_errors(self.root, path):
            parent.mkdir(parents=True, exist_ok=True)
            temporary = parent / f".{uuid.uuid4().hex}.tmp"
            try:
                temporary.write_bytes(data)
                yield temporary
            finally:
                temporary.unlink(missing_ok=True)


def _walk_files(folder: Path, prefix: str) -> Iterator[str]:
    """The files in a folder, at any depth, each after *prefix*; a link to a folder is not followed."""
    for entry in _scan_folder(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _walk_files(folder / entry.name, f"{prefix}{entry.name}/")
        elif (Path(entry) if entry.is_symlink() else entry).is_file():  # a path passes over links in a circle
            yield f"{prefix}{entry.name}"


def _scan_folder(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The entries of a folder; none where it does not exist or may not be read: rglob passes over such."""
    with suppress(FileNotFoundError, NotADirectoryError, PermissionError), os.scandir(folder) as entries:
        yield from entries


def _make_state(status: os.stat_result) -> str:
    return f"{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"


@contextmanager
def _translate_read_errors(root: Path, path: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise NotFound(f"no file {path!r} in {root}") from error
    except OSError as error:
        raise Unavailable(f"{path!r} in {root}: {error.strerror}") from error


@contextmanager
def _translate_write_errors(root: Path, path: str) -> Iterator[None]:
    """Errors of the system as our own errors: Misconfigured where waiting cannot help."""
    try:
        yield
    except OSError as error:
        message = f"cannot write {path!r} in {root}: {error.strerror}"
        raise (Misconfigured if error.errno in _LASTING else Unavailable)(message) from error
