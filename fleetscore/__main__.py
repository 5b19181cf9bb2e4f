"""`fleetscore COMMAND`: picks the command and imports what carries it out only then.

The script starts isolated: Python puts the folder of the script on its path and not the current one, so a file
`shared.py` or `numpy.py` of the person who calls it is no module of ours.
"""

from __future__ import annotations

import sys

from shared.contract.version import VERSION

USAGE = """usage: fleetscore COMMAND [options]

commands:
  folder       score a folder of models; no cloud needed
  convert      write models as skops files, without running what is in them
  models       `models import`: write the models of a Delta table as files; only changed ones are written
  predictions  `predictions upgrade`: rewrite predictions of schema 1 as schema 2
  readings     `readings convert`: SenML, line protocol, MDF4 and TDMS as readings (fleetscore[convert])
  show         print a plan, a manifest or a report as JSON
  sql          `sql views`: statements for views over predictions, of Synapse, Azure SQL, Fabric and Databricks
  publish      request that sinks hold the runs of a range, with the settings of the app (fleetscore[app])
  rebuild      restore a ledger that was lost, from plans and reports (with the extra: fleetscore[app])

`fleetscore COMMAND --help` shows the options of a command, `fleetscore --version` the version.
"""


def main() -> int:
    """Carry out the command line; returns the exit code, 2 for wrong usage."""
    match sys.argv[1:]:
        case ["--version"]:
            print(f"fleetscore {VERSION}")
            return 0
        case ["--help" | "-h"]:
            print(USAGE, end="")
            return 0
        case [("folder" | "convert" | "models" | "predictions" | "readings"), *_] as arguments:
            from scorer.__main__ import main as score

            return score(arguments, "fleetscore")
        case ["show", *arguments]:
            from shared.cli import show_document

            return show_document.main(arguments, "fleetscore show")
        case ["sql", "views", *arguments]:
            from shared.cli import sql_views

            return sql_views.main(arguments, "fleetscore sql views")
        case [("publish" | "rebuild"), *_] as arguments:
            return _operate(arguments)
        case arguments:
            print(USAGE, end="", file=sys.stderr)
            print(f"\nfleetscore: expected a command, got {' '.join(arguments) or 'none'}", file=sys.stderr)
            return 2


def _operate(arguments: list[str]) -> int:
    try:
        from shared.__main__ import main as operate
    except ModuleNotFoundError as error:
        print(
            f"fleetscore: {arguments[0]} needs the extra app: pip install 'fleetscore[app]' ({error})", file=sys.stderr
        )
        return 2
    return operate(arguments, "fleetscore")


if __name__ == "__main__":
    sys.exit(main())
