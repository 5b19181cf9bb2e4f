"""Where blobs lie, by URL: a container in Azure or Azurite, or a folder. The only room that knows how each is opened.

Azure goes through obstore. Its paths are true to the service: what azure-storage-blob uploaded as `a#b%20c.skops` is
found by that very name, and so are `50%`, `q?x` and names outside ASCII. Only a name with an empty segment (`a//b`) is
refused, and one such blob makes the listing of its folder fail. Its own local store hides names that end in `#1`,
and knows no content hashes: folders are read with pathlib.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote, urlsplit

from shared.contract import digest
from shared.errors import Malformed, Misconfigured, NotFound, Unavailable

if TYPE_CHECKING:
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


class Container(Protocol):
    """A container or a folder. A write is atomic: readers see the old content or the new.

    Every method may raise Unavailable, and Misconfigured where the container itself is not there or a folder takes
    no files.
    """

    def read(self, path: str) -> Content:
        """Raises NotFound."""

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
            "wanted https://ACCOUNT.blob.core.windows.net/CONTAINER, http://HOST:PORT/ACCOUNT/CONTAINER or "
            f"file:///PATH, found {url!r}"
        )
    endpoint = "/".join([f"{parts.scheme}://{parts.netloc}", *account])
    name = account[0] if account else parts.netloc.split(".")[0]
    return AzureBlobs(url, _azure(endpoint, name, segments[0], "/".join(segments[1:]), storage))


def split_url(url: str) -> tuple[str, str]:
    """A blob's URL as the URL of what holds it and its name there."""
    holder, _, name = url.rstrip("/").rpartition("/")
    if "://" not in holder or not name:
        raise Malformed(f"wanted the URL of a blob, found {url!r}")
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
        from obstore.auth.azure import AzureCredentialProvider

        options["credential_provider"] = AzureCredentialProvider()  # azure-identity's DefaultAzureCredential
    else:
        raise Misconfigured(f"STORAGE: wanted a connection string of {endpoint}, since that takes no managed identity")
    return AzureStore(container, prefix=prefix or None, **options)


def _given(endpoint: str, account: str, storage: str) -> dict[str, str]:
    """The fields of a connection string if it is this endpoint's; none otherwise."""
    if storage.strip().rstrip(";").lower() == "usedevelopmentstorage=true":
        return {"AccountKey": AZURITE_KEY} if account == AZURITE_ACCOUNT and endpoint.startswith("http://") else {}
    fields = dict(pair.split("=", 1) for pair in storage.split(";") if "=" in pair)
    name, suffix = fields.get("AccountName", ""), fields.get("EndpointSuffix", "core.windows.net")
    default = f"{fields.get('DefaultEndpointsProtocol', 'https')}://{name}.blob.{suffix}"
    return fields if fields.get("BlobEndpoint", default).rstrip("/") == endpoint else {}


@contextmanager
def _translated(url: str, path: str) -> Iterator[None]:
    """What obstore raises, as our own errors."""
    from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

    try:
        yield
    except FileNotFoundError as error:
        raise _missing_container(url, error) or NotFound(f"no {path!r} in {url}") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Unavailable(
            f"{url} refused us {path!r}: this identity wants the role Storage Blob Data Contributor there"
        ) from error
    except (BaseError, ValueError) as error:
        raise _missing_container(url, error) or Unavailable(
            f"{path!r} in {url}: {str(error).splitlines()[0]}"
        ) from error


def _missing_container(url: str, error: Exception) -> Misconfigured | None:
    """Told apart from a missing blob, since else every model of a lost container would count as removed."""
    return Misconfigured(f"there is no container at {url}") if "ContainerNotFound" in str(error) else None


@dataclass(frozen=True, slots=True)
class AzureBlobs:
    """A container, or a folder of one, in Azure or Azurite."""

    url: str
    store: AzureStore

    def read(self, path: str) -> Content:
        """See Container."""
        import obstore

        with _translated(self.url, path):
            found = obstore.get(self.store, path)
            return Content(bytes(found.bytes()), (found.meta["e_tag"] or "").strip('"'))

    def list(self, prefix: str) -> list[str]:
        """See Container."""
        import obstore

        with _translated(self.url, prefix):
            return sorted(blob["path"] for page in obstore.list(self.store, prefix=prefix or None) for blob in page)

    def write(self, path: str, data: bytes, metadata: Mapping[str, str] | None = None) -> None:
        """See Container. One Put Blob, so that the service computes the content's MD5 and keeps it."""
        import obstore

        with _translated(self.url, path):
            obstore.put(self.store, path, data, attributes=dict(metadata or {}), use_multipart=False)

    def create(self, path: str, data: bytes) -> bool:
        """See Container."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with _translated(self.url, path):
            try:
                obstore.put(self.store, path, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on this machine. Its etags are hashes of the content; it keeps no metadata."""

    root: Path

    def read(self, path: str) -> Content:
        """See Container."""
        try:
            data = (self.root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise NotFound(f"no file {path!r} in {self.root}") from error
        except OSError as error:
            raise Unavailable(f"{path!r} in {self.root}: {error.strerror}") from error
        return Content(data, digest(data))

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


@contextmanager
def _changing(root: Path, path: str) -> Iterator[None]:
    """What the system refuses, as our own errors: Misconfigured where waiting cannot help."""
    try:
        yield
    except OSError as error:
        message = f"cannot write {path!r} in {root}: {error.strerror}"
        raise (Misconfigured if error.errno in _LASTING else Unavailable)(message) from error
