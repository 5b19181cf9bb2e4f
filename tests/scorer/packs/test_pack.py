"""Packs: what goes in comes out, by id and etag; what is corrupt or foreign is never believed."""

import pickle
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest
from sklearn.linear_model import LogisticRegression, SGDOneClassSVM
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.families.base import Family, GapRule, Packed, Predicted
from scorer.packs import stored_pack
from scorer.packs.cache import pack_file
from scorer.packs.pack import EMPTY, Entry, Pack, build_pack
from scorer.packs.stored_pack import from_buffer, to_bytes
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.model_list import ModelList
from shared.contract.reasons import Reason

DATA = np.random.default_rng(7).normal(size=(60, 3))
ESTIMATORS = [
    make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)),
    OneClassSVM(kernel="linear", nu=0.1),
    OneClassSVM(kernel="poly", nu=0.1),
    OneClassSVM(kernel="sigmoid", nu=0.1),
    SGDOneClassSVM(random_state=0),
    EllipticEnvelope(random_state=0),
    IsolationForest(n_estimators=5, random_state=0),
    LocalOutlierFactor(novelty=True),
    LocalOutlierFactor(metric="canberra", novelty=True),
    make_pipeline(StandardScaler(), PCA(2), OneClassSVM(nu=0.1)),
    LogisticRegression(),
    HistGradientBoostingRegressor(max_iter=2),
]
TARGET = np.array(["low", "mïd", "high"])[np.digitize(DATA[:, 0], [-0.5, 0.5])]


def model(name: str, etag: str = "1") -> Model:
    device, _, sensor = name.partition("/")
    return Model(device, sensor, f"{name}.pkl", etag)


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    """A model of each family, one that is kept, one that was refused; and ids that are not plain."""
    found = []
    for i, estimator in enumerate(ESTIMATORS):
        target = {LogisticRegression: TARGET, HistGradientBoostingRegressor: DATA[:, 0]}.get(type(estimator))
        data = pickle.dumps(estimator.fit(DATA, target))
        packed = pack_file(data)
        found.append(
            Entry(
                model(f"pümp-{i}/{'ab'[i % 2]}"),
                f"e{i}",
                packed,
                i % 3 == 0,
                data if packed.family is Family.KEPT else b"",
            )
        )
    refused = Unscorable(Reason.UNSUPPORTED_MODEL, "expected an outlier detector, got a dict 😀")
    return [*found, Entry(model("z"), "e9", refused)]


def entry_of(whole: Pack, row: int) -> Entry:
    """What a row says, as it was put in."""
    device, sensor = (whole.rows.column(name)[row].as_py() for name in ("device", "sensor"))
    one = Model(device, sensor, f"{device}/{sensor}.pkl" if sensor else f"{device}.pkl", "1")
    refused = whole.get_refusal(row)
    if refused:
        return Entry(one, whole.get_content(row).etag, refused)
    (number_at, numbers), (integer_at, integers) = whole.numbers, whole.integers
    (features_of, features), (version_of, versions) = whole.features, whole.get_texts("made_by")
    (task_of, tasks), (classes_of, classes) = whole.tasks, whole.classes
    predicted = None
    if task := tasks[task_of[row]]:
        n_outputs, gap_rule = int(whole.get_numbers("outputs")[row]), GapRule(int(whole.get_numbers("gap_rule")[row]))
        has_probability = bool(whole.get_numbers("probability")[row])
        predicted = Predicted(task, n_outputs, classes[classes_of[row]], has_probability, gap_rule)
    packed = Packed(
        Family(whole.get_numbers("family")[row]),
        int(whole.get_numbers("width")[row]),
        features[features_of[row]],
        versions[version_of[row]],
        bool(whole.get_numbers("strict")[row]),
        numbers[number_at[row] : number_at[row + 1]],
        integers[integer_at[row] : integer_at[row + 1]],
        predicted,
    )
    return Entry(
        one, whole.get_content(row).etag, packed, bool(whole.get_numbers("skops")[row]), whole.get_content(row).data
    )


def assert_same(found: Entry, expected: Entry) -> None:
    assert (found.model, found.etag, found.file) == (expected.model, expected.etag, expected.file)
    assert found.skops == (expected.skops and isinstance(expected.packed, Packed))
    if isinstance(expected.packed, Unscorable):
        assert isinstance(found.packed, Unscorable)
        assert (found.packed.reason, str(found.packed)) == (expected.packed.reason, str(expected.packed))
        return
    assert isinstance(found.packed, Packed)
    for name in ("family", "n_features", "features", "made_by", "strict", "predicted"):
        assert getattr(found.packed, name) == getattr(expected.packed, name), name
    np.testing.assert_array_equal(found.packed.numbers, expected.packed.numbers)
    np.testing.assert_array_equal(found.packed.integers, expected.packed.integers)


def test_what_goes_in_comes_out(entries: list[Entry]) -> None:
    assert {e.packed.family for e in entries if isinstance(e.packed, Packed)} == set(Family)
    data = to_bytes(build_pack(entries))
    found = from_buffer(memoryview(data))
    assert len(found) == len(entries)
    for row, expected in enumerate(entries):
        assert_same(entry_of(found, row), expected)
    assert to_bytes(found) == data == to_bytes(build_pack(entries))


def test_an_empty_pack_is_a_pack() -> None:
    found = from_buffer(memoryview(to_bytes(EMPTY)))
    assert len(found) == 0
    assert found.find_rows(ModelList.from_models([model("a")])).tolist() == [-1]


def test_a_model_is_found_by_its_id_and_the_etag_of_its_file(entries: list[Entry]) -> None:
    whole = build_pack(entries)
    planned = [Model(e.model.device, e.model.sensor, e.model.name, e.etag) for e in entries]
    assert whole.find_rows(ModelList.from_models(planned)).tolist() == list(range(len(entries)))
    others = [planned[3], model("unknown"), Model(planned[1].device, planned[1].sensor, "", "another"), planned[0]]
    assert whole.find_rows(ModelList.from_models(others)).tolist() == [3, -1, -1, 0]
    assert whole.find_rows(ModelList.from_models([Model(planned[0].device, "", "", planned[0].etag)])).tolist() == [-1]


def test_a_merged_pack_has_the_rows_that_were_wanted_in_their_order(entries: list[Entry]) -> None:
    old, fresh = build_pack(entries[:6]), build_pack(entries[6:9])
    merged = old.merge_rows(np.array([5, -1, 0, -1, -1]), fresh)
    expected = [entries[5], entries[6], entries[0], entries[7], entries[8]]
    for row, entry in enumerate(expected):
        assert_same(entry_of(merged, row), entry)
    assert to_bytes(merged) == to_bytes(build_pack(expected))
    assert old.merge_rows(np.arange(6), EMPTY) is old
    assert len(old.merge_rows(np.empty(0, np.int64), EMPTY)) == 0


def test_a_pack_with_any_bit_turned_is_refused(entries: list[Entry]) -> None:
    data = to_bytes(build_pack(entries))
    rng = np.random.default_rng(0)
    for place in [*range(64), *rng.integers(64, len(data), 300).tolist()]:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        with pytest.raises(Malformed):
            from_buffer(memoryview(broken))


def test_a_pack_that_was_cut_is_refused(entries: list[Entry]) -> None:
    data = to_bytes(build_pack(entries))
    for length in [*range(0, 130, 7), *range(130, len(data), len(data) // 50), len(data) - 1]:
        with pytest.raises(Malformed):
            from_buffer(memoryview(data[:length]))
    with pytest.raises(Malformed):
        from_buffer(memoryview(data + b"\0"))


def headed(index: bytes, version: int = stored_pack.VERSION, body: bytes = b"") -> memoryview:
    """A file whose head is right, whatever its index is."""
    lengths = b"".join(number.to_bytes(8, "little") for number in (version, len(index), len(body), 0))
    padded = index + bytes(-len(index) % 64)
    head = (b"fleetscore pack\n" + lengths).ljust(48, b"\0") + xxhash.xxh3_128_digest(lengths + padded)
    return memoryview(head + padded + body)


def ipc(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def index_of(data: bytes) -> pa.Table:
    """The index of a file, as a reader of Arrow sees it."""
    return pa.ipc.open_file(pa.py_buffer(data[64 : 64 + int.from_bytes(data[24:32], "little")])).read_all()


def test_what_is_no_pack_is_told(entries: list[Entry]) -> None:
    index = ipc(index_of(to_bytes(build_pack(entries))))
    for data, said in [
        (memoryview(b"PAR1" * 40), r"expected a pack, got 160 bytes that begin with b'PAR1"),
        (headed(index, version=stored_pack.VERSION + 1), f"expected a pack of version {stored_pack.VERSION}, got"),
        (headed(b"no arrow at all"), "a foreign pack: "),
        (headed(ipc(pa.table({"a": [1]}))), r"a foreign pack: its columns are \['a'\]"),
        (headed(index), "a foreign pack: it says more numbers than there are"),
        (headed(index, body=bytes(2**20)), "a foreign pack: it says other numbers than there are"),
    ]:
        with pytest.raises(Malformed, match=said):
            from_buffer(data)


@pytest.mark.parametrize("count", [-1, 2**62, 2**60, 7])
def test_an_index_with_wrong_counts_is_refused(entries: list[Entry], count: int) -> None:
    data = to_bytes(build_pack(entries))
    index = index_of(data)
    counts = pa.chunked_array([pa.array([count, *index["n_numbers"].to_pylist()[1:]])])
    index = index.set_column(index.schema.get_field_index("n_numbers"), "n_numbers", counts)

    with pytest.raises(Malformed, match="a foreign pack: it says"):
        from_buffer(headed(ipc(index), body=data[-int.from_bytes(data[32:40], "little") :]))


def written(table: pa.Table) -> memoryview:
    """The file of a pack with these columns."""
    return memoryview(to_bytes(Pack(table.combine_chunks().to_batches()[0])))


def changed(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[pa.Table], pa.Table]:
    def apply(table: pa.Table) -> pa.Table:
        index = table.schema.get_field_index(name)
        values = change(np.array(table[name].to_pylist()))
        return table.set_column(
            index, table.schema.field(name), pa.chunked_array([pa.array(values, table.schema.field(name).type)])
        )

    return apply


def with_number(table: pa.Table, row: int, place: int, value: float, name: str = "numbers") -> pa.Table:
    lists = table[name].to_pylist()
    lists[row][place] = value
    index = table.schema.get_field_index(name)
    return table.set_column(
        index, table.schema.field(index), pa.chunked_array([pa.array(lists, table.schema.field(index).type)])
    )


def with_task(table: pa.Table, task: str) -> pa.Table:
    index = table.schema.get_field_index("task")
    tasks = pa.array([task] * table.num_rows).dictionary_encode()
    return table.set_column(index, table.schema.field(index), pa.chunked_array([tasks]))


@pytest.mark.parametrize(
    "change",
    [
        changed("family", lambda a: np.full_like(a, 77)),
        changed("family", lambda a: np.full_like(a, Family.KEPT)),
        changed("family", lambda a: np.where(a == Family.RBF, Family.ENVELOPE, a)),
        changed("family", lambda a: np.where(a == Family.LINEAR, Family.FOREST, a)),
        changed("width", lambda a: a + 1),
        changed("width", lambda a: a * 0),
        changed("width", lambda a: -a),
        changed("outputs", lambda a: a + 1),
        lambda table: with_task(table, ""),
        lambda table: with_task(table, "oracle"),
        *(lambda table, place=place: with_number(table, 9, place, 99, "integers") for place in (0, 1, 4)),
        lambda table: with_number(table, 0, 7, 1e9),
        lambda table: with_number(table, 0, 7, -1),
        lambda table: with_number(table, 0, 7, 2.5),
        lambda table: with_number(table, 0, 7, float("nan")),
        lambda table: with_number(table, 6, 7, 4),
    ],
)
def test_a_pack_whose_lengths_disagree_is_refused(entries: list[Entry], change: Callable[[pa.Table], pa.Table]) -> None:
    table = pa.Table.from_batches([build_pack(entries).rows])
    assert len(from_buffer(written(table))) == len(entries)
    with pytest.raises(Malformed, match="a foreign pack"):
        from_buffer(written(change(table)))


def test_a_pack_is_mapped_and_not_copied(entries: list[Entry]) -> None:
    data = to_bytes(build_pack(entries))
    found = from_buffer(memoryview(data))
    _, numbers = found.numbers
    address = np.frombuffer(data, np.uint8).ctypes.data
    assert address <= numbers.ctypes.data < address + len(data)


@pytest.mark.parametrize("text", ["no JSON", '{"a": 1}', "[1, 2]", "null"])
def test_a_pack_whose_names_of_features_are_none_is_refused(text: str, entries: list[Entry]) -> None:
    table = pa.Table.from_batches([build_pack(entries).rows])
    index = table.schema.get_field_index("features")
    column = pa.array([text] * len(table)).dictionary_encode()

    with pytest.raises(Malformed, match="a foreign pack"):
        from_buffer(written(table.set_column(index, table.schema.field(index), pa.chunked_array([column]))))


def test_a_pack_with_a_reason_that_is_none_is_refused(entries: list[Entry]) -> None:
    table = pa.Table.from_batches([build_pack(entries).rows])
    index = table.schema.get_field_index("reason")
    column = pa.array(["bad luck"] * len(table)).dictionary_encode()

    with pytest.raises(Malformed, match="an unknown reason"):
        from_buffer(written(table.set_column(index, table.schema.field(index), pa.chunked_array([column]))))
