# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined, assignment"
# ruff: noqa: ANN001, ANN201, C901, PLR0911, PLR0912, PLR0913, PLR0915, PLR0917, PLR1714, PLR2004, SIM109
# The reason for the first line: see numba_backend. What follows in a text or record stands in one function: calls would
# return a tuple for each value.
"""Many rows of one form out of bytes: lines of flat JSON, and records of Avro whose fields are single values.

Strict: whatever is not exactly of that form ends the work, and a reader of any JSON or Avro takes the bytes.
"""

from __future__ import annotations

import numpy as np

TEXT, WHOLE, FRACTION, NULL = 1, 2, 4, 8  # what the values of a key are
_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = 34, 92, 44, 58, 123, 125
_NEWLINE, _RETURN, _SPACE, _TAB = 10, 13, 32, 9
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _E, _SMALL_E, _N, _U, _L = 45, 43, 46, 48, 57, 69, 101, 110, 117, 108


def strip_keys(begin, end, text, keys, key_ends, kinds, out, counts):
    """Write the lines of text[begin:end], of flat JSON, as CSV without their keys: the same in each, in the same order.

    Each value that is written is a whole number, a number, a text without escapes between its quotes, or null. *counts*
    gets the bytes that were written, and the number of lines: -1 where a line is another one. *out* has a byte more
    than the text: a value is never longer than the part of the line that it is from.
    """
    counts[1] = -1
    size, p, w, rows = end, begin, 0, 0
    while p < size:
        if text[p] != _OPEN:
            return
        p += 1
        key = 0
        for k in range(len(key_ends)):
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            length = key_ends[k] - key
            if p + length + 3 >= size or text[p] != _QUOTE or text[p + length + 1] != _QUOTE:
                return
            for j in range(length):
                if text[p + 1 + j] != keys[key + j]:
                    return
            key, p = key_ends[k], p + length + 2
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if p >= size or text[p] != _COLON:
                return
            p += 1
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if p >= size:
                return
            first = p
            if text[p] == _QUOTE:
                kinds[k] |= TEXT
                p += 1
                while p < size and text[p] != _QUOTE:
                    if text[p] < _SPACE or text[p] == _BACKSLASH:
                        return
                    p += 1
                p += 1
            elif text[p] == _N:
                if p + 4 >= size or text[p + 1] != _U or text[p + 2] != _L or text[p + 3] != _L:
                    return
                kinds[k] |= NULL
                p += 4
            else:
                kind = WHOLE
                if text[p] == _MINUS:
                    p += 1
                digits = p
                while p < size and _ZERO <= text[p] <= _NINE:
                    p += 1
                if p == digits or p >= size or (text[digits] == _ZERO and p > digits + 1):
                    return
                is_zero = text[digits] == _ZERO
                if text[p] == _POINT:
                    kind = FRACTION
                    p += 1
                    digits = p
                    while p < size and _ZERO <= text[p] <= _NINE:
                        p += 1
                    if p == digits or p >= size:
                        return
                if text[p] == _E or text[p] == _SMALL_E:
                    kind = FRACTION
                    p += 1
                    if p < size and (text[p] == _PLUS or text[p] == _MINUS):
                        p += 1
                    digits = p
                    while p < size and _ZERO <= text[p] <= _NINE:
                        p += 1
                    if p == digits:
                        return
                if kind == WHOLE and is_zero and text[first] == _MINUS:  # a whole number has no sign of zero
                    return
                kinds[k] |= kind
            if p >= size:
                return
            for j in range(first, p):
                out[w] = text[j]
                w += 1
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if k < len(key_ends) - 1:
                if p >= size or text[p] != _COMMA:
                    return
                p += 1
                out[w] = _COMMA
                w += 1
        if p >= size or text[p] != _CLOSE:
            return
        p += 1
        while p < size and (text[p] == _SPACE or text[p] == _TAB or text[p] == _RETURN):
            p += 1
        if p < size:
            if text[p] != _NEWLINE:
                return
            p += 1
        out[w] = _NEWLINE
        w += 1
        rows += 1
    counts[0], counts[1] = w, rows


_FIRST_TIME = -(2**63)  # before any: NO_TIME is not among rows that are selected
_WHOLE_FIELD, _FLOAT_FIELD, _DOUBLE_FIELD, _TEXT_FIELD = 1, 2, 3, 4  # as in `rows`; 0 is a truth value


def decode_records(
    begin, end, data, block_ends, block_records, kinds, null_branch, slots, bits, sizes, is_null, counts
):
    """Write 1 to *counts* where all blocks are whole records, else 0.

    The blocks begin..end follow each other from the first byte of *data* on. The cell of a record goes to the row of
    its field's slot; -1: nowhere.

    https://avro.apache.org/docs/1.12.0/specification/#binary-encoding. *bits*: a number, the bits of one with a
    fraction, or where a text begins; *sizes*: the bytes of a text.
    """
    counts[0] = 0
    p, row = 0, 0
    for block in range(begin, end):
        block_end = block_ends[block]
        for _ in range(block_records[block]):
            for field in range(len(kinds)):
                slot = slots[field]
                if null_branch[field] >= 0:  # a union of null and the type: 0 or 1, as a number of one byte
                    if p >= block_end or (data[p] != 0 and data[p] != 2):
                        return
                    is_absent = (data[p] >> 1) == null_branch[field]
                    p += 1
                    if is_absent:
                        if slot >= 0:
                            is_null[slot, row] = True
                        continue
                kind = kinds[field]
                value, size = np.int64(0), 0
                if kind == _WHOLE_FIELD or kind == _TEXT_FIELD:
                    shift = 0
                    while True:
                        if p >= block_end or shift > 56:  # 9 bytes at most: of longer ones the other reader decides
                            return
                        byte = np.int64(data[p])
                        p += 1
                        value |= (byte & 0x7F) << shift
                        if byte < 0x80:
                            break
                        shift += 7
                    value = (value >> 1) ^ -(value & 1)
                    if kind == _TEXT_FIELD:
                        size = value
                        if size < 0 or size > block_end - p:
                            return
                        value = np.int64(p)
                        p += size
                else:
                    size = 8 if kind == _DOUBLE_FIELD else 4 if kind == _FLOAT_FIELD else 1
                    if size > block_end - p:
                        return
                    for place in range(size):
                        value |= np.int64(data[p + place]) << (8 * place)
                    p += size
                    if size == 1 and value > 1:
                        return
                if slot >= 0:
                    bits[slot, row] = value
                    sizes[slot, row] = size
            row += 1
        if p != block_end:
            return
    counts[0] = 1


def copy_texts(begin, end, data, starts, sizes, out):
    """Write the texts begin..end one behind the other."""
    w = 0
    for row in range(begin, end):
        start = starts[row]
        for place in range(sizes[row]):
            out[w] = data[start + place]
            w += 1


def order_by_key(begin, end, keys, time, ends, last, order, counts):
    """Write the stable order of the rows begin..end by key, and to *counts* 1 where each key's times ascend, else 0.

    *ends*, of a number more than there are keys, and *last*: scratch, of which *ends* is 0.
    """
    counts[0] = 0
    for row in range(begin, end):
        ends[keys[row] + 1] += 1
    for key in range(1, len(ends)):
        ends[key] += ends[key - 1]
    for key in range(len(last)):
        last[key] = _FIRST_TIME
    for row in range(begin, end):
        key = keys[row]
        if time[row] <= last[key]:
            return
        last[key] = time[row]
        order[ends[key]] = row
        ends[key] += 1
    counts[0] = 1
