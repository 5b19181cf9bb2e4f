"""`python -m scorer convert`: each model of a folder as a skops file. Nothing that stands in a file is run."""

from __future__ import annotations

from pathlib import Path

from scorer.errors import Unscorable, refused
from scorer.estimators import loader
from scorer.storage.blob_store import Folder
from shared.contract.domain import Reason
from shared.contract.errors import Malformed
from shared.contract.model_names import ModelNames, format_name

from .folders import NAME_LIMIT, check_target, list_fleet


def convert(models: Path, to: Path, names: ModelNames) -> int:
    """Write each model as a skops file named by its id, never running what is in it; 1 when one failed, else 0.

    Raises Malformed for what cannot be meant, Misconfigured and Unavailable where the files cannot be written.
    """
    import skops.io

    fleet = list_fleet(models, names)
    here, there = models.resolve(), to.resolve()
    if here.is_relative_to(there) or there.is_relative_to(here):  # originals overwritten, or each model there twice
        raise Malformed(f"--to: expected a folder apart from the models, got {to} and {models}")
    check_target("--to", to)
    files, target, failed = Folder(models), Folder(to), 0
    for model in fleet:
        try:
            if model.refused:
                raise refused(model)
            if len(f"{model.id.rsplit('/', 1)[-1]}.skops".encode()) > NAME_LIMIT:
                raise Unscorable(Reason.BAD_NAME, "its name with the ending .skops is too long for a file")
            detector = loader.load(files.read(model.name).data)
            data = skops.io.dumps(detector.estimator)
            loader.load(data)  # what we write must pass our own door
        except Unscorable as error:
            failed += 1
            print(f"failed: {format_name(model.name)}: {error.reason}: {error}")
            continue
        target.write(f"{model.id}.skops", data)
        print(f"converted: {model.name} -> {to / model.id}.skops")
    return 1 if failed else 0
