"""The text of a LightGBM booster -> its trees as arrays of numbers, and what its head says. LightGBM is not asked.

A head of `key=value` lines, then a block for each tree, of as many bytes as `tree_sizes` says, `end of trees`, then
importances, parameters, and the categories of the frame that it was fitted on:
https://github.com/microsoft/LightGBM/blob/master/src/boosting/gbdt_model_text.cpp. LightGBM trusts these sizes and
numbers, and ends its process over some that were changed; here nothing of a block is used before it was counted, and
the numbers of all trees are parsed at once.
"""

from __future__ import annotations

import json
import re
from itertools import repeat
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from scorer.arrow import view_numbers
from scorer.errors import Unscorable
from scorer.model_files.parsed import ParsedObject
from shared.contract.reasons import Reason

CLASSIFIER, REGRESSOR = "lightgbm.classifier", "lightgbm.regressor"  # the kinds
VERSIONS = ("v2", "v3", "v4")  # LightGBM 2.1 to 4.7
MOST_TREES = 2**17
MOST_LEAVES = 2**22  # of all trees, as the next ones
MOST_TERMS = 2**22  # of linear leaves
MOST_WORDS = 2**19  # of 32 categories each
MOST_FEATURES = 2**15
MOST_OUTPUTS = 2**10
SMALLEST_TREE = 64  # bytes; that of a tree without a split has 150

_VERSION = re.compile(r"v(\d{1,9})")
_COUNT = re.compile(r"\d{1,9}")
_SIZES = re.compile(r"(?:\d{1,9}(?: \d{1,9})*)?")
# fmt: off
_HEAD = frozenset((
    "version", "num_class", "num_tree_per_iteration", "label_index", "max_feature_idx", "objective", "average_output",
    "feature_names", "monotone_constraints", "feature_infos", "tree_sizes",
))
# fmt: on
_BLOCK = frozenset(
    b"Tree num_leaves num_cat split_feature split_gain threshold decision_type left_child right_child leaf_value "
    b"leaf_weight leaf_count internal_value internal_weight internal_count cat_boundaries cat_threshold is_linear "
    b"leaf_const num_features leaf_features leaf_coeff shrinkage".split()
)
_NEEDED = frozenset(
    b"Tree num_leaves num_cat split_feature threshold decision_type left_child right_child leaf_value".split()
)
_READ = _NEEDED | frozenset(
    b"cat_boundaries cat_threshold is_linear leaf_const num_features leaf_features leaf_coeff".split()
)
_SPACE, _NEW_LINE = b" \n"
_LONGEST_COUNT = 9  # digits
_LONGEST_NUMBER = 40  # bytes, with what follows it
_END = b"end of trees\n"
_PARAMETERS, _END_OF_PARAMETERS = b"\nparameters:\n", b"\nend of parameters\n"
_LAST = re.compile(rb"\n*(?:parser:\n.*\nend of parser\n)?\n*(?:pandas_categorical:([^\n]*)\n*)?", re.DOTALL)
_PANDAS = b"\npandas_categorical:"
_DEFAULT_NAME = "Column_"
_CLASSIFIERS = {"binary", "multiclass", "softmax", "multiclassova", "multiclass_ova", "ova", "ovr"}
_BINARY = "binary"


def read_text(data: bytes) -> ParsedObject:
    """The booster: its kind is CLASSIFIER or REGRESSOR, by its objective.

    Its state: n_features_in_; feature_names_in_, a list of texts, unless they are LightGBM's own; classes_, of a
    classifier: 0, 1 and so on; objective, "" for one that a function computed; release: v2 to v4; n_outputs;
    is_averaged: totals are divided by the number of rounds; best_iteration: the rounds that predict, 0 for all;
    n_category_columns, of a frame whose values were replaced by codes; trees: arrays, see `_read_trees`.

    Raises Unscorable (INCOMPATIBLE_MODEL, TOO_LARGE), and LookupError or ValueError for a broken text.
    """
    if data[:6] == b"tree\r\n":  # written in the text mode of Windows, in which LightGBM itself cannot read a file
        data = data.replace(b"\r\n", b"\n")
    head, start = _split_head(data)
    release = _read_version(head)
    n_features = _read_count(head, "max_feature_idx", MOST_FEATURES - 1) + 1
    n_outputs = _read_count(head, "num_tree_per_iteration", MOST_OUTPUTS)
    n_classes = _read_count(head, "num_class", MOST_OUTPUTS)
    if n_outputs != n_classes or not n_outputs:
        raise ValueError(f"expected a tree a round for each of {n_classes} outputs, got {n_outputs}")
    sizes = _read_sizes(head["tree_sizes"], len(data) - start)
    if len(sizes) % n_outputs:
        raise ValueError(f"expected {n_outputs} trees a round, got {len(sizes)} trees")
    trees, end = _read_trees(data, start, sizes), start + sum(sizes)
    objective = head.get("objective", "").strip()
    state = {
        "n_features_in_": n_features,
        "objective": objective,
        "release": release,
        "n_outputs": n_outputs,
        "is_averaged": "average_output" in head,
        "best_iteration": 0,
        "n_category_columns": len(_read_categories(data[end:], release)),
        "trees": trees,
    }
    names = _read_names(head, n_features)
    if names != [f"{_DEFAULT_NAME}{index}" for index in range(n_features)]:
        state["feature_names_in_"] = names
    name = objective.partition(" ")[0]
    if name not in _CLASSIFIERS:
        return ParsedObject(REGRESSOR, state)
    return ParsedObject(CLASSIFIER, {**state, "classes_": np.arange(2 if name == _BINARY else n_outputs)})


def _split_head(data: bytes) -> tuple[dict[str, str], int]:
    """The lines of the head by key, and where the first tree begins."""
    end = data.find(b"\n\n")
    if end < 0 or not data.startswith(b"tree\n"):
        raise ValueError("expected a head and an empty line behind it, got no end of the head")
    lines = data[5:end].decode().split("\n", len(_HEAD) + 1)
    pairs = [line.partition("=")[::2] for line in lines]
    head = dict(pairs)
    if len(head) < len(lines):
        raise ValueError("expected each key of the head once, got one twice")
    _read_version(head)  # another one may have other keys
    if surplus := head.keys() - _HEAD:
        raise ValueError(f"expected the head of a booster, got the key {min(surplus)[:40]!r}")
    return head, end + 2


def _read_version(head: dict[str, str]) -> str:
    version = head.get("version", "none")
    match = _VERSION.fullmatch(version)
    if version in VERSIONS:
        return version
    if match is None:
        raise ValueError(f"expected a version from {VERSIONS[0]} to {VERSIONS[-1]}, got {version[:40]!r}")
    raise Unscorable(
        Reason.INCOMPATIBLE_MODEL,
        f"expected a LightGBM text of version {VERSIONS[0]} to {VERSIONS[-1]}, got {version}: save the model with "
        "LightGBM 4.7 or an earlier release, from 2.1 on",
    )


def _read_count(head: dict[str, str], key: str, most: int) -> int:
    text = head.get(key, "")
    if not _COUNT.fullmatch(text) or int(text) > most:
        raise ValueError(f"expected at most {most} as {key}, got {text[:40]!r}")
    return int(text)


def _read_names(head: dict[str, str], n_features: int) -> list[str]:
    for key in ("feature_names", "feature_infos"):
        if head[key].count(" ") != n_features - 1:
            raise ValueError(f"expected {n_features} {key}, got {head[key].count(' ') + 1}")
    names = head["feature_names"].split(" ")
    if not all(names) or len(set(names)) < len(names):
        raise ValueError("expected a different name for each feature, got an empty one or one twice")
    return names


def _read_sizes(text: str, n_bytes: int) -> list[int]:
    """The bytes of each tree. *n_bytes*: how many there are for all of them."""
    n_trees = text.count(" ") + 1
    if n_trees > MOST_TREES:
        raise Unscorable(Reason.TOO_LARGE, f"expected at most {MOST_TREES} trees, got {n_trees}")
    if len(text) > 10 * n_trees or not _SIZES.fullmatch(text):
        raise ValueError("expected the sizes of the trees in tree_sizes, got something else")
    sizes = [int(size) for size in text.split()]
    if sum(sizes) > n_bytes or min(sizes, default=SMALLEST_TREE) < SMALLEST_TREE:
        raise ValueError(f"expected trees of {sum(sizes)} bytes together, got {n_bytes} bytes: it is cut or changed")
    return sizes


def _read_columns(data: bytes, start: int, sizes: list[int]) -> dict[bytes, list[bytes]]:
    """The texts behind each key of the blocks, one for each tree; b"" for a key that a tree does not have."""
    end = start + sum(sizes)
    if data[end : end + len(_END)] != _END:
        raise ValueError(f"expected 'end of trees' behind {len(sizes)} trees, got something else: it is cut or changed")
    lines = data[start:end].split(b"\n", len(sizes) * (len(_BLOCK) + 3))
    if lines.pop():
        raise ValueError("expected trees of few lines, got more lines than a tree has, or no end of the last one")
    n_lines = len(lines) // max(len(sizes), 1)
    keys = [line.partition(b"=")[0] for line in lines[:n_lines]]
    if not _is_even(lines, keys, sizes):
        return _split_blocks(data, start, sizes)
    _check_keys([key for key in keys if key], 0)
    columns = {key: [line[len(key) + 1 :] for line in lines[i::n_lines]] for i, key in enumerate(keys) if key in _READ}
    return _fill_columns(columns, len(sizes))


def _is_even(lines: list[bytes], keys: list[bytes], sizes: list[int]) -> bool:
    """Whether the lines are blocks of these sizes, all with these keys; most boosters are so. b"" is an empty line."""
    n_lines = len(keys)
    if not sizes or len(lines) != n_lines * len(sizes):
        return False
    lengths = np.fromiter(map(len, lines), np.int64, len(lines)).reshape(len(sizes), n_lines)
    if (lengths.sum(axis=1) + n_lines != sizes).any():
        return False
    for i, key in enumerate(keys):
        if not all(map(bytes.startswith, lines[i::n_lines], repeat(key + b"="))) if key else lengths[:, i].any():
            return False
    return keys[-2:] == [b"", b""] and b"" not in keys[:-2]


def _split_blocks(data: bytes, position: int, sizes: list[int]) -> dict[bytes, list[bytes]]:
    """As `_read_columns`, for trees with different keys."""
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
    return _fill_columns(columns, len(sizes))


def _check_keys(keys: list[bytes], index: int) -> None:
    if len(set(keys)) < len(keys) or not _NEEDED <= set(keys) <= _BLOCK:
        raise ValueError(f"expected each key of a tree once and no others, got other ones in the tree {index}")


def _fill_columns(columns: dict[bytes, list[bytes]], n_trees: int) -> dict[bytes, list[bytes]]:
    return {key: columns.get(key, []) + [b""] * (n_trees - len(columns.get(key, ()))) for key in _READ}


def _read_trees(data: bytes, start: int, sizes: list[int]) -> dict[str, np.ndarray]:
    """The numbers of all trees by their keys in the file, tree after tree, without those that predict nothing.

    n_leaves, n_sets, n_words, is_linear, n_terms: int64 or bool, one for each tree; of T trees and L leaves the numbers
    of splits are L - T, those of leaves L. leaf_const and num_features only hold those of linear trees, cat_boundaries
    n_sets + 1 for each tree with sets. Float64 or int64. Raises LookupError, ValueError, and Unscorable (TOO_LARGE).
    """
    columns = _read_columns(data, start, sizes)
    if columns[b"Tree"] != [b"%d" % index for index in range(len(sizes))]:
        raise ValueError("expected trees in the order of their numbers, got another order")
    n_leaves, n_sets = _parse_counts(columns, b"num_leaves"), _parse_counts(columns, b"num_cat")
    is_linear = _parse_counts(columns, b"is_linear")
    if len(n_leaves) and (n_leaves.min() < 1 or is_linear.max() > 1):
        raise ValueError("expected trees with leaves, and 0 or 1 as is_linear, got something else")
    n_words = _count_texts(columns[b"cat_threshold"])
    if ((n_sets > 0) != (n_words > 0)).any():
        raise ValueError("expected cat_threshold where num_cat is above 0, and only there")
    for key in (b"leaf_features", b"leaf_coeff") if is_linear.any() else ():  # with two spaces between leaves
        if _count_texts(columns[key]).sum() > 2 * (MOST_TERMS + MOST_LEAVES):
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {MOST_TERMS} terms, got more")
        columns[key] = [b" ".join(text.split()) for text in columns[key]]
    n_terms = np.where(is_linear > 0, _count_texts(columns[b"leaf_features"]), 0)
    limits = {"leaves": (n_leaves, MOST_LEAVES), "words": (n_words, MOST_WORDS), "terms": (n_terms, MOST_TERMS)}
    for name, (counts, most) in limits.items():
        if counts.sum() > most:
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {most} {name}, got {counts.sum()}")
    n_linear, n_bounds = np.where(is_linear > 0, n_leaves, 0), np.where(n_words > 0, n_sets + 1, 0)
    wholes = dict.fromkeys((b"split_feature", b"decision_type", b"left_child", b"right_child"), n_leaves - 1)
    wholes |= {b"cat_boundaries": n_bounds, b"cat_threshold": n_words, b"num_features": n_linear}
    reals = {b"threshold": n_leaves - 1, b"leaf_value": n_leaves, b"leaf_const": n_linear, b"leaf_coeff": n_terms}
    counted = {"n_leaves": n_leaves, "n_sets": n_sets, "n_words": n_words, "n_terms": n_terms}
    return (
        counted
        | {"is_linear": is_linear > 0}
        | _parse_numbers(columns, wholes | {b"leaf_features": n_terms}, pa.int64())
        | _parse_numbers(columns, reals, pa.float64())
    )


def _parse_counts(columns: dict[bytes, list[bytes]], key: bytes) -> np.ndarray:
    """A count for each tree; 0 where there is none."""
    texts = columns[key]
    if any(len(text) > _LONGEST_COUNT for text in texts) or b"".join(texts).strip(b"0123456789"):
        raise ValueError(f"expected counts as {key.decode()}, got something else")
    return np.array([int(text or b"0") for text in texts], np.int64)


def _count_texts(texts: list[bytes]) -> np.ndarray:
    return np.array([text.count(b" ") + 1 if text else 0 for text in texts], np.int64)


def _parse_numbers(
    columns: dict[bytes, list[bytes]], counts: dict[bytes, np.ndarray], kind: pa.DataType
) -> dict[str, np.ndarray]:
    """The numbers under the keys of *counts*, which says how many each tree has; parsed in one go.

    Rounded as Python's own `float`. Raises ValueError.
    """
    for key, expected in counts.items():
        if [text != b"" for text in columns[key]] != (expected > 0).tolist():
            raise ValueError(f"expected a number of {key.decode()} for each part of a tree, got other ones")
    text = b"\n".join([text for key in counts for text in columns[key] if text])
    expected = np.concatenate([*counts.values(), np.zeros(0, np.int64)])
    expected = expected[expected > 0]
    if len(text) > _LONGEST_NUMBER * expected.sum():
        raise ValueError("expected numbers, got texts that are longer than those")
    content = np.frombuffer(text, np.uint8)
    is_border = (content == _SPACE) | (content == _NEW_LINE)
    borders = np.flatnonzero(is_border)
    line_ends = np.append(np.flatnonzero(content[borders] == _NEW_LINE), len(borders))
    if len(expected) and (np.diff(line_ends, prepend=-1) != expected).any():
        keys = b", ".join(counts).decode()
        raise ValueError(f"expected as many numbers as a tree has parts, got another number of {keys}")
    values = _cast_texts(text, borders, kind) if len(expected) else np.empty(0, kind.to_pandas_dtype())
    ends = np.cumsum([part.sum() for part in counts.values()])
    return {key.decode(): part for key, part in zip(counts, np.split(values, ends[:-1]), strict=True)}


def _cast_texts(text: bytes, borders: np.ndarray, kind: pa.DataType) -> np.ndarray:
    """The numbers in a text, between which there is one byte each, at *borders*. Raises ValueError."""
    count = len(borders) + 1
    offsets = np.zeros(count + 1, np.int32)
    offsets[1:count] = borders - np.arange(len(borders))
    offsets[count] = len(text) - len(borders)
    compact = text.replace(b" ", b"").replace(b"\n", b"")
    return view_numbers(pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(compact)).cast(kind))


def _read_categories(tail: bytes, release: str) -> list[Any]:
    """The categories of each category column of the pandas frame that it was fitted on. Raises ValueError.

    A booster of the command line or of R says nothing about pandas. All since v3 write their parameters, so that a
    text without their end was cut.
    """
    body, mark, last = tail.rpartition(_END_OF_PARAMETERS)
    if not mark:
        if release != VERSIONS[0] or _PARAMETERS in tail:
            raise ValueError("expected the end of its parameters, got none: it is cut")
        body, mark, last = tail.rpartition(_PANDAS)
        last = mark[1:] + last if mark else b""
    match = _LAST.fullmatch(last)
    if match is None or _PANDAS in body:
        raise ValueError("expected nothing but pandas_categorical behind its parameters, got something else")
    categories = json.loads(match[1]) if match[1] is not None else None
    if not isinstance(categories, list | NoneType) or not all(isinstance(part, list) for part in categories or ()):
        raise ValueError("expected lists of categories as pandas_categorical, got something else")
    return categories or []
