"""Containers and folders by URL: names stay what they are, writes are atomic, errors say what to do."""

import hashlib
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from azure.storage.blob import ContainerClient
from obstore.auth.azure import AzureCredentialProvider

from local.azurite import Azurite
from scorer.storage.blob_store import AzureBlobs, Container, Content, Folder, Oversized, open_container, split_url
from scorer.storage.range_reader import AccessDenied
from shared.contract.errors import FleetError, Malformed, Misconfigured, NotFound, Unavailable
from tests.patience import patience

NAMES = [
    "plain.skops",
    "a#b%20c.skops",
    "dev#1",
    "50%.skops",
    "q?x.skops",
    "it's.skops",
    "a b.skops",
    "a+b&c=d.skops",
    "x%2Fy.skops",
    "ünïcode/日本.skops",
    "😀.skops",
    "a~b*c{d}[e]|^`<f>:;,@$.skops",
    '"q".skops',
    ".hidden",
    "..x..y",
]

Uploader = Callable[[str, bytes], None]


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.stack)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Container, Uploader]:
    """A container, and how somebody else puts things into it."""
    if request.param == "folder":
        root = tmp_path / "a b#c%20d"
        root.mkdir()

        def write(name: str, data: bytes) -> None:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)

        return open_container(root.as_uri()), write
    server, name = request.getfixturevalue("azurite"), request.getfixturevalue("fresh_name")
    client = ContainerClient.from_connection_string(server.connection_string, name)
    client.create_container()
    container = open_container(f"{server.blob_endpoint}/{name}", server.connection_string)
    return container, lambda path, data: client.upload_blob(path, data) and None


def test_what_others_uploaded_is_found_by_its_very_name(place: tuple[Container, Uploader]) -> None:
    container, upload = place
    for name in NAMES:
        upload(name, name.encode())

    assert container.list("") == sorted(NAMES)
    assert [container.read(name).data for name in NAMES] == [name.encode() for name in NAMES]


def test_only_what_lies_in_a_folder_is_listed_for_it(place: tuple[Container, Uploader]) -> None:
    container, upload = place
    for name in ("h=1/a", "h=1/b/c", "h=10/a", "h=2", "h=1x"):
        upload(name, b"")

    assert container.list("h=1/") == ["h=1/a", "h=1/b/c"]
    assert container.list("h=3/") == container.list("h=3/", 5) == []
    assert len(container.list("", 2)) == 2
    assert container.list("h=1/", 9) == ["h=1/a", "h=1/b/c"]


def test_the_folders_below_a_folder_are_listed_without_what_is_in_them(place: tuple[Container, Uploader]) -> None:
    container, upload = place
    for name in ("h=1/a/x", "h=1/a/y/z", "h=1/b c/x", "h=1/d", "h=10/a", "top"):
        upload(name, b"")

    assert container.list_folders("") == ["h=1", "h=10"]
    assert container.list_folders("h=1/") == ["a", "b c"]
    assert container.list_folders("h=1/a/y/") == container.list_folders("h=3/") == []


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to(tmp_path / "c")
    (tmp_path / "d").symlink_to(tmp_path / "a" / "x")

    assert Folder(tmp_path).list("") == ["a/x", "d"]
    assert Folder(tmp_path).list_folders("") == ["a"]


def test_errors_of_the_system_are_our_own(tmp_path: Path) -> None:
    longest = 255 * "x" + "x/"
    for list_names in (Folder(tmp_path).list, Folder(tmp_path).list_folders):
        with pytest.raises(Unavailable, match=r"File name too long"):
            list_names(longest)


def test_of_two_that_create_the_same_one_is_first(place: tuple[Container, Uploader]) -> None:
    container, _ = place

    assert container.create("runs/r/x.report", b"one")
    assert not container.create("runs/r/x.report", b"two")
    assert container.read("runs/r/x.report").data == b"one"
    assert container.list("") == ["runs/r/x.report"]


def test_a_write_replaces_and_its_etag_changes_with_the_content(place: tuple[Container, Uploader]) -> None:
    container, _ = place
    container.write("x", b"one")
    first = container.read("x")
    container.write("x", b"two")
    second = container.read("x")

    assert (first.data, second.data) == (b"one", b"two")
    assert first.etag != second.etag
    assert '"' not in first.etag + second.etag


def test_what_is_not_there_is_not_found(place: tuple[Container, Uploader]) -> None:
    container, _ = place

    with pytest.raises(NotFound, match=r"no (file )?'x/y' in "):
        container.read("x/y")


def test_a_folder_gives_the_hash_of_the_content_as_etag(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one")

    assert open_container(tmp_path.as_uri()).read("x") == Content(b"one", hashlib.sha256(b"one").hexdigest()[:16])


@pytest.mark.stack
def test_the_service_keeps_the_md5_of_the_content_and_the_metadata(azurite: Azurite, fresh_name: str) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    container = open_container(f"{azurite.blob_endpoint}/{fresh_name}", azurite.connection_string)
    large = bytes(range(256)) * 2**16  # 16 MiB: more than a client would upload in one piece by default

    container.write("part", large)
    container.write("signs/progress", b"", {"done": "3", "models": "7"})

    assert client.get_blob_client("part").get_blob_properties().content_settings.content_md5 == bytearray(
        hashlib.md5(large).digest()
    )
    assert client.get_blob_client("signs/progress").get_blob_properties().metadata == {"done": "3", "models": "7"}


@pytest.mark.stack
def test_a_folder_of_a_container_is_a_place_of_its_own(azurite: Azurite, fresh_name: str) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    client.upload_blob("plant a/models/pump.skops", b"x")
    client.upload_blob("other", b"x")
    within = open_container(
        f"{azurite.blob_endpoint}/{fresh_name}/{urllib.parse.quote('plant a')}", azurite.connection_string
    )

    assert within.list("") == ["models/pump.skops"]
    assert within.read("models/pump.skops").data == b"x"


@pytest.mark.stack
def test_a_container_that_is_not_there_is_not_an_empty_one(azurite: Azurite) -> None:
    url = f"{azurite.blob_endpoint}/nosuch"
    container = open_container(url, azurite.connection_string)

    for ask in (lambda: container.read("x"), lambda: container.list(""), lambda: container.write("x", b"")):
        with pytest.raises(Misconfigured, match=f"expected a container, got nothing at {url}"):
            ask()


@pytest.mark.stack
def test_use_development_storage_opens_azurite(azurite: Azurite, fresh_name: str) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()

    assert open_container(f"{azurite.blob_endpoint}/{fresh_name}", "UseDevelopmentStorage=true").list("") == []


@pytest.mark.stack
def test_a_wrong_key_is_refused_with_the_role_that_is_wanted(azurite: Azurite, fresh_name: str) -> None:
    wrong = f"AccountName=devstoreaccount1;AccountKey=d3Jvbmc=;BlobEndpoint={azurite.blob_endpoint}"

    container = open_container(f"{azurite.blob_endpoint}/{fresh_name}", wrong)
    with pytest.raises(AccessDenied, match=r"refused access to 'x': .* role Storage Blob Data"):
        container.read("x")
    with pytest.raises(AccessDenied, match=r"refused to list 'x/': .* role Storage Blob Data"):
        container.list("x/", 1)


@pytest.mark.parametrize(
    ("url", "storage", "error", "says"),
    [
        ("ftp://x/y", "", Malformed, "expected https://ACCOUNT"),
        ("https://a.blob.core.windows.net", "", Malformed, "got 'https://a.blob.core.windows.net'"),
        ("http://127.0.0.1:1/devstoreaccount1", "", Malformed, "expected https://ACCOUNT"),
        ("models", "", Malformed, "got 'models'"),
        ("file://host/x", "", Malformed, "file:///PATH"),
        ("file:///no/such/folder", "", Misconfigured, "expected a folder, got nothing at /no/such/folder"),
        (
            "http://127.0.0.1:1/devstoreaccount1/c",
            "",
            Misconfigured,
            "STORAGE: expected a connection string of http://127",
        ),
        (
            "http://127.0.0.1:1/devstoreaccount1/c",
            "AccountName=devstoreaccount1;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:2/devstoreaccount1",
            Misconfigured,
            "STORAGE: expected a connection string of http://127.0.0.1:1/devstoreaccount1",
        ),
    ],
)
def test_a_url_that_opens_nothing_says_what_was_wanted(
    url: str, storage: str, error: type[FleetError], says: str
) -> None:
    with pytest.raises(error) as caught:
        open_container(url, storage)

    assert says in str(caught.value)
    assert "eA==" not in str(caught.value)


def test_a_blobs_url_is_a_container_and_a_name() -> None:
    url = "https://a.blob.core.windows.net/work/runs/20261121T0700Z-PT1H/manifests/0f.json"

    assert split_url(url) == (url.rpartition("/")[0], "0f.json")
    with pytest.raises(Malformed, match=r"expected the URL of a blob, got 'manifest\.json'"):
        split_url("manifest.json")


def test_a_store_that_is_not_there_is_unavailable_soon(unused_endpoint: str) -> None:
    began = time.monotonic()
    container = open_container(f"{unused_endpoint}/devstoreaccount1/models", "UseDevelopmentStorage=true")

    with pytest.raises(Unavailable) as caught:
        container.read("pump.skops")

    assert f"'pump.skops' in {unused_endpoint}/devstoreaccount1/models: " in str(caught.value)
    assert time.monotonic() - began < patience(30)


def test_azure_is_opened_with_a_managed_identity_where_no_connection_string_is_its_own() -> None:
    other = "AccountName=other;AccountKey=eA==;EndpointSuffix=core.windows.net"
    container = open_container("https://plant7.blob.core.windows.net/models/a", other)

    assert isinstance(container, AzureBlobs)
    assert isinstance(container.store.credential_provider, AzureCredentialProvider)
    assert container.store.config == {"account_name": "plant7", "container_name": "models",
                                      "endpoint": "https://plant7.blob.core.windows.net"}  # fmt: skip


def test_a_folder_that_takes_no_files_is_somebodys_to_mend(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file")
    folder = open_container(tmp_path.as_uri())

    for write in (folder.write, folder.create):
        with pytest.raises(Misconfigured, match=r"cannot write 'a/b' in .*: (Not a directory|File exists)"):
            write("a/b", b"")
    (tmp_path / "c").mkdir()
    with pytest.raises(Misconfigured, match="cannot write 'c'"):
        folder.write("c", b"")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "c"]


def test_a_blob_that_is_larger_than_wanted_is_not_read(place: tuple[Container, Uploader]) -> None:
    container, upload = place
    upload("a", b"12345")

    assert container.read("a", 5).data == b"12345"
    with pytest.raises(Oversized) as caught:
        container.read("a", 4)
    assert caught.value.args == (5,)


def test_a_large_blob_is_mapped(place: tuple[Container, Uploader]) -> None:
    container, upload = place
    upload("a", b"12345")
    upload("empty", b"")

    assert bytes(container.map("a").data) == b"12345"
    assert bytes(container.map("empty").data) == b""
    with pytest.raises(NotFound):
        container.map("none")


def test_an_exchange_replaces_only_what_was_seen(place: tuple[Container, Uploader]) -> None:
    container, upload = place

    assert container.exchange("packs/a", b"first", None)
    assert not container.exchange("packs/a", b"another first", None)
    seen = container.map("packs/a").state
    assert container.exchange("packs/a", b"second", seen)
    assert not container.exchange("packs/a", b"third", seen)
    assert bytes(container.map("packs/a").data) == b"second"
    again = container.map("packs/a").state
    upload("packs/b", b"a neighbour")
    assert container.exchange("packs/a", b"fourth", again)
    assert not container.exchange("packs/none", b"x", again)
    assert container.read("packs/a").data == b"fourth"
