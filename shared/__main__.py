"""`python -m shared rebuild`: restore a lost ledger from plans and reports. Stop the app before."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from shared.config import settings
from shared.contract.errors import FleetError
from shared.control import maintenance

from . import bootstrap


def main(words: list[str], program: str = "python -m shared") -> int:
    """The exit code: 0 when it is done, 1 when it fails, 2 for wrong usage."""
    if words != ["rebuild"]:
        print(f"usage: {program} rebuild\n\nRestores the runs of a lost ledger; see docs/runbook.md.")
        return 2
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        plane = bootstrap.build_control_plane(settings.load_settings())
        count = 0
        for run in maintenance.rebuild_ledger(
            plane.ledger, plane.work, plane.predictions, plane.planner, datetime.now(UTC)
        ):
            count += 1
            print(f"{run.id}: {run.phase}, {run.tally.scored} of {run.models} models scored")
    except FleetError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{count} runs restored")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
