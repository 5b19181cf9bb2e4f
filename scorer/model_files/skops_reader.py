"""Reads a skops file without skops: a zip of `.npy` arrays and a schema in JSON -> inert values.

An object that skops' own loader would construct becomes a ParsedObject. A type that is not on our list is refused,
also where skops trusts it. Sizes are bounded before anything is unpacked; each entry is unpacked once.
"""

from __future__ import annotations

import ast
import bz2
import json
import lzma
import re
import struct
import zlib
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import allowlist, parsed
from .allowlist import Use
from .parsed import Global, ObjectArray, ParsedObject

NESTED = 100  # bytes of a sparse matrix for each byte of the file
DICTIONARY_LIMIT = 2**26  # bytes that LZMA may use for an entry; its highest preset uses so many
SCHEMA_LIMIT = 32 * 2**20  # bytes of JSON, which takes twenty times as much after parsing

PROTOCOL = 2  # the newest that we read, of skops 0.10 and later
_NUMBERS = ("bool", "bool_", "float32", "float64", "int32", "int64", "ndarray", "str_", "uint32", "uint64", "uint8")
_VALUES = {  # and below: the kinds of nodes, and the types that each may name. All others are refused
    "BytearrayNode": frozenset({"builtins.bytearray"}),
    "DictNode": frozenset({"builtins.dict"}),
    "DTypeNode": frozenset({"numpy.dtype"}),
    "ListNode": frozenset({"builtins.list"}),
    "NdArrayNode": frozenset(f"numpy.{name}" for name in _NUMBERS),
    "SparseMatrixNode": frozenset({"scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix"}),
    "TupleNode": frozenset({"builtins.tuple"}),
}
_OBJECTS = (
    "DefaultDictNode", "DictNode", "LossNode", "MaskedArrayNode", "ObjectNode", "PartialNode", "RandomGeneratorNode",
    "RandomStateNode", "SliceNode", "TreeNode",
)  # fmt: skip
_FOREIGN = ("ObjectNode", "TupleNode")
_NAMES = ("FunctionNode", "TypeNode")
_KEYS = frozenset(
    {
        *(f"builtins.{name}" for name in ("bool", "float", "int", "str")),
        *(f"numpy.{name}" for name in ("bool", "bool_", "float64", "int64", "str_")),  # classes
    }
)
_NAME = itemgetter("__loader__", "__module__", "__class__")
_OBJECT_USES = (Use.ESTIMATOR, Use.PART, Use.UNUSED, Use.BOOSTER)
_NAME_USES = (Use.FUNCTION, Use.TYPE, Use.UNUSED)

_END = struct.Struct("<4s4H2LH")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_STORED, _DEFLATED, _BZIP2, _LZMA = 0, 8, 12, 14
_LZMA_HEAD = 9  # bytes: a version, the size of what follows, the properties, the size of the dictionary
_LZMA_PROPERTIES = 5
_LONGEST_NAME = 200  # characters of a type
_LONGEST_COMMENT = 2**16
_ARRAY = re.compile(
    rb"\{'descr': (.{2,2000}), 'fortran_order': (False|True), 'shape': \(([\d, ]{0,200})\), \} *\n", re.DOTALL
)
_MAGIC = b"\x93NUMPY"


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry of the zip's directory."""

    method: int
    checksum: int
    packed: int  # bytes
    size: int  # bytes, unpacked
    offset: int


@dataclass(frozen=True, slots=True)
class _Archive:
    """A zip's bytes and its directory, and the entries unpacked so far."""

    data: memoryview
    entries: dict[str, _Entry]
    unpacked: dict[str, memoryview] = field(default_factory=dict)


def read_skops(data: bytes, size_limit: int, foreign: list[str]) -> Any:
    """The object of a skops file, as inert values.

    Names of known libraries that are not on the allow-list are added to *foreign*.

    Raises Unscorable (UNTRUSTED_MODEL, INCOMPATIBLE_MODEL, TOO_LARGE), or LookupError, ValueError and such where it is
    broken.
    """
    archive = _Archive(memoryview(data), _read_directory(data))
    if sum(entry.size for entry in archive.entries.values()) > size_limit:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {size_limit // 2**20} MiB, got more")
    if archive.entries["schema.json"].size > SCHEMA_LIMIT:
        raise Unscorable(Reason.TOO_LARGE, f"expected a schema of at most {SCHEMA_LIMIT // 2**20} MiB, got more")
    schema = json.loads(bytes(_unpack_entry(archive, "schema.json")))
    _check_protocol(schema)
    return _build_value(schema, archive, foreign)


def _check_protocol(schema: dict[str, Any]) -> None:
    """Raises ValueError, or Unscorable for a protocol of the future."""
    protocol = schema.get("protocol")
    if type(protocol) is not int or protocol < 0:
        raise ValueError(f"expected a protocol from 0 to {PROTOCOL} in schema.json, got {str(protocol)[:40]!r}")
    if protocol > PROTOCOL:
        version = str(schema.get("_skops_version", "that it does not name"))[:40]
        message = f"made by skops {version!r} in protocol {protocol}, expected at most {PROTOCOL}"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)


def _read_directory(data: bytes) -> dict[str, _Entry]:
    """The entries of the zip, by name. Raises ValueError for a truncated zip, or a kind that skops never writes."""
    position = data.rfind(b"PK\5\6", max(0, len(data) - _LONGEST_COMMENT - _END.size))
    if position < 0:
        raise ValueError("a zip file without its directory")
    _, disk, _, n_on_disk, count, length, start, _ = _END.unpack_from(data, position)
    if disk or n_on_disk != count or count == 2**16 - 1 or start + length > position:
        raise ValueError("a zip file whose directory is outside the file")
    entries: dict[str, _Entry] = {}
    position = start
    for _ in range(count):
        magic, _, _, flags, method, _, _, checksum, packed, size, name_size, extra, comment, *_, offset = (
            _CENTRAL.unpack_from(data, position)
        )
        name = str(data[position + _CENTRAL.size : position + _CENTRAL.size + name_size], "utf-8")
        if magic != b"PK\1\2" or flags & 1 or method not in (_STORED, _DEFLATED, _BZIP2, _LZMA) or name in entries:
            raise ValueError(f"a zip file with an entry that cannot be read: {name[:80]!r}, method {method}")
        entries[name] = _Entry(method, checksum, packed, size, offset)
        position += _CENTRAL.size + name_size + extra + comment
    return entries


def _unpack_entry(archive: _Archive, name: str) -> memoryview:
    """The bytes of an entry, of exactly the size in the directory. Raises LookupError, ValueError, zlib.error."""
    if name in archive.unpacked:
        return archive.unpacked[name]
    entry = archive.entries[name]
    magic, *_, name_size, extra = _LOCAL.unpack_from(archive.data, entry.offset)
    start = entry.offset + _LOCAL.size + name_size + extra
    content = archive.data[start : start + entry.packed]
    if entry.method != _STORED:
        reader = _open_compressed(entry, content)
        packed = content[_LZMA_HEAD:] if entry.method == _LZMA else content
        content = memoryview(reader.decompress(packed, entry.size + 1))
    if magic != b"PK\3\4" or len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        raise ValueError(f"the entry {name[:80]!r} does not match the zip file's directory")
    archive.unpacked[name] = content
    return content


def _open_compressed(entry: _Entry, content: memoryview) -> Any:
    """A decompressor for an entry. Raises ValueError, lzma.LZMAError."""
    if entry.method == _DEFLATED:
        return zlib.decompressobj(-15)
    if entry.method == _BZIP2:
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[_read_lzma_filter(content)])


def _build_value(node: dict[str, Any], archive: _Archive, foreign: list[str]) -> Any:  # noqa: PLR0911  # a case each
    """The value of a node of the schema."""
    loader, kind = node["__loader__"], _get_kind(node)
    if loader == "JsonNode" and kind == "builtins.str":  # a number or a text, as most nodes are
        return _parse_text(node["content"])
    if kind not in _VALUES.get(loader, ()):
        return _build_named(node, loader, kind, archive, foreign)
    match loader:
        case "BytearrayNode":
            return bytes(_unpack_entry(archive, node["file"]))
        case "NdArrayNode":
            return _read_array(node, archive, foreign)
        case "ListNode":
            return [_build_value(item, archive, foreign) for item in node["content"]]
        case "TupleNode":
            return tuple([_build_value(item, archive, foreign) for item in node["content"]])
        case "DictNode":
            return _read_items(node, archive, foreign)
        case "DTypeNode":
            return _read_array(node["content"], archive, foreign).dtype
    return ParsedObject(kind, _read_sparse(node, archive))


def _read_items(node: dict[str, Any], archive: _Archive, foreign: list[str]) -> dict[str, Any]:
    """The items of a dict."""
    for key in node["key_types"]["content"]:
        if key["__class__"] == "str" and key["__module__"] == "builtins" and key["__loader__"] == "TypeNode":
            continue  # nearly all
        if key["__loader__"] != "TypeNode" or _get_kind(key) not in _KEYS:
            raise _make_untrusted(_get_kind(key))
    return {key: _build_value(item, archive, foreign) for key, item in node["content"].items()}


def _build_named(node: dict[str, Any], loader: str, kind: str, archive: _Archive, foreign: list[str]) -> Any:
    """The token of a node that names a class or a function of the allow-list."""
    if kind in _KEYS and loader == "TypeNode":
        return Global(kind)
    use = allowlist.USES.get(kind)
    if loader in _NAMES and use in _NAME_USES:
        return Global(kind)
    if loader not in _OBJECTS or use not in _OBJECT_USES:
        if loader not in _FOREIGN or use or not allowlist.is_foreign(node["__module__"], node["__class__"]):
            raise _make_untrusted(kind)
        foreign.append(kind[:200])
    if loader == "TupleNode":  # a tuple with names
        return tuple([_build_value(item, archive, foreign) for item in node["content"]])
    return _build_object(node, kind, archive, foreign)


def _build_object(node: dict[str, Any], kind: str, archive: _Archive, foreign: list[str]) -> ParsedObject:
    content: Any = node.get("content")
    state: Any
    if node["__loader__"] in ("MaskedArrayNode", "RandomGeneratorNode"):
        state = {name: _build_value(part, archive, foreign) for name, part in content.items()}
    elif node["__loader__"] == "PartialNode":
        parts = ("func", "args", "kwds", "namespace")
        if not content or "func" not in content or _get_kind(content["func"]) != allowlist.PARTIAL:
            raise _make_untrusted(kind)
        state = tuple([_build_value(content[name], archive, foreign) for name in parts])
    elif node["__loader__"] == "DefaultDictNode":
        state = {"__items__": _build_value(content["main"], archive, foreign)}
        _build_value(content["default_factory"], archive, foreign)  # a name, which is checked and left out
    elif node["__loader__"] == "DictNode":  # a class of dicts
        state = {"__items__": _read_items(node, archive, foreign)}
    elif node["__loader__"] == "SliceNode":
        state = {"__args__": tuple(content[name] for name in ("start", "stop", "step"))}
    else:
        state = _build_value(content, archive, foreign) if content is not None else {}
    blueprint = ParsedObject(kind, state if type(state) is dict else {"__state__": state})
    if "__reduce__" in node:
        blueprint.state["__args__"] = _build_value(node["__reduce__"]["args"], archive, foreign)
    return blueprint


def _get_kind(node: dict[str, Any]) -> str:
    module, name = node["__module__"], node["__class__"]
    if type(module) is not str or type(name) is not str:
        raise ValueError("expected the name of a type, got something else")
    if len(module) + len(name) > _LONGEST_NAME:  # of no type of the list, and not to be cached
        return f"{module}.{name}"
    return _spell_kind(module, name)


@lru_cache(maxsize=1024)
def _spell_kind(module: str, name: str) -> str:
    """The full name of a type, by today's name of its module."""
    return f"{allowlist.MOVED.get(module, module)}.{name}"


def _make_untrusted(kind: str) -> Unscorable:
    return Unscorable(
        Reason.UNTRUSTED_MODEL, f"the skops file holds types that are not trusted: {kind[:200]} is not on the list"
    )


def _parse_text(text: str) -> Any:
    """The text, number or constant that a node holds as JSON."""
    if len(text) <= 64:  # noqa: PLR2004  # models have short texts in common; longer ones are not cached
        return _parse_short_text(text)
    return _parse_scalar(text)


@lru_cache(maxsize=4096)
def _parse_short_text(text: str) -> Any:
    return _parse_scalar(text)


def _parse_scalar(text: str) -> Any:
    value = json.loads(text)
    if isinstance(value, list | dict):
        raise ValueError("expected a number or text in a node of JSON, got a container")  # noqa: TRY004  # of the file
    return value


def _read_array(node: dict[str, Any], archive: _Archive, foreign: list[str]) -> Any:
    """An array of numbers; a number where the file marks it as one; an ObjectArray for an array of objects."""
    if node["type"] == "json":
        items = [_build_value(item, archive, foreign) for item in node["content"]]
        shape = _build_value(node["shape"], archive, foreign) if "shape" in node else (len(items),)
        for _ in range(min(len(shape), parsed.DIMENSIONS) - 1):  # lists in lists
            items = [item for inner in items for item in inner]
        return ObjectArray(items, shape)
    array = _read_entry(archive, node["file"])
    return array if node["__class__"] == "ndarray" else array.item()


def _read_sparse(node: dict[str, Any], archive: _Archive) -> dict[str, Any]:
    """The arrays of a sparse matrix: a zip within the zip, as SciPy writes it."""
    content = bytes(_unpack_entry(archive, node["file"]))
    inner = _Archive(memoryview(content), _read_directory(content))
    if sum(entry.size for entry in inner.entries.values()) > NESTED * len(archive.data) + SCHEMA_LIMIT:
        raise ValueError("a sparse matrix that is far larger than its file")
    return {name: _read_entry(inner, f"{name}.npy") for name in ("data", "indices", "indptr", "shape")}


def _read_entry(archive: _Archive, name: str) -> np.ndarray:
    """The array in an entry of the zip."""
    content = _unpack_entry(archive, name)
    if content[:6] != _MAGIC or content[6] not in (1, 2, 3):
        raise ValueError(f"the entry {name[:80]!r} is not an array")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    kind, shape, order = _parse_header(bytes(content[start : min(end, start + 4000)]))
    return parsed.make_array(content[end:], kind, shape, order)


def _read_lzma_filter(content: memoryview) -> dict[str, int]:
    """The properties that a zip writes before LZMA data, as Python's own zipfile reads them. Raises ValueError."""
    _, size, properties, dictionary = struct.unpack_from("<HHBI", content)
    if size != _LZMA_PROPERTIES or properties >= 9 * 5 * 5 or dictionary > DICTIONARY_LIMIT:
        raise ValueError(f"expected LZMA with a dictionary of at most {DICTIONARY_LIMIT // 2**20} MiB, got another one")
    return {
        "id": lzma.FILTER_LZMA1,
        "dict_size": dictionary,
        "lc": properties % 9,
        "lp": properties // 9 % 5,
        "pb": properties // 45,
    }


@lru_cache(maxsize=1024)
def _parse_header(text: bytes) -> tuple[np.dtype[Any], tuple[int, ...], str]:
    """The type, shape and order of an array, from a header that `numpy.save` wrote."""
    match = _ARRAY.fullmatch(text)
    if match is None:
        raise ValueError("expected an array with a header as NumPy writes it")
    shape = tuple(int(size) for size in match[3].split(b",") if size.strip())
    return _parse_dtype(match[1]), shape, "F" if match[2] == b"True" else "C"


@lru_cache(maxsize=64)
def _parse_dtype(text: bytes) -> np.dtype[Any]:
    """The type of an array's items, from its description in a header."""
    described = ast.literal_eval(text.decode())
    if isinstance(described, str):
        return parsed.make_dtype(described[1:], described[:1])
    return np.lib.format.descr_to_dtype(described)
