"""`fleetscore models import`: the models of a Delta table are written as files; only changed ones are written.

Runs plan by files only. `README.import` beside the files, a name that listings pass over, records what was imported:
each id with its file, its version and the digest of its content. So the command knows which files it wrote: it replaces
and removes no others.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from scorer.commands.options import name_option
from scorer.errors import Unscorable
from scorer.model_files.file_formats import READ_FORMATS, SIZE_LIMIT, FileFormat, describe_start, identify_format
from scorer.model_files.reader import decompress_model
from scorer.storage.blob_store import Container, Folder, open_container
from scorer.storage.delta_log import open_delta_table
from shared.contract.errors import Malformed, NotFound, Unavailable
from shared.contract.fleet.formats import MLMODEL
from shared.contract.fleet.listing import find_companion
from shared.contract.model_names import Blob, ModelNames, find_id_problem
from shared.contract.text import clip_text, get_first_line, make_digest

from .folders import check_target

STATE = "README.import"
ENDINGS = {
    FileFormat.SKOPS: "skops", FileFormat.PICKLE: "pkl", FileFormat.LIGHTGBM: "lgb", FileFormat.XGBOOST: "ubj",
}  # fmt: skip
BATCH_ROWS = 256  # models in memory at a time
_ID_TYPES = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_integer)
_CONTENT_TYPES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view)
_SHOWN = 5  # ids that a message names
_PROBLEMS = 20  # that are printed
_COPY = "copy its rows to a table without that feature, CREATE TABLE ... AS SELECT, and let --delta name that one"


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of ids, of contents, and, unless "", of versions, of which the greatest of an id counts."""

    id: str
    content: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class _Imported:
    """A model that an import wrote."""

    path: str
    version: str  # of the table, as text; "" without one
    digest: str


@dataclass(slots=True)
class _Import:
    """An import under way. *state*: by id what this command wrote; *stems*: the target's files by `get_stem`."""

    target: Container
    names: ModelNames
    state: dict[str, _Imported]
    present: frozenset[str]
    stems: Mapping[str, list[str]]
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def refuse(self, identity: str, problem: str) -> None:
        self.counts["refused"] += 1
        self.problems.append(f"{identity[:80]!r}: {problem}")

    def is_current(self, identity: str, version: str) -> bool:
        """Whether the file of an id has this version of the table."""
        entry = self.state.get(identity)
        return bool(version) and entry is not None and entry.version == version and entry.path in self.present

    def list_foreign_files(self, identity: str, path: str, digest: str) -> list[str]:
        """The files that would be this model, or a second one of its id, and that no import wrote."""
        entry, stem = self.state.get(identity), self.names.formats.get_stem(path)
        own = {(path, digest), (entry.path, entry.digest) if entry else (path, digest)}
        rivals = {name for name in self.stems.get(stem, ()) if self._is_model(name)}
        earlier = {entry.path} & self.present if entry else set()  # perhaps by another pattern of names
        return [name for name in sorted(rivals | earlier) if (name, self.compute_digest(name)) not in own]

    def _is_model(self, name: str) -> bool:
        return name.endswith(f"/{MLMODEL}") or self.names.parse_model(Blob(name, "", 0)) is not None

    def compute_digest(self, path: str) -> str:
        """That of a file of the target; "" where there is none."""
        try:
            return make_digest(self.target.read(path).data)
        except NotFound:
            return ""


def import_models(
    table: str, into: str, columns: TableColumns, names: ModelNames, storage: str = "", *, remove_absent: bool = False
) -> int:
    """Write the models of *table* that are not in *into*, or in another version; 1 when one was refused, else 0.

    *table* and *into* are folders or URLs of containers, perhaps with a path. With *remove_absent* the files of ids
    that the table no longer has are removed, of those that an import wrote. Raises Malformed, Misconfigured,
    Unavailable.
    """
    with name_option("--model-names"):
        _make_stem(names)
    with name_option("--delta"):
        source = _open_table(table, storage)
        _check_columns(source, columns)
    _check_apart(table, into)
    if "://" not in into:
        check_target("--into", Path(into))
        Path(into).mkdir(parents=True, exist_ok=True)
    with name_option("--into"):
        target = open_container(into, storage) if "://" in into else Folder(Path(into))
        state = _read_state(target)
    present = target.list("")
    stems = defaultdict[str, list[str]](list)
    for name in present:
        stems[names.formats.get_stem(name)].append(name)
    run = _Import(target, names, state, frozenset(present), stems)
    with _name_table(table):
        versions = _list_versions(source, columns, run)
    changed = {identity for identity, version in versions.items() if not run.is_current(identity, version)}
    run.counts["unchanged"] += len(versions) - len(changed)
    absent = sorted(set(run.state) - set(versions))
    if remove_absent and absent and not versions:
        raise Malformed(f"--remove-absent: expected ids in {table}, got none: all models would be removed")
    try:
        for identity, content, version in _read_contents(table, source, columns, versions, changed):
            _write_model(run, identity, content or b"", version)
        removed = _remove_models(run, absent) if remove_absent else None
    finally:  # else what was written until an error would be another's file
        models = {identity: astuple(entry) for identity, entry in sorted(run.state.items())}
        target.write(STATE, json.dumps({"models": models}, indent=0).encode())
    _print_summary(run, absent, into, removed)
    return 1 if run.counts["refused"] else 0


def _open_table(table: str, storage: str) -> pa.dataset.Dataset:
    """The rows of a Delta table. Raises Malformed, Misconfigured, Unavailable."""
    if "://" not in table and not Path(table).is_dir():
        actual = "a file" if Path(table).exists() else "nothing"
        raise Malformed(f"expected a folder or the URL of a container, got {actual} at {table}")
    container = open_container(table, storage) if "://" in table else Folder(Path(table))
    if not container.list("_delta_log/", 1):
        content = "other files" if container.list("", 1) else "no files"
        raise Malformed(f"expected a Delta table, which is a folder with _delta_log, got {content} in {table}")
    try:
        opened = open_delta_table(container, "", _COPY)
    except Unscorable as error:
        raise Malformed(f"{table} {error}") from error
    with _name_table(table):
        return opened.to_pyarrow_dataset()


@contextmanager
def _name_table(table: str) -> Iterator[None]:
    """What pyarrow and deltalake raise while rows are read, as Unavailable: a file of the table, or its store."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise Unavailable(f"--delta: cannot read {table}: {clip_text(get_first_line(error))}") from error


def _check_columns(source: pa.dataset.Dataset, columns: TableColumns) -> None:
    names = source.schema.names
    for name in filter(None, (columns.id, columns.content, columns.version)):
        if name not in names:
            raise Malformed(f"expected a column {name!r}, got {', '.join(map(repr, names[:20]))}")
    kind = source.schema.field(columns.content).type
    if not any(check(kind) for check in _CONTENT_TYPES):
        raise Malformed(f"expected bytes in the column {columns.content!r}, got {kind}")
    kind = source.schema.field(columns.id).type
    if not any(check(kind) for check in _ID_TYPES):
        raise Malformed(f"expected text or integers in the column {columns.id!r} of ids, got {kind}")


def _check_apart(table: str, into: str) -> None:
    """Raises Malformed for a target in the table's folder, from which VACUUM of Delta would remove the models."""
    paths = [path if "://" in path else str(Path(path).resolve()) for path in (table, into)]
    outer, inner = (f"{path.rstrip('/')}/" for path in paths)
    if inner.startswith(outer):
        raise Malformed(f"--into: expected a folder outside the table, got {into}")


def _read_state(target: Container) -> dict[str, _Imported]:
    try:
        document = json.loads(target.read(STATE).data)
        return {str(key): _Imported(*map(str, entry)) for key, entry in document["models"].items()}
    except NotFound:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Malformed(
            f"expected {STATE} as an import wrote it: remove it, and files that equal the models of the table count "
            f"as imported ({error})"
        ) from error


def _list_versions(source: pa.dataset.Dataset, columns: TableColumns, run: _Import) -> dict[str, str]:
    """The version of each id that can be one; "" where there are no versions. No contents are read."""
    names = [name for name in (columns.id, columns.version) if name]
    greatest: dict[str, Any] = {}
    for batch in source.to_batches(columns=names):
        for row in batch.to_pylist():
            if row[columns.id] is None:
                run.refuse("", f"expected an id in the column {columns.id!r}, got null")
                continue
            identity, version = str(row[columns.id]), _clean_version(row.get(columns.version))
            if identity not in greatest:
                if problem := find_id_problem(identity):
                    run.refuse(identity, f"the id {problem}")
                    continue
                greatest[identity] = version
            elif not columns.version:
                raise Malformed(
                    f"expected each id once, got {identity!r} again: name the column of versions (--version)"
                )
            elif version is None or greatest[identity] is None or version == greatest[identity]:
                raise Malformed(f"expected different versions of the id {identity!r}, got {version!r} twice, or none")
            elif isinstance(version, str):
                raise Malformed(
                    f"expected numbers or times in the column {columns.version!r}, since {identity!r} has several "
                    f"rows, got the text {version!r}, which has no order that is sure"
                )
            else:
                greatest[identity] = max(greatest[identity], version)
    return {identity: "" if version is None else str(version) for identity, version in greatest.items()}


def _clean_version(version: Any) -> Any:  # NaN, which has no order, is none
    return None if isinstance(version, float) and math.isnan(version) else version


def _read_contents(
    table: str, source: pa.dataset.Dataset, columns: TableColumns, versions: Mapping[str, str], changed: set[str]
) -> Iterator[tuple[str, bytes | None, str]]:
    """The id, content and version of each model that changed, a few in memory at a time."""
    names = [name for name in (columns.id, columns.content, columns.version) if name]
    with _name_table(table):
        for batch in source.to_batches(columns=names, batch_size=BATCH_ROWS, batch_readahead=1) if changed else ():
            for row, value in enumerate(batch[columns.id].to_pylist()):
                identity = str(value)
                if value is None or identity not in changed:
                    continue
                version = _clean_version(batch[columns.version][row].as_py()) if columns.version else None
                if versions[identity] == ("" if version is None else str(version)):  # else it is an older one
                    yield identity, batch[columns.content][row].as_py(), versions[identity]


def _write_model(run: _Import, identity: str, content: bytes, version: str) -> None:
    """Write a model whose version or content may have changed, or refuse it."""
    digest, entry = make_digest(content), run.state.get(identity)
    if entry and entry.digest == digest and entry.path in run.present:
        run.counts["unchanged"] += 1
        run.state[identity] = _Imported(entry.path, version, digest)
        return
    try:
        path = f"{_make_stem(run.names).replace('{device}', identity)}.{_choose_ending(content)}"
        _check_name(run.names, path, identity)
        if foreign := run.list_foreign_files(identity, path, digest):
            raise Malformed(
                f"expected no file that this command did not write, got {', '.join(foreign[:_SHOWN])}: move or remove "
                "it, and the model is written"
            )
    except Malformed as error:
        run.refuse(identity, str(error))
        return
    if path in run.present and (entry is None or entry.path != path):
        run.counts["unchanged"] += 1  # the same bytes: of an import that was killed, or copied by a person
    elif path in run.present:
        run.target.write(path, content)
        run.counts["replaced"] += 1
    elif run.target.create(path, content):
        run.counts["replaced" if entry else "new"] += 1
    else:
        run.refuse(identity, f"expected no file {path}, got one that was written just now")
        return
    run.state[identity] = _Imported(path, version, digest)
    if entry and entry.path != path:
        run.target.remove(entry.path)


def _make_stem(names: ModelNames) -> str:
    """The name of a device's model without its ending, with {device}. Raises Malformed for names of sensors only."""
    stem = re.sub(r"\[[^][]*\]", "", names.pattern.removesuffix(".{ext}"))
    if "{sensor}" in stem:
        raise Malformed(f"expected a pattern that names models of devices, such as {{device}}.{{ext}}, got {stem!r}")
    return stem


def _check_name(names: ModelNames, path: str, identity: str) -> None:
    """Raises Malformed for a file that a run would not take for the model of this id."""
    model = names.parse_model(Blob(path, "", 0))
    if model is None or model.refused or model.device != identity:
        raise Malformed(f"{path} is not the name of its model, as MODEL_NAMES (--model-names) has it")
    if companion := find_companion(path):
        raise Malformed(f"{path} would be a file that belongs to the model {companion[0]}, not a model")


def _choose_ending(content: bytes) -> str:
    """The ending of a content's format. Raises Malformed for none of a model file's, and for damaged compression."""
    try:
        plain = decompress_model(content, SIZE_LIMIT)
    except Unscorable as error:
        raise Malformed(str(error)) from error
    file_format = identify_format(plain)
    if file_format not in ENDINGS:
        beginning = describe_start(plain) if plain else "nothing"
        raise Malformed(f"expected a file of {READ_FORMATS}, got {beginning}")
    return "joblib" if file_format is FileFormat.PICKLE and plain is not content else ENDINGS[file_format]


def _remove_models(run: _Import, absent: list[str]) -> int:
    """Remove the files of ids that the table no longer has; how many. A file that a person changed is refused."""
    removed = 0
    for identity in absent:
        entry = run.state[identity]
        if run.compute_digest(entry.path) not in ("", entry.digest):
            run.refuse(identity, f"expected {entry.path} as an import wrote it, got a file that was changed: kept")
            continue
        run.target.remove(entry.path)
        del run.state[identity]
        removed += 1
    return removed


def _print_summary(run: _Import, absent: list[str], into: str, removed: int | None) -> None:
    for problem in run.problems[:_PROBLEMS]:
        print(f"refused: {problem}")
    if len(run.problems) > _PROBLEMS:
        print(f"refused: {len(run.problems) - _PROBLEMS} more")
    counts = ", ".join(f"{run.counts[name]} {name}" for name in ("replaced", "unchanged", "refused"))
    print(f"{run.counts['new']} models new, {counts}, in {into}")
    if absent:
        examples = ", ".join(absent[:_SHOWN]) + ", ..." * (len(absent) > _SHOWN)
        outcome = (
            "they are kept (--remove-absent removes them)" if removed is None else f"{removed} of them were removed"
        )
        print(f"{len(absent)} models are no longer in the table; {outcome}: {examples}")
