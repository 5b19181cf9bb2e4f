"""Model files are read and never run: what they say comes out, and what hostile ones attempt does not happen."""

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io
from sklearn.ensemble import IsolationForest
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM

from scorer.errors import Unscorable
from scorer.model_files import reader
from scorer.model_files.parsed import ParsedObject
from scorer.packs.cache import pack_file
from shared.contract.reasons import Reason

UNREADABLE, TRUST, LARGE = Reason.UNREADABLE_MODEL, Reason.UNTRUSTED_MODEL, Reason.TOO_LARGE
P = b"\x80\x04"
SVM = b"csklearn.svm._classes\nOneClassSVM\n"
MIB = 2**20


class Payload:
    """Pickled, it is a call of anything."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def to_joblib(thing: Any) -> bytes:
    buffer = io.BytesIO()
    joblib.dump(thing, buffer)
    return buffer.getvalue()


def unzipped(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def npy(array: np.ndarray, *, objects: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=objects)
    return buffer.getvalue()


def node(loader: str, kind: str, **more: Any) -> dict[str, Any]:
    module, _, name = kind.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **more}


def plain(value: Any) -> dict[str, Any]:
    return node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def attributes(**items: Any) -> dict[str, Any]:
    keys = node("ListNode", "builtins.list", content=[node("TypeNode", "builtins.str")] * len(items))
    return node("DictNode", "builtins.dict", content=items, key_types=keys)


def skops_of(entries: dict[str, bytes] | None = None, **items: Any) -> bytes:
    """A skops file of a one-class SVM with these attributes."""
    root = node("ObjectNode", "sklearn.svm._classes.OneClassSVM", content=attributes(**items))
    return zipped({"schema.json": json.dumps(root | {"protocol": 2}).encode(), **(entries or {})})


def file_node(name: str = "a.npy") -> dict[str, Any]:
    return node("NdArrayNode", "numpy.ndarray", type="numpy", file=name)


def edited(data: bytes, signature: bytes, offset: int, fmt: str, value: int) -> bytes:
    """The file with a number changed in each record of the zip that begins so."""
    changed = bytearray(data)
    at = data.find(signature)
    while at >= 0:
        struct.pack_into(fmt, changed, at + offset, value)
        at = data.find(signature, at + 1)
    return bytes(changed)


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def attribute(value: bytes, name: str = "x") -> bytes:
    """A pickle of a one-class SVM with one attribute, whose opcodes are given."""
    return P + SVM + b")\x81}" + text(name) + value + b"sb."


def array(code: str, shape: bytes, content: bytes, order: str = "<") -> bytes:
    """Opcodes of an array, as NumPy pickles it."""
    kind = b"cnumpy\ndtype\n" + text(code) + b"\x89\x88\x87R(K\x03" + text(order) + b"NNNJ\xff\xff\xff\xff"
    kind += b"J\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy._core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    return empty + b"(K\x01" + shape + kind + b"\x89B" + struct.pack("<I", len(content)) + content + b"tb"


def bomb(pack: Callable[[bytes], bytes]) -> bytes:
    return pack(bytes(64 * MIB))


DEEP = 100_000
NESTED_TUPLE = b")" + b"\x85" * DEEP
WIDE_DICT = b"}(" + b"".join(b"J" + struct.pack("<i", i) + b"N" for i in range(50_000)) + b"u"


def doubled(times: int) -> bytes:
    """Opcodes of a tuple that holds the one before it twice: quick to build, for ever to hash or to show."""
    seen = [struct.pack("<I", 10**6 + i) for i in range(times + 1)]
    steps = (b"0j" + a + b"j" + a + b"\x86r" + b for a, b in pairwise(seen))
    return b")r" + seen[0] + b"".join(steps)


HOSTILE: dict[str, tuple[bytes | Callable[[], bytes], Reason]] = {
    # pickles: what they name
    "GLOBAL of os.system": (P + b"cos\nsystem\n.", TRUST),
    "STACK_GLOBAL of os.system": (P + text("os") + text("system") + b"\x93.", TRUST),
    "INST of os.system": (P + b"(" + text("id") + b"ios\nsystem\n.", TRUST),
    "builtins.eval": (lambda: pickle.dumps(Payload(eval, "1")), TRUST),
    "an attribute of an allowed class": (P + text("sklearn.svm._classes") + text("OneClassSVM.fit") + b"\x93.", TRUST),
    "an allowed name in another module": (P + b"cos\nOneClassSVM\n.", TRUST),
    "a global after a good model": (P + SVM + b")\x810cos\nsystem\n.", TRUST),
    "joblib.load": (P + b"cjoblib\nload\n.", TRUST),
    "joblib's old wrapper": (P + b"cjoblib.numpy_pickle\nNDArrayWrapper\n.", TRUST),
    "a payload in an array of joblib's": (lambda: to_joblib(np.array([Payload(os.getpid)], object)), TRUST),
    "a function of a known library": (P + b"csklearn.datasets\nload_files\n.", TRUST),
    "a class of a known library": (P + b"csklearn.svm._classes\nSVC\n.", Reason.UNSUPPORTED_MODEL),
    "a function by the name of its module, as NumPy 1 has it": (
        P + b"cnumpy.core\n_ufunc_reconstruct\n" + text("os") + text("system") + b"\x86R.",
        TRUST,
    ),
    "a pickle of protocol 6": (b"\x80\x06" + SVM + b")\x81.", UNREADABLE),
    "a name that is no text": (P + b"K\x01K\x02\x93.", UNREADABLE),
    # pickles: what they do with it
    "a call of text": (P + text("os.system") + b")R.", UNREADABLE),
    "a call of ndarray itself": (P + b"cnumpy\nndarray\nK\x01\x85R.", UNREADABLE),
    "a call with no tuple": (P + SVM + b"K\x01R.", UNREADABLE),
    "BUILD on a class": (P + SVM + b"}" + text("fit") + b"Nsb.", UNREADABLE),
    "BUILD on a list": (P + b"]}b.", UNREADABLE),
    "a key of a number of a million": (attribute(b"}J\xff\xff\xff\x7fNsb"), UNREADABLE),
    "a key that is half a number": (attribute(b"}G" + struct.pack(">d", 0.5) + b"Ns"), UNREADABLE),
    "a tuple nested deep as a key": (attribute(b"}" + NESTED_TUPLE + b"Ns"), UNREADABLE),
    "a tuple doubled 100 times as a key": (attribute(b"}" + doubled(100) + b"Ns"), UNREADABLE),
    "keys that fall into one slot": (attribute(b"}\x8a\x09" + (2**61 - 1).to_bytes(9, "little") + b"Ns"), UNREADABLE),
    "a tuple nested deep as a type": (
        attribute(b"cnumpy\ndtype\n" + NESTED_TUPLE + b"\x85R(K\x03" + text("<") + b"NNNNNNtb"),
        UNREADABLE,
    ),
    "a tuple doubled 100 times as a type": (
        attribute(b"cnumpy\ndtype\n" + doubled(100) + b"\x85R(K\x03" + text("<") + b"NNNNNNtb"),
        UNREADABLE,
    ),
    "a tuple nested deep as an order": (
        attribute(b"cnumpy\ndtype\n" + text("f8") + b"\x85R(K\x03" + NESTED_TUPLE + b"NNNNNNtb"),
        UNREADABLE,
    ),
    "a tuple nested deep as a field": (
        attribute(b"cnumpy\ndtype\n" + text("V8") + b"\x85R(K\x03" + text("|") + b"N" + NESTED_TUPLE + b"\x85}NNNtb"),
        UNREADABLE,
    ),
    "a tuple doubled 100 times as text": (attribute(b"c_codecs\nencode\n" + doubled(100) + b"\x85R"), UNREADABLE),
    "a set": (attribute(b"\x8f"), UNREADABLE),
    "EXT1": (P + b"\x82\x01.", UNREADABLE),
    "a persistent id": (P + b"Pid\n.", UNREADABLE),
    "a buffer from outside": (P + b"\x97.", UNREADABLE),
    "a memo that is not there": (P + b"h\x05.", UNREADABLE),
    "a stack that is empty": (P + b"\x85.", UNREADABLE),
    "a mark that is not there": (P + b"t.", UNREADABLE),
    "nothing at the end": (P + b".", UNREADABLE),
    "bytes beyond the file": (P + b"\x8e" + struct.pack("<Q", 2**63) + b"abc.", UNREADABLE),
    "text that is no UTF-8": (P + b"\x8c\x02\xff\xfe.", UNREADABLE),
    "no end": (P + SVM + b")\x81", UNREADABLE),
    "protocol 0": (b"csklearn.svm._classes\nOneClassSVM\n.", UNREADABLE),
    "a dict copied again and again": (
        lambda: P + SVM + b")\x81" + WIDE_DICT + b"\x94b" + b"h\x00b" * 100_000 + b".",
        LARGE,
    ),
    "text encoded again and again": (
        lambda: (
            P + b"c_codecs\nencode\n\x940X" + struct.pack("<I", MIB) + b"a" * MIB + b"\x940]("
            b"" + b"h\x00h\x01" + text("latin1") + b"\x86R" + b"h\x00h\x01\x85R" * 100_000 + b"e."
        ),
        LARGE,
    ),
    # arrays in pickles
    "an array larger than its bytes": (attribute(array("f8", b"J\xff\xff\xff\x7f\x85", b"12345678")), UNREADABLE),
    "an array smaller than its bytes": (attribute(array("f8", b"K\x01\x85", bytes(16))), UNREADABLE),
    "an array of a negative shape": (attribute(array("f8", b"J\xff\xff\xff\xff\x85", bytes(8))), UNREADABLE),
    "an array of no bytes and many items": (attribute(array("S0", b"J\xff\xff\xff\x7f\x85", b"")), UNREADABLE),
    "objects laid over bytes": (attribute(array("O8", b"K\x01\x85", b"\x41" * 8)), UNREADABLE),
    "dates": (attribute(array("M8", b"K\x01\x85", bytes(8))), UNREADABLE),
    "a shape that is a list": (attribute(array("f8", b"](K\x01e", bytes(8))), UNREADABLE),
    "an array of nine dimensions": (attribute(array("f8", b"(" + b"K\x01" * 9 + b"t", bytes(8))), UNREADABLE),
    "a scalar of objects": (
        attribute(b"cnumpy._core.multiarray\nscalar\n" + b"cnumpy\ndtype\n" + text("O8") + b"\x85RN\x86R"),
        UNREADABLE,
    ),
    "an array of joblib's beyond the file": (lambda: to_joblib([np.zeros(500)])[:-2000], UNREADABLE),
    # compression
    "a bomb of zlib": (lambda: zlib.compress(bytes(300 * MIB)), LARGE),
    "a bomb of gzip": (lambda: bomb(gzip.compress), LARGE),
    "a bomb of bzip2": (lambda: bomb(bz2.compress), LARGE),
    "a bomb of xz": (lambda: bomb(lzma.compress), LARGE),
    "gzip cut short": (lambda: gzip.compress(bytes(1000))[:-12], UNREADABLE),
    "zlib within zlib": (lambda: zlib.compress(zlib.compress(b"abc")), UNREADABLE),
    # zip
    "a zip without a directory": (lambda: skops_of()[:-22], UNREADABLE),
    "a zip without a schema": (lambda: zipped({"a.npy": b"x"}), UNREADABLE),
    "a zip that declares 4 GB": (lambda: edited(skops_of(), b"PK\1\2", 24, "<I", 2**32 - 2), LARGE),
    "a zip that declares less than it holds": (
        lambda: edited(zipped(unzipped(skops_of()), zipfile.ZIP_DEFLATED), b"PK\1\2", 24, "<I", 10),
        UNREADABLE,
    ),
    "a zip bomb that declares little": (
        lambda: edited(zipped({"schema.json": bytes(300 * MIB)}, zipfile.ZIP_DEFLATED), b"PK\1\2", 24, "<I", 10),
        UNREADABLE,
    ),
    "a zip whose entries lie outside it": (lambda: edited(skops_of(), b"PK\1\2", 42, "<I", 10**8), UNREADABLE),
    "a zip whose directory lies outside it": (lambda: edited(skops_of(), b"PK\5\6", 16, "<I", 10**8), UNREADABLE),
    "a zip of another number of entries": (lambda: edited(skops_of(), b"PK\5\6", 10, "<H", 500), UNREADABLE),
    "a zip with a password": (lambda: edited(skops_of(), b"PK\1\2", 8, "<H", 1), UNREADABLE),
    "a bomb of LZMA": (lambda: zipped({"schema.json": bytes(64 * MIB)}, zipfile.ZIP_LZMA), LARGE),
    "a bomb of bzip2 in a zip that declares little": (
        lambda: edited(zipped({"schema.json": bytes(64 * MIB)}, zipfile.ZIP_BZIP2), b"PK\1\2", 24, "<I", 10),
        UNREADABLE,
    ),
    "a zip with a wrong checksum": (lambda: edited(skops_of(), b"PK\1\2", 16, "<I", 1), UNREADABLE),
    "a zip bomb": (lambda: zipped({"a.npy": bytes(64 * MIB), **unzipped(skops_of())}, zipfile.ZIP_DEFLATED), LARGE),
    "a schema of 40 MiB": (lambda: zipped({"schema.json": b" " * (40 * MIB)}, zipfile.ZIP_DEFLATED), LARGE),
    # schemas
    "a schema that is no JSON": (lambda: zipped({"schema.json": b"{"}), UNREADABLE),
    "a schema that is a list": (lambda: zipped({"schema.json": b"[]"}), UNREADABLE),
    "a schema nested deep": (lambda: zipped({"schema.json": b"[" * 10**5}), UNREADABLE),
    "lists nested deep": (
        lambda: zipped(
            {
                "schema.json": b'{"__module__":"builtins","__class__":"list","__loader__":"ListNode","content":[' * 5000
                + b"]}" * 5000
            }
        ),
        UNREADABLE,
    ),
    "a node without a type": (lambda: skops_of(x={"__loader__": "JsonNode"}), UNREADABLE),
    "os.system as an object": (lambda: skops_of(x=node("ObjectNode", "os.system")), TRUST),
    "os.system as a function": (
        lambda: skops_of(x=node("FunctionNode", "os.system", content={"module_path": "os", "function": "system"})),
        TRUST,
    ),
    "os.system as a type": (lambda: skops_of(x=node("TypeNode", "os.system")), TRUST),
    "os.system as text": (lambda: skops_of(x=node("JsonNode", "os.system", content='"a"')), TRUST),
    "a function that calls itself text": (lambda: skops_of(x=node("FunctionNode", "builtins.str")), TRUST),
    "a method": (lambda: skops_of(x=node("MethodNode", "sklearn.svm._classes.OneClassSVM")), TRUST),
    "a partial": (lambda: skops_of(x=node("PartialNode", "functools.partial")), TRUST),
    "an operator": (lambda: skops_of(x=node("OperatorFuncNode", "operator.attrgetter")), TRUST),
    "a class of ours": (lambda: skops_of(x=node("ObjectNode", "scorer.storage.blob_store.Folder")), TRUST),
    "an estimator that is not on the list": (
        lambda: skops_of(x=node("ObjectNode", "sklearn.cluster._dbscan.DBSCAN")),
        Reason.UNSUPPORTED_MODEL,
    ),
    "a type of keys that is not on the list": (
        lambda: skops_of(
            x=attributes(a=plain(1)) | {"key_types": {"content": [node("TypeNode", "os.system")]}},
        ),
        TRUST,
    ),
    "a list where text belongs": (lambda: skops_of(x=plain([1])), UNREADABLE),
    "a number of 5,000 digits": (
        lambda: skops_of(x=node("JsonNode", "builtins.str", content="1" * 5000)),
        UNREADABLE,
    ),
    # arrays in skops files
    "an array that is not there": (lambda: skops_of(x=file_node()), UNREADABLE),
    "an array of objects in a file": (
        lambda: skops_of({"a.npy": npy(np.array([Payload(os.getpid)]), objects=True)}, x=file_node()),
        UNREADABLE,
    ),
    "an array that is text": (lambda: skops_of({"a.npy": b"hello, this is text"}, x=file_node()), UNREADABLE),
    "an array that lies about its shape": (
        lambda: skops_of({"a.npy": npy(np.zeros(4)).replace(b"(4,)", b"(9,)")}, x=file_node()),
        UNREADABLE,
    ),
    "an array of a huge shape": (
        lambda: skops_of({"a.npy": npy(np.zeros(11111)).replace(b"(11111,)", b"(9**9,) ")}, x=file_node()),
        UNREADABLE,
    ),
    "an array whose type is code": (
        lambda: skops_of({"a.npy": npy(np.zeros(4)).replace(b"'<f8'", b"exit(")}, x=file_node()),
        UNREADABLE,
    ),
    "an array cut short": (lambda: skops_of({"a.npy": npy(np.zeros(4))[:-1]}, x=file_node()), UNREADABLE),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_is_refused_with_its_reason_in_little_memory(what: str) -> None:
    made, reason = HOSTILE[what]
    data = made if isinstance(made, bytes) else made()
    tracemalloc.start()
    try:
        with pytest.raises(Unscorable) as caught:
            pack_file(data, 48 * MIB)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert caught.value.reason is reason, str(caught.value)
    assert 10 < len(str(caught.value)) < 400
    assert peak < 160 * MIB + 2 * len(data)


def calls(marker: Path) -> Payload:
    return Payload(os.open, str(marker), os.O_CREAT)


@pytest.mark.parametrize(
    "wrap",
    [
        *(lambda p, n=n: pickle.dumps(p, n) for n in range(6)),
        lambda p: zlib.compress(pickle.dumps(p)),
        to_joblib,
        lambda p: to_joblib([np.zeros(3), p]),
        lambda p: to_joblib(np.array([p], object)),
        lambda p: to_joblib({"model": np.array([[p]], object)}),
        lambda p: pickle.dumps(np.array([p], object)),
        lambda p: skops_of({"a.npy": npy(np.array([p], object), objects=True)}, x=file_node()),
        lambda p: pickle.dumps(make_pipeline(StandardScaler(), OneClassSVM(kernel=p))),
    ],
)
def test_nothing_that_a_file_brings_along_is_run(wrap: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = wrap(calls(marker))

    with pytest.raises(Unscorable) as caught:
        pack_file(data)

    assert caught.value.reason in (Reason.UNTRUSTED_MODEL, Reason.UNREADABLE_MODEL)
    assert not marker.exists()


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, to_joblib, lambda m: zlib.compress(pickle.dumps(m))])
def test_a_file_cut_anywhere_is_unreadable(dump: Any, normal: np.ndarray) -> None:
    data = dump(make_pipeline(StandardScaler(), OneClassSVM(nu=0.1)).fit(normal))

    for end in [*range(1, 40), *range(40, len(data) - 1, len(data) // 60)]:
        with pytest.raises(Unscorable) as caught:
            pack_file(data[:end])
        assert caught.value.reason is Reason.UNREADABLE_MODEL, end


@pytest.mark.parametrize("dump", [pickle.dumps, skops.io.dumps, to_joblib])
def test_a_file_with_bytes_changed_is_packed_or_refused_and_nothing_else(dump: Any, normal: np.ndarray) -> None:
    good = dump(make_pipeline(StandardScaler(), IsolationForest(n_estimators=2, max_samples=8)).fit(normal))
    random = np.random.default_rng(5)

    for _ in range(1500):
        data = bytearray(good)
        for at in random.integers(0, len(data), random.integers(1, 4)):
            data[at] = random.integers(0, 256)
        with suppress(Unscorable):
            assert np.isfinite(pack_file(bytes(data), MIB).numbers[3:]).all()


def test_a_pickle_of_too_many_steps_is_too_large(monkeypatch: pytest.MonkeyPatch, normal: np.ndarray) -> None:
    data = pickle.dumps(OneClassSVM().fit(normal))
    monkeypatch.setattr("scorer.model_files.pickle_reader.STEPS", 100)

    with pytest.raises(Unscorable) as caught:
        pack_file(data)

    assert (caught.value.reason, str(caught.value)) == (LARGE, "expected a pickle of at most 100 steps, got more")


def test_what_is_nested_deep_is_thrown_away_without_harm() -> None:
    lists = P + b"]" * DEEP + b"a" * (DEEP - 1) + b"."
    models = P + SVM + b"\x940" + b"h\x00)\x81" * 50_000 + b"b" * 49_999 + b"."

    with pytest.raises(Unscorable) as caught:
        pack_file(lists)
    assert caught.value.reason is Reason.UNSUPPORTED_MODEL
    assert reader.read_model(models).kind == "sklearn.svm._classes.OneClassSVM"


@pytest.mark.parametrize("name", ["n_features_in_", "_gamma", "kernel", "shape_fit_", "feature_names_in_", "support_"])
def test_an_attribute_that_would_take_for_ever_to_show_is_not_shown(name: str, normal: np.ndarray) -> None:
    data = pickle.dumps(OneClassSVM().fit(normal), 4)
    data = data[:-1] + b"}" + text(name) + doubled(100) + b"sb."

    with suppress(Unscorable):  # or not, where nobody looks at it
        pack_file(data)


def test_a_pipeline_that_holds_itself_is_no_detector() -> None:
    pipeline = b"csklearn.pipeline\nPipeline\n)\x81\x94}" + text("steps") + b"](" + text("a") + b"h\x00\x86esb."

    with pytest.raises(Unscorable) as caught:
        pack_file(P + pipeline)

    assert caught.value.reason is Reason.UNSUPPORTED_MODEL


@pytest.mark.parametrize("dump", [pickle.dumps, lambda m: pickle.dumps(m, 2), skops.io.dumps, to_joblib])
def test_a_blueprint_says_what_the_estimator_holds(dump: Any, normal: np.ndarray) -> None:
    model = make_pipeline(StandardScaler(), OneClassSVM(nu=0.1, cache_size=7)).fit(normal)

    blueprint = reader.read_model(dump(model))

    assert blueprint.kind == "sklearn.pipeline.Pipeline"
    for (name, found), (wanted_name, expected) in zip(blueprint.state["steps"], model.steps, strict=True):
        assert (name, found.kind) == (wanted_name, f"{type(expected).__module__}.{type(expected).__qualname__}")
        state = expected.__getstate__()
        assert set(found.state) - {"__args__"} == set(state)
        for key, value in state.items():
            np.testing.assert_array_equal(found.state[key], value)
            assert np.asarray(found.state[key]).dtype == np.asarray(value).dtype


@pytest.mark.parametrize("dump", [pickle.dumps, lambda m: pickle.dumps(m, 2), skops.io.dumps, to_joblib])
def test_arrays_come_in_every_type_and_order(dump: Any) -> None:
    arrays = {
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "strided": np.arange(12.0).reshape(3, 4)[:, ::2],
        "scalar": np.array(3.5),
        "empty": np.empty((0, 3)),
        "truths": np.array([True, False]),
        "big-endian": np.arange(4, dtype=">i4"),
        "small": np.arange(4, dtype=np.float16),
        "fields": np.array([(1, 2.5), (3, 4.5)], [("a", "i4"), ("b", "f8")]),
        "text": np.array(["a", "öl"]),
    }
    svm = OneClassSVM()
    vars(svm).update(arrays)

    state = reader.read_model(dump(svm)).state

    for name, expected in arrays.items():
        np.testing.assert_array_equal(state[name], expected)
        assert (state[name].shape, state[name].dtype.newbyteorder("=")) == (
            expected.shape,
            expected.dtype.newbyteorder("="),
        )


def test_older_names_of_classes_are_todays() -> None:
    data = P + b"csklearn.svm.classes\nOneClassSVM\n)\x81}" + text("nu") + b"K\x01sb."

    assert reader.read_model(data) == ParsedObject("sklearn.svm._classes.OneClassSVM", {"__args__": (), "nu": 1})


def test_a_model_that_only_scikit_learn_can_score_is_read_as_well(normal: np.ndarray) -> None:
    model = LocalOutlierFactor(novelty=True, algorithm="ball_tree").fit(normal)

    for dump in (pickle.dumps, skops.io.dumps, to_joblib):
        assert reader.read_model(dump(model)).state["n_neighbors"] == 20


def test_an_empty_file_and_noise_say_so() -> None:
    found = {}
    for data in (b"", b"<html>not found</html>"):
        with pytest.raises(Unscorable) as caught:
            reader.read_model(data)
        found[caught.value.reason] = str(caught.value)

    assert found == {
        Reason.EMPTY_MODEL: "the file is empty",
        Reason.UNREADABLE_MODEL: "expected skops, a pickle of protocol 2 or later, a text of LightGBM or a model of "
        "XGBoost as UBJSON or JSON, got HTML, such as the page of an error or "
        "a sign-in: it begins with '<html>not found</html>'",
    }
