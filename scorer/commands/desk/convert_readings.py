"""`python -m scorer readings convert`: files of industry's devices as Parquet readings, all of them or nothing."""

from __future__ import annotations

import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scorer.device_formats.files import FileReader, find_format
from scorer.device_formats.options import Format, check_use
from scorer.device_formats.parquet_folder import Written, is_converted, write_folder
from scorer.device_formats.series import Catalogue, Samples, clean_values
from scorer.device_formats.spool import Spool
from scorer.readings.layouts import is_hidden
from shared.contract.errors import Malformed, Misconfigured

from .folders import check_target
from .readings_options import ConvertOptions
from .readings_summary import ReadingsSummary


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    format: Format


def convert_files(options: ConvertOptions) -> int:
    """Convert all files into a new folder, which appears when all of them were read. Prints a summary; returns 0.

    Raises Malformed and Misconfigured, and then has written nothing.
    """
    _check_target(options)
    sources, ignored = _list_sources(options)
    check_use(options.formats, {source.format for source in sources})
    catalogue = Catalogue()
    with _make_workspace(options.target) as workspace:
        (workspace / "spool").mkdir()
        (workspace / "readings").mkdir()
        spool = Spool(workspace / "spool")
        _read_sources(sources, FileReader(options.formats, catalogue), spool, options)
        _check_quality(options, catalogue)
        if not spool.rows:
            raise Malformed(f"expected readings, got none in {len(sources)} files{_describe_left_out(catalogue)}")
        names = [source.path.name for source in sources]
        written = write_folder(spool, catalogue, names, workspace / "readings", is_long=options.is_long)
        _check_target(options)  # which may have been written to since
        _publish(workspace / "readings", options.target.resolve())
    files = Counter(source.format.value for source in sources)
    print(_summarise(catalogue, spool, written, files, ignored, options).format(options.output))
    return 0


def _summarise(
    catalogue: Catalogue,
    spool: Spool,
    written: Written,
    files: Mapping[str, int],
    ignored: Mapping[str, int],
    options: ConvertOptions,
) -> ReadingsSummary:
    return ReadingsSummary(
        files=_sort_counts(files),
        devices=len(catalogue.devices),
        sensors=len(catalogue.sensors),
        readings=spool.rows,
        rows=written.rows,
        hours=written.hours,
        wide=written.is_wide,
        replaced=written.replaced,
        gaps=_sort_counts(catalogue.gaps),
        warnings=_list_warnings(catalogue, spool, options),
        left_out=_sort_counts(catalogue.left_out),
        ignored=_sort_counts(ignored),
        target=str(options.target),
    )


def _check_quality(options: ConvertOptions, catalogue: Catalogue) -> None:
    """Raises Malformed where no file has what says the quality: all readings would be gaps."""
    quality = options.formats.quality
    if quality and not catalogue.flags:
        raise Malformed(
            f"--quality: expected a field, tag, label or channel {quality.name!r} in the files, got none of that name"
        )


def _list_warnings(catalogue: Catalogue, spool: Spool, options: ConvertOptions) -> list[str]:
    """What is probably a wrong option."""
    if sum(catalogue.gaps.values()) < spool.rows:
        return []
    quality = options.formats.quality
    if quality and catalogue.gaps["bad quality"]:
        flags = ", ".join(
            sorted(repr(f"{flag:g}" if isinstance(flag, int | float) else flag) for flag in catalogue.flags)
        )
        return [f"all {spool.rows} readings are gaps: --quality expects {quality.name}={quality.good}, got {flags}"]
    return [f"all {spool.rows} readings are gaps"]


def _sort_counts(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts above 0, the greatest first."""
    return {name: count for name, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])) if count}


def _describe_left_out(catalogue: Catalogue) -> str:
    counts = _sort_counts(catalogue.left_out)
    return f"; left out: {', '.join(f'{count} {name}' for name, count in counts.items())}" if counts else ""


def _read_sources(sources: Sequence[_Source], reader: FileReader, spool: Spool, options: ConvertOptions) -> None:
    """Keep the readings of all files. Raises Malformed with the name of the file."""
    for index, source in enumerate(sources):
        try:
            for samples in reader.read_samples(source.path, source.format):
                values = clean_values(samples.values, options.formats.missing_values, reader.catalogue)
                with _name_target(options.target):
                    spool.add(Samples(samples.codes, samples.time, values), index)
        except Malformed as error:
            raise Malformed(f"{source.path} ({source.format}): {error}") from error
        except OSError as error:
            raise Misconfigured(f"{source.path}: {error.strerror or error}") from error


def _list_sources(options: ConvertOptions) -> tuple[list[_Source], Counter[str]]:
    """The files in the order of the arguments and of their names, and those of other formats, by their ending.

    Of a folder, files of other formats are ignored, and so are hidden ones. Raises Malformed.
    """
    sources: list[_Source] = []
    ignored = Counter[str]()
    for path in options.sources:
        for file in _list_files(path):
            kind = find_format(file)
            if kind and options.formats.format in (None, kind):
                sources.append(_Source(file, kind))
                continue
            is_empty = not file.stat().st_size
            if path.is_dir():
                ignored["empty" if is_empty else file.suffix or "without an ending"] += 1
            else:
                expected = options.formats.format or ", ".join(Format)
                actual = "an empty file" if is_empty else kind or "another format"
                raise Malformed(f"expected a file in {expected}, got {actual}: {file}")
    if not sources:
        raise Malformed(f"expected files in {', '.join(Format)}, got none in {', '.join(map(str, options.sources))}")
    return sources, ignored


def _list_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise Malformed(f"expected a file or a folder, got nothing at {path}")
    names = sorted(file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file())
    return [path / name for name in names if not is_hidden(name)]


def _check_target(options: ConvertOptions) -> None:
    """Raises Malformed for a target that cannot be written, or that holds what --overwrite must not delete."""
    target = options.target
    check_target("--into", target)
    for source in options.sources:
        if source.resolve().is_relative_to(target.resolve()) or target.resolve().is_relative_to(source.resolve()):
            raise Malformed(f"--into: expected a folder outside the sources, got {target} and {source}")
    names = [file.relative_to(target).as_posix() for file in target.rglob("*") if not file.is_dir()]
    foreign = [name for name in names if not is_converted(name)]
    if foreign:
        raise Malformed(f"--into: expected a new folder, or only readings that were converted, got {min(foreign)!r} in "
                        f"{target}")  # fmt: skip
    if names and not options.overwrite:
        raise Malformed(f"--into: expected a new folder, got one with {len(names)} files at {target}; set --overwrite")


@contextmanager
def _make_workspace(target: Path) -> Iterator[Path]:
    """A hidden folder beside the target, which is removed at the end."""
    workspace = _make_hidden_path(target.resolve(), "tmp")
    with _name_target(target):
        try:
            workspace.mkdir(parents=True)
            yield workspace
        finally:
            shutil.rmtree(workspace, ignore_errors=True)


def _make_hidden_path(target: Path, ending: str) -> Path:
    return target.with_name(f".{target.name}.{uuid.uuid4().hex}.{ending}")


@contextmanager
def _name_target(target: Path) -> Iterator[None]:
    """What the system raises while the target, or what waits beside it, is written, as Misconfigured."""
    try:
        yield
    except OSError as error:
        raise Misconfigured(f"--into: cannot write {target}: {error.strerror or error}") from error


def _publish(readings: Path, target: Path) -> None:
    """Put the new folder in the place of the old one, which is deleted last. Killed before, it has a hidden name."""
    old = _make_hidden_path(target, "old")
    if target.exists():
        target.rename(old)
    try:
        readings.rename(target)
    except BaseException:
        if old.exists():
            with _name_old_readings(old, target):
                old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _name_old_readings(old: Path, target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Misconfigured(
            f"--into: cannot write {target}: {error.strerror}; the readings that were there before are in {old}"
        ) from error
