"""Every adapter of Blobs keeps the port's word."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest
from azure.storage.blob import BlobServiceClient

from local.azurite import ACCOUNT_KEY, Azurite
from shared.adapters.azure.blobs import AzureBlobs
from shared.adapters.memory import MemoryBlobs
from shared.contract.errors import Conflict, Malformed, Misconfigured, NotFound, Protected, Unavailable
from shared.contract.model_names import Blob
from shared.ports import BlobInfo, Blobs
from tests.patience import patience

PAGE = 3  # of a listing, so that few blobs make several

# Each is a name that a device's id may lead to, or that a tool leaves behind.
ODD_NAMES = (
    "a b.skops",
    "a#b.skops",
    "a%41b.skops",
    "a%b.skops",
    "a&b<c>.skops",
    "a'b.skops",
    "a+b=c.skops",
    "a//b.skops",
    "a/b.skops",
    "a?b.skops",
    "folder/",
    "tab\there.skops",
    "Ünï/日本.skops",
    "😀.skops",
)


@dataclass(frozen=True, slots=True)
class Store:
    """A store of blobs of which a test makes containers, and writes to them as a node does."""

    container: Callable[[str], Blobs]
    write: Callable[[Blobs, str, bytes, Mapping[str, str]], None]
    protect: Callable[[Blobs, str], Callable[[], object]]  # returns what ends it


def azurite_store(server: Azurite, fresh_name: str) -> Store:
    service = BlobServiceClient.from_connection_string(server.connection_string)

    def write(blobs: Blobs, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
        container = service.get_container_client(blobs.url.rpartition("/")[2])
        container.upload_blob(name, data, overwrite=True, metadata=dict(metadata))

    def container(name: str) -> AzureBlobs:
        blobs = AzureBlobs(server.connection_string, f"{fresh_name}-{name}", page=PAGE)
        blobs.ensure_container()
        return blobs

    def protect(blobs: Blobs, name: str) -> Callable[[], object]:
        container = service.get_container_client(blobs.url.rpartition("/")[2])
        return container.get_blob_client(name).acquire_lease().release

    return Store(container, write, protect)


def memory_protect(blobs: Blobs, name: str) -> Callable[[], object]:
    assert isinstance(blobs, MemoryBlobs)
    blobs.protect(name)
    return lambda: blobs.end_protection(name)


def memory_write(blobs: Blobs, name: str, data: bytes, metadata: Mapping[str, str]) -> None:
    assert isinstance(blobs, MemoryBlobs)
    blobs.write(name, data, metadata)


@pytest.fixture(params=["memory", pytest.param("azurite", marks=pytest.mark.stack)])
def store(request: pytest.FixtureRequest, fresh_name: str) -> Store:
    if request.param == "memory":
        return Store(lambda name: MemoryBlobs(f"memory://{name}"), memory_write, memory_protect)
    return azurite_store(request.getfixturevalue("azurite"), fresh_name)


@pytest.fixture
def blobs(store: Store) -> Blobs:
    return store.container("main")


def md5(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_a_created_blob_is_read_back_whole(blobs: Blobs) -> None:
    assert blobs.create("runs/a/plan.json", b"\x00plan\xff")
    assert blobs.read("runs/a/plan.json") == b"\x00plan\xff"


def test_an_empty_blob_is_a_blob(blobs: Blobs) -> None:
    assert blobs.create("empty", b"")
    assert blobs.read("empty") == b""
    assert (blobs.read_properties("empty").size, blobs.read_properties("empty").md5) == (0, md5(b""))


def test_a_second_create_changes_nothing(blobs: Blobs) -> None:
    blobs.create("plan", b"first")
    before = blobs.read_properties("plan")
    assert not blobs.create("plan", b"second")
    assert (blobs.read("plan"), blobs.read_properties("plan")) == (b"first", before)


def test_of_many_that_create_at_once_one_succeeds(blobs: Blobs) -> None:
    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda i: blobs.create("plan", b"%d" % i), range(8)))
    assert won.count(True) == 1
    assert blobs.read("plan") == b"%d" % won.index(True)


def test_a_blob_that_is_not_there_is_not_found(blobs: Blobs) -> None:
    blobs.create("there", b"")
    for ask in (blobs.read_properties, blobs.read):
        with pytest.raises(NotFound, match=f"{blobs.url}/absent"):
            ask("absent")


def test_the_first_names_are_listed_however_many_there_are(store: Store, blobs: Blobs) -> None:
    for name in ("hour=07/_SUCCESS.crc", "hour=07/_SUCCESS", "hour=07/b.csv", "hour=07/", "hour=08/a.csv", "hour=0"):
        store.write(blobs, name, b"", {})
    assert list(blobs.list_names("hour=07/", 10)) == [
        "hour=07/", "hour=07/_SUCCESS", "hour=07/_SUCCESS.crc", "hour=07/b.csv",
    ]  # fmt: skip
    assert list(blobs.list_names("hour=07/_SUCCESS", 1)) == ["hour=07/_SUCCESS"]
    assert list(blobs.list_names("hour=07/", 2)) == ["hour=07/", "hour=07/_SUCCESS"]
    assert list(blobs.list_names("hour=09/", 10)) == []


def test_names_are_listed_as_they_were_written(store: Store, blobs: Blobs) -> None:
    for name in ODD_NAMES:
        store.write(blobs, name, b"", {})
    assert [name for odd in ODD_NAMES for name in blobs.list_names(odd, 1)] == list(ODD_NAMES)


def test_head_tells_size_md5_and_metadata(store: Store, blobs: Blobs) -> None:
    store.write(blobs, "a.progress", b"12345", {"done": "7", "models": "20"})
    found = blobs.read_properties("a.progress")
    assert found == BlobInfo("a.progress", found.etag, 5, md5(b"12345"), {"done": "7", "models": "20"})
    assert found.etag
    assert '"' not in found.etag


def test_a_write_gives_another_etag(store: Store, blobs: Blobs) -> None:
    store.write(blobs, "a", b"same", {})
    before = blobs.read_properties("a").etag
    store.write(blobs, "a", b"same", {})
    assert blobs.read_properties("a").etag != before


def test_a_listing_gives_names_etags_and_sizes_in_order_over_many_pages(blobs: Blobs) -> None:
    names = [f"m/{i:02}.skops" for i in range(3 * PAGE + 1)]
    for name in reversed(names):
        blobs.create(name, name.encode())
    heads = [blobs.read_properties(name) for name in names]
    assert list(blobs.list_blobs()) == [Blob(h.name, h.etag, h.size) for h in heads]
    assert list(blobs.describe_blobs("")) == heads


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", ["pump", "pump-1.skops", "pump/1.skops", "pump/1/x.skops", "pumps.skops"]),
        ("pump", ["pump", "pump-1.skops", "pump/1.skops", "pump/1/x.skops", "pumps.skops"]),
        ("pump/", ["pump/1.skops", "pump/1/x.skops"]),
        ("pump/1", ["pump/1.skops", "pump/1/x.skops"]),
        ("pump/1/", ["pump/1/x.skops"]),
        ("valve", []),
    ],
)
def test_a_prefix_is_the_beginning_of_a_name_whether_a_folder_ends_there_or_not(
    blobs: Blobs, prefix: str, expected: list[str]
) -> None:
    for name in ("pump", "pump-1.skops", "pump/1.skops", "pump/1/x.skops", "pumps.skops"):
        blobs.create(name, b"")
    assert [blob.name for blob in blobs.list_blobs(prefix)] == expected
    assert [found.name for found in blobs.describe_blobs(prefix)] == expected


def test_odd_names_come_out_as_they_went_in(store: Store, blobs: Blobs) -> None:
    other = store.container("other")
    for name in ODD_NAMES:
        assert blobs.create(name, name.encode())
        assert other.copy(blobs, name, name, replaces=None).name == name
    for container in (blobs, other):
        assert sorted(blob.name for blob in container.list_blobs()) == sorted(ODD_NAMES)
        assert [(f.name, f.etag, f.size) for f in container.describe_blobs("")] == [
            (b.name, b.etag, b.size) for b in container.list_blobs()
        ]
        assert [container.read(blob.name) for blob in container.list_blobs()] == [
            blob.name.encode() for blob in container.list_blobs()
        ]
        assert [container.read_properties(blob.name).etag for blob in container.list_blobs()] == [
            b.etag for b in container.list_blobs()
        ]


def test_describe_tells_md5_and_metadata(store: Store, blobs: Blobs) -> None:
    store.write(blobs, "signs/c00000-1.progress", b"", {"done": "3", "models": "9"})
    store.write(blobs, "signs/c00000-1.report", b"report", {})
    store.write(blobs, "other", b"", {})
    progress, report = blobs.describe_blobs("signs/")
    assert progress == BlobInfo("signs/c00000-1.progress", progress.etag, 0, md5(b""), {"done": "3", "models": "9"})
    assert report == BlobInfo("signs/c00000-1.report", report.etag, 6, md5(b"report"), {})


def test_a_copy_to_a_free_name_carries_the_content_and_returns_what_lies_there(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    work.create("results/part", b"rows")
    found = blobs.copy(work, "results/part", "date=2026-11-21/hour=07/part.parquet", replaces=None)
    assert found == blobs.read_properties("date=2026-11-21/hour=07/part.parquet")
    assert (found.size, found.md5, blobs.read(found.name)) == (4, md5(b"rows"), b"rows")
    assert work.read("results/part") == b"rows"


def test_a_copy_that_expects_nothing_leaves_what_is_there(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    work.create("part", b"new")
    blobs.create("part", b"old")
    with pytest.raises(Conflict):
        blobs.copy(work, "part", "part", replaces=None)
    assert blobs.read("part") == b"old"


def test_a_copy_replaces_the_etag_that_it_names(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    work.create("part", b"new")
    blobs.create("part", b"old")
    found = blobs.copy(work, "part", "part", replaces=blobs.read_properties("part").etag)
    assert (found, blobs.read("part")) == (blobs.read_properties("part"), b"new")


def test_a_copy_leaves_nothing_of_what_it_replaces_not_even_its_metadata(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    store.write(work, "part", b"new", {})
    store.write(blobs, "a", b"old", {"original_md5": "x"})
    blobs.copy(work, "part", "a", replaces=blobs.read_properties("a").etag)
    assert (blobs.read("a"), dict(blobs.read_properties("a").metadata)) == (b"new", {})


def test_a_copy_replaces_no_other_etag(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    work.create("part", b"new")
    blobs.create("part", b"old")
    stale = blobs.read_properties("part").etag
    store.write(blobs, "part", b"somebody's", {})
    with pytest.raises(Conflict):
        blobs.copy(work, "part", "part", replaces=stale)
    assert blobs.read("part") == b"somebody's"


def test_a_copy_that_expects_an_etag_does_not_write_to_a_free_name(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    work.create("part", b"new")
    with pytest.raises(Conflict):
        blobs.copy(work, "part", "part", replaces=work.read_properties("part").etag)
    assert list(blobs.list_blobs()) == []


def test_a_copy_of_nothing_is_not_found_and_changes_nothing(store: Store, blobs: Blobs) -> None:
    work = store.container("work")
    blobs.create("part", b"old")
    with pytest.raises(NotFound):
        blobs.copy(work, "absent", "part", replaces=blobs.read_properties("part").etag)
    with pytest.raises(NotFound):
        blobs.copy(work, "absent", "free", replaces=None)
    assert [blobs.read(blob.name) for blob in blobs.list_blobs()] == [b"old"]


def test_deleting_twice_is_deleting_once(blobs: Blobs) -> None:
    blobs.create("a", b"")
    blobs.create("b", b"")
    blobs.delete("a")
    blobs.delete("a")
    assert [blob.name for blob in blobs.list_blobs()] == ["b"]
    assert blobs.create("a", b"again")


def test_what_was_seen_is_deleted(blobs: Blobs) -> None:
    for name in ("a", "b"):
        blobs.create(name, b"same")
    blobs.delete("a", blobs.read_properties("a").etag)
    assert [blob.name for blob in blobs.list_blobs()] == ["b"]


def test_what_was_written_since_it_was_seen_stays(store: Store, blobs: Blobs) -> None:
    blobs.create("a", b"seen")
    seen = blobs.read_properties("a").etag
    store.write(blobs, "a", b"newer", {})
    blobs.delete("a", seen)
    assert blobs.read("a") == b"newer"
    blobs.delete("a", blobs.read_properties("a").etag)
    assert list(blobs.list_blobs()) == []


def test_what_was_made_anew_since_it_was_seen_stays(blobs: Blobs) -> None:
    blobs.create("a", b"same")
    seen = blobs.read_properties("a").etag
    blobs.delete("a")
    blobs.create("a", b"same")
    blobs.delete("a", seen)
    assert blobs.read("a") == b"same"


def test_an_etag_of_another_blob_deletes_nothing(blobs: Blobs) -> None:
    for name in ("a", "b"):
        blobs.create(name, b"same")
    blobs.delete("a", blobs.read_properties("b").etag)
    assert [blob.name for blob in blobs.list_blobs()] == ["a", "b"]


def test_an_etag_as_a_listing_tells_it_deletes_that_blob(blobs: Blobs) -> None:
    for name in ("a", "b"):
        blobs.create(name, b"")
    for etag in [blob.etag for blob in blobs.list_blobs("a")]:
        blobs.delete("a", etag)
    for etag in [found.etag for found in blobs.describe_blobs("b")]:
        blobs.delete("b", etag)
    assert list(blobs.list_blobs()) == []


def test_what_is_gone_already_may_be_deleted_by_the_etag_that_it_had(blobs: Blobs) -> None:
    blobs.create("a", b"")
    seen = blobs.read_properties("a").etag
    blobs.delete("a", seen)
    blobs.delete("a", seen)
    assert list(blobs.list_blobs()) == []


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_blob_of_any_name_is_deleted_by_its_etag(blobs: Blobs, name: str) -> None:
    blobs.create(name, b"")
    blobs.delete(name, blobs.read_properties(name).etag)
    assert list(blobs.list_blobs()) == []


def test_an_empty_container_lists_nothing(blobs: Blobs) -> None:
    assert (list(blobs.list_blobs()), list(blobs.describe_blobs(""))) == ([], [])


@pytest.mark.stack
def test_a_container_that_is_missing_reads_as_empty_and_the_first_create_makes_it(
    azurite: Azurite, fresh_name: str
) -> None:
    blobs = AzureBlobs(azurite.connection_string, fresh_name)
    assert (list(blobs.list_blobs()), list(blobs.describe_blobs(""))) == ([], [])
    with pytest.raises(NotFound):
        blobs.read("a")
    blobs.delete("a")
    blobs.delete("a", "0x8D")
    assert blobs.create("a", b"")
    assert not blobs.ensure_container()


def test_a_blob_that_somebody_holds_is_neither_deleted_nor_replaced_and_the_lease_is_named(
    store: Store, blobs: Blobs
) -> None:
    work = store.container("work")
    work.create("part", b"new")
    blobs.create("a", b"old")
    etag = blobs.read_properties("a").etag
    end_lease = store.protect(blobs, "a")
    tries: list[Callable[[], object]] = [
        lambda: blobs.delete("a"),
        lambda: blobs.delete("a", etag),
        lambda: blobs.copy(work, "part", "a", replaces=etag),
    ]
    for attempt in tries:
        with pytest.raises(Protected, match="LeaseIdMissing") as caught:
            attempt()
        assert caught.value.protection == "a lease (LeaseIdMissing)"
    assert (blobs.read("a"), blobs.read_properties("a").etag) == (b"old", etag)
    end_lease()
    assert blobs.copy(work, "part", "a", replaces=etag).md5 == md5(b"new")
    blobs.delete("a")
    assert list(blobs.list_blobs()) == []


@pytest.mark.stack
def test_a_container_that_is_missing_is_named_with_those_that_exist(azurite: Azurite, fresh_name: str) -> None:
    blobs = AzureBlobs(azurite.connection_string, fresh_name)
    account = blobs.url.rpartition("/")[0]
    beginning = f"{fresh_name!r}; {account} has "
    assert blobs.describe_missing().startswith(beginning)
    blobs.ensure_container()
    assert blobs.describe_missing() == ""
    service = BlobServiceClient.from_connection_string(azurite.connection_string)
    names = [container["name"] for container in service.list_containers()]
    missing = AzureBlobs(azurite.connection_string, f"{fresh_name}-other").describe_missing()
    listed = missing.partition(" has ")[2].removesuffix(", ...").split(", ")
    assert listed == names[: len(listed)]


def test_a_server_that_is_not_there_does_not_say_that_a_container_is_missing(unused_endpoint: str) -> None:
    setting = f"AccountName=a;AccountKey={ACCOUNT_KEY};BlobEndpoint={unused_endpoint}/a"
    assert AzureBlobs(setting, "models").describe_missing() == ""


@pytest.mark.stack
def test_a_container_that_is_missing_is_made_by_the_first_copy(azurite: Azurite, fresh_name: str) -> None:
    work = AzureBlobs(azurite.connection_string, f"{fresh_name}-work")
    predictions = AzureBlobs(azurite.connection_string, f"{fresh_name}-predictions")
    work.create("part", b"rows")
    assert predictions.copy(work, "part", "part", replaces=None) == predictions.read_properties("part")


@pytest.mark.stack
def test_the_url_is_where_the_container_answers_and_holds_no_key(azurite: Azurite, fresh_name: str) -> None:
    assert AzureBlobs(azurite.connection_string, fresh_name).url == f"{azurite.blob_endpoint}/{fresh_name}"


def test_a_copy_from_another_account_is_refused_before_anything_is_asked() -> None:
    here = AzureBlobs("https://here.blob.core.windows.net", "a")
    there = AzureBlobs("https://there.blob.core.windows.net", "a")
    with pytest.raises(Malformed, match=r"in the account of https://here\.blob.*got https://there\.blob"):
        here.copy(there, "x", "x", replaces=None)


def test_a_setting_that_is_no_account_is_refused_without_repeating_it() -> None:
    with pytest.raises(Misconfigured, match="expected a storage account as https://ACCOUNT") as caught:
        AzureBlobs(ACCOUNT_KEY, "models")
    assert ACCOUNT_KEY not in str(caught.value)


def test_a_server_that_is_not_there_is_unavailable_soon_and_named_without_its_key(unused_endpoint: str) -> None:
    key = f"AccountName=devstoreaccount1;AccountKey={ACCOUNT_KEY}"
    blobs = AzureBlobs(f"{key};BlobEndpoint={unused_endpoint}/devstoreaccount1", "models")
    begun = time.monotonic()
    with pytest.raises(Unavailable, match=f"{unused_endpoint}/devstoreaccount1/models/a did not answer") as caught:
        blobs.read("a")
    assert time.monotonic() - begun < patience(25)
    assert ACCOUNT_KEY not in str(caught.value)


@pytest.mark.stack
def test_a_wrong_key_is_unavailable_and_says_what_to_do(azurite: Azurite, fresh_name: str) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    blobs = AzureBlobs(azurite.connection_string.replace(ACCOUNT_KEY, wrong), fresh_name)
    for ask in (blobs.list_blobs, blobs.describe_blobs):
        with pytest.raises(Unavailable, match=r"403 AuthorizationFailure.*role.*Storage Blob Data Contributor.*key"):
            list(ask(""))
    with pytest.raises(Unavailable, match="403"):
        blobs.create("a", b"")
