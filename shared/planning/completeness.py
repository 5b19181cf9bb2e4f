"""Whether the readings of a window are complete, by names in their folders, and how long it waits for that. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Self

from shared.contract.errors import Malformed
from shared.contract.readings.path_pattern import has_tokens
from shared.contract.readings.paths import list_paths
from shared.contract.windows import EPOCH, Window
from shared.state.runs import Waited

from .schedule import Schedule

NAMES_LIMIT = 10  # of one listing; more than one, since the markers of folders come before what is in them
FOLDERS_LIMIT = 100  # of a window: each is listed at each tick while the window waits

_SEVERAL = {"F": "Ymd", "D": "mdy", "T": "HMS", "R": "HM"}  # codes of strftime that stand for several
_OF_YEARS = frozenset("YyG")
_MARKER = "marker:"
_NEXT_FOLDER = "next-folder"
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Sign:
    """One thing that has to be there: the blob *name*, or where that is empty any blob in *folder*."""

    folder: str
    name: str = ""

    @property
    def prefix(self) -> str:
        """What is listed. Where it is a name, that name is the first of the listing."""
        return self.name or self.folder

    def is_met(self, names: Sequence[str]) -> bool:
        """Whether the first *names* of a listing of the prefix show it. The markers of folders show nothing."""
        if self.name:
            return self.name in names
        return any(not name.endswith("/") for name in names)

    def describe(self) -> str:
        """What is missing, for people."""
        return f"no blob {self.name}" if self.name else f"no blob in {self.folder}"


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What shows that a window's readings are complete; by default nothing, and no window waits."""

    marker: str = ""  # the name of a blob in each folder of the window
    next_folder: bool = False  # any blob in the folder after the window's: writers by arrival have moved on

    @classmethod
    def parse(cls, text: str) -> Self:
        """`marker:NAME`, `next-folder`, or "" to wait for nothing. Raises Malformed."""
        marker = text.removeprefix(_MARKER)
        if text in ("", _NEXT_FOLDER):
            return cls(next_folder=bool(text))
        if not text.startswith(_MARKER) or not marker or set(marker) & set("/\\*?{}%") or marker in (".", ".."):
            raise Malformed(f"expected marker:NAME, such as marker:_SUCCESS, or {_NEXT_FOLDER}, got {text!r}")
        return cls(marker)

    @property
    def is_set(self) -> bool:
        """Whether windows wait."""
        return bool(self.marker) or self.next_folder

    def list_signs(self, pattern: str, window: Window, zone: str = "") -> tuple[Sign, ...]:
        """What has to be there, the newest folder first: it is the last to come. *pattern* is READINGS_PATH."""
        *folders, following = list_paths(pattern, window, zone)
        if self.next_folder:
            return (Sign(following, "" if following.endswith("/") else following),)
        return tuple(Sign(folder, folder + self.marker) for folder in reversed(folders))

    def find_problem(self, pattern: str, length: timedelta) -> str:
        """Why windows of this *length* cannot wait for folders of this *pattern*; "" where they can."""
        if not self.is_set:
            return ""
        if has_tokens(pattern):
            return f"expected a READINGS_PATH without {{...}} and *, which is not supported yet, got {pattern!r}"
        codes = _list_codes(pattern)
        if not _name_once(codes):
            return f"expected a READINGS_PATH that names each folder once in all years, got {pattern!r}"
        if codes <= _OF_YEARS:
            return f"expected a READINGS_PATH that names another folder within a month, such as %Y/%m/, got {pattern!r}"
        if self.marker and not pattern.endswith("/"):
            return f"expected a READINGS_PATH of folders, which ends in /, for {_MARKER}{self.marker}, got {pattern!r}"
        count = len(self.list_signs(pattern, Window(EPOCH, length)))
        if count > FOLDERS_LIMIT:
            return f"expected a WINDOW of at most {FOLDERS_LIMIT} folders of READINGS_PATH, got {count}"
        return ""


def _list_codes(pattern: str) -> frozenset[str]:
    """The letters of the codes of strftime; those that stand for several are resolved."""
    letters = re.findall(r"%[-_0^#]?(.)", pattern)
    return frozenset("".join(_SEVERAL.get(letter, letter) for letter in letters)) - {"%"}


def _name_once(codes: frozenset[str]) -> bool:
    """Whether a path with these codes is of one time only.

    A code says when only beside the unit that it counts in: `%d` of a month, `%a` of a week, `%I` of half a day. With
    one that is not listed, such as `%c`, nothing is certain.
    """

    def has(letters: str) -> bool:
        return not codes.isdisjoint(letters)

    year, iso_year = has("Yy"), has("G")
    month, week = year and has("mbBh"), (year and has("UW")) or (iso_year and has("V"))
    day = (year and has("j")) or (month and has("de")) or (week and has("aAwu"))
    hour = day and (has("H") or (has("I") and has("p")))
    minute = hour and has("M")
    is_certain = {
        "Yy": year,
        "G": iso_year,
        "mbBh": month,
        "UW": year,
        "V": iso_year,
        "jdeaAwu": day,
        "p": day,
        "HI": hour,
        "M": minute,
        "S": minute,
    }
    certain = {letter for letters, is_unit in is_certain.items() if is_unit for letter in letters}
    return bool(codes) and codes <= certain


def find_wait_end(schedule: Schedule, window: Window, limit: timedelta) -> datetime:
    """When a window is opened whatever its folders show: *limit* after it has become due."""
    return schedule.next_fire(window.end - _SECOND) + limit


class Wait(Enum):
    """What becomes of a window that is due, by its readings. The value is what its run records."""

    NOT_ASKED = None  # WAIT_FOR is not set
    GOES_ON = "waits"  # it has no run yet
    COMPLETE = Waited.COMPLETE
    LIMIT = Waited.LIMIT

    @property
    def waited(self) -> Waited | None:
        """How the wait has ended, for the window's run; None where there was none, or it goes on."""
        return self.value if isinstance(self.value, Waited) else None


def decide_wait(wait_end: datetime, now: datetime, *, is_complete: bool) -> Wait:
    """Whether the wait of a window goes on, or how it has ended."""
    if is_complete:
        return Wait.COMPLETE
    return Wait.LIMIT if now >= wait_end else Wait.GOES_ON
