"""Settles what new plans do where a setting is unset, and stores it in the heartbeat: a deployment of before stays."""

from __future__ import annotations

import logging
from dataclasses import replace

from shared.contract.documents import NEWEST
from shared.contract.errors import Conflict
from shared.planning.predictions_schema import decide_predictions_schema, explain_predictions_schema
from shared.ports import Ledger
from shared.state.runs import Heartbeat

log = logging.getLogger(__name__)


def settle_defaults(ledger: Ledger, setting: int | None) -> Heartbeat:
    """The heartbeat, with the schemas of new plans and predictions, and whether the order of features is assumed.

    *setting*: PREDICTIONS_SCHEMA. Before a node has reported, plans are of the newest schema where nothing ran yet, and
    of schema 1 after an upgrade. Raises Unavailable.

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
    )
    if settled == beat:
        return beat
    if settled.predictions_schema != stored and settled.predictions_schema is not None:
        log.info("%s", explain_predictions_schema(settled.predictions_schema, setting))
    if settled.assumes_features and assumes is None:
        log.info("models without feature names take the order of the files' columns while FEATURES is unset, as before")
    try:
        return ledger.save_heartbeat(settled)
    except Conflict:
        log.info("another host ticked at the same time; its heartbeat is kept")
        return settled
