"""The demonstration: a fleet of pumps or meters, the hour that is due scored by the timer, and the result.

It only watches: the app opens, plans and commits the run by its own timer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from shared import bootstrap
from shared.config.fields import Settings
from shared.contract.errors import Misconfigured, Unavailable
from shared.contract.paths import prediction_path
from shared.contract.windows import Window
from shared.planning import due_windows
from shared.state.runs import Phase

from . import findings, fleet, stack, web
from .findings import Findings
from .fleet import DemoFleet, Fleet, Stores
from .forecast import Errors, measure_errors
from .pumps import HOUR
from .screen import Screen, bar
from .stack import Server

STALL_LIMIT = 900  # seconds without a change, after which the demo gives up
LOOK = 0.5  # seconds between two looks


def prepare(machines: Fleet, stores: Stores, screen: Screen) -> None:
    """Write the models and the last day's readings to storage, unless they exist."""
    if fleet.is_there(machines, stores):
        screen.say("fleet", f"{machines.devices} {machines.noun} and their models exist")
    else:
        train(machines, stores, screen)
    add_readings(machines, stores, screen)


def train(machines: Fleet, stores: Stores, screen: Screen) -> None:
    """Train the fleet, with a bar."""
    start = time.monotonic()
    screen.show("fleet", f"training {machines.model} for each of {machines.devices} {machines.noun}, once", "trained 0")
    with closing(fleet.train(machines, stores)) as progress:  # closing it stops the training
        for count in progress:
            text = f"{bar(count, machines.devices)} {count} of {machines.devices} {machines.noun} trained"
            screen.show("fleet", text, f"trained {4 * count // machines.devices}")
    screen.say(
        "fleet",
        f"{machines.devices} {machines.noun}, {machines.model} trained for each in {time.monotonic() - start:.0f} s",
    )


def add_readings(machines: Fleet, stores: Stores, screen: Screen) -> None:
    """Write the hours that have closed since the last call."""
    now = datetime.now(UTC)
    hours = fleet.write_readings(machines, stores, now)
    if hours:
        until = Window.containing(now, HOUR).start
        screen.say(
            "readings",
            f"{machines.rhythm} from each of the {machines.noun}; {hours} h written, up to {until:%Y-%m-%d %H:%M} UTC",
        )


def due(settings: Settings) -> Window:
    """The last window that the schedule has made due."""
    return due_windows.find_due_windows(
        settings.schedule, settings.window, None, datetime.now(UTC), settings.catch_up
    ).waiting[-1]


def follow(url: str, settings: Settings, servers: Sequence[Server], screen: Screen) -> dict[str, Any]:
    """Watch the run of the last window that is due until it has ended; raises Unavailable when nothing moves."""
    window, deadline, last = due(settings), time.monotonic() + STALL_LIMIT, ""
    failed_round: tuple[str, int] | None = None  # a run and its round that failed before the fleet existed
    while True:
        stack.check(servers)
        run = _ask(f"{url}/api/runs/{window.id}")
        if run is None:
            window = due(settings)  # an hour may end while we wait
            text, step = _waiting(url, window)
        elif (run["id"], run["round"]) == failed_round:
            text, step = f"{window.id} failed before there was a fleet; a further round is requested", "again"
        elif Phase(run["phase"]).terminal and not run["models"]["scored"] and failed_round is None:
            failed_round = run["id"], run["round"]
            web.post(f"{url}/api/runs/{window.id}/redrive")
            continue
        elif Phase(run["phase"]).terminal:
            screen.clear()
            if not last:
                screen.say("note", f"{window.id} was scored before; this is its result")
            return run
        else:
            text, step = _open(run)
        screen.show("run", text, step)
        deadline = deadline if text == last else time.monotonic() + STALL_LIMIT
        if time.monotonic() > deadline:
            raise Unavailable(f"no change for {STALL_LIMIT} s: {text}")
        last = text
        time.sleep(LOOK)


def _ask(url: str) -> dict[str, Any] | None:
    """The answer of the app; None if it is not found. Raises Unavailable."""
    try:
        answer = web.get(url)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status == HTTPStatus.OK:
            return answer.json
        raise OSError(f"{answer.status} {answer.body.decode(errors='replace')}")
    except (OSError, ValueError) as error:
        raise Unavailable(f"expected an answer from {url}, got {error}") from error


def _waiting(url: str, window: Window) -> tuple[str, str]:
    """Why the run is not open yet: the timer opens earlier windows first, or has errors."""
    health = web.get(f"{url}/api/health").json
    if health.get("trouble"):
        return f"waiting for the timer, which has an error: {health['trouble']}", health["trouble"]
    page = _ask(f"{url}/api/runs?limit=1") or {"items": []}
    earlier = [run["id"] for run in page["items"] if not Phase(run["phase"]).terminal and run["id"] != window.id]
    first = f", which runs {earlier[0]} first" if earlier else ""
    return f"{window.id}: waiting for the timer{first}", first


def _open(run: dict[str, Any]) -> tuple[str, str]:
    """The progress of an open run, and its step."""
    models, total = run["models"], run["models"]["total"]
    if not total:
        return f"{run['id']}: {run['phase']}", run["phase"]
    jobs = ", ".join(f"{count} {state}" for state, count in run["chunks"].items() if count) or "none yet"
    text = f"{run['id']} {bar(models['done'], total)} {models['done']} of {total} models; jobs: {jobs}"
    return text, f"done {4 * models['done'] // total}"


def tell(run: dict[str, Any], machines: Fleet, stores: Stores, screen: Screen) -> bool:
    """Print the result of the run; returns whether it succeeded. Raises Misconfigured for a run of another fleet."""
    window, models = Window.parse(run["id"]), run["models"]
    folder = prediction_path(window, "", 0).rpartition("/")[0]
    screen.say("run", f"{run['id']} {run['phase']}{': ' * bool(run['message'])}{run['message']}")
    for failure in run["failures"]:
        screen.say("", f"{_counted(failure['models'], 'model')} {failure['reason']}, such as {failure['example']}")
    screen.say(
        "scored", f"{models['scored']:,} of {_counted(models['total'], 'model')}, {_counted(run['rows'], 'row')}"
    )
    result = findings.look(stores, window) if isinstance(machines, DemoFleet) else measure_errors(stores, window)
    if models["scored"] and not result.files:
        raise Misconfigured(
            f"expected the predictions of this run in {stores.predictions.url}/{folder}/, got none: the host that "
            "answers serves another fleet; stop it, or choose another port, as in make demo PORT=7072"
        )
    if isinstance(result, Findings):
        screen.say("found", f"{run['anomalies']:,} anomalies, {run['anomalies'] / max(run['rows'], 1):.1%} of the rows")
    elif numbers := run["predicted"] and run["predicted"]["predictions"]:
        ends = f"{numbers['least']:.2f} to {numbers['greatest']:.2f} kW"
        screen.say("found", f"predictions of {ends}, in the mean {numbers['mean']:.2f} kW")
    screen.say("took", _pace(run))
    screen.say("output", f"{stores.predictions.url}/{folder}/, {_counted(result.files, 'Parquet file')}")
    if isinstance(result, Errors):
        _tell_errors(result, screen)
    elif result.by_others:
        screen.say("faults", "not judged: this hour was scored before the fleet was trained again")
    elif result.spoilt:
        _tell_faults(result, screen)
    return Phase(run["phase"]) is Phase.SUCCEEDED


def follow_sinks(url: str, run: str, settings: Settings, servers: Sequence[Server], screen: Screen) -> None:
    """Wait until each sink has the run, and say where it is; raises Unavailable when nothing moves."""
    deadline = time.monotonic() + STALL_LIMIT
    while True:
        stack.check(servers)
        answer = _ask(f"{url}/api/runs/{run}") or {}
        sinks = {entry["sink"]: entry for entry in answer.get("sinks") or ()}
        missing = [kind for kind in settings.sinks if sinks.get(kind, {}).get("state") != "done"]
        if not missing:
            break
        failures = "; ".join(f"{entry['reason']}: {entry['message']}" for entry in sinks.values() if entry["reason"])
        text = f"waiting for {', '.join(missing)}{': ' * bool(failures)}{failures}"
        if time.monotonic() > deadline:
            raise Unavailable(f"no change for {STALL_LIMIT} s: {text}")
        screen.show("sinks", text, text)
        time.sleep(LOOK)
    screen.clear()
    for sink in bootstrap.build_control_options(settings).sinks:
        entry = sinks[sink.kind]
        place = dict(sink.target)["url"]
        screen.say(sink.kind, f"{place}, {_counted(entry['rows'], 'row')} of this run as {entry['stored']}")


def _pace(run: dict[str, Any]) -> str:
    jobs = f"{_counted(sum(run['chunks'].values()), 'job')} on up to {_counted(os.cpu_count() or 1, 'core')}"
    if not run["planned_at"] or not run["ended_at"]:
        return jobs
    ended = datetime.fromisoformat(run["ended_at"])
    seconds = (ended - datetime.fromisoformat(run["planned_at"])).total_seconds()
    rate = run["models"]["scored"] / seconds
    return (
        f"{seconds:.0f} s from its plan to its end at {ended:%H:%M} UTC, {rate:.1f} models/s in {jobs}; "
        "workers had to start, and the timer to beat"
    )


def _tell_faults(result: findings.Findings, screen: Screen) -> None:
    kinds = ", ".join(f"{kind} {result.found.get(kind, 0)}/{count}" for kind, count in result.faults.items())
    screen.say(
        "faults", f"{sum(result.found.values())} of {sum(result.faults.values())} planted faults detected: {kinds}"
    )
    reason = "a model calls about 1% of healthy rows anomalies, and no row alone shows a stuck sensor"
    screen.say("", f"by rows: precision {result.precision:.2f}, recall {result.recall:.2f} ({reason})")


def _tell_errors(result: Errors, screen: Screen) -> None:
    """How far predictions are from what was measured."""
    if not result.judged:
        screen.say("errors", "not judged: no readings of the times that were predicted")
        return
    count = f"{result.judged:,} of {_counted(result.rows, 'prediction')}"
    screen.say(
        "errors",
        f"mean absolute error {result.mean:.3f} kW over {count}; it is {result.of_yesterday:.3f} kW for who takes the "
        "load of a day before",
    )
    screen.say("", f"worst: {', '.join(f'{meter} {error:.3f} kW' for meter, error in result.worst)}")


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
