"""An app of one version, in a process of its own: it ticks when it is told to. A program, not a test.

    python upgrade_app.py TREE JOBS

*TREE* is the folder of that version's code, *JOBS* the folder where its cluster keeps jobs: a file for each, which the
test runs with the nodes of any version. Commands come as lines of JSON on stdin, and each is answered by one.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

TREE, JOBS = Path(sys.argv[1]), Path(sys.argv[2])
sys.path.insert(0, str(TREE))
NEW = (TREE / "shared" / "bootstrap.py").exists()  # 0.1 has other names for the same things

runs = import_module("shared.state.runs" if NEW else "shared.runs")
ports = import_module("shared.ports")
requests = import_module("shared.state.requests" if NEW else "shared.wishes")
domain = import_module("shared.contract.domain" if NEW else "shared.domain")
settings = import_module("shared.config.settings" if NEW else "shared.settings")
Status = ports.JobStatus if NEW else ports.Sighting


class FolderCluster:
    """Jobs as files: a state, and the command."""

    def submit(self, jobs: Any) -> dict[str, Any]:
        for job in jobs:
            path = JOBS / f"{job.name}.json"
            if not path.exists():
                path.write_text(json.dumps({"state": "queued", "command": job.command}))
        return {}

    def observe(self, run_ids: Any) -> dict[str, Any]:
        names = [path for path in JOBS.glob("*.json") if any(f"-{run}-" in path.name for run in run_ids)]
        states = {path.stem: json.loads(path.read_text())["state"] for path in names}
        return {name: Status(runs.JobState(state)) for name, state in states.items()}

    def cancel(self, names: Any) -> None:
        for name in names:
            path = JOBS / f"{name}.json"
            job = json.loads(path.read_text())
            if job["state"] in ("queued", "running"):
                path.write_text(json.dumps({**job, "state": "cancelled"}))

    def count_nodes(self) -> Any:
        return runs.Nodes(1, 1)

    nodes = count_nodes

    def release(self, run: str) -> None:
        """Nothing is kept but the files."""


def build_plane() -> Any:
    if NEW:
        plane = import_module("shared.bootstrap").build_control_plane(settings.load_settings(os.environ))
    else:
        plane = import_module("shared.wiring").control_plane(settings.load(os.environ))
    return replace(plane, cluster=FolderCluster())


def ask(plane: Any, kind: str, target: str, at: str) -> None:
    instant = datetime.fromisoformat(at)
    if NEW:
        plane.ledger.add_request(requests.Request(requests.RequestKind(kind), target, instant))
    else:
        plane.ledger.add_wish(requests.Wish(requests.WishKind(kind), target, instant))


def list_runs(plane: Any) -> dict[str, Any]:
    page = plane.ledger.list_runs(100) if NEW else plane.ledger.runs(100)
    return {
        run.id: {"phase": run.phase, "models": run.models, "scored": run.tally.scored, "rows": run.tally.rows}
        | {"ended": run.tally.models, "round": run.round, "failures": {f.reason: f.models for f in run.failures}}
        for run in page.items
    }


def main() -> None:
    plane = build_plane()
    for line in sys.stdin:
        command, *words = json.loads(line)
        answer: Any = None
        if command == "tick":
            plane.tick(datetime.fromisoformat(words[0]))
            answer = list_runs(plane)
        elif command == "ask":
            ask(plane, *words)
        elif command == "quarantine":
            model, etag, at = words
            found = requests.Quarantined(model, etag, domain.Reason.CRASHED, "", "", datetime.fromisoformat(at))
            plane.ledger.add_quarantined(found)
        elif command == "quarantined":
            entries = plane.ledger.list_quarantined() if NEW else plane.ledger.quarantine()
            answer = [entry.model for entry in entries]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
