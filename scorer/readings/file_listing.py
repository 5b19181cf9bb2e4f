"""The files of a window's readings: listed by READINGS_PATH or by a table's log, and opened."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from scorer.errors import Unscorable
from scorer.storage.blob_store import Container
from scorer.storage.range_reader import AccessDenied
from shared.contract.model_names import Columns
from shared.contract.readings.path_pattern import PathPattern
from shared.contract.windows import Window

from .files import FETCHERS, MANY, File, inspect_file
from .layouts import find_table_format, is_hidden, list_written_keys, parse_keys
from .listing.delta_files import is_delta_table, list_delta_files
from .listing.path_listing import PathLister

LOOKED_FOLDERS = 32  # of a pattern with tokens, above which tables are looked for
INSPECTED = 16  # files that a thread opens at a time: a task for each would cost as much as opening a small one
LEFTOVER_ENDS = ("~", ".bak", ".tmp", ".temp", ".part", ".partial")  # in any case
LEFTOVERS = "files were passed over, since names that end so are those of copies or of parts of files"
SHOWN_NAMES = 3
CACHE_LIMIT = 256 * 2**20  # bytes of small files that stay in memory from listing to reading


@dataclass(frozen=True, slots=True)
class ListRequest:
    """Which files are listed: those of *paths*, or those of *window* where READINGS_PATH, the *pattern*, has tokens.

    A folder ends in `/`, the empty path is the whole container. Only *devices* will be read; None: any. *is_wanted*:
    whether the folder of a device is looked into; that of another one is not listed.
    """

    paths: Sequence[str]
    columns: Columns
    pattern: str = ""
    window: Window | None = None
    zone: str = ""
    devices: Collection[str] | None = None
    is_wanted: Callable[[str], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """The files of a window, and those of other devices, which are not opened. *warnings*: as those of `Source`."""

    files: list[File]
    other_files: list[File] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)


def open_files(container: Container, request: ListRequest) -> OpenedFiles:
    """Every file that is asked for, with its footer and size, in the order of their names. Raises Unavailable.

    Files and folders that begin with `.` or `_` are ignored as markers and logs, as in Spark and pyarrow. Files that
    seem to be copies or parts by the ends of their names are passed over, and said. Files of a device that is not
    among the devices, as a folder or a pattern says, are apart.
    """
    pattern = PathPattern.parse(request.pattern)
    warnings: list[tuple[int, str]] = []
    if not pattern and is_delta_table(container, request.paths):
        try:
            listed = _list_table(container, request)
        except Unscorable as error:
            return OpenedFiles([File(request.paths[0] or "./", 0, problem=str(error))])
    else:
        listing = _list_files(container, request, pattern)
        table = find_table_format(container, listing.paths, listing.names)
        if table:
            return OpenedFiles([File(table[0] or "./", 0, problem=table[1])])
        leftovers = {file.name for file in listing.files if _is_leftover(file.name, request)}
        listed = [file for file in listing.files if file.name not in leftovers]
        if leftovers:
            warnings.append((len(leftovers), f"{LEFTOVERS}, such as {min(leftovers)}"))
        if not listed:
            warnings.append((1, _describe_absence(container, request)))
    files, other_files = _split_files(listed, request)
    remaining = CACHE_LIMIT
    with ThreadPoolExecutor(FETCHERS) as pool:
        batches = [files[start : start + INSPECTED] for start in range(0, len(files), INSPECTED)]
        for batch in pool.map(
            lambda batch: [
                inspect_file(container, file, request.columns, is_of_many=len(files) >= MANY) for file in batch
            ],
            batches,
        ):
            for file in batch:
                remaining -= len(file.data or b"")
                if remaining < 0:
                    file.data = None
    return OpenedFiles(files, other_files, warnings)


def _is_leftover(name: str, request: ListRequest) -> bool:
    """Whether a file seems to be what a writer or an editor keeps beside another; not where a setting names its end."""
    if not name.lower().endswith(LEFTOVER_ENDS):
        return False
    end = next(end for end in LEFTOVER_ENDS if name.lower().endswith(end))
    return name not in request.paths and not request.pattern.lower().endswith(end)


def _describe_absence(container: Container, request: ListRequest) -> str:
    """The end of a warning that no file is named so, with some names that there are."""
    fixed = re.split("[%{*]", request.pattern or request.paths[0], maxsplit=1)[0]
    folder = fixed[: fixed.rfind("/") + 1]
    try:
        names = [name for name in container.list(folder, SHOWN_NAMES) if not is_hidden(name)]
    except AccessDenied:
        names = []
    path = f"READINGS_PATH (--readings-path) {request.pattern!r}" if request.pattern else "the path of the readings"
    listed = f"there are names such as {', '.join(map(repr, names))}" if names else f"nothing was listed in {folder!r}"
    return f"chunks found no file that {path} names for their window: {listed}"


def _list_table(container: Container, request: ListRequest) -> list[File]:
    """The files of a Delta table's present version, not opened. Raises Unscorable, Unavailable."""
    folder, columns = request.paths[0], request.columns
    files = list_delta_files(container, folder, columns, request.window, request.zone)
    return [File(file.name, index, keys=file.partition, is_required=True) for index, file in enumerate(files)]


@dataclass(frozen=True, slots=True)
class _Listing:
    """The files, not opened; names that were listed; and the paths above which a table may begin."""

    files: list[File]
    names: list[str]
    paths: Sequence[str]


def _list_files(container: Container, request: ListRequest, pattern: PathPattern | None) -> _Listing:
    written_keys = list_written_keys(request.pattern)
    if pattern:
        files = []
        lister = PathLister(container, pattern, request.is_wanted)
        for index, file in enumerate(lister.list_files(request.window, request.zone)):
            keys = dict(parse_keys(file.name, written_keys))
            pairs = ((request.columns.device, file.ids.device), (request.columns.sensor, file.ids.sensor))
            keys |= {key: text for key, text in pairs if text is not None}
            files.append(File(file.name, index, file.is_late, keys))
        folders = sorted(lister.prefixes)[:LOOKED_FOLDERS]
        return _Listing(files, [*lister.marks, *(file.name for file in files)], [*request.paths, *folders])
    late: dict[str, bool] = {}
    names: list[str] = []
    for number, path in enumerate(request.paths):
        listed = container.list(path) if not path or path.endswith("/") else [path]
        names += listed
        visible = (name for name in listed if name == path or not is_hidden(name[len(path) :]))
        for name in visible:
            late.setdefault(name, 0 < number == len(request.paths) - 1)
    files = [File(name, index, late[name], parse_keys(name, written_keys)) for index, name in enumerate(late)]
    return _Listing(files, names, request.paths)


def _split_files(files: list[File], request: ListRequest) -> tuple[list[File], list[File]]:
    """The files that may have rows of the devices, and the others."""
    column = request.columns.device
    if request.devices is None or not any(column in file.keys for file in files):
        return files, []
    expected = frozenset(request.devices)
    is_own = [column not in file.keys or file.keys[column] in expected for file in files]
    other_files = [file for file, own in zip(files, is_own, strict=True) if not own]
    return list(itertools.compress(files, is_own)), other_files
