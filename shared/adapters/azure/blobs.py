"""Blobs on Azure Blob Storage: one container of one account. Moves bytes; knows no paths and no plans."""

from __future__ import annotations

import base64
import functools
import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound, Protected, Unavailable
from shared.contract.model_names import Blob
from shared.ports import BlobInfo, Blobs

from .auth import TIME_OUTS
from .storage import Account, translate_errors

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobProperties, BlobServiceClient, ContainerClient

CONTAINERS = 20  # that are named where one does not exist
COPY_LIMIT = 15  # seconds that a copy inside the account may be pending; it usually never is


class AzureBlobs:
    """A container. Reads treat a container that does not exist as empty; writes create it first."""

    def __init__(self, setting: str, container: str, page: int | None = None) -> None:
        """*setting* is what `Account` takes, *page* the most blobs of one call when listing. Sends no request."""
        self._account = Account(setting)
        self._name = container
        self._page = page

    @property
    def url(self) -> str:
        return str(self._container.url).split("?", 1)[0]

    def ensure_container(self) -> bool:
        """Create the container; False when it exists."""
        try:
            with translate_errors(self.url):
                self._container.create_container()
        except Conflict:
            return False
        return True

    def describe_missing(self) -> str:
        try:
            with translate_errors(self.url):
                self._container.get_container_properties()
        except NotFound:
            return f"{self._name!r}; {self.url.rpartition('/')[0]} has {self._list_containers()}"
        except Unavailable:
            return ""
        return ""

    def _list_containers(self) -> str:
        """The names of the account's containers, for people."""
        try:
            with translate_errors(self.url):
                names = [str(container.name) for container in _make_service(self._account).list_containers()]
        except Unavailable:
            return "containers that this identity may not list"
        return f"{', '.join(names[:CONTAINERS]) or 'none'}{', ...' * (len(names) > CONTAINERS)}"

    def list_blobs(self, prefix: str = "") -> Iterator[Blob]:
        # The SDK makes an object of thirty fields for each blob, 160 us of CPU; its listing of names costs a tenth, and
        # its response holds the etags too. (obstore is faster still, but drops a name's leading and trailing slash,
        # and refuses a container that holds `a//b`.)
        for page in self._list_pages(prefix, self._page):
            for blob in page.iterfind("Blobs/Blob"):
                properties = blob.find("Properties")
                size = int(properties.findtext("Content-Length"))
                yield Blob(_parse_name(blob), _strip_quotes(properties.findtext("Etag")), size)

    def list_names(self, prefix: str, limit: int) -> Sequence[str]:
        for page in self._list_pages(prefix, limit):
            if blobs := page.findall("Blobs/Blob"):  # a page may be empty although there are further ones
                return [_parse_name(blob) for blob in blobs if blob.findtext("Properties/ResourceType") != "directory"]
        return []

    def _list_pages(self, prefix: str, size: int | None) -> Iterator[Any]:
        """The answers of a listing, each an element; none where there is no such container."""
        from azure.core.pipeline.policies import ContentDecodePolicy

        answers: list[Any] = []
        pages = self._container.list_blob_names(
            name_starts_with=prefix, results_per_page=size, raw_response_hook=answers.append
        ).by_page()
        with suppress(NotFound):
            while True:
                with translate_errors(self.url):
                    if not _fetch_page(pages):
                        return
                page = answers[-1].context[ContentDecodePolicy.CONTEXT_NAME]
                answers.clear()
                yield page

    def describe_blobs(self, prefix: str) -> Iterator[BlobInfo]:
        try:
            with translate_errors(self.url):
                for blob in self._container.list_blobs(
                    name_starts_with=prefix, include=["metadata"], results_per_page=self._page
                ):
                    yield _parse_properties(blob)
        except NotFound:
            return

    def read_properties(self, name: str) -> BlobInfo:
        with translate_errors(self._build_url(name)):
            return _parse_properties(self._get_client(name).get_blob_properties())

    def read(self, name: str) -> bytes:
        with translate_errors(self._build_url(name)):
            return bytes(self._get_client(name).download_blob().readall())

    def create(self, name: str, data: bytes) -> bool:
        try:
            try:
                self._upload_blob(name, data)
            except NotFound:  # only the container can be missing
                self.ensure_container()
                self._upload_blob(name, data)
        except Conflict:
            return False
        return True

    def copy(self, source: Blobs, path: str, name: str, replaces: str | None) -> BlobInfo:
        if source.url.rpartition("/")[0] != self.url.rpartition("/")[0]:
            raise Malformed(f"expected a source in the account of {self.url}, got {source.url}")
        url = f"{source.url}/{quote(path)}"
        try:
            self._start_copy(url, name, replaces)
        except NotFound:  # the source, or our container
            self.ensure_container()
            self._start_copy(url, name, replaces)
        return self._wait_for_copy(name)

    def delete(self, name: str, etag: str | None = None) -> None:
        conditions = {} if etag is None else _match_etag(etag)
        try:
            with suppress(NotFound), translate_errors(self._build_url(name)):
                self._get_client(name).delete_blob(delete_snapshots="include", **conditions)
        except Protected:
            raise
        except Conflict:
            if etag is None:
                raise

    @functools.cached_property
    def _container(self) -> ContainerClient:
        return _make_service(self._account).get_container_client(self._name)

    def _get_client(self, name: str) -> BlobClient:
        return self._container.get_blob_client(name)

    def _build_url(self, name: str) -> str:
        return f"{self.url}/{name}"

    def _upload_blob(self, name: str, data: bytes) -> None:
        with translate_errors(self._build_url(name)):
            self._get_client(name).upload_blob(data, overwrite=False)

    def _start_copy(self, source: str, name: str, replaces: str | None) -> None:
        from azure.core import MatchConditions

        conditions: dict[str, Any] = {"match_condition": MatchConditions.IfMissing}
        if replaces is not None:
            conditions = _match_etag(replaces)
        signature = str(self._container.url).partition("?")[2]  # if the setting has one; it is valid for the source too
        with translate_errors(f"copy of {source} to {self._build_url(name)}"):
            self._get_client(name).start_copy_from_url(f"{source}?{signature}" if signature else source, **conditions)

    def _wait_for_copy(self, name: str) -> BlobInfo:
        """The properties of *name* once no copy to it is pending."""
        deadline = time.monotonic() + COPY_LIMIT
        while time.monotonic() < deadline:
            with translate_errors(self._build_url(name)):
                properties = self._get_client(name).get_blob_properties()
            match properties.copy.status:
                case "pending":
                    time.sleep(0.2)
                case "failed" | "aborted":
                    raise Unavailable(
                        f"copy to {self._build_url(name)} {properties.copy.status}: expected it to succeed"
                    )
                case _:
                    return _parse_properties(properties)
        raise Unavailable(f"copy to {self._build_url(name)} was still pending after {COPY_LIMIT} s")


def _parse_name(blob: Any) -> str:
    """The name of a blob in the answer of a listing."""
    name = blob.find("Name")
    return unquote(name.text) if name.get("Encoded") == "true" else str(name.text)


def _fetch_page(pages: Iterator[object]) -> bool:
    """Whether there is a further page. The garbage collector is off: it would scan the growing tree many times."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return next(pages, None) is not None
    finally:
        if collects:
            gc.enable()


@functools.cache
def _make_service(account: Account) -> BlobServiceClient:
    """One client for all containers of an account: they share its connections."""
    from azure.storage.blob import BlobServiceClient

    connection = account.get_connection("blob")
    if connection:
        return BlobServiceClient(connection[0], credential=connection[1], **TIME_OUTS)
    try:
        return BlobServiceClient.from_connection_string(account.setting, **TIME_OUTS)
    except ValueError as error:
        raise Misconfigured(f"the storage account's connection string: {error}") from error


def _parse_properties(blob: BlobProperties) -> BlobInfo:
    md5 = blob.content_settings.content_md5
    text = base64.b64encode(md5).decode() if md5 else ""
    return BlobInfo(str(blob.name), _strip_quotes(blob.etag), int(blob.size), text, dict(blob.metadata or {}))


def _match_etag(etag: str) -> dict[str, Any]:
    from azure.core import MatchConditions

    return {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}


def _strip_quotes(etag: str | None) -> str:
    """Remove quotes: listings give etags without them, headers with them."""
    return (etag or "").strip('"')
