"""`python -m tests.mutants`: plants faults into a copy of the product, one at a time, and shows which test turns red.

The faults are in `tests/mutants.toml`, those of the scorer with the tests that are run for them. Prints a line for
each; words choose those whose names hold one of them. With `--into FILE` the table of all takes the place of what
stands there between the marks. Ends with 1 where a fault goes unseen.
"""

from __future__ import annotations

import argparse
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
BEGIN, END = "<!-- mutants -->\n", "<!-- /mutants -->"
HANDS = 2  # faults that are tried at once
PATIENCE = 900  # seconds; a fault that keeps the tests from ending is seen too
NEVER_ENDS = "the tests did not end"

# Truth tables first: they take seconds. The exhaustive storm takes minutes, and is asked only where all else is green.
QUICK = [
    "tests/shared/tracking", "tests/shared/control", "tests/shared/planning", "tests/shared/contract/test_documents.py",
    "tests/storm",
]  # fmt: skip
STORM = "tests/storm/test_storm.py::test_one_fault_at_any_call_loses_nothing_and_doubles_nothing"
README = "tests/storm/test_storm.py::test_the_readme_tells_what_the_storm_does"  # any call more or less turns it red
STAGES = ((*QUICK, f"--deselect={STORM}", f"--deselect={README}"), (STORM,))


@dataclass(frozen=True, slots=True)
class Fault:
    """A change of the code for the worse: in *file*, *old* becomes *new*."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()  # paths of the tests that are run; without them those of the control plane

    @property
    def stages(self) -> tuple[tuple[str, ...], ...]:
        """The arguments of pytest, one run after the other."""
        return (self.tests,) if self.tests else STAGES

    def planted(self, source: str) -> str:
        """The source with the fault in it; raises ValueError where its place is not found just once."""
        if (found := source.count(self.old)) != 1:
            raise ValueError(
                f"{self.name}: expected its text once in {self.file}, found it {found} times: {self.old!r}"
            )
        return source.replace(self.old, self.new)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a planted fault: the test that turned red first, if any, and after how long."""

    fault: Fault
    red: str | None
    seconds: float


def faults() -> Sequence[Fault]:
    """All of them, in their order."""
    entries = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["fault"]
    return [Fault(**{**entry, "tests": tuple(entry.get("tests", ()))}) for entry in entries]


def copy_tree(to: Path) -> None:
    """Copy what the tests read; no byte code, which could outlive a fault."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(".*", "__pycache__", "node_modules"))


def first_red(tree: Path, stages: Sequence[Sequence[str]]) -> str | None:
    """The first test that turns red in this tree. Raises RuntimeError where pytest could not even begin."""
    environment = {**os.environ, "FLEETSCORE_STORMS": "300", "PYTHONDONTWRITEBYTECODE": "1"}
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--tb=line"]
    for tests in stages:
        try:
            done = subprocess.run(
                [*pytest, *tests], cwd=tree, env=environment, capture_output=True, text=True, timeout=PATIENCE,
                check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return NEVER_ENDS
        if done.returncode == 0:
            continue
        red = re.search(r"^FAILED (\S+?::[\w:]+)", done.stdout, re.MULTILINE)
        if done.returncode != 1 or not red:
            raise RuntimeError(f"expected tests that pass or fail, got {done.stdout[-2000:]}{done.stderr[-2000:]}")
        return red[1]
    return None


def plant(fault: Fault, trees: queue.Queue[Path]) -> Verdict:
    """Try the tests with the fault in a tree, and take it out again."""
    tree = trees.get()
    path = tree / fault.file
    source = path.read_text()
    path.write_text(fault.planted(source))
    began = time.monotonic()
    try:
        verdict = Verdict(fault, first_red(tree, fault.stages), time.monotonic() - began)
    finally:
        path.write_text(source)
        trees.put(tree)
    print(f"{verdict.seconds:5.0f} s  {fault.name}: {verdict.red or 'NOT SEEN'}", flush=True)  # noqa: T201  # a script
    return verdict


def try_all(chosen: Sequence[Fault]) -> Sequence[Verdict]:
    """What came of each, in their order. Raises RuntimeError where the tests are red without any fault."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as place, ThreadPoolExecutor(HANDS) as hands:
        trees: queue.Queue[Path] = queue.Queue()
        for number in range(HANDS):
            copy_tree(Path(place) / str(number))
            trees.put(Path(place) / str(number))
        stages = dict.fromkeys(stage for fault in chosen if not fault.tests for stage in fault.stages)
        paths = tuple(dict.fromkeys(path for fault in chosen for path in fault.tests))
        whole = first_red(Path(place) / "0", [*stages, *([paths] if paths else [])])
        if whole:
            raise RuntimeError(f"expected tests that are green without a fault, got {whole} red")
        return list(hands.map(lambda fault: plant(fault, trees), chosen))


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts in Markdown."""
    lines = ["| Fault | File | The test that turned red first | Seconds |", "|---|---|---|---:|"]
    for verdict in verdicts:
        red = f"`{verdict.red}`" if verdict.red and verdict.red != NEVER_ENDS else verdict.red or "**none**"
        lines.append(f"| {verdict.fault.name} | `{verdict.fault.file}` | {red} | {verdict.seconds:.0f} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> int:
    """Plant the faults, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only the faults whose names hold one of these")
    parser.add_argument("--into", type=Path, help="the document that the table belongs into")
    asked = parser.parse_args(words)
    chosen = [fault for fault in faults() if not asked.words or any(word in fault.name for word in asked.words)]
    before, after = "", ""
    if asked.into:
        if asked.words:
            parser.error("expected all faults for the document, got words that choose some")
        before, _, rest = asked.into.read_text().partition(BEGIN)
        _, mark, after = rest.partition(END)
        if not mark:
            parser.error(f"expected a document with {BEGIN.strip()} and {END}, got none in {asked.into}")
    began = time.monotonic()
    verdicts = try_all(chosen)
    unseen = [verdict for verdict in verdicts if verdict.red is None]
    minutes = (time.monotonic() - began) / 60
    told = f"{len(verdicts)} faults, {len(verdicts) - len(unseen)} of them seen, in {minutes:.0f} minutes."
    print(told)  # noqa: T201
    if asked.into:
        asked.into.write_text(f"{before}{BEGIN}{told}\n\n{table(verdicts)}\n{END}{after}")
    return 1 if unseen else 0


if __name__ == "__main__":
    sys.exit(main())
