"""The nodes of scikit-learn's trees -> one numbering over all trees of a model, with the types that its builds have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_KINDS = {"left_child": "i", "right_child": "i", "feature": "i", "threshold": "f"}
SAMPLES = {"n_node_samples": "i"}
_GAPS = "missing_go_to_left"


@dataclass(frozen=True, slots=True)
class JoinedNodes:
    """The nodes of all trees, tree after tree. Of T trees and N nodes."""

    roots: np.ndarray  # int64[T]
    sizes: np.ndarray  # int64[T]
    leaf: np.ndarray  # bool[N]
    left: np.ndarray  # int64[N], by the numbering of all nodes; of a leaf the leaf itself. Unchecked, as the next ones
    right: np.ndarray  # int64[N]
    fields: Mapping[str, np.ndarray]  # all that were asked for, as the trees have them


def join_nodes(
    trees: Sequence[dict[str, Any]], most_nodes: int, more: Mapping[str, str] | None = None
) -> JoinedNodes | None:
    """The nodes of `Tree` states; None where they are more than *most_nodes*. *more*: further fields, and their kinds.

    Raises KeyError for nodes without one of the fields, ValueError for other types or numbers than scikit-learn's.
    """
    kinds = {**_KINDS, **(more or {})}
    distinct = list({id(tree): tree for tree in trees}.values())  # a small file may name one tree a million times
    arrays = [tree["nodes"] for tree in distinct]
    for dtype in {id(dtype): dtype for dtype in [nodes.dtype for nodes in arrays]}.values():
        kinds_of_file = {name: dtype[name].kind for name in dtype.names or ()}
        if any(kinds_of_file[name] != kind for name, kind in kinds.items()):
            raise ValueError("a tree's nodes have fields of other types")
    if not trees or any(nodes.ndim != 1 or not len(nodes) for nodes in arrays):
        raise ValueError(f"expected trees with nodes in one dimension, got others in {len(trees)} trees")
    if any(tree["node_count"] != len(tree["nodes"]) for tree in distinct):
        raise ValueError("a tree's node_count is not the number of its nodes")
    all_nodes = [tree["nodes"] for tree in trees]
    sizes = np.array([len(nodes) for nodes in all_nodes])
    if sizes.sum() > most_nodes:
        return None
    # Field by field: for whole nodes NumPy would compare the types again for each tree, and all bytes would be copied.
    fields = {name: np.concatenate([nodes[name] for nodes in all_nodes]) for name in kinds}
    roots = np.cumsum(sizes) - sizes
    first, leaf = np.repeat(roots, sizes), fields["left_child"] == -1
    if (leaf & (fields["right_child"] != -1)).any():
        raise ValueError("expected leaves without children, got a leaf with one")
    index = np.arange(len(leaf))
    lefts, rights = (np.where(leaf, index, fields[name] + first) for name in ("left_child", "right_child"))
    return JoinedNodes(roots, sizes, leaf, lefts, rights, fields)


def join_gap_sides(trees: Sequence[dict[str, Any]]) -> np.ndarray:
    """Whether each node sends missing values left, bool[N]; releases before 1.3 knew none."""
    all_nodes = [tree["nodes"] for tree in trees]
    has_sides = {id(dtype): _GAPS in dtype.names for dtype in [nodes.dtype for nodes in all_nodes]}
    sides = [nodes[_GAPS] if has_sides[id(nodes.dtype)] else np.zeros(len(nodes), np.uint8) for nodes in all_nodes]
    is_left: np.ndarray = np.concatenate(sides) != 0
    return is_left
