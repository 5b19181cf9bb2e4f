"""Settles what new plans do where a setting is unset, and stores it in the heartbeat: a deployment of before stays."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from shared.contract.documents import NEWEST
from shared.contract.errors import Conflict
from shared.contract.windows import EPOCH
from shared.planning.predictions_schema import decide_predictions_schema, explain_predictions_schema
from shared.planning.window_origin import explain_window_origin
from shared.ports import Ledger
from shared.state.runs import Heartbeat

from .services import find_window_origin

log = logging.getLogger(__name__)


def settle_defaults(
    ledger: Ledger,
    setting: int | None,
    window: timedelta = timedelta(hours=1),
    window_origin: datetime | None = None,
) -> Heartbeat:
    """The heartbeat, with the schemas of new plans and predictions, and whether the order of features is assumed.

    *setting*: PREDICTIONS_SCHEMA; *window_origin*: WINDOW_ORIGIN, for windows of the length *window*. Before a node has
    reported, plans are of the newest schema where nothing ran yet, and of schema 1 after an upgrade.

    Raises Unavailable.

    A tick calls this before it opens a run, and a change is stored at once: a run that the first tick opened must not
    look like one from before, if that tick was killed.
    """
    beat = ledger.read_heartbeat()
    stored, assumes = beat.predictions_schema, beat.assumes_features
    is_new = None in (beat.node_schema, assumes) or (setting is None and stored is None)
    has_runs = is_new and bool(beat.watermark or ledger.list_runs(1).items)
    settled = replace(
        beat,
        node_schema=beat.node_schema or (1 if has_runs else NEWEST),
        predictions_schema=decide_predictions_schema(setting, stored, has_runs=has_runs),
        assumes_features=has_runs if assumes is None else assumes,
        window_origin=find_window_origin(ledger, beat, window, window_origin),
    )
    if settled == beat:
        return beat
    if settled.predictions_schema != stored and settled.predictions_schema is not None:
        log.info("%s", explain_predictions_schema(settled.predictions_schema, setting))
    if settled.assumes_features and assumes is None:
        log.info("models without feature names take the order of the files' columns while FEATURES is unset, as before")
    if settled.window_origin == EPOCH and beat.window_origin is None and window_origin is None:
        log.warning("%s", explain_window_origin(EPOCH, window))
    try:
        return ledger.save_heartbeat(settled)
    except Conflict:
        log.info("another host ticked at the same time; its heartbeat is kept")
        return settled
