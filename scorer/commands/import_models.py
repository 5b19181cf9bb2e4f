"""`fleetscore models import`: models that are rows of a Delta table become files, of which only those that changed.

Runs plan by files only. What was imported stands in a document beside the files (`README.import`, a name that listings
pass over): each id with its file and version. It is written last, so a command that was killed may be given again.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scorer.errors import Unscorable
from scorer.model_files.file_formats import READ_FORMATS, FileFormat, describe_start, identify_format
from scorer.storage.blob_store import Container, Folder, open_container
from scorer.storage.delta_log import open_delta_table
from shared.contract.errors import Malformed, NotFound
from shared.contract.model_names import Blob, ModelNames, find_id_problem

from .options import name_option

STATE = "README.import"
ENDINGS = {
    FileFormat.SKOPS: "skops", FileFormat.PICKLE: "pkl", FileFormat.LIGHTGBM: "lgb", FileFormat.XGBOOST: "ubj",
}  # fmt: skip
COMPRESSED = (b"\x1f\x8b", b"\x78", b"BZh", b"\xfd7zXZ", b"\x04\x22\x4d\x18", b"\x5d\x00")  # as joblib writes pickles
BATCH_ROWS = 256  # models in memory at a time
_SHOWN = 5  # ids that a message names


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns of ids, of contents, and, unless "", of versions, of which the greatest of an id counts."""

    id: str
    content: str
    version: str = ""


@dataclass(slots=True)
class _Import:
    """An import under way. *state*: by id the name of its file and its version, as text."""

    target: Container
    state: dict[str, list[str]]
    counts: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def refuse(self, identity: str, problem: str) -> None:
        self.counts["refused"] += 1
        self.problems.append(f"{identity[:80]!r}: {problem}")


def import_models(
    table: str, into: str, columns: TableColumns, names: ModelNames, storage: str = "", *, remove_absent: bool = False
) -> int:
    """Write the models of *table* that are not in *into*, or in another version; 1 when one was refused, else 0.

    *table* and *into* are folders or URLs of containers, perhaps with a path. With *remove_absent* the files of ids
    that the table no longer has are removed, of those that an import wrote. Raises Malformed, Misconfigured,
    Unavailable.
    """
    with name_option("--delta"):
        source = _open_table(table, storage)
        _check_columns(source, columns)
    with name_option("--into"):
        target = open_container(into, storage) if "://" in into else _make_folder(into)
    run = _Import(target, _read_state(target))
    versions = _list_versions(source, columns, run)
    present = frozenset(target.list(""))
    changed = {
        identity for identity, version in versions.items()
        if not version or run.state.get(identity, ["", ""])[1] != version or run.state[identity][0] not in present
    }  # fmt: skip
    run.counts["unchanged"] += len(versions) - len(changed)
    for identity, content, version in _read_contents(source, columns, versions, changed):
        _write_model(run, names, identity, content, version, present)
    absent = sorted(set(run.state) - set(versions))
    if remove_absent:
        for identity in absent:
            target.remove(run.state.pop(identity)[0])
    target.write(STATE, json.dumps({"models": dict(sorted(run.state.items()))}, indent=0).encode())
    _print_summary(run, absent, into, removed=remove_absent)
    return 1 if run.counts["refused"] else 0


def _open_table(table: str, storage: str) -> Any:
    if "://" not in table and not Path(table).is_dir():
        raise Malformed(f"expected a folder or the URL of a container, got {table}")
    container = open_container(table, storage) if "://" in table else Folder(Path(table))
    try:
        return open_delta_table(container, "")
    except Unscorable as error:
        raise Malformed(f"{table} {error}") from error


def _check_columns(table: Any, columns: TableColumns) -> None:
    names = [entry.name for entry in table.schema().fields]
    for name in filter(None, (columns.id, columns.content, columns.version)):
        if name not in names:
            raise Malformed(f"expected a column {name!r}, got {', '.join(map(repr, names[:20]))}")
    kind = str(next(entry.type for entry in table.schema().fields if entry.name == columns.content))
    if "binary" not in kind:
        raise Malformed(f"expected bytes in the column {columns.content!r}, got {kind}")


def _make_folder(into: str) -> Folder:
    folder = Path(into)
    folder.mkdir(parents=True, exist_ok=True)
    return Folder(folder)


def _read_state(target: Container) -> dict[str, list[str]]:
    try:
        document = json.loads(target.read(STATE).data)
        return {str(key): [str(name), str(version)] for key, (name, version) in document["models"].items()}
    except NotFound:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise Malformed(
            f"expected {STATE} as an import wrote it: remove it, and all models are written ({error})"
        ) from error


def _list_versions(table: Any, columns: TableColumns, run: _Import) -> dict[str, str]:
    """The version of each id that can be one; "" where versions are not told. No contents are read."""
    names = [name for name in (columns.id, columns.version) if name]
    greatest: dict[str, Any] = {}
    for batch in table.to_pyarrow_dataset().to_batches(columns=names):
        for row in batch.to_pylist():
            identity, version = str(row[columns.id]), row.get(columns.version)
            if identity not in greatest:
                problem = "is no id" if row[columns.id] is None else find_id_problem(identity)
                if problem:
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


def _read_contents(
    table: Any, columns: TableColumns, versions: Mapping[str, str], changed: set[str]
) -> Iterator[tuple[str, bytes | None, str]]:
    """The id, content and version of each model that changed, a few in memory at a time."""
    if not changed:
        return
    names = [name for name in (columns.id, columns.content, columns.version) if name]
    for batch in table.to_pyarrow_dataset().to_batches(columns=names, batch_size=BATCH_ROWS, batch_readahead=1):
        for row, identity in enumerate(map(str, batch[columns.id].to_pylist())):
            if identity not in changed:
                continue
            version = batch[columns.version][row].as_py() if columns.version else None
            if columns.version and versions[identity] != ("" if version is None else str(version)):
                continue  # an older one
            yield identity, batch[columns.content][row].as_py(), versions[identity]


def _write_model(
    run: _Import, names: ModelNames, identity: str, content: bytes | None, version: str, present: frozenset[str]
) -> None:
    version = version or f"sha256:{hashlib.sha256(content or b'').hexdigest()}"
    name, stored_version = run.state.get(identity, ["", ""])
    if stored_version == version and name in present:
        run.counts["unchanged"] += 1
        return
    ending = _choose_ending(content or b"")
    if not ending:
        beginning = describe_start(content) if content else "nothing"
        run.refuse(identity, f"expected a file of {READ_FORMATS}, got {beginning}")
        return
    path = names.pattern.partition("[")[0].replace("{device}", identity).removesuffix(".{ext}") + f".{ending}"
    model = names.parse_model(Blob(path, "", 0))
    if model is None or model.refused or model.device != identity:
        run.refuse(identity, f"{path} is not the name of its model, as MODEL_NAMES has it")
        return
    run.target.write(path, content or b"")
    if name and name != path:
        run.target.remove(name)
    run.counts["replaced" if name else "new"] += 1
    run.state[identity] = [path, version]


def _choose_ending(content: bytes) -> str:
    """The ending of a content's format; "" where it is none of a model file's."""
    if content.startswith(COMPRESSED):
        return "joblib"
    return ENDINGS.get(identify_format(content), "")


def _print_summary(run: _Import, absent: list[str], into: str, *, removed: bool) -> None:
    for problem in run.problems[:20]:
        print(f"refused: {problem}")
    if len(run.problems) > 20:  # noqa: PLR2004  # as many as one reads
        print(f"refused: {len(run.problems) - 20} more")
    counts = run.counts
    print(
        f"{counts['new']} models new, {counts['replaced']} replaced, {counts['unchanged']} unchanged, "
        f"{counts['refused']} refused, in {into}"
    )
    if absent:
        examples = ", ".join(absent[:_SHOWN]) + ", ..." * (len(absent) > _SHOWN)
        outcome = "were removed" if removed else "are kept: --remove-absent removes them"
        print(f"{len(absent)} models are no longer in the table and {outcome}: {examples}")
