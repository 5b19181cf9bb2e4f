"""The text of JSON, whatever its layout -> lines with an object each. Knows brackets, quotes and commas only.

Arrays of objects become lines, and a value over several lines becomes one. What is nested deeply is refused here,
before a parser sees it: thousands of levels overflow the stack in pyarrow and end the process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from scorer.readings.cells import make_unreadable

NESTED_LIMIT = 200  # levels of a JSON value
LINE_LIMIT = 64 * 2**20  # bytes of an object
BLOCK = 2**20  # bytes that are parsed at once, about
_SCAN = 4 * 2**20  # bytes that are looked at at once

_QUOTE, _OPENING, _CLOSING, _COMMA, _NEWLINE = range(1, 6)
_KINDS = np.zeros(256, np.uint8)
for _kind, _characters in enumerate((b'"', b"{[", b"}]", b",", b"\n"), 1):
    _KINDS[list(_characters)] = _kind
_BACKSLASHES = re.compile(rb"\\*")
_PART = re.compile(r'[^{}\[\]"]{0,12}')  # of a number, a word or an escape

# What may follow what among the marks of an array: its brackets, the braces of its objects, and the commas between.
_START, _END, _OPEN, _CLOSE, _BETWEEN = range(5)
_FOLLOWS = np.zeros((5, 5), bool)
for _mark, _next in [
    (_START, _OPEN), (_START, _END), (_OPEN, _CLOSE), (_CLOSE, _BETWEEN), (_CLOSE, _END), (_BETWEEN, _OPEN),
    (_END, _START),
]:  # fmt: skip
    _FOLLOWS[_mark, _next] = True


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Lines with one object each, and blank ones. *starts*: where the objects begin, if the text was rewritten."""

    data: bytes
    is_cut: bool = False  # the text ends in an object or an array that is not closed, which is left out
    starts: np.ndarray | None = None  # int64


def split_objects(data: bytes) -> JsonLines:
    """The objects of a text without those that its end cuts. Raises Unscorable."""
    body = data.strip()
    if _has_plain_lines(body):
        last = body[body.rfind(b"\n") + 1 :]
        if data.endswith(b"\n") or not _is_open(last):
            return JsonLines(_check_lengths(body))
        return JsonLines(_check_lengths(body[: len(body) - len(last)]), is_cut=True)
    lines = _Scanner(data).rewrite()
    _check_lengths(lines.data)
    return lines


def _has_plain_lines(body: bytes) -> bool:
    """Whether each line begins and ends as an object does, and none is nested too deeply.

    A parser is then at depth 0 at the beginning of each line, or has refused the text: after `}` nothing that is not
    closed may go on with `{`, and no text holds an end of line. So the braces of a line limit its depth.
    """
    if not (body.startswith(b"{") and body.endswith(b"}")):
        return False
    if body.count(b"}\n{") + body.count(b"}\r\n{") != body.count(b"\n"):
        return False
    characters = np.frombuffer(body, np.uint8)
    openings = np.flatnonzero((characters | 0x20) == ord("{"))  # and `[`
    if len(openings) <= NESTED_LIMIT:
        return True
    per_line = np.diff(np.searchsorted(openings, _find_bounds(characters)))
    return bool(per_line.max() <= NESTED_LIMIT)


def _find_bounds(characters: np.ndarray) -> np.ndarray:
    """Where lines begin, and the end of the text."""
    return np.concatenate([[0], np.flatnonzero(characters == ord("\n")) + 1, [len(characters)]])


def _check_lengths(data: bytes) -> bytes:
    """Raises Unscorable for an object that is too long."""
    if len(data) > LINE_LIMIT:
        lengths = np.diff(_find_bounds(np.frombuffer(data, np.uint8)))
        if (longest := int(lengths.max())) > LINE_LIMIT:
            raise make_unreadable(
                f"expected objects of at most {LINE_LIMIT >> 20} MiB, got one of {longest / 2**20:.0f} MiB in line "
                f"{int(lengths.argmax()) + 1}"
            )
    return data


def _is_open(line: bytes) -> bool:
    return _Scanner(line).rewrite().is_cut


def check_depth(data: bytes) -> None:
    """Raises Unscorable for a value that is nested too deeply."""
    if data.count(b"[") + data.count(b"{") > NESTED_LIMIT:
        _Scanner(data).rewrite()


def split_blocks(data: bytes) -> Iterator[bytes]:
    """The lines in blocks of about a mebibyte, which hold whole lines."""
    start = 0
    while start < len(data):
        end = data.find(b"\n", min(start + BLOCK, len(data))) + 1 or len(data)
        yield data[start:end]
        start = end


@dataclass(slots=True)
class _Scanner:
    """The state of a scan from block to block, and what it rewrites."""

    data: bytes
    depth: int = 0
    in_text: bool = False
    in_array: bool = False  # the value at the top is an array
    mark: int = _END  # the last of an array
    end: int = 0  # of the last object or array that is closed
    starts: list[np.ndarray] = field(default_factory=list)

    def rewrite(self) -> JsonLines:
        """Raises Unscorable where the text is no JSON that holds objects, as far as its brackets show."""
        result = np.frombuffer(bytearray(self.data), np.uint8)
        start = 0
        while start < len(self.data):
            stop = min(start + _SCAN, len(self.data))
            if self.data[stop - 1] == ord("\\"):
                match = _BACKSLASHES.match(self.data, stop)
                stop = match.end() if match else stop
            self._scan_block(result, start, stop)
            start = stop
        is_cut = self.depth > 0 or self.in_text
        starts = np.concatenate(self.starts) if self.starts else np.zeros(0, np.int64)
        if not is_cut:
            return JsonLines(result.tobytes(), starts=starts)
        rest = self.data[self.end :].lstrip(b"[, \t\r\n")
        if rest and not _is_beginning(rest):
            line = self._find_line(len(self.data) - len(rest))
            raise make_unreadable(f"JSON parse error in line {line}: expected an object, got {rest[:40]!r}")
        return JsonLines(result[: self.end].tobytes(), is_cut=True, starts=starts[starts < self.end])

    def _scan_block(self, result: np.ndarray, start: int, stop: int) -> None:
        """Look at data[start:stop], and change the same part of *result*."""
        positions, kinds = self._find_outside(start, stop)
        changes = (kinds == _OPENING).astype(np.int64) - (kinds == _CLOSING)
        after = self.depth + np.cumsum(changes)
        before = after - changes
        if len(after) and (after.min() < 0 or after.max() > NESTED_LIMIT):
            self._refuse_depth(positions[(after < 0) | (after > NESTED_LIMIT)][0])
        characters = result[positions]
        is_top = (before == 0) & (kinds == _OPENING)
        in_array = self._spread_tops(is_top, characters == ord("["))
        level = in_array.astype(np.int64)  # the depth at which objects begin
        opens = (kinds == _OPENING) & (before == level) & ~(is_top & in_array)
        closes = (kinds == _CLOSING) & (after == level) & (before > level)
        ends_array = in_array & (kinds == _CLOSING) & (after == 0)
        between = in_array & (kinds == _COMMA) & (before == 1)
        self._check_marks(
            positions,
            [(_START, is_top & in_array), (_END, ends_array), (_OPEN, opens & in_array), (_CLOSE, closes & in_array),
             (_BETWEEN, between)],
            opens & in_array & (characters == ord("[")),
        )  # fmt: skip
        result[positions[(kinds == _NEWLINE) & (before > level)]] = ord(" ")
        result[positions[is_top & in_array]] = ord(" ")
        result[positions[ends_array | between]] = ord("\n")
        self.starts.append(positions[opens])
        if (closes | ends_array).any():
            self.end = int(positions[closes | ends_array][-1]) + 1
        if len(after):
            self.depth, self.in_array = int(after[-1]), bool(in_array[-1])

    def _find_outside(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """The brackets, commas and ends of lines that are not within a text: their positions and kinds."""
        characters = np.frombuffer(self.data, np.uint8, stop - start, start)
        all_kinds = _KINDS[characters]
        positions = np.flatnonzero(all_kinds)
        kinds = all_kinds[positions]
        if self.data.find(b"\\", start, stop) >= 0:
            is_escaped = _find_escaped(characters, positions) & (kinds == _QUOTE)
            positions, kinds = positions[~is_escaped], kinds[~is_escaped]
        is_quote = kinds == _QUOTE
        in_text = ((np.cumsum(is_quote) + self.in_text) & 1).astype(bool)
        if len(in_text):
            self.in_text = bool(in_text[-1])
        is_outside = ~in_text & ~is_quote
        return positions[is_outside] + start, kinds[is_outside]

    def _spread_tops(self, is_top: np.ndarray, is_bracket: np.ndarray) -> np.ndarray:
        """For each mark whether the value at the top around it is an array."""
        last = np.maximum.accumulate(np.where(is_top, np.arange(1, len(is_top) + 1), 0)) if len(is_top) else is_top
        return np.concatenate([[self.in_array], is_bracket])[last]

    def _check_marks(self, positions: np.ndarray, marks: list[tuple[int, np.ndarray]], nested: np.ndarray) -> None:
        """Raises Unscorable unless arrays hold objects only, with commas between them."""
        codes = np.full(len(positions), -1)
        for mark, mask in marks:
            codes[mask] = mark
        rows = np.flatnonzero(codes >= 0)
        sequence = np.concatenate([[self.mark], codes[rows]])
        wrong = np.flatnonzero(~_FOLLOWS[sequence[:-1], sequence[1:]])
        bad = np.concatenate([rows[wrong], np.flatnonzero(nested)])
        if len(bad):
            line = self._find_line(int(positions[bad.min()]))
            raise make_unreadable(f"JSON parse error in line {line}: expected an array of objects with commas between")
        self.mark = int(sequence[-1])

    def _refuse_depth(self, position: int) -> None:
        text = self.data[:position]
        if text.count(b"[") + text.count(b"{") >= NESTED_LIMIT:
            raise make_unreadable(f"holds a value that is nested deeper than {NESTED_LIMIT}")
        raise make_unreadable(f"JSON parse error in line {self._find_line(position)}: a bracket closes nothing")

    def _find_line(self, position: int) -> int:
        return self.data.count(b"\n", 0, position) + 1


def _is_beginning(rest: bytes) -> bool:
    """Whether a text is the beginning of an object: a parser gets to its end, or to the last number, word or escape.

    Else a bracket lacks within it, and what follows is no part of that object: to leave it out would lose rows.
    """
    text = rest.decode(errors="replace").rstrip()
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        is_at_end = error.msg.startswith("Unterminated string") or _PART.fullmatch(text, error.pos)
        return text.startswith("{") and bool(is_at_end)
    except RecursionError:
        return False
    return False


def _find_escaped(characters: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Whether each position is behind an odd number of backslashes. None of them is before *characters*."""
    slashes = np.flatnonzero(characters == ord("\\"))
    begins = np.concatenate([[True], np.diff(slashes) > 1])
    first = np.maximum.accumulate(np.where(begins, slashes, 0))
    indices = np.minimum(np.searchsorted(slashes, positions - 1), len(slashes) - 1)
    escaped: np.ndarray = (slashes[indices] == positions - 1) & ((positions - first[indices]) % 2 == 1)
    return escaped
