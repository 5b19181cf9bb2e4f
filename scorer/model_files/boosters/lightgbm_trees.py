"""The blocks of the trees of a LightGBM text -> arrays of numbers over all trees, tree after tree.

`Tree::ToString` in LightGBM's src/io/tree.cpp writes them, a line for each key. Nothing of a block is used before it
was counted, and the numbers of all trees are parsed at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

MOST_LEAVES = 2**22  # of all trees, as the next ones
MOST_TERMS = 2**22  # of linear leaves
MOST_WORDS = 2**19  # of 32 categories each

_NEEDED = frozenset(
    b"Tree num_leaves num_cat split_feature threshold decision_type left_child right_child leaf_value".split()
)
_READ = _NEEDED | frozenset(
    b"cat_boundaries cat_threshold is_linear leaf_const num_features leaf_features leaf_coeff".split()
)
_BLOCK = _READ | frozenset(
    b"split_gain leaf_weight leaf_count internal_value internal_weight internal_count shrinkage".split()
)
_END = b"end of trees\n"
_SPACE, _NEW_LINE = b" \n"
_KEY_BYTES = 16  # of the longest key, with the sign behind it
_MOST_LINES = len(_BLOCK) + 3  # of a tree
_LONGEST_COUNT = 9  # digits
_LONGEST_NUMBER = 40  # bytes, with what follows it

_Columns = Mapping[bytes, list[bytes]]  # the texts behind each key, one for each tree; b"" where a tree has none


def read_trees(data: bytes, start: int, sizes: list[int]) -> dict[str, np.ndarray]:
    """The numbers of all trees by their keys in the file, without those that predict nothing.

    *start*: of the first tree in *data*; *sizes*: the bytes of each tree.

    n_leaves, n_sets, n_words, is_linear, n_terms: int64 or bool, one for each tree; of T trees and L leaves the numbers
    of splits are L - T, those of leaves L. leaf_const and num_features only hold those of linear trees, cat_boundaries
    n_sets + 1 for each tree with sets. Float64 or int64. Raises LookupError, ValueError, and Unscorable (TOO_LARGE).
    """
    columns, n_trees = _read_columns(data, start, sizes), len(sizes)
    if b"\n".join(columns[b"Tree"]) != b"\n".join([b"%d" % index for index in range(n_trees)]):
        raise ValueError("expected trees in the order of their numbers, got another order")
    n_leaves, n_sets, is_linear = (
        _parse_counts(columns, key, n_trees) for key in (b"num_leaves", b"num_cat", b"is_linear")
    )
    if n_trees and (n_leaves.min() < 1 or is_linear.max() > 1):
        raise ValueError("expected trees with leaves, and 0 or 1 as is_linear, got something else")
    n_words = _count_texts(columns, b"cat_threshold", n_trees)
    if ((n_sets > 0) != (n_words > 0)).any():
        raise ValueError("expected cat_threshold where num_cat is above 0, and only there")
    if is_linear.any():
        columns = {**columns, **_narrow_terms(columns, n_trees)}
    n_terms = np.where(is_linear > 0, _count_texts(columns, b"leaf_features", n_trees), 0)
    limits = {"leaves": (n_leaves, MOST_LEAVES), "words": (n_words, MOST_WORDS), "terms": (n_terms, MOST_TERMS)}
    for name, (counts, most) in limits.items():
        if counts.sum() > most:
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {most} {name}, got {counts.sum()}")
    n_splits, n_linear = n_leaves - 1, np.where(is_linear > 0, n_leaves, 0)
    wholes = dict.fromkeys((b"split_feature", b"decision_type", b"left_child", b"right_child"), n_splits)
    wholes |= {b"cat_boundaries": np.where(n_words > 0, n_sets + 1, 0), b"cat_threshold": n_words}
    wholes |= {b"num_features": n_linear, b"leaf_features": n_terms}
    reals = {b"threshold": n_splits, b"leaf_value": n_leaves, b"leaf_const": n_linear, b"leaf_coeff": n_terms}
    counted = {"n_leaves": n_leaves, "n_sets": n_sets, "n_words": n_words, "n_terms": n_terms}
    return (
        counted
        | {"is_linear": is_linear > 0}
        | _parse_numbers(columns, wholes, pa.int64())
        | _parse_numbers(columns, reals, pa.float64())
    )


def _read_columns(data: bytes, start: int, sizes: list[int]) -> _Columns:
    """The lines of the blocks by their keys, those of `_NEEDED` at least."""
    end = start + sum(sizes)
    if data[end : end + len(_END)] != _END:
        raise ValueError(f"expected 'end of trees' behind {len(sizes)} trees, got something else: it is cut or changed")
    if not sizes:
        return {key: [] for key in _NEEDED}
    is_end = np.frombuffer(data, np.uint8, end - start, start) == _NEW_LINE
    if np.count_nonzero(is_end) > len(sizes) * _MOST_LINES:
        raise ValueError("expected trees of few lines, got more lines than a tree has")
    ends = np.flatnonzero(is_end)
    columns = _slice_columns(data, start, sizes, ends)
    return _split_blocks(data, start, sizes) if columns is None else columns


def _slice_columns(data: bytes, start: int, sizes: list[int], ends: np.ndarray) -> _Columns | None:
    """The columns of trees that all have the same keys in one order, as those of most boosters; None for others.

    *ends*: of all lines, counted from *start*. The first bytes of all lines are compared at once.
    """
    keys = [line.partition(b"=")[0] for line in data[start : start + sizes[0]].split(b"\n")[:-1]]
    shape = (len(sizes), len(keys))
    if keys[-2:] != [b"", b""] or b"" in keys[:-2] or len(ends) != shape[0] * shape[1]:
        return None
    starts = np.concatenate((np.zeros(1, np.int64), ends[:-1] + 1)).reshape(shape)
    ends = ends.reshape(shape)
    _check_keys(keys[:-2], 0)
    n_windows = len(data) - start - _KEY_BYTES + 1
    if not np.array_equal(ends[:, -1] + 1, np.cumsum(sizes)) or starts[-1, -1] >= n_windows:
        return None
    windows = np.ndarray((n_windows,), f"V{_KEY_BYTES}", data, start, (1,))
    prefixes = [key + b"=" if key else b"\n" for key in keys]
    expected, masks = (
        np.frombuffer(b"".join([part.ljust(_KEY_BYTES, b"\0") for part in parts]), np.uint64)
        for parts in (prefixes, [b"\xff" * len(prefix) for prefix in prefixes])
    )
    if (windows[starts].view(np.uint64).reshape(len(sizes), -1) & masks != expected).any():
        return None
    columns = {}
    for i, key in enumerate(keys):
        if key in _READ:
            spans = zip((starts[:, i] + (start + len(key) + 1)).tolist(), (ends[:, i] + start).tolist(), strict=True)
            columns[key] = [data[first:last] for first, last in spans]
    return columns


def _split_blocks(data: bytes, position: int, sizes: list[int]) -> _Columns:
    """The columns of trees with different keys."""
    columns: dict[bytes, list[bytes]] = {}
    for index, size in enumerate(sizes):
        block = data[position : position + size]
        position += size
        if not block.startswith(b"Tree=%d\n" % index) or not block.endswith(b"\n\n"):
            raise ValueError(f"expected the tree {index} where tree_sizes says, got {block[:40]!r}")
        pairs = [line.split(b"=", 1) for line in block.rstrip(b"\n").split(b"\n")]
        _check_keys([pair[0] for pair in pairs], index)
        for key, text in pairs:
            column = columns.setdefault(key, [])
            column += [b""] * (index - len(column))
            column.append(text)
    return {key: column + [b""] * (len(sizes) - len(column)) for key, column in columns.items()}


def _check_keys(keys: list[bytes], index: int) -> None:
    if len(set(keys)) < len(keys) or not _NEEDED <= set(keys) <= _BLOCK:
        raise ValueError(f"expected each key of a tree once and no others, got other ones in the tree {index}")


def _parse_counts(columns: _Columns, key: bytes, n_trees: int) -> np.ndarray:
    """A count for each tree; 0 where there is none."""
    texts = columns.get(key)
    if not texts:
        return np.zeros(n_trees, np.int64)
    digits = b"".join(texts)
    if max(map(len, texts)) > _LONGEST_COUNT or (digits and not digits.isdigit()):
        raise ValueError(f"expected counts as {key.decode()}, got something else")
    return np.array([int(text or b"0") for text in texts], np.int64)


def _count_texts(columns: _Columns, key: bytes, n_trees: int) -> np.ndarray:
    """How many texts between spaces each tree has."""
    texts = columns.get(key)
    return np.array([text.count(b" ") + 1 if text else 0 for text in texts or [b""] * n_trees], np.int64)


def _narrow_terms(columns: _Columns, n_trees: int) -> _Columns:
    """What linear leaves hold, with one space between numbers: LightGBM writes two between leaves."""
    keys = (b"leaf_features", b"leaf_coeff")
    for key in keys:
        if _count_texts(columns, key, n_trees).sum() > 2 * (MOST_TERMS + MOST_LEAVES):
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {MOST_TERMS} terms, got more")
    return {key: [b" ".join(text.split()) for text in columns.get(key, ())] for key in keys}


def _parse_numbers(columns: _Columns, counts: dict[bytes, np.ndarray], kind: pa.DataType) -> dict[str, np.ndarray]:
    """The numbers under the keys of *counts*, which says how many each tree has; parsed in one go.

    Rounded as Python's own `float`. Raises ValueError.
    """
    texts: list[bytes] = []
    for key, expected in counts.items():
        column = columns.get(key) or [b""] * len(expected)
        if not (all(column) and expected.all()) and [text != b"" for text in column] != (expected > 0).tolist():
            raise ValueError(f"expected a number of {key.decode()} for each part of a tree, got other ones")
        texts += column
    text, by_line = b"\n".join(filter(None, texts)), np.concatenate([*counts.values()])
    by_line = by_line[by_line > 0]
    n_numbers = int(by_line.sum())
    if len(text) > _LONGEST_NUMBER * n_numbers:
        raise ValueError("expected numbers, got texts that are longer than those")
    content = np.frombuffer(text, np.uint8)
    borders = np.flatnonzero((content == _SPACE) | (content == _NEW_LINE))
    last = np.cumsum(by_line)[:-1] - 1  # of the borders: the ends of lines
    if len(borders) != max(n_numbers - 1, 0) or (content[borders[last]] != _NEW_LINE).any():
        keys = b", ".join(counts).decode()
        raise ValueError(f"expected as many numbers as a tree has parts, got another number of {keys}")
    values = _cast_texts(text, borders, kind) if n_numbers else np.empty(0, kind.to_pandas_dtype())
    ends = np.cumsum([part.sum() for part in counts.values()])
    return {key.decode(): part for key, part in zip(counts, np.split(values, ends[:-1]), strict=True)}


def _cast_texts(text: bytes, borders: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """The numbers in a text, between which there is one byte each, at *borders*. Raises ValueError.

    For Arrow the text is a column in which each border is null, so that no text is copied.
    """
    count = 2 * len(borders) + 1
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:-1:2], offsets[2::2], offsets[-1] = borders, borders + 1, len(text)
    is_number = pa.py_buffer(b"\x55" * (count // 8 + 1))  # every other bit
    parts = pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text), is_number)
    values: np.ndarray = np.frombuffer(parts.cast(kind).buffers()[1], kind.to_pandas_dtype(), count)[::2].copy()
    return values
