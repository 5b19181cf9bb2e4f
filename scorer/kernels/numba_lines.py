# mypy: disable-error-code="no-untyped-def, no-untyped-call, import-untyped, misc, attr-defined"
# ruff: noqa: ANN001, ANN202, C901, PLR0911, PLR0912, PLR0915
# The reason for the first line: see numba_backend. The states of a text follow each other in one function: calls would
# return a tuple for each value.
"""Lines of flat JSON whose objects have the same keys in the same order -> lines of CSV, without the keys.

Strict: whatever is not exactly such a line ends the work, and a reader of any JSON takes the text. So each value that
is written is a whole number, a number, a text without escapes between its quotes, or null.
"""

from __future__ import annotations

from numba import int64, types, uint8

from .numba_cache import compile_kernel, mark_readonly

TEXT, WHOLE, FRACTION, NULL = 1, 2, 4, 8  # what the values of a key are
_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE = 34, 92, 44, 58, 123, 125
_NEWLINE, _RETURN, _SPACE, _TAB = 10, 13, 32, 9
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _E, _SMALL_E, _N, _U, _L = 45, 43, 46, 48, 57, 69, 101, 110, 117, 108


def _strip_keys(text, keys, key_ends, kinds, out):
    """Write the lines; returns the bytes that were written, and the number of lines: -1 where a line is another one.

    *out* has a byte more than *text*: a value is never longer than the part of the line that it is from.
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


_SIGNATURE = types.UniTuple(int64, 2)(
    mark_readonly(uint8), mark_readonly(uint8), mark_readonly(int64), types.Array(uint8, 1, "C"),
    types.Array(uint8, 1, "C"),
)  # fmt: skip

strip_keys = compile_kernel(_strip_keys, _SIGNATURE)
