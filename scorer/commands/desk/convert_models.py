"""`python -m scorer convert`: each model of a folder as a skops file. No code of a file is run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scorer.errors import Unscorable
from scorer.estimators import loader
from scorer.estimators.loader import FittedModel
from scorer.model_files.content import DOUBLE
from scorer.model_files.estimator_kinds import BOOSTERS
from scorer.model_files.parsed import get_last_step
from scorer.model_files.sidecar import SIDECAR
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
    if isinstance(content, Unscorable):
        raise content
    if len(f"{model.id.rsplit('/', 1)[-1]}.skops".encode()) > NAME_LIMIT:
        raise Unscorable(Reason.BAD_NAME, "its name with the ending .skops is too long for a file")
    sidecars = [data for name, data in content.companions.items() if name.endswith(f".{SIDECAR}")]
    return {f"{model.id}.skops": _dump_model(content), **{f"{model.id}.{SIDECAR}": data for data in sidecars}}


def _dump_model(content: Content) -> bytes:
    """The model as skops: its estimator, or a bundle where something else belongs to it. Raises Unscorable."""
    import skops.io

    judged = loader.judge_model(content.data, companions=content.companions)
    kind = get_last_step(judged.content.bundle.estimator).kind
    if kind in BOOSTERS:
        message = (
            f"expected a model of scikit-learn, got a {kind}: keep the file as it is, or save its booster's own file"
        )
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
    fitted, signature = loader.build_model(judged), judged.content.signature
    if fitted.rule.border or fitted.rule.is_first:
        message = "expected labels by a score of 0, got those of scikit-learn 0.19 to 0.21: keep the file as it is"
        raise Unscorable(Reason.INCOMPATIBLE_MODEL, message)
    if other := sorted(set(signature.types.values()) - {DOUBLE}):
        message = f"expected a signature of doubles, got {', '.join(other)}: keep the folder as it is"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message)
    try:
        data: bytes = skops.io.dumps(_make_bundle(fitted, judged.content.bundle.features or signature.names))
    except skops.io.exceptions.UnsupportedTypeException as error:
        message = f"expected a model that skops can write, got one it cannot: {error}. Keep the file as it is"
        raise Unscorable(Reason.UNSUPPORTED_MODEL, message[:300]) from error
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
