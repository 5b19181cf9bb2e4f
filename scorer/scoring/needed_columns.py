"""Which columns of the readings a pack's models need, so that no other is read. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from scorer.families.base import Family
from scorer.packs.cache import LoadedModels
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
