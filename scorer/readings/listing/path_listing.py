"""READINGS_PATH with tokens: the names of a window's files, and the devices that the names say.

Folders are listed level by level only where a time comes after what may be any text; below that one listing gives
all names. So a folder of 100,000 files, one for each device, costs one listing, and only the needed files are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

from scorer.readings.layouts import is_hidden, is_mark
from scorer.storage.blob_store import Container
from shared.contract.readings.path_pattern import PathIds, PathPattern, Segment
from shared.contract.readings.zones import find_first_pass
from shared.contract.windows import EPOCH, Window

LISTERS = 8  # requests at a time


@dataclass(frozen=True, slots=True)
class ListedFile:
    """The name of a file that the pattern fits. *is_late*: it is in the folders after the window's."""

    name: str
    is_late: bool
    ids: PathIds


@dataclass(frozen=True, slots=True)
class _Branch:
    """The beginning of names, up to the segment *depth* of the pattern."""

    prefix: str
    depth: int
    hour: datetime
    is_late: bool
    ids: PathIds


@dataclass(slots=True)
class PathLister:
    """Lists the files of one pattern. *is_wanted*: whether files of a device are; folders of others are not listed."""

    container: Container
    pattern: PathPattern
    is_wanted: Callable[[str], bool]
    marks: list[str] = field(default_factory=list)  # names that were listed, and mark tables of some format
    prefixes: set[str] = field(default_factory=set)  # the folders that were listed, or that hold what was not
    _folders: dict[str, list[str]] = field(default_factory=dict)

    def list_files(self, window: Window | None, zone: str = "") -> list[ListedFile]:
        """The files of *window*, and those of the folders after it, in the order of their names. Raises Unavailable.

        A file that has rows of both is listed once, as one of the window's.
        """
        hours = [(EPOCH, False)]
        if window is not None:
            hours = self.pattern.list_hours(find_first_pass(window.start, window.end, zone), window.end)
        branches = [_Branch("", 0, hour, is_late, PathIds()) for hour, is_late in hours]
        files: dict[str, ListedFile] = {}
        with ThreadPoolExecutor(LISTERS) as pool:
            while branches:
                leaves = [branch for branch in branches if self._is_leaf(branch)]
                for listed in pool.map(self._list_leaf, leaves):
                    for file in listed:
                        files.setdefault(file.name, file)
                inner = [branch for branch in branches if not self._is_leaf(branch)]
                self._list_folders(pool, inner)
                branches = [further for branch in inner for further in self._grow_branch(branch)]
        return sorted(files.values(), key=lambda file: (file.is_late, file.name))

    def _is_leaf(self, branch: _Branch) -> bool:
        """Whether one listing gives all names of the branch, or its name is complete."""
        rest = self.pattern.segments[branch.depth :]
        return not rest or (not rest[0].is_fixed and not any(segment.has_hour for segment in rest[1:]))

    def _list_folders(self, pool: ThreadPoolExecutor, branches: Sequence[_Branch]) -> None:
        """List the folders at which the name of a branch goes on, each once."""
        variable = [branch.prefix for branch in branches if not self.pattern.segments[branch.depth].is_fixed]
        prefixes = [prefix for prefix in dict.fromkeys(variable) if prefix not in self._folders]
        self._folders |= zip(prefixes, pool.map(self.container.list_folders, prefixes), strict=True)

    def _grow_branch(self, branch: _Branch) -> list[_Branch]:
        segment, is_last = self.pattern.segments[branch.depth], branch.depth == len(self.pattern.segments) - 1
        slash = "" if is_last and not self.pattern.is_folder else "/"
        if segment.is_fixed:
            return [
                replace(branch, prefix=f"{branch.prefix}{segment.format(branch.hour)}{slash}", depth=branch.depth + 1)
            ]
        return [
            replace(branch, prefix=f"{branch.prefix}{name}/", depth=branch.depth + 1, ids=ids)
            for name in self._folders[branch.prefix]
            if (ids := _match(segment, name, branch.hour, branch.ids)) and self._wants(ids)
        ]

    def _list_leaf(self, branch: _Branch) -> list[ListedFile]:
        self.prefixes.add(branch.prefix[: branch.prefix.rfind("/") + 1])
        if branch.prefix and not branch.prefix.endswith("/"):
            return [ListedFile(branch.prefix, branch.is_late, branch.ids)]
        return list(self._match_names(branch))

    def _match_names(self, branch: _Branch) -> Iterator[ListedFile]:
        rest = self.pattern.segments[branch.depth :]
        for name in self.container.list(branch.prefix):
            if is_mark(name):
                self.marks.append(name)
            parts = name[len(branch.prefix) :].split("/")
            if len(parts) < len(rest) + self.pattern.is_folder or (
                not self.pattern.is_folder and len(parts) > len(rest)
            ):
                continue
            ids: PathIds | None = branch.ids
            for segment, part in zip(rest, parts, strict=False):
                ids = _match(segment, part, branch.hour, ids) if ids else None
            if ids and not is_hidden("/".join(parts[len(rest) :])):
                yield ListedFile(name, branch.is_late, ids)

    def _wants(self, ids: PathIds) -> bool:
        return ids.device is None or self.is_wanted(ids.device)


def _match(segment: Segment, part: str, hour: datetime, ids: PathIds) -> PathIds | None:
    """The ids of the parts before with those of a further part; None where it does not fit."""
    own = segment.match(part, hour)
    return own and PathIds(own.device or ids.device, own.sensor or ids.sensor)
