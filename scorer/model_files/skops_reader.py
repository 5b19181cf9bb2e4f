"""Reads a skops file without skops: a zip of `.npy` arrays and a schema in JSON -> inert values.

An object that skops' own loader would construct becomes a ParsedObject. A type that is not on our list is refused,
also where skops trusts it. Sizes are bounded before anything is unpacked; each entry is unpacked once.
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
from shared.contract.reasons import Reason

from . import allowlist, parsed
from .parsed import ParsedObject

SCHEMA_LIMIT = 32 * 2**20  # bytes of JSON, which takes twenty times as much after parsing

_NUMBERS = ("bool", "bool_", "float32", "float64", "int32", "int64", "uint32", "uint64", "uint8", "ndarray")
_ESTIMATORS = frozenset(f"{module}.{name}" for module, name in allowlist.CLASSES if module.startswith("sklearn."))
# The types that each kind of node may name. All others are refused.
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


def read_skops(data: bytes, size_limit: int) -> Any:
    """The object of a skops file, as inert values.

    Raises Unscorable (UNTRUSTED_MODEL, TOO_LARGE), or LookupError, ValueError and such for a broken file.
    """
    archive = _Archive(memoryview(data), _read_directory(data))
    if sum(entry.size for entry in archive.entries.values()) > size_limit:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {size_limit // 2**20} MiB, got more")
    if archive.entries["schema.json"].size > SCHEMA_LIMIT:
        raise Unscorable(Reason.TOO_LARGE, f"expected a schema of at most {SCHEMA_LIMIT // 2**20} MiB, got more")
    foreign: list[ParsedObject] = []
    value = _build_value(json.loads(bytes(_unpack_entry(archive, "schema.json"))), archive, foreign)
    if foreign and foreign[-1] is not parsed.get_last_step(
        value
    ):  # for a classifier the error is UNSUPPORTED_MODEL instead
        raise _make_untrusted(foreign[0].kind)
    return value


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
        if magic != b"PK\1\2" or flags & 1 or method not in (_STORED, _DEFLATED) or name in entries:
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
    if entry.method == _DEFLATED:
        content = memoryview(zlib.decompressobj(-15).decompress(content, entry.size + 1))
    if magic != b"PK\3\4" or len(content) != entry.size or zlib.crc32(content) != entry.checksum:
        raise ValueError(f"the entry {name[:80]!r} does not match the zip file's directory")
    archive.unpacked[name] = content
    return content


def _build_value(node: dict[str, Any], archive: _Archive, foreign: list[ParsedObject]) -> Any:  # noqa: C901, PLR0911  # a case for each kind of node
    """The value of a node of the schema. An estimator that is not on our list is added to *foreign* too."""
    node_name = _NAME(node)
    if node_name not in _TRUSTED and not (node_name[0] == "ObjectNode" and node_name[1].startswith("sklearn.")):
        raise _make_untrusted(_get_kind(node))
    match node_name[0]:
        case "JsonNode":
            return _parse_text(node["content"])
        case "NdArrayNode":
            return _read_array(node, archive, foreign)
        case "ListNode":
            return [_build_value(item, archive, foreign) for item in node["content"]]
        case "TupleNode":
            return tuple([_build_value(item, archive, foreign) for item in node["content"]])
        case "DictNode":
            keys = node["key_types"]["content"]
            if not set(map(_NAME, keys)) <= _TRUSTED:
                raise _make_untrusted(next(_get_kind(key) for key in keys if _NAME(key) not in _TRUSTED))
            return {key: _build_value(item, archive, foreign) for key, item in node["content"].items()}
        case "DTypeNode":
            return _read_array(node["content"], archive, foreign).dtype
        case "SparseMatrixNode":
            return ParsedObject(_get_kind(node), {})
        case "TypeNode":
            return None
    return _build_object(node, archive, foreign)


def _build_object(node: dict[str, Any], archive: _Archive, foreign: list[ParsedObject]) -> ParsedObject:
    content = node.get("content")
    state = _build_value(content, archive, foreign) if content is not None else {}
    blueprint = ParsedObject(_get_kind(node), state if type(state) is dict else {"__state__": state})
    if "__reduce__" in node:
        blueprint.state["__args__"] = _build_value(node["__reduce__"]["args"], archive, foreign)
    if _NAME(node) not in _TRUSTED:
        foreign.append(blueprint)
    return blueprint


def _get_kind(node: dict[str, Any]) -> str:
    return f"{node['__module__']}.{node['__class__']}"


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


def _read_array(node: dict[str, Any], archive: _Archive, foreign: list[ParsedObject]) -> Any:
    """An array of numbers; a number where the file marks it as one; a list for an array of objects."""
    if node["type"] == "json":
        return [_build_value(item, archive, foreign) for item in node["content"]]
    content = _unpack_entry(archive, node["file"])
    if content[:6] != _MAGIC or content[6] not in (1, 2, 3):
        raise ValueError(f"the entry {node['file'][:80]!r} is not an array")
    start = 10 if content[6] == 1 else 12
    end = start + int.from_bytes(content[8:start], "little")
    kind, shape, order = _parse_header(bytes(content[start : min(end, start + 4000)]))
    array = parsed.make_array(content[end:], kind, shape, order)
    return array if node["__class__"] == "ndarray" else array.item()


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
