"""Problems of several settings together: each alone is well-formed. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pydantic import TypeAdapter, ValidationError

from shared.contract.errors import Malformed
from shared.contract.publishing.sinks import SinkKind
from shared.contract.windows import parse_length
from shared.planning.completeness import WaitFor

from .setting_types import parse_sinks

_BOOLEAN = TypeAdapter(bool)
PREDICTIONS_FOLDER = "date=%Y-%m-%d/hour=%H/"  # of an hour's predictions, as in `shared/contract/paths.py`


def find_shared_containers(texts: Mapping[str, str]) -> list[str]:
    """Problems of containers that are one and must not be. *texts*: all settings, by field."""
    kinds = ("models", "readings", "predictions", "work", "tables")
    container = {kind: texts[f"{kind}_container"] for kind in kinds}
    pairs = [("work", other) for other in kinds[:3]] + [("predictions", "models")]
    if SinkKind.DELTA in _list_sinks(texts):
        pairs += [("tables", other) for other in kinds[:4]]
    if PREDICTIONS_FOLDER.startswith(
        re.split("[{*]", texts["readings_path"])[0]
    ):  # predictions would be read as readings
        pairs.append(("predictions", "readings"))
    return [
        f"  {kind.upper()}_CONTAINER: expected another one than {other.upper()}_CONTAINER, got {container[kind]!r}"
        for kind, other in pairs
        if container[kind] == container[other]
    ]


def find_wait_problems(texts: Mapping[str, str]) -> list[str]:
    """Why windows cannot wait as WAIT_FOR says."""
    with suppress(Malformed):  # of one setting alone, which is a problem of its own
        problem = WaitFor.parse(texts["wait_for"]).find_problem(texts["readings_path"], parse_length(texts["window"]))
        return [f"  WAIT_FOR: {problem}"] if problem else []
    return []


def find_sink_problems(texts: Mapping[str, str]) -> list[str]:
    """Settings that the sinks need and that are missing, and those that would do nothing."""
    sinks = _list_sinks(texts)
    problems = _find_idle_settings(texts)
    if SinkKind.SQL in sinks and not texts["sql_url"]:
        problems.append("  SQL_URL: expected the database, for SINKS=sql, got nothing")
    if SinkKind.EVENTS in sinks and not texts["events_url"]:
        problems.append("  EVENTS_URL: expected where events go, for SINKS=events, got nothing")
    if _is_false(texts.get("predictions_folder", "")) and not {SinkKind.DELTA, SinkKind.SQL} & set(sinks):
        problems.append(
            "  PREDICTIONS_FOLDER: expected true, or SINKS with delta or sql, where predictions are read then, "
            f"got false with SINKS={texts['sinks']!r}"
        )
    return problems


def _find_idle_settings(texts: Mapping[str, str]) -> list[str]:
    """Settings that name where something goes, while nothing goes there."""
    problems = []
    with suppress(Malformed):  # a problem of its own
        sinks = parse_sinks(texts["sinks"])
        problems += [
            f"  {name.upper()}: expected {kind} in SINKS where it is set, got SINKS={texts['sinks']}"
            for name, kind in (("sql_url", SinkKind.SQL), ("events_url", SinkKind.EVENTS))
            if texts[name] and kind not in sinks
        ]
    if texts["notify_key"] and not texts["notify_url"]:
        problems.append("  NOTIFY_KEY: expected NOTIFY_URL where it is set, got no URL")
    return problems


def _is_false(text: str) -> bool:
    """Whether a setting says so; any other text is a problem of its own, or none."""
    with suppress(ValidationError):
        return not _BOOLEAN.validate_python(text)
    return False


def _list_sinks(texts: Mapping[str, str]) -> Sequence[SinkKind]:
    with suppress(Malformed):  # a problem of its own
        return parse_sinks(texts["sinks"])
    return ()
