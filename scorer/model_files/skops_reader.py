"""Reads a skops file without skops: a zip of `.npy` arrays and a schema in JSON -> inert values.

What skops' own loader would construct here becomes a Blueprint. A type that is not on our own list is refused, also
where skops trusts it. Sizes are bounded before anything is unpacked; each entry is unpacked once.
"""

from __future__ import annotations

import ast
import json
import re
import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.domain import Reason

from . import allowlist, parsed
from .parsed import Blueprint

SCHEMA_LIMIT = 32 * 2**20  # bytes of JSON, which takes twenty times as much once it is parsed

_NUMBERS = ("bool", "bool_", "float32", "float64", "int32", "int64", "uint32", "uint64", "uint8", "ndarray")
_ESTIMATORS = frozenset(f"{module}.{name}" for module, name in allowlist.CLASSES if module.startswith("sklearn."))
# The types that each kind of node may name. Nothing else comes in.
TRUSTED = {
    "DictNode": frozenset({"builtins.dict"}),
    "DTypeNode": frozenset({"numpy.dtype"}),
    "JsonNode": frozenset({"builtins.str"}),
    "ListNode": frozenset({"builtins.list"}),
    "LossNode": frozenset({"sklearn.linear_model._sgd_fast.Hinge"}),
    "NdArrayNode": frozenset(f"numpy.{name}" for name in _NUMBERS),
    "ObjectNode": _ESTIMATORS,
    "RandomStateNode": frozenset({"numpy.random.mtrand.RandomState"}),
    "SparseMatrixNode": frozenset({"scipy.sparse._csr.csr_matrix"}),
    "TreeNode": frozenset({"sklearn.tree._tree.Tree"}),
    "TupleNode": frozenset({"builtins.tuple"}),
    "TypeNode": frozenset({"builtins.str", "builtins.int"}),
}
_NAME = itemgetter("__loader__", "__module__", "__class__")
_TRUSTED = frozenset((loader, *kind.rsplit(".", 1)) for loader, kinds in TRUSTED.items() for kind in kinds)

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED = 0, 8
_LONGEST_COMMENT = 2**16
_ARRAY = re.compile(
    rb"\{'descr': (.{2,2000}), 'fortran_order': (False|True), 'shape': \(([\d, ]{0,200})\), \} *\n", re.DOTALL
)
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where the zip's directory says that a file lies."""

    method: int
    checksum: int
    packed: int  # bytes
    size: int  # bytes, unpacked
    offset: int


@dataclass(frozen=True, slots=True)
class _Archive:
    """A zip's bytes and its directory, and what was unpacked so far."""

    data: memoryview
    entries: dict[str, _Entry]
    unpacked: dict[str, memoryview] = field(default_factory=dict)


def read(data: bytes, size_limit: int) -> Any:
    """The object of a skops file, as inert values.

    Raises Unscorable (UNTRUSTED_MODEL, TOO_LARGE), or LookupError, ValueError and such for a broken file.
    """
    archive = _Archive(memoryview(data), _directory(data))
    if sum(entry.size for entry in archive.entries.values()) > size_limit:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {size_limit // 2**20} MiB, got more")
    if archive.entries["schema.json"].size > SCHEMA_LIMIT:
        raise Unscorable(Reason.TOO_LARGE, f"expected a schema of at most {SCHEMA_LIMIT // 2**20} MiB, got more")
    foreign: list[Blueprint] = []
    value = _value(json.loads(bytes(_unpacked(archive, "schema.json"))), archive, foreign)
    if foreign and foreign[-1] is not parsed.last_step(value):  # a classifier is told that it is one
        raise _untrusted(foreign[0].kind)
    return value


def _directory(data: bytes) -> dict[str, _Entry]:
    """What the zip holds, by name. Raises ValueError: not whole, or of a kind that skops never writes."""
    at = data.rfind(b"PK\5\6", max(0, len(data) - _LONGEST_COMMENT - _END.size))
    if at < 0:
        raise ValueError("a zip file without its directory")
    _, disk, _, here, count, length, start, _ = _END.unpack_from(data, at)
    if disk or here != count or count == 2**16 - 1 or start + length > at:
        raise ValueError("a zip file whose directory does not lie in it")
    entries: dict[str, _Entry] = {}
    at = start
    for _ in range(count):
        magic, _, _, flags, method, _, _, checksum, packed, size, named, extra, comment, *_, offset = (
            _CENTRAL.unpack_from(data, at)
        )
        name = str(data[at + _CENTRAL.size : at + _CENTRAL.size + named], "utf-8")
        if magic != b"PK\1\2" or flags & 1 or method not in (_STORED, _DEFLATED) or name in entries:
            raise ValueError(f"a zip file with an entry that cannot be read: {name[:80]!r}, method {method}")
        entries[name] = _Entry(method, checksum, packed, size, offset)
        at += _CENTRAL.size + named + extra + comment
    return entries


def _unpacked(archive: _Archive, name: str) -> memoryview:
    """The bytes of an entry, of just the size that the directory says. Raises LookupError, ValueError, zlib.error."""
    if name in archive.unpacked:
        return archive.unpacked[name]
    entry = archive.entries[name]
    magic, *_, named, extra = _LOCAL.unpack_from(archive.data, entry.offset)
    start = entry.offset + _LOCAL.size + named + extra
    content = archive.data[start : start + entry.packed]
    if entry.method == _DEFLATED:
        content = memoryview(zlib.decompressobj(-15).decompress(content, entry.size + 1))
    if magic != b"PK\3\4" or len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        raise ValueError(f"the entry {name[:80]!r} is not what the zip file's directory says")
    archive.unpacked[name] = content
    return content


def _value(node: dict[str, Any], archive: _Archive, foreign: list[Blueprint]) -> Any:  # noqa: C901, PLR0911  # a case for each kind of node
    """The value of a node of the schema. An estimator that is not on our list goes to *foreign* as well."""
    named = _NAME(node)
    if named not in _TRUSTED and not (named[0] == "ObjectNode" and named[1].startswith("sklearn.")):
        raise _untrusted(_kind(node))
    match named[0]:
        case "JsonNode":
            return _plain(node["content"])
        case "NdArrayNode":
            return _array(node, archive, foreign)
        case "ListNode":
            return [_value(item, archive, foreign) for item in node["content"]]
        case "TupleNode":
            return tuple([_value(item, archive, foreign) for item in node["content"]])
        case "DictNode":
            keys = node["key_types"]["content"]
            if not set(map(_NAME, keys)) <= _TRUSTED:
                raise _untrusted(next(_kind(key) for key in keys if _NAME(key) not in _TRUSTED))
            return {key: _value(item, archive, foreign) for key, item in node["content"].items()}
        case "DTypeNode":
            return _array(node["content"], archive, foreign).dtype
        case "SparseMatrixNode":
            return Blueprint(_kind(node), {})
        case "TypeNode":
            return None
    return _object(node, archive, foreign)


def _object(node: dict[str, Any], archive: _Archive, foreign: list[Blueprint]) -> Blueprint:
    content = node.get("content")
    state = _value(content, archive, foreign) if content is not None else {}
    blueprint = Blueprint(_kind(node), state if type(state) is dict else {"__state__": state})
    if "__reduce__" in node:
        blueprint.state["__args__"] = _value(node["__reduce__"]["args"], archive, foreign)
    if _NAME(node) not in _TRUSTED:
        foreign.append(blueprint)
    return blueprint


def _kind(node: dict[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


def _untrusted(kind: str) -> Unscorable:
    return Unscorable(
        Reason.UNTRUSTED_MODEL, f"the skops file holds types that are not trusted: {kind[:200]} is not on the list"
    )


def _plain(text: str) -> Any:
    """The text, number or constant that a node spells as JSON of its own."""
    if len(text) <= 64:  # noqa: PLR2004  # what models have in common; longer text is not worth keeping
        return _short_plain(text)
    return _scalar(text)


@lru_cache(maxsize=4096)
def _short_plain(text: str) -> Any:
    return _scalar(text)


def _scalar(text: str) -> Any:
    value = json.loads(text)
    if isinstance(value, list | dict):
        raise ValueError("expected a number or text in a node of JSON, got a container")  # noqa: TRY004  # of the file
    return value


def _array(node: dict[str, Any], archive: _Archive, foreign: list[Blueprint]) -> Any:
    """An array of numbers; a number where the file says that it was one; a list for an array of objects."""
    if node["type"] == "json":
        return [_value(item, archive, foreign) for item in node["content"]]
    content = _unpacked(archive, node["file"])
    if content[:6] != _MAGIC or content[6] not in (1, 2, 3):
        raise ValueError(f"the entry {node['file'][:80]!r} is no array")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    kind, shape, order = _header(bytes(content[start : min(end, start + 4000)]))
    array = parsed.array(content[end:], kind, shape, order)
    return array if node["__class__"] == "ndarray" else array.item()


@lru_cache(maxsize=1024)
def _header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], str]:
    """The type, shape and order of an array, as `numpy.save` writes them."""
    found = _ARRAY.fullmatch(text)
    if found is None:
        raise ValueError("an array whose header NumPy did not write")
    shape = tuple(int(size) for size in found[3].split(b",") if size.strip())
    return _items(found[1]), shape, "F" if found[2] == b"True" else "C"


@lru_cache(maxsize=64)
def _items(text: bytes) -> np.dtype[Any]:
    """The type of an array's items, as a header spells it."""
    described = ast.literal_eval(text.decode())
    if isinstance(described, str):
        return parsed.dtype(described[1:], described[:1])
    return np.lib.format.descr_to_dtype(described)
