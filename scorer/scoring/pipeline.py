"""Scores one pack of a chunk. Each model is scored for itself: an error of one affects no other.

carried     an earlier attempt scored it
plain       packed, and its rows are side by side in one frame: all such models in one call of the kernels
gathered    packed, and its rows come from several places: the same, in a second call
isolated    no kernel knows the family, or the attempt is isolated: scikit-learn, in a worker process
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from scorer.errors import NO_MODEL, Unscorable
from scorer.families.base import Family, GapRule
from scorer.library_versions import UNKNOWN, get_installed_version
from scorer.model_files.file_formats import is_skops
from scorer.packs.cache import LoadedModels
from scorer.packs.fetch import Stores, fetch_files
from scorer.packs.pack import Pack
from scorer.predictions.outcome import ModelOutcome
from scorer.predictions.table import NEWEST
from scorer.readings import features
from scorer.readings.device_readings import REPEATED, Readings
from scorer.readings.features import Expected, ModelReadings
from scorer.sandbox.pool import WorkerPool
from scorer.storage.blob_store import Content
from shared.contract.domain import Model, Task
from shared.contract.model_list import ModelList
from shared.contract.outcomes import ModelResult
from shared.contract.reasons import Reason
from shared.contract.scoring_options import OtherVersion, OtherVersions, Probabilities

from . import batching
from .batching import KernelInput
from .pack_state import PackOutput, PackState, ProgressCounter
from .run_warnings import ASSUMED, CONSTANT, KEPT, SILENT, RunWarnings


@dataclass(frozen=True, slots=True)
class ScoringContext:
    """The worker processes and options that all packs of a chunk are scored with."""

    workers: WorkerPool
    cores: int = 1
    other_versions: OtherVersions = field(default_factory=OtherVersions)
    predictions_schema: int = NEWEST  # of the files that are written
    probabilities: Probabilities = Probabilities.LABEL
    earlier: Mapping[str, ModelOutcome] = field(default_factory=dict)  # of models that are scored once more, by id


@dataclass(frozen=True, slots=True)
class PackInput:
    """The models of one pack, with all that scoring them needs."""

    models: ModelList
    loaded: LoadedModels
    readings: Readings
    carried: Mapping[int, ModelOutcome] = field(default_factory=dict)  # by index: outcomes of an earlier attempt
    stores: Stores | None = None  # for files that the pack does not hold
    is_isolated: bool = False  # only worker processes read the files


def score_pack(
    pack_input: PackInput, context: ScoringContext, progress: ProgressCounter, warnings: RunWarnings
) -> PackOutput:
    """Score every model of the pack. Raises Unavailable where stores do not answer or worker processes cannot start."""
    pack_state = PackState(pack_input.models, pack_input.loaded, progress)
    pack_state.add_outcomes(pack_input.carried)
    refusals = _refuse_versions(pack_input, context.other_versions, warnings) | pack_input.loaded.refusals
    is_pending = (pack_input.loaded.rows >= 0) & ~pack_state.is_over
    is_pending[list(refusals)] = False
    if pack_input.is_isolated or pack_input.loaded.pack.is_kept[pack_input.loaded.rows[is_pending]].any():
        context.workers.start_workers()  # their imports take 2 s, while the kernels score
    kept_back = _find_kept_back(pack_input.loaded.pack, context)
    plain_rows = np.where(is_pending & ~kept_back[pack_input.loaded.rows], pack_input.loaded.rows, -1)
    plain_inputs = batching.join_plain_models(
        pack_input.models, pack_input.loaded.pack, plain_rows, pack_input.readings
    )
    failed: set[int] = set()
    for plain_input in plain_inputs:
        unscored = _score_input(pack_state, plain_input, context, warnings)
        scored_indices = np.setdiff1d(plain_input.indices, sorted(unscored))
        warnings.add_counts([(_count_assumed(pack_input, scored_indices), ASSUMED)])
        failed |= unscored
    model_readings: dict[int, ModelReadings] = {}
    isolated_models: list[int] = []
    for index in np.flatnonzero(~pack_state.is_over).tolist():
        try:
            readings = _select_readings(pack_input, index, refusals.get(index), kept_back)
        except Unscorable as error:
            pack_state.add_refusal(index, error)
            continue
        if readings is None or index in failed:
            isolated_models.append(index)
        else:
            model_readings[index] = readings
    for part in _split_chains(pack_input, model_readings):
        joined = batching.join_model_readings(pack_input.loaded.pack, pack_input.loaded.rows, part)
        unscored = _score_input(pack_state, joined, context, warnings)
        for index in part.keys() - unscored:
            _count_warnings(part[index], _get_family(pack_input, index), warnings)
        isolated_models += sorted(unscored)
    formats: deque[bool] = deque()
    items = _list_items(pack_input, isolated_models, formats)
    for index, raw_outcome in zip(isolated_models, context.workers.score_items(items), strict=True):
        outcome = _judge_version(raw_outcome, context.other_versions, is_skops_file=formats.popleft())
        outcome = _judge_columns(outcome, context.predictions_schema)
        pack_state.add_outcomes({index: outcome})
        warnings.add_outcome(outcome)
    warnings.add_counts([(pack_state.keep_earlier(context.earlier), KEPT), (pack_state.add_remarks(), CONSTANT)])
    return pack_state.build_output()


def _score_input(
    pack_state: PackState, kernel_input: KernelInput, context: ScoringContext, warnings: RunWarnings
) -> set[int]:
    """Score models by the kernels. Returns those whose numbers are not finite: their own library says what is wrong.

    The rows of the returned ones are not counted: the worker processes do.
    """
    unscored: set[int] = set()
    if kernel_input.batch.family[0] == Family.STEPS:
        unscored.update(pack_state.score_chains(kernel_input, context.cores, context.probabilities))
    else:
        pack_state.score_batch(kernel_input, context.cores)
    is_scored = np.isin(kernel_input.indices, sorted(unscored), invert=True)
    warnings.add_rows(kernel_input.batch.family[is_scored], kernel_input.batch.n_rows[is_scored])
    return unscored


def _count_warnings(readings: ModelReadings, family: Family, warnings: RunWarnings) -> None:
    """Count what a person should know of the readings of a model that the kernels scored."""
    warnings.add_left_out(family, readings.left_out)
    warnings.add_counts([(readings.repeated, REPEATED), (readings.is_assumed, ASSUMED), (readings.has_silent, SILENT)])


def _split_chains(
    pack_input: PackInput, model_readings: Mapping[int, ModelReadings]
) -> Iterator[dict[int, ModelReadings]]:
    """The models that are no chains of steps, and those that are, as far as there are any."""
    is_chain = {index: _get_family(pack_input, index) is Family.STEPS for index in model_readings}
    for kind in (False, True):
        if part := {index: readings for index, readings in model_readings.items() if is_chain[index] is kind}:
            yield part


def _find_kept_back(pack: Pack, context: ScoringContext) -> np.ndarray:
    """A mask of the pack's chains that predict what the files of this run have no column for.

    Their own library scores them, and so says in which columns. One element more, for the row -1, is False.
    """
    kept_back = np.zeros(len(pack) + 1, bool)
    if context.predictions_schema != NEWEST and len(pack):
        codes, tasks = pack.tasks
        is_new = np.array([task not in (None, Task.DETECTOR) for task in tasks], bool)
        kept_back[:-1] = is_new[codes]
    return kept_back


def _refuse_versions(pack_input: PackInput, policy: OtherVersions, warnings: RunWarnings) -> dict[int, Unscorable]:
    """The packed models that another scikit-learn made: refused, or counted as a warning, by the policy."""
    pack, installed_version = pack_input.loaded.pack, get_installed_version()
    if not len(pack):
        return {}
    codes, versions = pack.get_texts("made_by")
    other = np.isin(codes, [code for code, version in enumerate(versions) if version not in ("", installed_version)])
    rows, skops = pack_input.loaded.rows, pack.get_numbers("skops")
    refusals: dict[int, Unscorable] = {}
    for index in np.flatnonzero((rows >= 0) & other[rows]).tolist():
        row = rows[index]
        version = versions[codes[row]]
        if index in pack_input.carried:
            continue
        if refusal := _refuse_version(version, policy, is_skops_file=bool(skops[row])):
            refusals[index] = refusal
        elif not pack.is_kept[row]:  # a worker process reports those
            warnings.made_by.setdefault(version, {})[pack_input.models[index].id] = None
    return refusals


def _refuse_version(version: str, policy: OtherVersions, *, is_skops_file: bool) -> Unscorable | None:
    """The error of a model of another version, or of one that it does not say; None where the policy accepts it."""
    if (policy.skops if is_skops_file else policy.pickle) is not OtherVersion.REFUSE:
        return None
    origin = "it does not say which scikit-learn made it" if version == UNKNOWN else f"made by scikit-learn {version}"
    message = f"{origin}, expected {get_installed_version()}, as OTHER_VERSIONS says"
    return Unscorable(Reason.INCOMPATIBLE_MODEL, message)


def _judge_version(outcome: ModelOutcome, policy: OtherVersions, *, is_skops_file: bool) -> ModelOutcome:
    """The outcome of a worker process, or the refusal of the version that it read in the file."""
    refusal = _refuse_version(outcome.made_by, policy, is_skops_file=is_skops_file) if outcome.made_by else None
    if refusal is None:
        return outcome
    result = ModelResult(outcome.result.model, reason=refusal.reason, message=str(refusal), etag=outcome.result.etag)
    return ModelOutcome(result)


def _judge_columns(outcome: ModelOutcome, schema: int) -> ModelOutcome:
    """The outcome, or the refusal of a model that predicts what files of an older schema have no column for."""
    if schema == NEWEST or outcome.predictions is None or not (names := outcome.predictions.list_new_columns()):
        return outcome
    message = (
        f"expected a detector, since predictions are written in schema {schema}, got a model with "
        f"{' and '.join(names)}: set PREDICTIONS_SCHEMA to {NEWEST} and upgrade the earlier files"
    )
    result = ModelResult(outcome.result.model, reason=Reason.UNSUPPORTED_MODEL, message=message)
    return ModelOutcome(result._replace(etag=outcome.result.etag))


def _count_assumed(pack_input: PackInput, indices: np.ndarray) -> int:
    """How many of the models of several features take an order of features that nobody chose."""
    pack, rows = pack_input.loaded.pack, pack_input.loaded.rows[indices]
    if not pack_input.readings.policy.features.assumed:
        return 0
    codes, names = pack.features
    is_nameless = np.isin(codes, [code for code, model_names in enumerate(names) if not model_names])
    return int(np.count_nonzero((is_nameless & (pack.get_numbers("width") > 1))[rows]))


def _select_readings(
    pack_input: PackInput, index: int, refusal: Unscorable | None, kept_back: np.ndarray
) -> ModelReadings | None:
    """The readings of a packed model; None for a model that goes to the worker processes. Raises Unscorable."""
    model, pack, row = pack_input.models[index], pack_input.loaded.pack, int(pack_input.loaded.rows[index])
    own_refusal = pack.get_refusal(row) if row >= 0 and not pack_input.is_isolated else None
    if own_refusal and str(own_refusal).startswith(NO_MODEL):  # such as a scaler: it has no device, so no readings
        raise own_refusal
    if model.refused and refusal:  # by the plan: checked before the readings, while errors of a file come after them
        raise refusal
    frame_rows = features.find_frame_rows(pack_input.readings, model)
    if refusal:
        raise refusal
    if pack_input.is_isolated:
        return None
    if own_refusal:
        raise own_refusal
    if pack.is_kept[row] or kept_back[row]:
        return None
    codes, names = pack.features
    gaps_codes, gaps_of_code = pack.gaps
    gaps = gaps_of_code[gaps_codes[row]]
    gap_rule = GapRule(int(pack.get_numbers("gap_rule")[row]))
    width, takes_gaps = int(pack.get_numbers("width")[row]), gap_rule is GapRule.TAKES
    expected = Expected(names[codes[row]], width, takes_gaps=takes_gaps, gaps=gaps)
    readings = features.build_model_readings(pack_input.readings, model, frame_rows, expected)
    return None if gap_rule is GapRule.NONE and np.isnan(readings.values).any() else readings


def _get_family(pack_input: PackInput, index: int) -> Family:
    return Family(int(pack_input.loaded.pack.get_numbers("family")[pack_input.loaded.rows[index]]))


def _list_items(
    pack_input: PackInput, indices: Sequence[int], formats: deque[bool]
) -> Iterator[tuple[Model, Content | Exception, Readings]]:
    """The items for the worker processes: each model, its file, and the readings of its device.

    *formats* gets for each item whether its file is skops.
    """
    models = [pack_input.models[index] for index in indices]
    pack, rows, contents = pack_input.loaded.pack, pack_input.loaded.rows, pack_input.loaded.contents
    is_stored = {index: rows[index] >= 0 and bool(pack.has_file[rows[index]]) for index in indices}
    absent = [pack_input.models[index] for index in indices if not is_stored[index] and index not in contents]
    assert pack_input.stores or not absent
    fetched = fetch_files(pack_input.stores, absent) if pack_input.stores else iter(())
    for model, index in zip(models, indices, strict=True):
        if is_stored[index]:
            file: Content | Exception = pack.get_content(int(rows[index]))
        else:
            file = contents.pop(index) if index in contents else next(fetched)
        formats.append(isinstance(file, Content) and is_skops(file.data))
        yield model, file, pack_input.readings.select_device(model.device)
