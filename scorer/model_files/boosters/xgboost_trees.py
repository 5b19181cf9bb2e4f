"""The trees of an XGBoost file as arrays over the nodes of all trees, tree after tree.

`RegTree::SaveModel` in XGBoost's src/tree/tree_model.cc names the arrays; UBJSON has its keys in order. Trees that
only compare numbers, the usual ones, are read without a dict for each: `read_plain_trees`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

_N_NODES = "n_nodes"
_LEFT, _RIGHT, _DEFAULT = "left_children", "right_children", "default_left"
_CONDITIONS, _INDICES, _TYPES = "split_conditions", "split_indices", "split_type"
_SETS = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_KINDS = {_LEFT: "i4", _RIGHT: "i4", _CONDITIONS: "f4", _INDICES: "i4", _DEFAULT: "u1", _TYPES: "u1"}
MOST_TARGETS = 2**12  # values of a leaf


def _spell_key(name: str) -> bytes:
    """A key of an object in UBJSON."""
    return b"L" + len(name).to_bytes(8, "big") + name.encode()


def _spell_array(name: str, marker: bytes) -> bytes:
    """A key and the beginning of its typed array, up to the count."""
    return _spell_key(name) + b"[$" + marker + b"#L"


_EMPTY = bytes(8)
_FIRST = b"{" + _spell_array("base_weights", b"d")
_BEFORE_DEFAULT = b"".join(
    _spell_array(name, marker) + _EMPTY for name, marker in zip(_SETS, (b"l", b"l", b"L", b"L"), strict=True)
) + _spell_array(_DEFAULT, b"U")
_ID = _spell_key("id")
_ID_WIDTHS = {ord("i"): 1, ord("I"): 2, ord("l"): 4, ord("L"): 8}
_ARRAYS = [  # behind the id; each with what is before its count, and the bytes of an item
    (name, _spell_array(name, marker), size)
    for name, marker, size in (
        (_LEFT, b"l", 4), ("loss_changes", b"d", 4), ("parents", b"l", 4), (_RIGHT, b"l", 4), (_CONDITIONS, b"d", 4),
        (_INDICES, b"l", 4), (_TYPES, b"U", 1), ("sum_hessian", b"d", 4),
    )
]  # fmt: skip
_TEXT = rb"SL\0{7}[\x01-\x0a]\d{1,10}"
_TAIL = re.compile(
    re.escape(_spell_key("tree_param") + b"{")
    + b"".join(re.escape(_spell_key(name)) + _TEXT for name in ("num_deleted", "num_feature", "num_nodes"))
    + re.escape(_spell_key("size_leaf_vector"))
    + rb"SL\0{7}\x01[01]\}\}"
)


@dataclass(slots=True)
class _Columns:
    """The bytes of each array, tree after tree, and the layouts of trees by the bytes of their number of nodes."""

    sizes: list[int] = field(default_factory=list)
    parts: dict[str, list[bytes]] = field(default_factory=lambda: {name: [] for name in _KINDS})
    layouts: dict[bytes, tuple[int, bytes, list[tuple[bytes, int, list[bytes] | None]]]] = field(default_factory=dict)

    def get_layout(self, count: bytes) -> tuple[int, bytes, list[tuple[bytes, int, list[bytes] | None]]]:
        """The number of nodes; what stands before the default directions; the head, bytes and list of other arrays."""
        layout = self.layouts.get(count)
        if layout is None:
            n_nodes = int.from_bytes(count, "big")
            arrays = [(start + count, size * n_nodes, self.parts.get(name)) for name, start, size in _ARRAYS]
            layout = self.layouts[count] = (n_nodes, _BEFORE_DEFAULT + count, arrays)
        return layout


def read_plain_trees(data: bytes, position: int) -> tuple[dict[str, np.ndarray], int] | None:
    """The trees at a position in UBJSON and where they end; None where one is of another form.

    A reader for `ubjson.read_ubjson`. What it makes is what `join_trees` makes of the dicts of the trees.
    """
    if not data.startswith(b"[#L", position):
        return None
    count = int.from_bytes(data[position + 3 : position + 11], "big")
    position += 11
    columns = _Columns()
    for _ in range(count):
        end = _read_plain_tree(data, position, columns)
        if end is None:
            return None
        position = end
    trees = {
        name: np.frombuffer(b"".join(columns.parts[name]), np.dtype(kind).newbyteorder(">")).astype(kind)
        for name, kind in _KINDS.items()
    }
    return None if trees[_TYPES].any() else ({_N_NODES: np.array(columns.sizes, np.int64), **trees}, position)


def _read_plain_tree(data: bytes, position: int, columns: _Columns) -> int | None:
    """Add one tree; where it ends. Each head is compared with what it must be, so no length is believed."""
    if not data.startswith(_FIRST, position):
        return None
    position += len(_FIRST)
    n_nodes, head, arrays = columns.get_layout(data[position : position + 8])
    position += 8 + 4 * n_nodes
    if not data.startswith(head, position):
        return None
    position += len(head)
    columns.parts[_DEFAULT].append(data[position : position + n_nodes])
    position += n_nodes
    if not data.startswith(_ID, position) or len(data) <= position + len(_ID):
        return None
    position += len(_ID)
    position += 1 + _ID_WIDTHS.get(data[position], 0)
    for start, n_bytes, part in arrays:
        if not data.startswith(start, position):
            return None
        position += len(start)
        if part is not None:
            part.append(data[position : position + n_bytes])
        position += n_bytes
    tail = _TAIL.match(data, position)
    if tail is None:
        return None
    columns.sizes.append(n_nodes)
    return tail.end()


def join_trees(trees: Any) -> dict[str, np.ndarray]:
    """The arrays over all nodes, from a dict for each tree; T trees with N nodes, of which C ask for categories.

    n_nodes: int64[T], of each tree. left_children, right_children: int32[N], within the tree; of a leaf left is -1.
    split_conditions: float32[N], the threshold of an inner node, the value of a leaf. split_indices: int32[N].
    default_left, split_type: uint8[N]. leaf_values: float32[N, V], where leaves have a value for each target.
    categories_nodes: int64[C], over all trees; categories_segments, categories_sizes: int64[C], which part of
    categories, int64, each node asks for. Raises KeyError, TypeError, ValueError, OverflowError.
    """
    if type(trees) is not list or not all(type(tree) is dict for tree in trees):
        raise ValueError("expected a list of trees")
    lefts = [tree[_LEFT] for tree in trees]
    sizes = np.array([len(array) for array in lefts], np.int64)
    joined = {name: _join_numbers([tree.get(name, ()) for tree in trees], kind) for name, kind in _KINDS.items()}
    if not any(_TYPES in tree for tree in trees):  # up to 1.2
        joined[_TYPES] = np.zeros(int(sizes.sum()), np.uint8)
    for name, array in joined.items():
        counts = sizes if name == _TYPES else [len(tree[name]) for tree in trees]
        if len(array) != sizes.sum() or not np.array_equal(counts, sizes):
            raise ValueError(f"expected {name} for each node, got another number of them")
    return {_N_NODES: sizes, **joined, **_join_sets(trees, sizes), **_join_vectors(trees, sizes, joined)}


def _join_numbers(values: list[Any], kind: str) -> np.ndarray:
    """One dimension of numbers of this type from arrays or lists, exactly where they are whole.

    Raises TypeError, ValueError, OverflowError.
    """
    if any(isinstance(value, np.ndarray) for value in values):
        array = np.concatenate([np.asarray(value) if len(value) else np.empty(0, kind) for value in values])
    else:
        items = list(chain.from_iterable(values))
        array = np.array(items) if items else np.empty(0, kind)
    if array.ndim != 1 or array.dtype.kind not in ("fiu" if kind[0] == "f" else "iub"):
        raise ValueError(f"expected an array of numbers, got one of {array.dtype.name}")
    if kind[0] != "f" and len(array) and array.dtype.kind != "b":
        limits = np.iinfo(kind)
        if int(array.min()) < limits.min or int(array.max()) > limits.max:
            raise ValueError(f"expected whole numbers of {limits.dtype}, got a larger one")
    with np.errstate(over="ignore"):
        return array.astype(kind)


def _join_sets(trees: list[dict[str, Any]], sizes: np.ndarray) -> dict[str, np.ndarray]:
    """The categories of the nodes that ask for them; nothing where no node does."""
    if not any(len(tree.get("categories_nodes", ())) for tree in trees):
        return {}
    columns = {name: [tree.get(name, ()) for tree in trees] for name in _SETS}
    joined = {name: _join_numbers(arrays, "i8") for name, arrays in columns.items()}
    n_categories, *counts = (np.array([len(array) for array in arrays]) for arrays in columns.values())
    if not all(np.array_equal(counts[0], count) for count in counts):
        raise ValueError("expected a segment of categories for each node that asks for them")
    nodes, starts, lengths = (joined[name] for name in _SETS[1:])
    size, n_own = np.repeat(sizes, counts[0]), np.repeat(n_categories, counts[0])
    is_inside = (nodes >= 0) & (nodes < size) & (starts >= 0) & (starts < n_own) & (lengths > 0)
    if not (is_inside & (lengths <= n_own - starts)).all():
        raise ValueError("a node asks for categories outside its tree")
    return {
        "categories": joined["categories"],
        "categories_nodes": nodes + np.repeat(np.cumsum(sizes) - sizes, counts[0]),
        "categories_segments": starts + np.repeat(np.cumsum(n_categories) - n_categories, counts[0]),
        "categories_sizes": lengths,
    }


def _join_vectors(
    trees: list[dict[str, Any]], sizes: np.ndarray, joined: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Leaves of several values, float32[N, V]; nothing where leaves have one. Raises ValueError.

    Since 3.2 leaf_weights has the rows of the leaves, and the right child of a leaf is its row; before, base_weights
    has a row for each node: `MultiTargetTree` in XGBoost's src/tree/multi_target_tree_model.cc.
    """
    widths = {int(str(tree["tree_param"]["size_leaf_vector"])[:10]) for tree in trees}
    if not widths or max(widths) <= 1:
        return {}
    if len(widths) > 1 or max(widths) > MOST_TARGETS:
        raise ValueError(f"expected leaves of the same size, at most {MOST_TARGETS}, got others")
    width = widths.pop()
    values = []
    end = 0
    for tree, size in zip(trees, sizes.tolist(), strict=True):
        nodes, end = slice(end, end + size), end + size
        if "leaf_weights" not in tree:
            values.append(_join_numbers([tree["base_weights"]], "f4").reshape(size, width))
            continue
        rows = _join_numbers([tree["leaf_weights"]], "f4").reshape(-1, width)
        row = np.where(joined[_LEFT][nodes] == -1, joined[_RIGHT][nodes], 0)
        if not len(rows) or not 0 <= int(row.min()) <= int(row.max()) < len(rows):
            raise ValueError("a leaf has values outside its tree")
        values.append(rows[row])
    return {"leaf_values": np.concatenate(values)}
