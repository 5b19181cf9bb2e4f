"""`python -m local.stream`: a day of a fleet's events through Capture's files and the app, in a minute or two.

Prints a line for each hour, then judges what came after the runs by a further round, and says whether every event was
judged once. Exit codes: 0 it was; 1 it was not, or a server failed; 2 a person must change something.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter, deque
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime

from local import fleet, stack
from local.command import add_places, parse_count, run_command, set_environment
from local.fleet import DemoFleet, Stores
from local.pumps import HOUR, SIGNALS
from local.screen import Screen
from shared import bootstrap
from shared.config import settings
from shared.config.fields import Settings
from shared.contract.windows import Window

from .capture import list_files
from .events import Arrival, Event, Simulation
from .player import DUE, SETTINGS, Player, compare, list_windows

OF_IOT_HUB = {"READINGS_COLUMNS": "device=SystemProperties.iothub-connection-device-id"}


def main() -> int:
    """Play; returns the exit code. No process that it started is left when it returns."""
    options = _parser().parse_args()
    return run_command(lambda screen: _run(options, screen))


def _run(options: argparse.Namespace, screen: Screen) -> int:
    values = _load_settings(options, screen)
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as started:
        servers = started.enter_context(stack.services(values, options.folder.resolve()))
        for server in servers:
            screen.say(server.name, str(server))
        stores = Stores.open(values)
        started.callback(_remove, values)
        machines = DemoFleet(options.devices)
        _train(machines, stores, screen)
        start = Window.containing(datetime.now(UTC), HOUR).start - (options.hours + 2) * HOUR
        events = Simulation(machines.pumps, start, options.hours, seed=options.seed).list_events()
        files = deque(list_files(events, options.partitions, by_iot_hub=options.iot_hub))
        player = Player(bootstrap.build_control_plane(values), stores.readings, stores.predictions, files, servers)
        source = "an IoT Hub and an event hub" if options.iot_hub else "an event hub"
        screen.say(
            "stream",
            f"{_counted(len(events), 'event')} of {_counted(options.hours, 'hour')} through {source} of "
            f"{_counted(options.partitions, 'partition')}; {len(files):,} files of Capture",
        )
        return 0 if _play(player, events, screen) else 1


def _load_settings(options: argparse.Namespace, screen: Screen) -> Settings:
    """The settings of the file, with containers of this play alone; put into the environment, which jobs inherit."""
    set_environment(options.settings, screen)
    name = f"stream{time.time_ns() // 10**6}"
    containers = {
        f"{what}_CONTAINER": f"{name}-{what.lower()}" for what in ("MODELS", "READINGS", "PREDICTIONS", "WORK")
    }
    own = {"APP_NAME": name, "LEDGER_TABLE": f"{name}ledger", "FEATURES": ",".join(SIGNALS)}
    os.environ |= {**SETTINGS, **containers, **own, **(OF_IOT_HUB if options.iot_hub else {})}
    return settings.load_settings()


def _remove(values: Settings) -> None:
    """Remove what this play has stored; what a storage that has ended holds stays there."""
    from azure.core.exceptions import AzureError
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient

    with suppress(AzureError):
        with BlobServiceClient.from_connection_string(values.storage, retry_total=0) as blobs:
            for container in (
                *(values.models_container, values.readings_container),
                *(values.predictions_container, values.work_container),
            ):
                blobs.delete_container(container)
        with TableServiceClient.from_connection_string(values.storage, retry_total=0) as tables:
            tables.delete_table(values.ledger_table)


def _train(machines: DemoFleet, stores: Stores, screen: Screen) -> None:
    start = time.monotonic()
    with closing(fleet.train(machines, stores)) as progress:
        for count in progress:
            screen.show(
                "fleet",
                f"{count} of {machines.devices} {machines.noun} trained",
                f"trained {4 * count // machines.devices}",
            )
    screen.say(
        "fleet", f"{machines.devices} {machines.noun}, {machines.model} for each in {time.monotonic() - start:.0f} s"
    )


def _play(player: Player, events: list[Event], screen: Screen) -> bool:
    """Score each hour as it closes, then once more what events came after its run; whether all were judged once."""
    began, judged = time.monotonic(), Counter[tuple[datetime, str]]()
    windows = list_windows(events)
    for window in windows:
        start = time.monotonic()
        files = player.upload(window.end + DUE)
        player.score(window)
        of_hour = [event for event in events if window.start <= event.time < window.end]
        result = player.read_judged(window)
        screen.say(
            f"{window.start:%H:%M}",
            f"{_describe_hour(of_hour)}; {_counted(sum(file.events for file in files), 'event')} in "
            f"{_counted(len(files), 'file')}; {sum(result.readings.values()):,} judged, "
            f"{_counted(result.anomalies, 'anomaly', 'anomalies')}; {time.monotonic() - start:.1f} s",
        )
    tardy = [event for event in events if event.arrival is Arrival.AFTER_RUN]
    late_windows = list_windows(tardy)
    if late_windows:
        last = windows[-1].end + HOUR  # all has come by then, and no further hour is due
        player.upload(last)
        player.reprocess(late_windows, last)
        screen.say(
            "late",
            f"{_counted(len(tardy), 'event')} came after the run of their hour: "
            f"{_counted(len(late_windows), 'hour')} scored once more",
        )
    for window in windows:
        judged += player.read_judged(window).readings
    difference = compare(events, judged)
    outcome = (
        "every event was judged once"
        if difference.whole
        else f"{difference.missing} of them were not judged, {difference.doubled} more than once, and "
        f"{difference.unknown} judged readings were never sent"
    )
    seconds = time.monotonic() - began
    hours = len(windows)
    screen.say("result", f"{_counted(len(events), 'event')} sent: {outcome}")
    screen.say("took", f"{seconds:.0f} s for {_counted(hours, 'hour')}, {hours * 3600 / seconds:.0f} times real time")
    return difference.whole


def _describe_hour(events: list[Event]) -> str:
    kinds = Counter(event.arrival for event in events)
    doubled = sum(len(event.arrivals) > 1 for event in events)
    parts = [f"{kinds[kind]} {kind}" for kind in (Arrival.DISORDERED, Arrival.LATE, Arrival.AFTER_RUN)]
    return f"{len(events):,} sent: {', '.join(parts)}, {doubled} twice"


def _counted(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local.stream", description="A day of events, in a minute or two.")
    parser.add_argument("--devices", type=parse_count, default=20, help="pumps (%(default)s)")
    parser.add_argument("--hours", type=parse_count, default=24, help="(%(default)s)")
    parser.add_argument("--partitions", type=parse_count, default=2, help="of the event hub (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what goes wrong on the way (%(default)s)")
    parser.add_argument(
        "--iot-hub", action="store_true", help="events come through an IoT Hub, which says whose they are"
    )
    add_places(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
