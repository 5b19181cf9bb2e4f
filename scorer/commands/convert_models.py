"""`python -m scorer convert`: each model of a folder as a skops file. No code of a file is run."""

from __future__ import annotations

from pathlib import Path

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.model_files.sidecar import SIDECAR, read_sidecar
from scorer.packs.fetch import Stores, fetch_files
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.model_names import ModelNames
from shared.contract.reasons import Reason
from shared.contract.text import clip_text

from .convert_summary import Conversion, ConvertSummary
from .folders import NAME_LIMIT, check_target, list_models
from .unscored import Output


def convert_folder(models: Path, target: Path, names: ModelNames, output: Output = Output.SHORT) -> int:
    """Write each model as a skops file named by its id, without running its content; 1 when a model failed, else 0.

    Prints a summary. Raises Malformed for options that make no sense, Misconfigured and Unavailable where the files
    cannot be written.
    """
    fleet, ignored = list_models(models, names)
    source_path, target_path = models.resolve(), target.resolve()
    if source_path.is_relative_to(target_path) or target_path.is_relative_to(
        source_path
    ):  # else originals are overwritten, or models appear twice
        raise Malformed(f"--to: expected a folder outside the models, got {target} and {models}")
    check_target("--to", target)
    source_folder, target_folder = Folder(models), Folder(target)
    stores = Stores(source_folder, source_folder, formats=names.formats)
    conversions = []
    for model, content in zip(fleet, fetch_files(stores, fleet), strict=True):
        try:
            files = _convert_model(model, content)
        except Unscorable as error:
            conversion = Conversion(model.id, model.name, reason=error.reason, message=clip_text(str(error)))
        else:
            for name, data in files.items():
                target_folder.write(name, data)
            conversion = Conversion(model.id, model.name, str(target / next(iter(files))))
        conversions.append(conversion)
    summary = ConvertSummary(conversions, str(target), ignored)
    print(summary.format(output))
    return summary.exit_code


def _convert_model(model: Model, content: Content | Unscorable) -> dict[str, bytes]:
    """The files to write by name, the one with the model first. Raises Unscorable."""
    import skops.io

    if isinstance(content, Unscorable):
        raise content
    if len(f"{model.id.rsplit('/', 1)[-1]}.skops".encode()) > NAME_LIMIT:
        raise Unscorable(Reason.BAD_NAME, "its name with the ending .skops is too long for a file")
    detector = loader.load_model(content.data)
    if detector.rule.border or detector.rule.is_first:
        message = "expected labels by a score of 0, got those of scikit-learn 0.19 to 0.21: keep the file as it is"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    read_sidecar(content.companions)
    data = skops.io.dumps(detector.estimator)
    loader.load_model(data)  # our own loader must accept what we write
    return {f"{model.id}.skops": data, **{f"{model.id}.{SIDECAR}": side for side in content.companions.values()}}
