"""`python -m local demo | run | services`: the whole stack on this machine.

    demo      Azurite, Dask, a fleet, the host; scores the hour that is due, prints the result, and ends
    run       the same, and keeps running: the timer scores each hour that closes
    services  Azurite and Dask only, for `func start` or `python -m local.host`

Exit codes: 0 success; 1 the run or a server failed; 2 a person must change something; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from shared.config import settings
from shared.config.fields import Settings
from shared.contract.windows import Window

from . import demo, stack
from .command import add_places, parse_count, run_command, set_environment
from .fleet import DemoFleet, Stores
from .forecast import ForecastFleet
from .pumps import HOUR
from .screen import Screen

DEFAULT = "pumps"
FLEETS: Mapping[str, type[DemoFleet | ForecastFleet]] = {DEFAULT: DemoFleet, "forecast": ForecastFleet}
# Settings that name what two fleets must not share.
OWN_NAMES = (
    *("models_container", "readings_container", "predictions_container", "work_container", "tables_container"),
    *("ledger_table", "app_name"),
)


def main() -> int:
    """Run the command; returns the exit code. No process that it started is left when it returns."""
    options = _parser().parse_args()
    return run_command(lambda screen: _run(options, screen))


def _run(options: argparse.Namespace, screen: Screen) -> int:
    machines = FLEETS[options.fleet](options.devices) if options.devices else FLEETS[options.fleet]()
    values = _settings(options.settings, screen, options.fleet)
    options.folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as started:
        servers = [*started.enter_context(stack.services(values, options.folder.resolve()))]
        for server in servers:
            screen.say(server.name, str(server))
        if options.command == "services":
            screen.say("ready", "for `func start` or `make host`; Ctrl-C stops them")
            _stay(servers, datetime.max.replace(tzinfo=UTC))
        stores = Stores.open(values)
        demo.prepare(machines, stores, screen)  # before the timer: a run without readings skips every model
        logs = options.folder / options.fleet if options.fleet != DEFAULT else options.folder
        logs.mkdir(exist_ok=True)
        host = started.enter_context(stack.host(options.port, options.settings, logs))
        screen.say(host.name, str(host))
        servers.append(host)
        run = demo.follow(host.at, values, servers, screen)
        well = demo.tell(run, machines, stores, screen)
        if values.sinks:
            demo.follow_sinks(host.at, run["id"], values, servers, screen)
        if options.command == "demo":
            suffix = f" FLEET={options.fleet}" * (options.fleet != DEFAULT)
            screen.say("page", f"{host.at}/, which `make run{suffix}` keeps running")
            return 0 if well else 1
        screen.say("page", f"{host.at}/; the timer scores each hour that closes. Ctrl-C stops all")
        while True:
            _stay(servers, Window.containing(datetime.now(UTC), HOUR).end)
            demo.add_readings(machines, stores, screen)


def _settings(path: Path, screen: Screen, fleet: str) -> Settings:
    """The settings of the file, which is created if missing; put into the environment, as the host does.

    A fleet other than the first has names of its own: neither its models nor its runs are among those of the first.
    """
    set_environment(path, screen)
    loaded = settings.load_settings()
    if fleet == DEFAULT:
        return loaded
    for name in OWN_NAMES:
        prefix = fleet if name == "ledger_table" else f"{fleet}-"
        os.environ[name.upper()] = f"{prefix}{getattr(loaded, name)}"
    return settings.load_settings()


def _stay(servers: list[stack.Server], until: datetime) -> None:
    """Watch the servers until an instant; raises Unavailable when one of them ends."""
    while datetime.now(UTC) < until:
        stack.check(servers)
        time.sleep(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole stack on this machine.")
    parser.add_argument("command", choices=["demo", "run", "services"])
    parser.add_argument("--fleet", choices=list(FLEETS), default=DEFAULT, help="(%(default)s)")
    parser.add_argument("--devices", type=parse_count, help="of the demo's fleet (500 pumps, or 200 meters)")
    parser.add_argument("--port", type=int, default=7071, help="of the development host (%(default)s)")
    add_places(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
