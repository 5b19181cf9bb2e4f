"""`python -m bench.contract --before TREE`: what manifests and reports cost, beside the version before.

*TREE* is a folder with the code of version 0.1.0. Both versions do the same in turn, each time in a process of its own:

    node    a manifest of 50,000 models is read, with ids and etags as scoring takes them, and its report is written
    tick    the tick that reads 1,000 reports of 1,000 models each, and commits them, in memory

Prints Markdown: microseconds of CPU a model, the median of the rounds. With `--into FILE` it also takes the place of
what stands there between the marks.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from .document import describe_machine, write_table

BEGIN, END = "<!-- contract -->\n", "<!-- /contract -->"
ROUNDS = 5
PACKAGES = ("pyarrow", "numpy")
ROOT = Path(__file__).parents[1]

_FLEET = """
import random, time
from datetime import UTC, datetime
N = 50_000
ids = [f"plant-{i // 1000:03}/pump-{i:06}" for i in range(N)]
rng = random.Random(1)
etags = [f"0x8D{rng.getrandbits(52):013X}" for _ in ids]
rows, anomalies = [60] * N, [rng.choice([0, 0, 0, 1, 2]) for _ in ids]
now = datetime(2026, 11, 21, 12, tzinfo=UTC)
def measure(work):
    started = time.process_time()
    result = work()
    print((time.process_time() - started) / N * 1e6)
    return result
"""
_OLD_NODE = f"""{_FLEET}
from shared.contract import Manifest, Report, Verdict
from shared.domain import Model, Part
from shared.windows import Window
window = Window.parse("20261121T1100Z-PT1H")
models = tuple(Model(i.partition("/")[2], i.partition("/")[0], i + ".skops", e) for i, e in zip(ids, etags))
data = Manifest(window, "c00000", models, "https://m", "https://r", "https://w").to_bytes()
measure(lambda: [(m.device, m.etag) for m in Manifest.from_bytes(data).models])
verdicts = tuple(map(Verdict, ids, rows, anomalies))
measure(Report(window.id, "c00000", 1, now, now, verdicts, (Part("p", 1, "m", 60 * N),)).to_bytes)
"""
_NEW_NODE = f"""{_FLEET}
from array import array
from scorer.arrow import view_texts
from shared.contract.domain import Model, Part
from shared.contract.manifest import Manifest
from shared.contract.outcomes import Outcomes
from shared.contract.report import Report
from shared.contract.windows import Window
window = Window.parse("20261121T1100Z-PT1H")
models = tuple(Model(i.partition("/")[2], i.partition("/")[0], i + ".skops", e) for i, e in zip(ids, etags))
data = Manifest(window, "c00000", models, "https://m", "https://r", "https://w").to_bytes()
def read():
    models = Manifest.from_bytes(data).models
    return models.read_texts("device"), view_texts(models, "etag")
measure(read)
outcomes = Outcomes(ids, array("Q", rows), array("Q", anomalies))
measure(Report(window.id, "c00000", 1, now, now, outcomes, (Part("p", 1, "m", 60 * N),)).to_bytes)
"""
_TICK = """
import logging
logging.disable(logging.CRITICAL)
from bench import ticks
whole = getattr(ticks, "one_by_one")("memory", 1_000, 1_000)
print(*(cost.cpu for kind, cost in whole if kind == "commit all and close"))
"""


def run_script(script: str, tree: Path) -> list[float]:
    """What the script prints, under the code of *tree*; numbers."""
    done = subprocess.run([sys.executable, "-c", script], cwd=tree, capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()]


def measure_versions(before: Path, rounds: int) -> list[tuple[str, float, float]]:
    """Each row of the table: what is measured, and the medians of the version before and of this one."""
    old, new = list[list[float]](), list[list[float]]()
    for _ in range(rounds):
        old.append(run_script(_OLD_NODE, before) + run_script(_TICK, before))
        new.append(run_script(_NEW_NODE, ROOT) + run_script(_TICK, ROOT))
    kinds = ("read a manifest on a node", "write a report on a node", "a tick that commits 1,000 reports")
    medians = ([statistics.median(column) for column in zip(*rows, strict=True)] for rows in (old, new))
    return list(zip(kinds, *medians, strict=True))


def format_rows(rows: list[tuple[str, float, float]]) -> str:
    """The table; a tick's million models make its seconds microseconds a model."""
    head = ["| CPU µs a model | 0.1.0 | this version | ratio |", "|---|---:|---:|---:|"]
    return "\n".join([*head, *(f"| {kind} | {old:.3f} | {new:.3f} | {new / old:.2f} |" for kind, old, new in rows)])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.contract", description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="a folder with the code of version 0.1.0")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    table = format_rows(measure_versions(options.before, options.rounds))
    text = f"{describe_machine(PACKAGES)}\n\n{table}\n"
    write_table(options.into, BEGIN, END, text)


if __name__ == "__main__":
    main()
