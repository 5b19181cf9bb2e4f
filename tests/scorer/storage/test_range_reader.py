"""Blobs and files that are read here and there."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from azure.storage.blob import ContainerClient

from local.azurite import Azurite
from scorer.readings import files, source
from scorer.storage.blob_store import Container, MappedFile, open_container
from scorer.storage.range_reader import HEAD, HEAD_IN_MEMORY
from shared.contract.errors import NotFound, Unavailable
from shared.contract.model_names import Columns
from tests.scorer.readings.seen import HOUR

Uploader = Callable[[str, bytes], None]


@pytest.fixture(params=["folder", pytest.param("azurite", marks=pytest.mark.stack)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Container, Uploader]:
    """A container, and how somebody else puts things into it."""
    if request.param == "folder":
        return open_container(tmp_path.as_uri()), lambda name, data: (tmp_path / name).write_bytes(data) and None
    server, name = request.getfixturevalue("azurite"), request.getfixturevalue("fresh_name")
    client = ContainerClient.from_connection_string(server.connection_string, name)
    client.create_container()
    container = open_container(f"{server.blob_endpoint}/{name}", server.connection_string)
    return container, lambda path, data: client.upload_blob(path, data, overwrite=True) and None


@pytest.mark.parametrize("size", [0, 1, 100, HEAD, HEAD + 1, 3 * HEAD])
def test_any_part_of_a_file_can_be_read(size: int, place: tuple[Container, Uploader]) -> None:
    container, upload = place
    data = bytes(i * 7 % 251 for i in range(1000)) * (size // 1000 + 1)
    upload("a", data[:size])

    file = container.open("a")

    assert file.seek(0, 2) == size
    for at, length in ((0, 10), (size // 2, 100), (max(0, size - 5), 100), (size, 1), (size + 5, 5), (HEAD - 3, 9)):
        file.seek(at)
        assert bytes(file.read(length)) == data[:size][at : at + length]
        assert file.tell() == max(at, min(size, at + length))
    file.seek(0)
    assert bytes(file.read()) == data[:size]
    file.close()
    assert file.closed


@pytest.mark.parametrize("size", [0, 1, HEAD, 8 * HEAD])
def test_of_a_blob_in_memory_what_is_loaded_is_its_content(size: int, place: tuple[Container, Uploader]) -> None:
    container, upload = place
    data = bytes(i * 7 % 250 + 1 for i in range(1000)) * (size // 1000 + 1)
    upload("a", data[:size])

    blob = container.map("a")

    assert len(blob.data) == size
    ranges = [(at * HEAD + 9, at * HEAD + 99) for at in (0, 2, 3, 6)] if size > HEAD else [(0, size)]
    blob.load(ranges)
    for start, end in ranges:
        assert bytes(blob.data[start:end]) == data[start:end]
    if not isinstance(blob, MappedFile):  # a gap is loaded where it is short
        assert not any(blob.data[4 * HEAD : 6 * HEAD])
    blob.load([(0, size)])
    assert bytes(blob.data) == data[:size]


@pytest.mark.stack
def test_a_blob_in_memory_that_changes_is_not_loaded_any_more(azurite: Azurite, fresh_name: str) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    client.upload_blob("a", b"x" * 2 * HEAD_IN_MEMORY)
    blob = open_container(f"{azurite.blob_endpoint}/{fresh_name}", azurite.connection_string).map("a")
    blob.load([(0, HEAD_IN_MEMORY)])
    client.upload_blob("a", b"y" * 2 * HEAD_IN_MEMORY, overwrite=True)

    with pytest.raises(Unavailable):
        blob.load([(HEAD_IN_MEMORY, HEAD_IN_MEMORY + 1)])
    client.delete_blob("a")
    with pytest.raises((NotFound, Unavailable)):
        blob.load([(HEAD_IN_MEMORY, HEAD_IN_MEMORY + 1)])


def test_what_is_not_there_cannot_be_opened(place: tuple[Container, Uploader]) -> None:
    with pytest.raises(NotFound):
        place[0].open("nothing")


@pytest.mark.stack
def test_a_blob_that_changes_while_it_is_read_is_never_half_of_each(azurite: Azurite, fresh_name: str) -> None:
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    client.upload_blob("a", b"x" * 2 * HEAD)
    file = open_container(f"{azurite.blob_endpoint}/{fresh_name}", azurite.connection_string).open("a")
    client.upload_blob("a", b"y" * 2 * HEAD, overwrite=True)
    file.seek(HEAD)

    with pytest.raises(Unavailable):
        file.read(10)


def test_parquet_is_read_by_ranges_and_a_lost_store_is_no_broken_file(
    place: tuple[Container, Uploader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 10)
    monkeypatch.setattr("scorer.storage.range_reader.HEAD", 10)
    container, upload = place
    devices = [f"d{i:03}" for i in range(100) for _ in range(10)]
    times = pa.array([HOUR.start + timedelta(minutes=i % 10) for i in range(1000)], pa.timestamp("us", "UTC"))
    sink = pa.BufferOutputStream()
    rows = pa.table({"time": times, "device": devices, "value": [float(i) for i in range(1000)]})
    pq.write_table(rows, sink, row_group_size=100)
    upload("a", sink.getvalue().to_pybytes())

    found = source.read_readings(container, [""], Columns(), ["d055"], HOUR)

    assert found.frames[0].values.tolist() == [[float(i) for i in range(550, 560)]]


@pytest.mark.stack
def test_a_store_that_fails_over_a_file_fails_the_attempt_and_no_model(
    azurite: Azurite, fresh_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SMALL_FILE", 10)
    monkeypatch.setattr("scorer.storage.range_reader.HEAD", 10)
    client = ContainerClient.from_connection_string(azurite.connection_string, fresh_name)
    client.create_container()
    container = open_container(f"{azurite.blob_endpoint}/{fresh_name}", azurite.connection_string)
    times = pa.array([HOUR.start] * 100, pa.timestamp("us", "UTC"))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"time": times, "device": ["d"] * 100, "value": [1.0] * 100}), sink)
    data = sink.getvalue().to_pybytes()
    client.upload_blob("a", data)
    real = container.open

    class Changing:
        """The container, whose blob is replaced between its footer and its rows."""

        list, read = container.list, container.read

        def open(self, path: str) -> object:
            file = real(path)
            client.upload_blob("a", data, overwrite=True)
            return file

    with pytest.raises(Unavailable):
        source.read_readings(Changing(), [""], Columns(), ["d"], HOUR)  # type: ignore[arg-type]  # it only reads
