"""`python -m scorer convert`: each model of a folder as a skops file. No code of a file is run."""

from __future__ import annotations

from pathlib import Path

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.model_files.sidecar import SIDECAR, read_sidecar
from scorer.packs.fetch import Stores, fetch_files
from scorer.storage.blob_store import Folder
from shared.contract.errors import Malformed
from shared.contract.model_names import ModelNames, format_name
from shared.contract.reasons import Reason

from .folder_summary import describe_ignored
from .folders import NAME_LIMIT, check_target, list_models


def convert_folder(models: Path, target: Path, names: ModelNames) -> int:
    """Write each model as a skops file named by its id, without running its content; 1 when a model failed, else 0.

    Raises Malformed for options that make no sense, Misconfigured and Unavailable where the files cannot be written.
    """
    import skops.io

    fleet, ignored = list_models(models, names)
    source_path, target_path = models.resolve(), target.resolve()
    if source_path.is_relative_to(target_path) or target_path.is_relative_to(
        source_path
    ):  # else originals are overwritten, or models appear twice
        raise Malformed(f"--to: expected a folder outside the models, got {target} and {models}")
    check_target("--to", target)
    source_folder, target_folder, failed = Folder(models), Folder(target), 0
    stores = Stores(source_folder, source_folder, formats=names.formats)
    for note in describe_ignored(ignored):
        print(f"note: {note}")
    for model, content in zip(fleet, fetch_files(stores, fleet), strict=True):
        try:
            if isinstance(content, Unscorable):
                raise content
            if len(f"{model.id.rsplit('/', 1)[-1]}.skops".encode()) > NAME_LIMIT:
                raise Unscorable(Reason.BAD_NAME, "its name with the ending .skops is too long for a file")
            detector = loader.load_model(content.data)
            if detector.rule.border or detector.rule.is_first:
                message = (
                    "expected labels by a score of 0, got those of scikit-learn 0.19 to 0.21: keep the file as it is"
                )
                raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
            read_sidecar(content.companions)
            data = skops.io.dumps(detector.estimator)
            loader.load_model(data)  # our own loader must accept what we write
        except Unscorable as error:
            failed += 1
            print(f"failed: {format_name(model.name)}: {error.reason}: {error}")
            continue
        target_folder.write(f"{model.id}.skops", data)
        for companion in content.companions.values():
            target_folder.write(f"{model.id}.{SIDECAR}", companion)
        print(f"converted: {model.name} -> {target / model.id}.skops")
    return 1 if failed else 0
