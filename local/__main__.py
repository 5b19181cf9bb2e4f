"""`python -m local demo | run | services`: the whole stack on this machine.

    demo      Azurite, Dask, a fleet, the host; scores the hour that is due, prints the result, and ends
    run       the same, and keeps running: the timer scores each hour that closes
    services  Azurite and Dask only, for `func start` or `python -m local.host`

Exit codes: 0 success; 1 the run or a server failed; 2 a person must change something; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import NoReturn

import psutil

from shared.config import settings
from shared.contract.errors import FleetError, Malformed, Misconfigured
from shared.contract.windows import Window

from . import demo, stack
from .fleet import DemoFleet, Stores
from .forecast import ForecastFleet
from .pumps import HOUR
from .screen import Screen
from .settings_file import read_settings

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130
DEFAULT = "pumps"
FLEETS: Mapping[str, type[DemoFleet | ForecastFleet]] = {DEFAULT: DemoFleet, "forecast": ForecastFleet}
# Settings that name what two fleets must not share.
OWN_NAMES = (
    *("models_container", "readings_container", "predictions_container", "work_container"),
    *("ledger_table", "app_name"),
)


def main() -> int:
    """Run the command; returns the exit code. No process that it started is left when it returns."""
    options = _parser().parse_args()
    screen = Screen()
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return _run(options, screen)
    except KeyboardInterrupt:
        code, message = INTERRUPTED, "interrupted"
    except FleetError as error:
        code, message = 2 if isinstance(error, Misconfigured | Malformed) else 1, str(error)
    finally:
        _end_children()
    screen.clear()
    print(f"{message}; all started processes have ended", file=sys.stderr)
    return code


def _interrupt(*_: int | FrameType | None) -> NoReturn:
    """Stop in order. Further signals are ignored, since they would leave processes behind."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_children() -> None:
    """End the processes that an interrupted start has left."""
    children = psutil.Process().children(recursive=True)
    for order in (psutil.Process.terminate, psutil.Process.kill):
        for child in children:
            with suppress(psutil.NoSuchProcess):
                order(child)
        _, children = psutil.wait_procs(children, timeout=5)


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
        well = demo.tell(demo.follow(host.at, values, servers, screen), machines, stores, screen)
        if options.command == "demo":
            suffix = f" FLEET={options.fleet}" * (options.fleet != DEFAULT)
            screen.say("page", f"{host.at}/, which `make run{suffix}` keeps running")
            return 0 if well else 1
        screen.say("page", f"{host.at}/; the timer scores each hour that closes. Ctrl-C stops all")
        while True:
            _stay(servers, Window.containing(datetime.now(UTC), HOUR).end)
            demo.add_readings(machines, stores, screen)


def _settings(path: Path, screen: Screen, fleet: str) -> settings.Settings:
    """The settings of the file, which is created if missing; put into the environment, as the host does.

    A fleet other than the first has names of its own: neither its models nor its runs are among those of the first.
    """
    if not path.exists():
        shutil.copy(stack.HOME / "local.settings.example.json", path)
        screen.say("settings", f"{path}, a copy of local.settings.example.json")
    for name, value in read_settings(path).items():
        os.environ.setdefault(name, value)  # inherited by all started processes
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


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description="The whole stack on this machine.")
    parser.add_argument("command", choices=["demo", "run", "services"])
    parser.add_argument("--fleet", choices=list(FLEETS), default=DEFAULT, help="(%(default)s)")
    parser.add_argument("--devices", type=_count, help="of the demo's fleet (500 pumps, or 200 meters)")
    parser.add_argument("--port", type=int, default=7071, help="of the development host (%(default)s)")
    parser.add_argument("--folder", type=Path, default=stack.HOME / ".local", help="for data and logs (%(default)s)")
    parser.add_argument("--settings", type=Path, default=stack.HOME / "local.settings.json", help="(%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
