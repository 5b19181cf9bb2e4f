"""Folders at a desk: the models they hold, and whether they can be written to."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from scorer.storage.blob_store import Folder
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.fleet.ignored_files import IgnoredFiles
from shared.contract.fleet.listing import list_fleet
from shared.contract.model_names import Blob, ModelNames

NAME_LIMIT = 255  # bytes of a file's name


def list_models(models: Path, names: ModelNames) -> tuple[list[Model], IgnoredFiles]:
    """The models of a folder, in the order of their names, and the other files. Raises Malformed without models."""
    if not models.is_dir():
        raise Malformed(f"--models: expected a folder, got {'a file' if models.exists() else 'nothing'} at {models}")
    ignored = IgnoredFiles()
    files = (name for name in Folder(models).list("") if not any(part.startswith(".") for part in name.split("/")))
    fleet = list(list_fleet((Blob(name, "", 0) for name in files), names, ignored))
    if not fleet:
        content = f"{ignored.describe()}, such as {ignored.examples[0]}" if ignored.count else "none"
        raise Malformed(f"--models: expected files named {names.pattern}, got {content} in {models}")
    return fleet, ignored


def check_target(option: str, target: Path) -> None:
    """Raises Malformed unless files can be written to a folder: by trying, since permissions do not say everything."""
    try:
        if target.exists() and not target.is_dir():
            raise Malformed(f"{option}: expected a folder, got a file at {target}")
        absolute = target.absolute()
        with TemporaryDirectory(prefix=".", dir=next(path for path in (absolute, *absolute.parents) if path.exists())):
            return
    except OSError as error:
        raise Malformed(
            f"{option}: expected a folder that can be written to, got {target}: {error.strerror}"
        ) from error
