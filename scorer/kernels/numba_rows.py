# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN202, C901, PLR0911, PLR0912, PLR0913, PLR0915, PLR0917, PLR1714, PLR2004, SIM109
# The reason for the first line: see numba_backend. What follows in a text or record stands in one function: calls would
# return a tuple for each value.
"""Many rows of one form out of bytes: lines of flat JSON, and records of Avro whose fields are single values.

Strict: whatever is not exactly of that form ends the work, and a reader of any JSON or Avro takes the bytes.
"""

from __future__ import annotations

from numba import boolean, int32, int64, types, uint8, void

from .numba_cache import compile_kernel, mark_readonly

TEXT, WHOLE, FRACTION, NULL = 1, 2, 4, 8  # what the values of a key are
_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = 34, 92, 44, 58, 123, 125
_NEWLINE, _RETURN, _SPACE, _TAB = 10, 13, 32, 9
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _E, _SMALL_E, _N, _U, _L = 45, 43, 46, 48, 57, 69, 101, 110, 117, 108


def _strip_keys(text, keys, key_ends, kinds, out):
    """Write lines of flat JSON as CSV, without the keys, which are the same in each and in the same order.

    Each value that is written is a whole number, a number, a text without escapes between its quotes, or null. Returns
    the bytes that were written, and the number of lines: -1 where a line is another one. *out* has a byte more than
    *text*: a value is never longer than the part of the line that it is from.
    """
    size, p, w, rows = len(text), 0, 0, 0
    while p < size:
        if text[p] != _OPEN:
            return w, -1
        p += 1
        begin = 0
        for k in range(len(key_ends)):
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            length = key_ends[k] - begin
            if p + length + 3 >= size or text[p] != _QUOTE or text[p + length + 1] != _QUOTE:
                return w, -1
            for j in range(length):
                if text[p + 1 + j] != keys[begin + j]:
                    return w, -1
            begin, p = key_ends[k], p + length + 2
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if p >= size or text[p] != _COLON:
                return w, -1
            p += 1
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if p >= size:
                return w, -1
            first = p
            if text[p] == _QUOTE:
                kinds[k] |= TEXT
                p += 1
                while p < size and text[p] != _QUOTE:
                    if text[p] < _SPACE or text[p] == _BACKSLASH:
                        return w, -1
                    p += 1
                p += 1
            elif text[p] == _N:
                if p + 4 >= size or text[p + 1] != _U or text[p + 2] != _L or text[p + 3] != _L:
                    return w, -1
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
                    return w, -1
                is_zero = text[digits] == _ZERO
                if text[p] == _POINT:
                    kind = FRACTION
                    p += 1
                    digits = p
                    while p < size and _ZERO <= text[p] <= _NINE:
                        p += 1
                    if p == digits or p >= size:
                        return w, -1
                if text[p] == _E or text[p] == _SMALL_E:
                    kind = FRACTION
                    p += 1
                    if p < size and (text[p] == _PLUS or text[p] == _MINUS):
                        p += 1
                    digits = p
                    while p < size and _ZERO <= text[p] <= _NINE:
                        p += 1
                    if p == digits:
                        return w, -1
                if kind == WHOLE and is_zero and text[first] == _MINUS:  # a whole number has no sign of zero
                    return w, -1
                kinds[k] |= kind
            if p >= size:
                return w, -1
            for j in range(first, p):
                out[w] = text[j]
                w += 1
            while p < size and (text[p] == _SPACE or text[p] == _TAB):
                p += 1
            if k < len(key_ends) - 1:
                if p >= size or text[p] != _COMMA:
                    return w, -1
                p += 1
                out[w] = _COMMA
                w += 1
        if p >= size or text[p] != _CLOSE:
            return w, -1
        p += 1
        while p < size and (text[p] == _SPACE or text[p] == _TAB or text[p] == _RETURN):
            p += 1
        if p < size:
            if text[p] != _NEWLINE:
                return w, -1
            p += 1
        out[w] = _NEWLINE
        w += 1
        rows += 1
    return w, rows


_FIRST_TIME = -(2**63)  # before any: NO_TIME is not among rows that are selected
_WHOLE_FIELD, _FLOAT_FIELD, _DOUBLE_FIELD, _TEXT_FIELD = 1, 2, 3, 4  # as in `rows`; 0 is a truth value


def _decode_records(data, block_ends, block_records, kinds, null_branch, slots, bits, sizes, is_null):
    """Whether all blocks are whole records. The cell of a record goes to the row of its field's slot; -1: nowhere.

    https://avro.apache.org/docs/1.12.0/specification/#binary-encoding. *bits*: a number, the bits of one with a
    fraction, or where a text begins; *sizes*: the bytes of a text.
    """
    p, row = 0, 0
    for block in range(len(block_ends)):
        end = block_ends[block]
        for _ in range(block_records[block]):
            for field in range(len(kinds)):
                slot = slots[field]
                if null_branch[field] >= 0:  # a union of null and the type: 0 or 1, as a number of one byte
                    if p >= end or (data[p] != 0 and data[p] != 2):
                        return False
                    is_absent = (data[p] >> 1) == null_branch[field]
                    p += 1
                    if is_absent:
                        if slot >= 0:
                            is_null[slot, row] = True
                        continue
                kind = kinds[field]
                value, size = int64(0), 0
                if kind == _WHOLE_FIELD or kind == _TEXT_FIELD:
                    shift = 0
                    while True:
                        if p >= end or shift > 56:  # 9 bytes at most: of longer ones the other reader decides
                            return False
                        byte = int64(data[p])
                        p += 1
                        value |= (byte & 0x7F) << shift
                        if byte < 0x80:
                            break
                        shift += 7
                    value = (value >> 1) ^ -(value & 1)
                    if kind == _TEXT_FIELD:
                        size = value
                        if size < 0 or size > end - p:
                            return False
                        value = int64(p)
                        p += size
                else:
                    size = 8 if kind == _DOUBLE_FIELD else 4 if kind == _FLOAT_FIELD else 1
                    if size > end - p:
                        return False
                    for place in range(size):
                        value |= int64(data[p + place]) << (8 * place)
                    p += size
                    if size == 1 and value > 1:
                        return False
                if slot >= 0:
                    bits[slot, row] = value
                    sizes[slot, row] = size
            row += 1
        if p != end:
            return False
    return True


def _copy_texts(data, starts, sizes, out):
    """Write texts one behind the other."""
    w = 0
    for row in range(len(starts)):
        begin = starts[row]
        for place in range(sizes[row]):
            out[w] = data[begin + place]
            w += 1


def _order_by_key(keys, time, ends, last, order):
    """Write the stable order of keys; whether the times of each key are ascending in it, and differ.

    *ends*, of a number more than there are keys, and *last*: scratch, of which *ends* is 0.
    """
    for row in range(len(keys)):
        ends[keys[row] + 1] += 1
    for key in range(1, len(ends)):
        ends[key] += ends[key - 1]
    for key in range(len(last)):
        last[key] = _FIRST_TIME
    for row in range(len(keys)):
        key = keys[row]
        if time[row] <= last[key]:
            return False
        last[key] = time[row]
        order[ends[key]] = row
        ends[key] += 1
    return True


_BYTES, _INDICES, _WRITTEN = mark_readonly(uint8), mark_readonly(int64), types.Array(uint8, 1, "C")
_CELLS, _FLAGS = types.Array(int64, 2, "C"), types.Array(boolean, 2, "C")

strip_keys = compile_kernel(
    _strip_keys, types.UniTuple(int64, 2)(_BYTES, _BYTES, _INDICES, _WRITTEN, _WRITTEN)
)  # fmt: skip
decode_records = compile_kernel(
    _decode_records, boolean(_BYTES, _INDICES, _INDICES, _INDICES, _INDICES, _INDICES, _CELLS, _CELLS, _FLAGS)
)
copy_texts = compile_kernel(_copy_texts, void(_BYTES, _INDICES, _INDICES, _WRITTEN))
order_by_key = compile_kernel(
    _order_by_key,
    boolean(mark_readonly(int32), _INDICES, types.Array(int64, 1, "C"), types.Array(int64, 1, "C"),
            types.Array(int64, 1, "C")),
)  # fmt: skip
