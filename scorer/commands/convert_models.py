"""`python -m scorer convert`: each model of a folder as a skops file. No code of a file is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.estimators.loader import FittedModel
from scorer.packs.fetch import Stores, fetch_files
from scorer.storage.blob_store import Content, Folder
from shared.contract.domain import Model
from shared.contract.errors import Malformed
from shared.contract.fleet.listing import FEATURES_FILE
from shared.contract.model_names import ModelNames, format_name
from shared.contract.reasons import Reason

from .folder_summary import describe_ignored
from .folders import NAME_LIMIT, check_target, list_models


def convert_folder(models: Path, target: Path, names: ModelNames) -> int:
    """Write each model as a skops file named by its id, without running its content; 1 when a model failed, else 0.

    Raises Malformed for options that make no sense, Misconfigured and Unavailable where the files cannot be written.
    """
    fleet, ignored = list_models(models, names)
    source_path, target_path = models.resolve(), target.resolve()
    if source_path.is_relative_to(target_path) or target_path.is_relative_to(
        source_path
    ):  # else originals are overwritten, or models appear twice
        raise Malformed(f"--to: expected a folder outside the models, got {target} and {models}")
    check_target("--to", target)
    source_folder, target_folder, failed = Folder(models), Folder(target), 0
    for note in describe_ignored(ignored):
        print(f"note: {note}")
    for model, content in zip(fleet, fetch_files(Stores(source_folder, source_folder), fleet), strict=True):
        try:
            if isinstance(content, Unscorable):
                raise content
            if len(f"{model.id.rsplit('/', 1)[-1]}.skops".encode()) > NAME_LIMIT:
                raise Unscorable(Reason.BAD_NAME, "its name with the ending .skops is too long for a file")
            data = _convert_model(model, content)
        except Unscorable as error:
            failed += 1
            print(f"failed: {format_name(model.name)}: {error.reason}: {error}")
            continue
        target_folder.write(f"{model.id}.skops", data)
        if FEATURES_FILE in content.companions:
            target_folder.write(f"{model.id}.{FEATURES_FILE}", content.companions[FEATURES_FILE])
        print(f"converted: {model.name} -> {target / model.id}.skops")
    return 1 if failed else 0


def _convert_model(model: Model, content: Content) -> bytes:
    """The model as skops: its estimator, or a bundle where something else belongs to it. Raises Unscorable."""
    import skops.io

    judged = loader.judge_model(content.data, companions=content.companions, name=model.name)
    fitted, signature = loader.build_model(judged), judged.content.signature
    if fitted.rule.border or fitted.rule.is_first:
        message = "expected labels by a score of 0, got those of scikit-learn 0.19 to 0.21: keep the file as it is"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    if other := sorted(set(signature.types.values()) - {"double"}):
        message = f"expected a signature of doubles, got {', '.join(other)}: keep the folder as it is"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
    data: bytes = skops.io.dumps(_make_bundle(fitted, judged.content.bundle.features or signature.names))
    loader.load_model(data)  # our own loader must accept what we write
    return data


def _make_bundle(fitted: FittedModel, features: tuple[str, ...]) -> Any:
    """The estimator alone, or a dict with the keys of a bundle."""
    scaler, estimator = (step for _, step in fitted.estimator.steps) if fitted.has_scaler else (None, fitted.estimator)
    threshold = fitted.threshold
    parts = {
        "scaler": scaler,
        "features": list(features),
        "classes": list(fitted.classes),
        "threshold": threshold.border if threshold else None,
        "threshold_of": str(threshold.of) if threshold else None,
        "target": threshold.target if threshold else None,
    }
    filled = {key: part for key, part in parts.items() if part}
    if threshold:
        filled["threshold"] = threshold.border  # 0 is one too
    return {"model": estimator, **filled} if filled else estimator
