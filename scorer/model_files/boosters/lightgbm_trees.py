"""The blocks of the trees of a LightGBM text -> arrays of numbers over all trees, tree after tree.

`Tree::ToString` in LightGBM's src/io/tree.cpp writes them, a line for each key. Nothing of a block is used before it
was counted, and the numbers of all trees are parsed at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate

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
_TENS = 10 ** np.arange(1, _LONGEST_COUNT + 1)

# Where the text behind a key begins and ends in the file: int64[trees] each; equal where a tree has none.
_Spans = Mapping[bytes, tuple[np.ndarray, np.ndarray]]


def read_trees(data: bytes, start: int, sizes: list[int]) -> dict[str, np.ndarray]:
    """The numbers of all trees by their keys in the file, without those that predict nothing.

    *start*: of the first tree in *data*; *sizes*: the bytes of each tree.

    n_leaves, n_sets, n_words, is_linear, n_terms: int64 or bool, one for each tree; of T trees and L leaves the numbers
    of splits are L - T, those of leaves L. leaf_const and num_features only hold those of linear trees, cat_boundaries
    n_sets + 1 for each tree with sets. Float64 or int64. Raises LookupError, ValueError, and Unscorable (TOO_LARGE).
    """
    end = start + sum(sizes)
    if data[end : end + len(_END)] != _END:
        raise ValueError(f"expected 'end of trees' behind {len(sizes)} trees, got something else: it is cut or changed")
    spans = _find_spans(data, start, sizes)
    numbers, n_leaves, n_sets, is_linear = _parse_counts(
        data, spans, (b"Tree", b"num_leaves", b"num_cat", b"is_linear")
    )
    order, lengths = np.arange(len(sizes)), spans[b"Tree"][1] - spans[b"Tree"][0]
    if not (np.array_equal(numbers, order) and np.array_equal(lengths, np.searchsorted(_TENS, order, "right") + 1)):
        raise ValueError("expected trees in the order of their numbers, got another order")
    if sizes and (n_leaves.min() < 1 or is_linear.max() > 1):
        raise ValueError("expected trees with leaves, and 0 or 1 as is_linear, got something else")
    none, linear = np.zeros(len(sizes), np.int64), is_linear > 0
    n_words = _count_texts(_list_texts(data, spans, b"cat_threshold")) if b"cat_threshold" in spans else none
    if not np.array_equal(n_sets > 0, n_words > 0):
        raise ValueError("expected cat_threshold where num_cat is above 0, and only there")
    terms = _list_terms(data, spans) if linear.any() else {}
    n_terms = np.where(linear, _count_texts(terms[b"leaf_features"]), 0) if terms else none
    limits = {"leaves": (n_leaves, MOST_LEAVES), "words": (n_words, MOST_WORDS), "terms": (n_terms, MOST_TERMS)}
    for name, (counts, most) in limits.items():
        if counts.sum() > most:
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {most} {name}, got {counts.sum()}")
    n_splits, n_linear = n_leaves - 1, np.where(linear, n_leaves, 0)
    n_bounds = np.where(n_words > 0, n_sets + 1, 0) if n_words.any() else none
    wholes = dict.fromkeys((b"split_feature", b"decision_type", b"left_child", b"right_child"), n_splits)
    wholes |= {b"cat_boundaries": n_bounds, b"cat_threshold": n_words, b"num_features": n_linear}
    reals = {b"threshold": n_splits, b"leaf_value": n_leaves, b"leaf_const": n_linear}
    parse = partial(_parse_numbers, data, spans, terms)
    return (
        {"n_leaves": n_leaves, "n_sets": n_sets, "n_words": n_words, "n_terms": n_terms, "is_linear": linear}
        | parse(wholes | {b"leaf_features": n_terms}, pa.int64())
        | parse(reals | {b"leaf_coeff": n_terms}, pa.float64())
    )


def _find_spans(data: bytes, start: int, sizes: list[int]) -> _Spans:
    """Where the texts of `_READ` are, as far as trees have them; those of `_NEEDED` are there."""
    if not sizes:
        return dict.fromkeys(_NEEDED, (np.zeros(0, np.int64), np.zeros(0, np.int64)))
    is_end = np.frombuffer(data, np.uint8, sum(sizes), start) == _NEW_LINE
    if np.count_nonzero(is_end) > len(sizes) * _MOST_LINES:
        raise ValueError("expected trees of few lines, got more lines than a tree has")
    spans = _find_equal_spans(data, start, sizes, np.flatnonzero(is_end) + start)
    return _find_different_spans(data, start, sizes) if spans is None else spans


def _find_equal_spans(data: bytes, start: int, sizes: list[int], ends: np.ndarray) -> _Spans | None:
    """The spans of trees that all have the same keys in one order, as those of most boosters; None for others.

    *ends*: of all lines in the file. The first bytes of all lines are compared at once.
    """
    keys = [line.partition(b"=")[0] for line in data[start : start + sizes[0]].split(b"\n")[:-1]]
    if keys[-2:] != [b"", b""] or b"" in keys[:-2] or len(ends) != len(sizes) * len(keys):
        return None
    _check_keys(keys[:-2], 0)
    starts = np.concatenate((np.full(1, start), ends[:-1] + 1)).reshape(len(sizes), len(keys))
    ends = ends.reshape(starts.shape)
    n_windows = len(data) - _KEY_BYTES + 1
    if not np.array_equal(ends[:, -1] + 1, start + np.cumsum(sizes)) or starts[-1, -1] >= n_windows:
        return None
    windows = np.ndarray((n_windows,), f"V{_KEY_BYTES}", data, 0, (1,))
    prefixes = [key + b"=" if key else b"\n" for key in keys]
    expected, masks = (
        np.frombuffer(b"".join([part.ljust(_KEY_BYTES, b"\0") for part in parts]), np.uint64)
        for parts in (prefixes, [b"\xff" * len(prefix) for prefix in prefixes])
    )
    if (windows[starts].view(np.uint64) & masks != expected).any():
        return None
    firsts = starts + np.array([len(prefix) for prefix in prefixes])
    return {key: (firsts[:, i], ends[:, i]) for i, key in enumerate(keys) if key in _READ}


def _find_different_spans(data: bytes, start: int, sizes: list[int]) -> _Spans:
    """The spans of trees with different keys."""
    spans: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for index, size in enumerate(sizes):
        block = data[start : start + size]
        if not block.startswith(b"Tree=%d\n" % index) or not block.endswith(b"\n\n"):
            raise ValueError(f"expected the tree {index} where tree_sizes says, got {block[:40]!r}")
        lines = block.rstrip(b"\n").split(b"\n")
        keys = [line.partition(b"=")[0] for line in lines]
        _check_keys(keys, index)
        first = start
        for key, line in zip(keys, lines, strict=True):
            if key in _READ:
                if key not in spans:
                    spans[key] = np.zeros(len(sizes), np.int64), np.zeros(len(sizes), np.int64)
                firsts, ends = spans[key]
                firsts[index], ends[index] = first + min(len(key) + 1, len(line)), first + len(line)
            first += len(line) + 1
        start += size
    return spans


def _check_keys(keys: list[bytes], index: int) -> None:
    if len(set(keys)) < len(keys) or not _NEEDED <= set(keys) <= _BLOCK:
        raise ValueError(f"expected each key of a tree once and no others, got other ones in the tree {index}")


def _parse_counts(data: bytes, spans: _Spans, keys: Sequence[bytes]) -> np.ndarray:
    """A count for each key and tree, int64[keys, trees]; 0 where there is none. Raises ValueError."""
    none = spans[b"Tree"][:1] * 2
    first, end = (np.stack(parts) for parts in zip(*(spans.get(key, none) for key in keys), strict=True))
    content, counts, longest = (
        np.frombuffer(data, np.uint8),
        np.zeros(first.shape, np.int64),
        (end - first).max(initial=0),
    )
    if longest > _LONGEST_COUNT:
        raise ValueError(f"expected counts of at most {_LONGEST_COUNT} digits, got a longer text")
    for place in range(int(longest)):  # from the last digit on
        at = end - 1 - place
        digits = np.where(at >= first, content[at] - np.uint8(ord("0")), np.uint8(0))  # of a text 10 or more
        if (digits > 9).any():  # noqa: PLR2004  # the largest digit
            raise ValueError(f"expected counts as {b', '.join(keys).decode()}, got something else")
        counts += digits.astype(np.int64) * 10**place
    return counts


def _list_texts(data: bytes, spans: _Spans, key: bytes) -> list[bytes]:
    """The text of each tree."""
    firsts, ends = spans[key]
    return list(map(data.__getitem__, map(slice, firsts.tolist(), ends.tolist())))


def _count_texts(texts: list[bytes]) -> np.ndarray:
    """How many texts between spaces each text has."""
    return np.array([text.count(b" ") + 1 if text else 0 for text in texts], np.int64)


def _list_terms(data: bytes, spans: _Spans) -> dict[bytes, list[bytes]]:
    """What linear leaves hold, with one space between numbers: LightGBM writes two between leaves."""
    terms = {key: _list_texts(data, spans, key) for key in (b"leaf_features", b"leaf_coeff")}
    for texts in terms.values():
        if _count_texts(texts).sum() > 2 * (MOST_TERMS + MOST_LEAVES):
            raise Unscorable(Reason.TOO_LARGE, f"expected a booster of at most {MOST_TERMS} terms, got more")
    return {key: [b" ".join(text.split()) for text in texts] for key, texts in terms.items()}


def _parse_numbers(
    data: bytes,
    spans: _Spans,
    terms: Mapping[bytes, list[bytes]],
    counts: Mapping[bytes, np.ndarray],
    kind: pa.DataType,
) -> dict[str, np.ndarray]:
    """The numbers under the keys of *counts*, which says how many each tree has; parsed in one go.

    *terms*: texts of some keys that are not those of the file. Rounded as Python's own `float`. Raises ValueError.
    """
    texts, totals = list[bytes](), dict[bytes, int]()
    for key, expected in counts.items():
        totals[key] = int(expected.sum())
        if not (totals[key] or key in spans):
            continue
        column = terms[key] if key in terms else _list_texts(data, spans, key) if key in spans else []
        if not (column and all(column) and expected.all()):
            if [text != b"" for text in column or [b""] * len(expected)] != (expected > 0).tolist():
                raise ValueError(f"expected a number of {key.decode()} for each part of a tree, got other ones")
            column = [text for text in column if text]
        texts += column
    text, n_numbers = b"\n".join(texts), sum(totals.values())
    texts.clear()
    by_line = np.concatenate([expected for key, expected in counts.items() if totals[key]] or [np.zeros(0, np.int64)])
    by_line = by_line[by_line > 0]
    if len(text) > _LONGEST_NUMBER * n_numbers:
        raise ValueError("expected numbers, got texts that are longer than those")
    content = np.frombuffer(text, np.uint8)
    borders = np.flatnonzero((content == _SPACE) | (content == _NEW_LINE))
    last = np.cumsum(by_line)[:-1] - 1  # of the borders: the ends of lines
    if len(borders) != max(n_numbers - 1, 0) or (content[borders[last]] != _NEW_LINE).any():
        keys = b", ".join(counts).decode()
        raise ValueError(f"expected as many numbers as a tree has parts, got another number of {keys}")
    values = _cast_texts(text, borders, kind) if n_numbers else np.empty(0, kind.to_pandas_dtype())
    ends = list(accumulate(totals.values()))
    return {key.decode(): values[end - totals[key] : end] for key, end in zip(totals, ends, strict=True)}


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
