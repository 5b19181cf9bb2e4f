"""Which folders or files of readings a window has, by READINGS_PATH. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

from shared.contract.windows import MINUTE, Window

from .path_pattern import PathPattern, has_tokens
from .zones import find_first_pass

_MICROSECOND = timedelta(microseconds=1)


def list_paths(pattern: str, window: Window, zone: str = "") -> list[str]:
    """The folders or files that the window touches, and the next one; folders are of hours in UTC.

    Where the clocks of *zone* show an hour of the window twice, the folders since its first pass come before them. Of
    a pattern with tokens these are the folders before the first token.
    """
    first = find_first_pass(window.start, window.end, zone)
    tokens = PathPattern.parse(pattern)
    if tokens:
        return tokens.list_prefixes(first, window.end)
    step = MINUTE if "%M" in pattern else timedelta(hours=1)
    first = Window.containing(first, step).start
    touched = list(dict.fromkeys(_format_paths(pattern, first, step, -(-(window.end - first) // step))))
    after = Window.containing(window.end + step - _MICROSECOND, step).start
    following = (path for path in _format_paths(pattern, after, step, 24 * 31 + 1) if path not in touched)
    return [*touched, *islice(following, 1)]


def find_late_paths(pattern: str, window: Window) -> dict[str, bool]:
    """The folders of the window in which a row from before the window has come late: they hold no earlier instant.

    The value says whether the run of the window before reads the folder too, as the one after its own. None where rows
    are not filed by time, where a folder is of several windows and this is not the first, and where *pattern* has
    placeholders: there nothing tells that a row is late.
    """
    if has_tokens(pattern) or "%" not in pattern:
        return {}
    *touched, _ = list_paths(pattern, window)
    *earlier, following = list_paths(pattern, window.previous)
    return {path: path == following for path in touched if path not in earlier}


def _format_paths(pattern: str, first: datetime, step: timedelta, count: int) -> Iterator[str]:
    return ((first + i * step).strftime(pattern) for i in range(count))
