"""`python -m shared rebuild | publish`: what a person does to the ledger at a desk, with the settings of the app.

rebuild   restore a lost ledger from plans and reports; stop the app before
publish   request that sinks hold the runs of a range; the app's next ticks do it
"""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from functools import partial

from shared.config import settings
from shared.contract.errors import FleetError
from shared.contract.publishing.sinks import SinkKind
from shared.control import maintenance
from shared.publishing import published_range

from . import bootstrap

USAGE = """usage: {program} rebuild
       {program} publish --from INSTANT --to INSTANT

Restores the runs of a lost ledger, or requests that sinks hold runs; see docs/runbook.md and docs/publishing.md."""


def main(words: list[str], program: str = "python -m shared") -> int:
    """The exit code: 0 when it is done, 1 when it fails, 2 for wrong usage."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    match words:
        case ["rebuild"]:
            command = partial(_rebuild)
        case ["publish", *arguments]:
            options = _build_parser(f"{program} publish").parse_args(arguments)
            command = partial(_publish, options)
        case _:
            print(USAGE.format(program=program))
            return 2
    try:
        command()
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _rebuild() -> None:
    now = datetime.now(UTC)
    plane = bootstrap.build_control_plane(settings.load_settings())
    count = 0
    for run in maintenance.rebuild_ledger(plane.publisher, plane.predictions, plane.planner, now):
        count += 1
        print(f"{run.id}: {run.phase}, {run.tally.scored} of {run.models} models scored")
    maintenance.restore_sinks(plane.sinks, plane.work)
    print(f"{count} runs restored")


def _publish(options: argparse.Namespace) -> None:
    plane = bootstrap.build_control_plane(settings.load_settings())
    kinds = [sink.kind for sink in plane.options.sinks]
    ranges = published_range.parse_ranges(options.start, options.end, options.sinks, kinds)
    for entry in ranges:
        plane.ledger.add_request(entry.make_request(datetime.now(UTC), again=options.again))
        span = f"{entry.span.start:%Y-%m-%d %H:%M} to {entry.span.end:%Y-%m-%d %H:%M} UTC"
        print(f"{entry.sink}: requested, runs from {span}; the next ticks publish them (GET /api/sinks)")


def _build_parser(program: str) -> argparse.ArgumentParser:
    description = (
        "Request that sinks hold the runs whose windows start in a range: those that were over before the sink was set."
    )
    parser = argparse.ArgumentParser(program, description=description)
    edge = "a window such as 20261121T0700Z-PT1H, or an instant such as 2026-11-21T07:00Z"
    parser.add_argument("--from", dest="start", required=True, metavar="INSTANT", help=f"its start: {edge}")
    parser.add_argument("--to", dest="end", required=True, metavar="INSTANT", help="its end, in the same form")
    kinds = [str(kind) for kind in SinkKind]
    parser.add_argument("--sinks", nargs="+", choices=kinds, type=SinkKind, help="(all of SINKS)")
    parser.add_argument("--again", action="store_true", help="also runs that the sink has: its table is a new one")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
