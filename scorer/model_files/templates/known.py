"""The templates that a process has made of the files that it has read, and when it makes another one.

A template is made of what the reader has read, and then gives the same or nothing; so no file decides what comes of
another one, only how fast it is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from scorer.model_files.pickle_globals import charge_steps

from .builder import build_template
from .symbols import is_equal
from .template import Built, Part

WHOLE_LIMIT = 2**16  # bytes of a file that has a template as a whole; larger ones have templates of parts
MOST_HEADS, MOST_OF_HEAD = 32, 8  # kinds of beginnings that are known, and templates of each
FIRST_TRIES, FURTHER_TRIES = 16, 1 / 16  # templates that are made in vain at first, and for each file that fitted
_HEAD = 48  # bytes
_PREFIX = 3  # bytes of a part: which template may fit
_FRAME = 0x95


@dataclass(slots=True, eq=False)
class _Learned:
    """A template, and what it was made of."""

    built: Built
    holes: frozenset[int]


@dataclass(slots=True)
class _Shelf:
    """Templates of what begins alike, the last one that fitted first."""

    learned: list[_Learned] = field(default_factory=list)
    n_fitted: int = 0
    n_tries: int = 0

    def learn(self, data: bytes, part: Part, memo: Mapping[int, Any], *, is_whole: bool) -> None:
        """Make a template of a part that none has fitted, or more holes in one of the same skeleton."""
        if self.n_tries >= FIRST_TRIES + FURTHER_TRIES * self.n_fitted:
            return
        self.n_tries += 1
        built = build_template(data, part, memo, frozenset(), is_whole=is_whole)
        if built is None:
            return
        holes = frozenset[int]()
        for learned in self.learned:
            if learned.built.skeleton == built.skeleton:
                pairs = enumerate(zip(learned.built.leaves, built.leaves, strict=True))
                holes = learned.holes | {number for number, leaves in pairs if leaves[0] != leaves[1]}
                self.learned.remove(learned)
                break
        if holes:
            built = build_template(data, part, memo, holes, is_whole=is_whole)
            if built is None:
                return
        self.learned = [_Learned(built, holes), *self.learned[: MOST_OF_HEAD - 1]]


class KnownTemplates:
    """Shelves by how files, or parts of files, begin. Used by several threads at once."""

    def __init__(self) -> None:
        self._shelves: dict[bytes, _Shelf] = {}
        self._lock = threading.Lock()

    def list_templates(self, head: bytes) -> Iterator[_Learned]:
        """Those that may fit what begins so."""
        shelf = self._shelves.get(head)
        yield from () if shelf is None else tuple(shelf.learned)

    def count_fits(self, head: bytes, learned: _Learned | None, count: int) -> None:
        """Note that templates fitted, and which one should be tried first."""
        with self._lock:
            shelf = self._shelves.get(head)
            if shelf is None:
                return
            shelf.n_fitted += count
            if learned and learned in shelf.learned[1:]:
                shelf.learned.remove(learned)
                shelf.learned.insert(0, learned)

    def learn(self, head: bytes, data: bytes, part: Part, memo: Mapping[int, Any], *, is_whole: bool) -> None:
        """Make a template of what the reader has read."""
        with self._lock:
            if head not in self._shelves and len(self._shelves) >= MOST_HEADS:
                self._shelves.pop(next(iter(self._shelves)))
            self._shelves.setdefault(head, _Shelf()).learn(data, part, memo, is_whole=is_whole)


_FILES, _PARTS = KnownTemplates(), KnownTemplates()


def read_known_file(data: bytes) -> tuple[Any] | None:
    """The object of a pickle that fits a template; None where none fits."""
    if len(data) > WHOLE_LIMIT:
        return None
    head = _get_head(data)
    for learned in _FILES.list_templates(head):
        if (result := learned.built.template.read(data, 0, {})) is not None:
            _FILES.count_fits(head, learned, 1)
            return (result[0],)
    return None


def learn_file(data: bytes, end: int) -> None:
    """Make a template of a pickle that the reader has read, and that ended there."""
    if len(data) <= WHOLE_LIMIT:
        _FILES.learn(_get_head(data), data, Part(0, end, 0), {}, is_whole=True)


def _get_head(data: bytes) -> bytes:
    """The first bytes of a pickle, behind what says how long it is."""
    start = 11 if data[2:3] == b"\x95" else 2
    return data[start : start + _HEAD]


def _get_prefix(data: bytes, position: int) -> bytes:
    """The first bytes of a part, but for a FRAME."""
    start = position + 9 if data[position] == _FRAME else position
    return data[start : start + _PREFIX]


@dataclass(slots=True)
class FileParts:
    """The parts of one file that follow each other on its stack and begin alike, such as the trees of a forest.

    *n_numbered*: objects in the parts that fitted a template, to which the reader gives no numbers. Where a file refers
    to one of them, it has to be read without templates.
    """

    n_numbered: int = 0
    is_used: bool = False
    outer: FileParts | None = None  # of the file that has this one within it
    _last: dict[int, tuple[list[Any], int, Part]] = field(default_factory=dict)  # where the last part ended, by depth
    _kept: list[_Learned] = field(default_factory=list)  # so that no other has the id of one of them
    _checked: dict[int, bool] = field(default_factory=dict)  # whether what a template refers to is the same here

    def read_parts(
        self, data: bytes, position: int, stack: list[Any], depth: int, memo: Mapping[int, Any], steps: Iterator[None]
    ) -> tuple[int, int]:
        """Put the values of the following parts on the stack, as far as they fit templates, and count their steps.

        The stack has just got an object; *depth* says under how many others it is. Returns where the parts end, and
        `n_numbered`.
        """
        n_steps = 0
        head = _get_prefix(data, position)
        last = self._last.get(depth)
        if last and last[0] is stack and last[1] == len(stack) - 1 and _get_prefix(data, last[2].end) == head:
            _PARTS.learn(head, data, Part(last[2].end, position, last[2].n_memo), memo, is_whole=False)
        templates = [
            learned.built.template for learned in _PARTS.list_templates(head) if self._refers_alike(learned, memo)
        ]
        n_fitted, is_stuck = 0, not templates
        while not is_stuck:
            is_stuck = True
            for template in templates:
                count = 0
                while (result := template.read(data, position, memo)) is not None:
                    value, position = result
                    stack.append(value)
                    count += 1
                if count:
                    is_stuck = False
                    n_fitted += count
                    self.n_numbered += count * template.n_memoized
                    n_steps += count * (template.n_steps + len(template.holes))  # a FRAME at each hole
        if n_fitted:
            _PARTS.count_fits(head, None, n_fitted)
            self.note_use()
            charge_steps(steps, n_steps)
        self._last[depth] = stack, len(stack), Part(0, position, len(memo) + self.n_numbered)
        return position, self.n_numbered

    def note_use(self) -> None:
        """Note that a template was used in this file."""
        self.is_used = True
        if self.outer is not None:
            self.outer.note_use()

    def _refers_alike(self, learned: _Learned, memo: Mapping[int, Any]) -> bool:
        is_alike = self._checked.get(id(learned))
        if is_alike is None:
            references = learned.built.references.items()
            is_alike = all(number in memo and is_equal(memo[number], value) for number, value in references)
            self._checked[id(learned)] = is_alike
            self._kept.append(learned)
        return is_alike
