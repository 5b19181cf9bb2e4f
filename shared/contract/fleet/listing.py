"""Decides by a listing alone which blobs are models, and which files belong to which model. Pure.

In this order: a folder with a file `MLmodel` is one model, and all below it belongs to it; `X.features.json`,
`X.scaler.*` and `X.threshold.json` belong to the model X where there is one; names with the ending of a model are
models; all else is ignored, and counted. A sidecar or a threshold without its model is ignored too, whatever the
setting MODEL_FORMATS takes for models. The listing is read once, as it comes, and hardly any of it is held.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from shared.contract.domain import Model, ModelFile
from shared.contract.model_names import Blob, ModelNames, make_files_etag
from shared.contract.reasons import Reason

from .formats import COMPRESSIONS, EXTENSIONS, MLMODEL, ModelFormats
from .ignored_files import IgnoredFiles, is_silent

HELD_FILES = 10_000  # of a folder, while its MLmodel may still come; in a larger one it is not looked for
FEATURES_FILE, THRESHOLD_FILE, SCALER = "features.json", "threshold.json", "scaler."  # the kinds of files beside X
_COMPANION_ENDINGS, _SCALER = (f".{FEATURES_FILE}", f".{THRESHOLD_FILE}"), f".{SCALER}"
_COMPANION = re.compile(r"(?P<stem>.*[^/])\.(?P<kind>features\.json|threshold\.json|scaler\.[^/]+)", re.DOTALL)
# What is part of a model, perhaps in another spelling than the one that is read, and never a model.
_PART = re.compile(
    rf"(?:{'|'.join(map(re.escape, _COMPANION_ENDINGS))})(?:{'|'.join(map(re.escape, COMPRESSIONS))})?\Z", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder that is one model, by its path without a slash at the end."""

    path: str
    blobs: tuple[Blob, ...]

    @property
    def name(self) -> str:
        return f"{self.path}/{MLMODEL}"


@dataclass(slots=True)
class _Held:
    """A model that is held back while its rivals and the files that belong to it may come."""

    stem: str
    model: Model
    blobs: list[Blob]


def list_fleet(blobs: Iterable[Blob], names: ModelNames, ignored: IgnoredFiles) -> Iterator[Model]:
    """The models of a sorted listing, while it is read; files that are no models go to *ignored*.

    Two models with one id are both refused as ambiguous, and count as one. Their names differ only in the extension,
    or one is a folder: so all names between them begin with the same stem, in any lexicographic order, and a model is
    held back while names begin with its stem. The number of models held never exceeds the length of a name.
    """
    grouping = _Grouping(names, ignored)
    for entry in _join_folders(blobs):
        yield from grouping.close(entry)
        grouping.add(entry)
    yield from grouping.close(None)


def find_companion(name: str) -> tuple[str, str] | None:
    """The stem of the model that a file of this name belongs to, if that model exists, and the kind of the file."""
    if not name.endswith(_COMPANION_ENDINGS) and _SCALER not in name:
        return None  # most names: quickly
    match = _COMPANION.fullmatch(name)
    return (match["stem"], match["kind"]) if match else None


def list_companion_names(stem: str) -> list[str]:
    """The most usual names of the files beside the model with this stem; only a listing finds the others."""
    return [
        f"{stem}.{FEATURES_FILE}",
        f"{stem}.{THRESHOLD_FILE}",
        *(f"{stem}.{SCALER}{extension.removeprefix('.')}" for extension in EXTENSIONS),
    ]


def find_unsupported_file(model: Model) -> str:
    """A file of the model that cannot be read beside it, since without it scores would be wrong; else "".

    It is a scaler of no format of models, or the second of two scalers.
    """
    scalers = []
    for file in model.files:
        companion = find_companion(file.name)
        if companion and file.name != model.name and companion[1].startswith(SCALER):
            if not ModelFormats().split_extension(file.name):
                return file.name
            scalers.append(file.name)
    return scalers[1] if len(scalers) > 1 else ""


def _join_folders(blobs: Iterable[Blob]) -> Iterator[Blob | _Folder]:
    """The same listing; the files of a folder with an MLmodel are one entry, at the place of the first of them."""
    held: list[Blob | _Folder] = []  # of folders whose MLmodel may still come
    root, files = "", list[Blob]()  # of the folder that is read just now
    overfull = ""  # a folder of which more files were listed than are held
    for blob in blobs:
        if root and blob.name.startswith(root):
            files += [blob] if len(files) < HELD_FILES else []
            continue
        if root:
            held.append(_Folder(root[:-1], tuple(files)))
            root = ""
        folder, _, base = blob.name.rpartition("/")
        if folder and base == MLMODEL and not (overfull and blob.name.startswith(overfull)):
            root = f"{folder}/"
            first = _count_before(held, root)
            files = [*(other for entry in held[first:] for other in _list_blobs(entry)), blob]
            del held[first:]
        else:
            held.append(blob)
        undecided = _find_undecided(blob.name)
        if len(held) > HELD_FILES:
            overfull, undecided = undecided, ""
        n_decided = _count_before(held, undecided) if undecided else len(held)
        yield from held[:n_decided]
        del held[:n_decided]
    yield from held
    if root:
        yield _Folder(root[:-1], tuple(files))


def _count_before(entries: Sequence[Blob | _Folder], folder: str) -> int:
    """How many of the sorted entries come before those in *folder*."""
    return next((i for i, entry in enumerate(entries) if entry.name.startswith(folder)), len(entries))


def _list_blobs(entry: Blob | _Folder) -> Sequence[Blob]:
    return entry.blobs if isinstance(entry, _Folder) else (entry,)


def _find_undecided(name: str) -> str:
    """The topmost folder of a name whose MLmodel would be listed after it; "" where there is none."""
    end = name.find("/")
    while end >= 0:
        if name[end + 1 :] < MLMODEL:
            return name[: end + 1]
        end = name.find("/", end + 1)
    return ""


@dataclass(slots=True)
class _Grouping:
    """Models by id, and files that may belong to a model by its stem, while names begin with it."""

    names: ModelNames
    ignored: IgnoredFiles
    held: dict[str, _Held] = field(default_factory=dict)
    companions: dict[str, list[Blob]] = field(default_factory=dict)

    def add(self, entry: Blob | _Folder) -> None:
        """Take the next entry of the listing."""
        if isinstance(entry, _Folder):
            mlmodel = next(blob for blob in entry.blobs if blob.name == entry.name)
            self._hold(entry.path, self.names.parse_folder(entry.path, mlmodel), entry.blobs)
        elif companion := find_companion(entry.name):
            self.companions.setdefault(companion[0], []).append(entry)
        else:
            self._add_file(entry)

    def close(self, entry: Blob | _Folder | None) -> Iterator[Model]:
        """The models to which nothing is added any more when *entry* is the next one; None: at the end."""
        for stem in sorted((stem for stem in self.companions if not _may_follow(stem, entry)), key=len):
            blobs = self.companions.pop(stem)
            owner = next((held for held in self.held.values() if held.stem == stem), None)
            if owner:
                owner.blobs += blobs
            else:
                for blob in blobs:
                    self._add_file(blob)
        for model_id in [key for key, held in self.held.items() if not _may_follow(held.stem, entry, held.model)]:
            held = self.held.pop(model_id)
            yield _join_files(held.model, held.blobs)

    def _add_file(self, blob: Blob) -> None:
        model = None if self._is_no_model(blob.name) else self.names.parse_model(blob)
        if model is None:
            self.ignored.append(blob.name)
        else:
            self._hold(self.names.formats.get_stem(blob.name), model, [blob])

    def _is_no_model(self, name: str) -> bool:
        """Whether a file is never a model, whatever its ending: part of one that does not exist, or a README.txt."""
        return _PART.search(name) is not None or (self.names.formats.is_further(name) and is_silent(name))

    def _hold(self, stem: str, model: Model, blobs: Sequence[Blob]) -> None:
        if rival := self.held.get(model.id):
            rival.model = replace(rival.model, refused=rival.model.refused or Reason.AMBIGUOUS)
            rival.blobs += blobs
        else:
            self.held[model.id] = _Held(stem, model, list(blobs))


def _may_follow(stem: str, entry: Blob | _Folder | None, model: Model | None = None) -> bool:
    """Whether *entry*, or one after it, may be of the model with this stem."""
    if entry is None:
        return False
    if isinstance(entry, _Folder) and entry.path == stem:
        return True
    is_bare = model is not None and model.name == stem  # without an extension: its rivals begin with the joined name
    return entry.name.startswith(stem if is_bare else f"{stem}.")


def _join_files(model: Model, blobs: Sequence[Blob]) -> Model:
    """The model with the etag and size of all its files; refused where one is of a kind that is not supported.

    An ambiguous one has the etag of the first.
    """
    if len(blobs) == 1 or model.refused not in (None, Reason.AMBIGUOUS):
        return model
    files = tuple(sorted((ModelFile(blob.name, blob.etag) for blob in blobs), key=lambda file: file.name))
    if model.refused:
        return replace(model, files=files)
    joined = replace(model, etag=make_files_etag(files), size=sum(blob.size for blob in blobs), files=files)
    return replace(joined, refused=Reason.UNSUPPORTED_MODEL) if find_unsupported_file(joined) else joined
