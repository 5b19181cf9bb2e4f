"""What a pack's models need of the readings, and which of them need their numbers, so that no more is read. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from scorer.families.base import Family
from scorer.packs.cache import LoadedModels
from scorer.readings.device_readings import Readings
from scorer.readings.projection import Projection
from shared.contract.model_list import ModelList


def find_needed_columns(models: ModelList, loaded: LoadedModels, excluded: Collection[int] = ()) -> Projection:
    """What the models need that will be scored: not those at the indices *excluded*, and none that cannot be.

    A model of a sensor takes the column of that name where files have one for each sensor.
    """
    scored = loaded.rows >= 0
    scored[[*excluded, *loaded.refusals]] = False
    rows, pack = loaded.rows[scored], loaded.pack
    if not len(rows):
        return Projection()
    reason_codes, reasons = pack.get_texts("reason")
    is_refused = np.isin(reason_codes[rows], [code for code, reason in enumerate(reasons) if reason])
    name_codes, names_of_code = pack.features
    codes = np.unique(name_codes[rows[~is_refused]]).tolist()
    has_no_names = ~is_refused & np.isin(name_codes[rows], [code for code in codes if not names_of_code[code]])
    is_unknown = has_no_names & (pack.get_numbers("family")[rows] == Family.KEPT)
    names = frozenset(name for code in codes for name in names_of_code[code])
    has_sensor = np.zeros(len(rows), bool)
    if models.has_sensors:
        sensors = models.read_texts("sensor")
        has_sensor = np.fromiter((bool(sensor) for sensor in sensors), bool, len(sensors))[scored]
        names |= frozenset(sensors) - {""}
    return Projection(
        names,
        in_order=bool((has_no_names & ~has_sensor).any()),
        sensors_in_order=bool((has_no_names & has_sensor).any()),
        unknown=bool(is_unknown.any()),
    )


def find_models_with_rows(models: ModelList, readings: Readings, excluded: Collection[int] = ()) -> np.ndarray:
    """A mask of the models that can be scored with these readings: the others fail whatever their numbers are."""
    has_rows = np.zeros(len(models), bool)
    if readings.unreadable:
        return has_rows
    is_asked_for = np.ones(len(models), bool)
    is_asked_for[[*excluded]] = False  # the readings have no codes for them
    indices = np.flatnonzero(is_asked_for)
    names = models.read_texts("device")
    codes = readings.find_codes(names if len(indices) == len(names) else [names[index] for index in indices.tolist()])
    is_present = np.zeros(len(readings.devices), bool)
    is_present[list(readings.bad)] = True
    for frame in readings.frames:
        is_present |= frame.starts[1:] > frame.starts[:-1]
    is_present[list(readings.damaged)] = False
    has_rows[indices] = is_present[codes]
    return has_rows
