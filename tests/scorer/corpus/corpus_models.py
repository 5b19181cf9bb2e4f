"""The bad model files of the corpus."""

# tables of damages: not each of them looks at the model

from __future__ import annotations

import builtins
import bz2
import functools
import gzip
import io
import json
import lzma
import operator
import os
import pickle
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.cluster import DBSCAN, HDBSCAN, OPTICS, AgglomerativeClustering
from sklearn.decomposition import PCA
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import OneClassSVM

from shared.contract.reasons import Reason
from tests.scorer.corpus import corpus_bundles
from tests.scorer.corpus.corpus import LIMIT, MARKER, BadModel
from tests.scorer.corpus.corpus_formats import DATA, FORMATS, to_skops, unzipped, zipped
from tests.scorer.corpus.corpus_kinds import broken_kinds
from tests.scorer.corpus.corpus_wrong import contradictions, whole

P = b"\x80\x04"
EMPTY, LARGE, UNREADABLE = Reason.EMPTY_MODEL, Reason.TOO_LARGE, Reason.UNREADABLE_MODEL
UNTRUSTED, OLD, UNSUPPORTED = Reason.UNTRUSTED_MODEL, Reason.INCOMPATIBLE_MODEL, Reason.UNSUPPORTED_MODEL
SVM = b"csklearn.svm._classes\nOneClassSVM\n"
LZMA_HEAD, LZMA_GREEDY = (b"\x05\0\x5d" + struct.pack("<I", size) for size in (2**23, 2**32 - 1))
BOMB = bytes(LIMIT + 1)
TOUCH = f"open({MARKER!r}, 'w').close()"

Row = tuple[str, bytes, Reason | None, str]


def models() -> list[BadModel]:
    """All of them; the same each time."""
    rows = [*_files(), *_cut(), *_bombs(), *_zips(), *_schemas(), *_headers(), *_hostile(), *_things(), *_versions()]
    found = [BadModel(*row) for row in rows]
    found.append(BadModel("five-gigabytes-of-zeros", pickle.dumps(_svm()), LARGE, "expected at most", 5 * 2**30))
    return [*found, *(BadModel(*row) for row in (*contradictions(), *broken_kinds()))]


def _svm() -> OneClassSVM:
    return OneClassSVM(nu=0.1).fit(DATA)


SNIFFED = [name for name in FORMATS if name not in ("pickle-0", "pickle-1")]


def _files() -> Iterator[Row]:
    yield "empty", b"", EMPTY, "the file is empty"
    for name, data, kind in (
        ("text", b"the model is on my other laptop\n", "text"),
        ("text-that-begins-as-zlib-might", b"x = 7, y = 8\n", "text"),
        ("csv", b"time,device,value\n", "text"),
        ("gzip-of-text", gzip.compress(b"hello", mtime=0), "text"),
        ("text-in-danish", "gr\u00e6nse: 3\n".encode(), "text"),
        ("json", b'{"nu": 0.1}', "JSON"),
        ("json-of-a-list", b"\xef\xbb\xbf [\n 1, 2]", "JSON"),
        ("pmml", b"<?xml version='1.0'?><PMML version='4.4'/>", "XML"),
    ):
        says = (
            "expected skops, a pickle of protocol 2 or later, a text of LightGBM or a model of XGBoost as "
            f"UBJSON or JSON, got {kind}, which is not read yet: it begins with "
        )
        yield name, data, UNSUPPORTED, says
    for name, data in {
        "html": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "lightgbm-without-features": LIGHTGBM,
        "ubj": b"{L\0\0\0\0\0\0\0\x07learner{",
        "xgboost": XGBOOST,
        "xgboost-cut": XGBOOST[:40],
        "xgboost-in-gzip": gzip.compress(XGBOOST, mtime=0),
        "xgboost-in-xz": lzma.compress(XGBOOST),
        "text-in-latin-1": "gr\u00e6nse: 3\n".encode("latin-1"),
        "onnx": b"\x08\x08\x12\x07skl2onnx\x1a\x061.16.0",
        "git-lfs-pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
        "one-byte": b"\x80",
        "nothing-but-zeros": bytes(1000),
        "good-in-protocol-0": pickle.dumps(_svm(), 0),
        "good-in-protocol-1": pickle.dumps(_svm(), 1),
        "gzip-of-nothing": gzip.compress(b"", mtime=0),
        "zlib-of-nothing": zlib.compress(b""),
        "gzip-of-gzip": gzip.compress(gzip.compress(pickle.dumps(_svm()), mtime=0), mtime=0),
        "zip-of-nothing": zipped({}),
        "zip-of-text": zipped({"readme.txt": b"hello"}),
        "xz-that-wants-2-gib-of-memory": b"\x5d\0\0\0\x80" + lzma.compress(b"abc", lzma.FORMAT_ALONE)[5:],
        "pickle-of-noise": P + np.random.default_rng(1).bytes(500),
    }.items():
        says = NOT_KNOWN.get(name, "got something else: it begins with b'")
        yield name, data, UNREADABLE, "corrupt" if name in CORRUPT else says


NOT_KNOWN = {
    "html": "got HTML, such as the page of an error or a sign-in: it begins with '<!DOCTYPE",
    "git-lfs-pointer": "got a pointer of Git LFS, not the file that it stands for: it begins with 'version",
    "good-in-protocol-0": "got a pickle of protocol 0 or 1: it begins with b'ccopy_reg",
    "good-in-protocol-1": "got a pickle of protocol 0 or 1: it begins with b'ccopy_reg",
}
# As `xgboost.Booster.save_model("a.json")`, but without a version, and `lightgbm.Booster.save_model` begin.
XGBOOST = b'{"learner":{"attributes":{},"feature_names":[],"feature_types":[],"gradient_booster":{"model":{}}}}'
LIGHTGBM = b"tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\n\nend of trees\n\npandas_categorical:null\n"
# fmt: off
CORRUPT = (
    "lightgbm-without-features", "one-byte", "zip-of-nothing", "zip-of-text", "xz-that-wants-2-gib-of-memory",
    "pickle-of-noise", "ubj", "xgboost", "xgboost-cut", "xgboost-in-gzip", "xgboost-in-xz",
)
# fmt: on


def _cut() -> Iterator[Row]:
    for kind in SNIFFED:
        data = FORMATS[kind](make_pipeline(StandardScaler(), _svm()).fit(DATA))
        for part in (0.1, 0.5, 0.99):
            yield f"{kind}-cut-at-{part}", data[: int(len(data) * part)], UNREADABLE, ""


def _bombs() -> Iterator[Row]:
    tuples = b"".join(b"0j" + i + b"j" + i + b"\x86r" + j for i, j in _numbers(100))
    yield from [
        ("bomb-zlib", zlib.compress(BOMB), LARGE, "expected at most"),
        ("bomb-gzip", gzip.compress(BOMB, mtime=0), LARGE, "expected at most"),
        ("bomb-bz2", bz2.compress(BOMB), LARGE, "expected at most"),
        ("bomb-xz", lzma.compress(BOMB, preset=0), LARGE, "expected at most"),
        ("bomb-zip", zipped({"schema.json": b"{}", "a.npy": BOMB}, zipfile.ZIP_DEFLATED), LARGE, "expected at most"),
        ("bomb-steps", P + b"]" + b"N0" * 10**6 + b".", LARGE, "steps"),
        ("nested-lists", P + b"]" * 10**5 + b"a" * (10**5 - 1) + b".", UNSUPPORTED, "expected a model in"),
        ("nested-tuples", P + b")" + b"\x85" * 10**6 + b".", UNSUPPORTED, "expected a model in"),
        ("tuple-doubled-100-times", P + b")r" + _number(0) + tuples + b".", UNSUPPORTED, "expected one"),
        ("tuple-doubled-100-times-as-key", P + b"})r" + _number(0) + tuples + b"Ns.", UNREADABLE, "as a key"),
        ("bytes-of-8-exabytes", P + b"\x8e" + struct.pack("<Q", 2**63) + b"abc.", UNREADABLE, "corrupt"),
        ("memo-of-4-billion", P + b"Nr\xff\xff\xff\xff.", UNSUPPORTED, "got a NoneType"),
        ("number-of-a-million-digits", P + b"\x8b" + struct.pack("<I", 10**6) + b"\x7f" * 10**6 + b".", UNREADABLE, ""),
    ]


def _number(i: int) -> bytes:
    return struct.pack("<I", 10**6 + i)


def _numbers(count: int) -> Iterator[tuple[bytes, bytes]]:
    return ((_number(i), _number(i + 1)) for i in range(count))


def edited(data: bytes, signature: bytes, offset: int, fmt: str, value: int) -> bytes:
    """The file with a number changed in each record of the zip that begins so."""
    changed = bytearray(data)
    at = data.find(signature)
    while at >= 0:
        struct.pack_into(fmt, changed, at + offset, value)
        at = data.find(signature, at + 1)
    return bytes(changed)


def _zips() -> Iterator[Row]:
    good = unzipped(to_skops(_svm()))
    data, deflated = zipped(good), zipped(good, zipfile.ZIP_DEFLATED)
    twice = io.BytesIO(data)
    with zipfile.ZipFile(twice, "a") as archive:
        archive.writestr(zipfile.ZipInfo("schema.jsoN"), b"{}")
    renamed = {f"/etc/{k}" if k != "schema.json" else k: v for k, v in good.items()}
    upwards = {f"../../{k}" if k != "schema.json" else k: v for k, v in good.items()}
    yield "zip-with-an-entry-twice", twice.getvalue().replace(b"schema.jsoN", b"schema.json"), UNREADABLE, "schema.json"
    yield "zip-with-absolute-names", zipped(renamed), UNREADABLE, "corrupt"
    yield "zip-with-names-that-go-up", zipped(upwards), UNREADABLE, "corrupt"
    yield "zip-with-more-beside", zipped({**good, "../" + MARKER: b"x", "/tmp/" + MARKER: b"x"}), None, ""
    yield "zip-without-directory", data[:-22], UNREADABLE, "directory"
    yield "zip-declares-4-gb", edited(data, b"PK\1\2", 24, "<I", 2**32 - 2), LARGE, "expected at most"
    yield "zip-declares-less", edited(deflated, b"PK\1\2", 24, "<I", 10), UNREADABLE, "zip file's directory"
    yield "zip-declares-more", edited(data, b"PK\1\2", 24, "<I", 10**5), UNREADABLE, "zip file's directory"
    yield "zip-points-outside", edited(data, b"PK\1\2", 42, "<I", 10**8), UNREADABLE, ""
    yield "zip-directory-outside", edited(data, b"PK\5\6", 16, "<I", 10**8), UNREADABLE, "directory"
    yield "zip-of-other-count", edited(data, b"PK\5\6", 10, "<H", 500), UNREADABLE, ""
    yield "zip-with-password", edited(data, b"PK\1\2", 8, "<H", 1), UNREADABLE, "cannot be read"
    yield "zip-packed-with-bzip2", zipped(good, zipfile.ZIP_BZIP2), None, ""
    yield "zip-packed-with-lzma", zipped(good, zipfile.ZIP_LZMA), None, ""
    yield "zip-packed-with-ppmd", edited(data, b"PK\1\2", 10, "<H", 98), UNREADABLE, "method 98"
    greedy = zipped(good, zipfile.ZIP_LZMA).replace(LZMA_HEAD, LZMA_GREEDY)
    yield "zip-lzma-wants-4-gib", greedy, UNREADABLE, "64 MiB"
    yield "zip-bzip2-declares-less", edited(zipped(good, zipfile.ZIP_BZIP2), b"PK\1\2", 24, "<I", 10), UNREADABLE, ""
    yield "zip-with-wrong-checksum", edited(data, b"PK\1\2", 16, "<I", 1), UNREADABLE, "zip file's directory"


def _with_schema(schema: bytes) -> bytes:
    return zipped({**unzipped(to_skops(_svm())), "schema.json": schema}, zipfile.ZIP_DEFLATED)


def node(loader: str, kind: str, **more: Any) -> dict[str, Any]:
    module, _, name = kind.rpartition(".")
    return {"__class__": name, "__module__": module, "__loader__": loader, "__id__": 1, **more}


def skops_of(entries: dict[str, bytes] | None = None, **items: Any) -> bytes:
    """A skops file of a one-class SVM with these attributes."""
    keys = node("ListNode", "builtins.list", content=[node("TypeNode", "builtins.str")] * len(items))
    state = node("DictNode", "builtins.dict", content=items, key_types=keys)
    root = node("ObjectNode", "sklearn.svm._classes.OneClassSVM", content=state)
    return zipped({"schema.json": json.dumps(root | {"protocol": 2}).encode(), **(entries or {})})


def _schemas() -> Iterator[Row]:
    good = unzipped(to_skops(_svm()))
    deep = b'{"__module__":"builtins","__class__":"list","__loader__":"ListNode","content":['
    cyclic = json.loads(good["schema.json"])
    cyclic["content"]["content"]["kernel"] = {"__id__": cyclic["__id__"], "__loader__": "CachedNode"}
    half = node("ObjectNode", "a.b") | {"__module__": "\ud800", "__class__": "\x1b[31m"}
    yield "schema-missing", zipped({k: v for k, v in good.items() if k != "schema.json"}), UNREADABLE, "schema.json"
    yield "schema-no-json", _with_schema(b"kernel: rbf"), UNREADABLE, "corrupt"
    yield "schema-half", _with_schema(good["schema.json"][:200]), UNREADABLE, "corrupt"
    yield "schema-a-list", _with_schema(b"[]"), UNREADABLE, "corrupt"
    yield "schema-of-nodes-nested-deep", _with_schema(deep * 5000 + b"]}" * 5000), UNREADABLE, "nested deeper"
    yield "schema-of-lists-nested-deep", _with_schema(b"[" * 10**5), UNREADABLE, "nested deeper"
    yield "schema-of-40-mib", _with_schema(b" " * (40 * 2**20)), LARGE, "expected"
    yield "schema-that-points-at-itself", zipped({**good, "schema.json": json.dumps(cyclic).encode()}), UNREADABLE, ""
    yield "schema-in-utf-16", _with_schema(good["schema.json"].decode().encode("utf-16")), None, ""
    yield "schema-with-half-a-character", skops_of(x=half), UNTRUSTED, "not on the list"
    for name, loader, kind, more in [
        ("function", "FunctionNode", "os.system", {"content": {"module_path": "os", "function": "system"}}),
        ("object", "ObjectNode", "subprocess.Popen", {"content": None}),
        ("type", "TypeNode", "os.system", {}),
        ("method", "MethodNode", "builtins.eval", {"content": {"func": "eval", "obj": None}}),
        ("partial", "PartialNode", "functools.partial", {"content": {}}),
        ("operator", "OperatorFuncNode", "operator.attrgetter", {"attrs": ["a"]}),
        ("json", "JsonNode", "os.system", {"content": '"a"'}),
        ("transformer", "FunctionNode", "sklearn.preprocessing._function_transformer.FunctionTransformer", {}),
    ]:
        yield f"skops-names-a-{name}", skops_of(x=node(loader, kind, **more)), UNTRUSTED, "not on the list"


def _headers() -> Iterator[Row]:
    array = io.BytesIO()
    np.save(array, np.zeros(4))
    npy = array.getvalue()
    objects = io.BytesIO()
    np.save(objects, np.array([_call(os.system, f"echo > {MARKER}")], object), allow_pickle=True)
    for name, data in {
        "shape-larger": npy.replace(b"(4,)", b"(9,)"),
        "shape-negative": npy.replace(b"(4,)", b"(-4)"),
        "shape-huge": npy.replace(b"(4,), }    ", b"(4000000,)}"),
        "shape-of-nine-dimensions": npy.replace(b"(4,), }" + b" " * 25, b"(4,1,1,1,1,1,1,1,1,), }" + b" " * 9),
        "type-object": objects.getvalue(),
        "type-code": npy.replace(b"'<f8'", b"exit("),
        "type-nested": npy.replace(b"'<f8', ", b"(" * 50 + b", "),
        "type-text-of-a-gigabyte": npy.replace(b"'<f8'", b"'<U268435456'"),
        "order-neither": npy.replace(b"False", b"Maybe"),
        "version-9": npy.replace(b"NUMPY\x01", b"NUMPY\x09"),
        "length-beyond": npy.replace(b"\x76\x00{", b"\xff\xff{"),
        "cut": npy[:-1],
        "text": b"this is text",
        "nothing": b"",
    }.items():
        assert data != npy, name
        entry = node("NdArrayNode", "numpy.ndarray", type="numpy", file="a.npy")
        yield f"npy-{name}", skops_of({"a.npy": data}, support_vectors_=entry), UNREADABLE, "corrupt"


class _Call:
    """Pickled, it is a call of anything."""

    def __init__(self, call: tuple[Any, ...]) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def _call(function: Any, *args: Any) -> _Call:
    return _Call((function, args))


def _named(module: str, name: str) -> bytes:
    """A pickle that calls a global by its bare name, as no `pickle.dumps` would write it."""
    return P + f"c{module}\n{name}\n".encode() + b"\x8c" + bytes([len(MARKER)]) + MARKER.encode() + b"\x85R."


def _hostile() -> Iterator[Row]:
    touch = _call(os.system, f"echo > {MARKER}")
    for name, thing in {
        "os.system": touch,
        "eval": _call(builtins.eval, TOUCH),
        "exec": _call(builtins.exec, TOUCH),
        "open": _call(open, MARKER, "w"),
        "getattr": _call(getattr, _call(builtins.__import__, "os"), "system"),
        "partial": functools.partial(os.system, f"echo > {MARKER}"),
        "attrgetter": _call(_call(operator.attrgetter, "system"), os),  # type: ignore[arg-type]  # pickled, never called
        "numpy.load": _call(np.load, MARKER),
        "subprocess": _call(subprocess.Popen, ["touch", MARKER]),
        "function-transformer": make_pipeline(FunctionTransformer(np.array), _svm()).fit(DATA),
        "inside-a-pipeline": make_pipeline(StandardScaler(), OneClassSVM(kernel=touch)),
        "inside-an-array": np.array([touch], object),
        "callable-kernel": clone(_svm()).set_params(kernel=np.linalg.norm),
    }.items():
        if name == "attrgetter":
            continue
        for kind in ("pickle-4", "joblib", "joblib-zlib") if name == "os.system" else ("pickle-2",):
            yield f"hostile-{name}-{kind}", FORMATS[kind](thing), UNTRUSTED, "not on the allow-list"
    for module, name in [("operator", "attrgetter"), ("joblib", "load"), ("pickle", "loads"), ("shutil", "rmtree"),
                         ("numpy", "fromfile"), ("ctypes", "CDLL"), ("socket", "create_connection"), ("pty", "spawn"),
                         ("sklearn.svm._classes", "OneClassSVM.fit"), ("sklearn.svm._classes", "np.load"),
                         ("scorer.storage.blob_store", "open_container")]:  # fmt: skip
        yield f"hostile-{module}.{name}", _named(module, name), UNTRUSTED, f"names {module}.{name}, which"
    half = b"X\x03\0\0\0\xed\xa0\x80"
    yield "hostile-name-of-half-a-character", P + half + b"\x8c\x01a\x93.", UNTRUSTED, "not on the allow-list"
    yield "hostile-name-with-escapes", P + b"\x8c\x05\x1b[31m\x8c\x01a\x93.", UNTRUSTED, "not on the allow-list"
    yield "hostile-in-protocol-0", pickle.dumps(touch, 0), UNREADABLE, "got a pickle of protocol 0 or 1"
    yield "hostile-after-a-good-model", pickle.dumps(_svm())[:-1] + b"0cos\nsystem\n.", UNTRUSTED, "os.system"
    yield "hostile-behind-a-good-model", pickle.dumps(_svm()) + pickle.dumps(touch), None, ""
    yield "hostile-build-on-a-class", P + SVM + b"}\x8c\x03fitNsb.", UNREADABLE, "takes none"


def _things() -> Iterator[Row]:
    alike: dict[str, tuple[Any, str]] = {
        "list-of-models": ([_svm(), _svm()], "expected one model"),
        "int": (42, "got a int"),
        "none": (None, "got a NoneType"),
        "text": ("OneClassSVM", "got a str"),
        "scaler": (StandardScaler().fit(DATA), "got a StandardScaler"),
        "pca": (PCA(2).fit(DATA), "got a PCA"),
        "pipeline-without-detector": (make_pipeline(StandardScaler(), PCA(2)).fit(DATA), "ends in PCA"),
        "pipeline-detector-first": (make_pipeline(_svm(), StandardScaler()), "ends in StandardScaler"),
        "pipeline-empty": (make_pipeline(StandardScaler()).set_params(steps=[]), "got a Pipeline"),
        "array": (DATA, "got a ndarray"),
    }
    for name, (thing, says) in alike.items():
        for kind in ("pickle-4", "skops"):
            yield f"{name}-{kind}", FORMATS[kind](thing), UNSUPPORTED, says
    for kind in ("pickle-4", "skops"):
        data = FORMATS[kind](LocalOutlierFactor().fit(DATA))
        yield f"lof-without-novelty-{kind}", data, Reason.NOT_NOVELTY, "fit it with novelty=True"
    for name, estimator in whole().items():
        for kind in ("pickle-5", "skops"):
            yield f"unfitted-{name}-{kind}", FORMATS[kind](clone(estimator)), Reason.UNFITTED_MODEL, "never fitted"
    yield "class-pickle-4", pickle.dumps(LogisticRegression, 4), UNSUPPORTED, "without an instance"
    for clusterer in (AgglomerativeClustering(2), DBSCAN(), HDBSCAN(copy=True), OPTICS()):
        name = type(clusterer).__name__
        for kind in ("pickle-4", "skops"):
            yield f"{name.lower()}-{kind}", FORMATS[kind](clusterer.fit(DATA)), UNSUPPORTED, f"a {name} has no predict"
    yield "function-pickle-4", pickle.dumps(np.median, 4), UNTRUSTED, "not on the allow-list"
    yield "data-frame-pickle-4", pickle.dumps(pd.DataFrame(DATA), 4), UNSUPPORTED, "got one with pandas.DataFrame"
    yield from corpus_bundles.list_rows(_svm())
    search = GridSearchCV(OneClassSVM(), {"nu": [0.1, 0.2]}, scoring=None, cv=2)
    yield "grid-search-pickle-4", pickle.dumps(search, 4), Reason.UNFITTED_MODEL, "holds no fitted estimator"
    hidden = make_pipeline(DBSCAN().fit(DATA), OneClassSVM(kernel=_call(os.system, f"echo > {MARKER}")))
    yield "untrusted-behind-unsupported", pickle.dumps(hidden), UNTRUSTED, "not on the allow-list"
    callable_kernel = clone(_svm()).set_params(kernel=np.log1p)
    callable_kernel.__dict__.update({k: v for k, v in vars(_svm()).items() if k != "kernel"})
    for kind in ("pickle-4", "skops"):
        yield f"function-as-a-kernel-{kind}", FORMATS[kind](callable_kernel), UNSUPPORTED, "numpy.log1p as kernel"
    with_arguments = make_pipeline(FunctionTransformer(np.log1p, kw_args={"dtype": "f4"}), _svm()).fit(DATA)
    yield "function-with-arguments", pickle.dumps(with_arguments), UNSUPPORTED, "without kw_args"
    text_kernel = make_pipeline(Nystroem(n_components=5, random_state=0), _svm()).fit(DATA)
    text_kernel[0].kernel = np.exp
    yield "function-as-a-kernel-of-nystroem", pickle.dumps(text_kernel), UNSUPPORTED, "got numpy.exp as kernel"
    yield "class-of-a-detector", pickle.dumps(OneClassSVM), UNSUPPORTED, "without an instance"


def _with_protocol(protocol: int | None) -> bytes:
    entries = unzipped(to_skops(_svm()))
    schema = json.loads(entries["schema.json"]) | {"protocol": protocol}
    return zipped({**entries, "schema.json": json.dumps(schema).encode()})


def _versions() -> Iterator[Row]:
    lof = LocalOutlierFactor(novelty=True, n_neighbors=3).fit(DATA)
    yield "pickle-of-protocol-6", b"\x80\x06" + pickle.dumps(_svm(), 4)[2:], UNREADABLE, "protocol 2 to 5, got 6"
    for protocol, reason, says in (
        (99, OLD, "protocol 99"),
        (-1, UNREADABLE, "got '-1'"),
        (None, UNREADABLE, "protocol"),
    ):
        yield f"skops-of-protocol-{protocol}", _with_protocol(protocol), reason, says
    versions = {"older": "0.9.1", "newer": "99.01", "garbage": "zz&;z"}
    for name, version in versions.items():
        for kind, model in (("svm", _svm()), ("lof", lof)):
            data = pickle.dumps(model).replace(b"1.9.1", version.encode())
            yield (
                f"version-{name}-{kind}",
                data,
                None,
                version if name != "garbage" else "do not say which scikit-learn",
            )
    without = _svm()
    del without.__dict__["_gamma"]
    yield "version-older-that-lacks", pickle.dumps(without).replace(b"1.9.1", b"0.9.1"), OLD, "_gamma is missing"
    yield (
        "fits-two-features",
        pickle.dumps(OneClassSVM().fit(DATA[:, :2])),
        Reason.WRONG_FEATURES,
        "expected 2 features",
    )
    named = OneClassSVM().fit(pd.DataFrame(DATA, columns=["a", "b", "volt"]))
    yield "wants-another-column", pickle.dumps(named), Reason.MISSING_FEATURES, "volt"
    named.feature_names_in_ = np.array(["a", "b", "\ud800\x1b[31m"], object)
    yield "wants-half-a-character", pickle.dumps(named, 2), Reason.MISSING_FEATURES, "expected 3"
    yield "wants-half-a-character-skops", to_skops(named), Reason.MISSING_FEATURES, "expected 3"
