"""The text of a LightGBM booster -> its trees as arrays of numbers, and what its head says. LightGBM is not asked.

A head of `key=value` lines, then a block for each tree, of as many bytes as `tree_sizes` says, `end of trees`, then
importances, parameters, and the categories of the frame that it was fitted on:
https://github.com/microsoft/LightGBM/blob/master/src/boosting/gbdt_model_text.cpp. LightGBM trusts these sizes and
numbers, and ends its process over some that were changed; here `lightgbm_trees` counts what it reads of a block.
"""

from __future__ import annotations

import json
import re
from types import NoneType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files.parsed import ParsedObject
from shared.contract.reasons import Reason

from .lightgbm_trees import read_trees

CLASSIFIER, REGRESSOR = "lightgbm.classifier", "lightgbm.regressor"  # the kinds
VERSIONS = ("v2", "v3", "v4")  # LightGBM 2.1 to 4.7
MOST_TREES = 2**17
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
    n_category_columns, of a frame whose values were replaced by codes; trees: arrays, see `read_trees`.

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
    trees, end = read_trees(data, start, sizes), start + sum(sizes)
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
