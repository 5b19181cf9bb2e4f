"""`python -m bench.readings`: what reading costs, from files to frames, for each form of readings, beside pandas.

The same rows in each form: DEVICES devices, 60 rows of 4 features. *Ours* lists, reads and sorts the rows of all
devices, as a chunk does; pandas reads the same files to the same columns: times as instants, ids, float64. Each in a
process of its own, in turn, medians of CPU. *Cold*: the first time in a process, with its imports; *warm*: the second.

Then what each form takes in memory (`readings_memory`). Some five minutes on two idle cores.

Prints Markdown. With `--into FILE` it also takes the place of what stands there between the marks. `--forms` chooses.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scorer.readings import source
from scorer.storage.blob_store import Folder
from shared.contract.readings.paths import list_paths
from shared.contract.scoring_options import ReadingOptions

from .document import describe_machine, write_table
from .measure import Cost, measure_cost, run_alone
from .readings_forms import FORMS, WINDOW, Form
from .readings_memory import format_memory, measure_memory

BEGIN, END = "<!-- readings -->\n", "<!-- /readings -->"
DEVICES, ROUNDS, FILES = 2_000, 3, 4  # files: that the rows of all devices are cut into
MEASURED = 8_000  # devices of the table of memory
PACKAGES = ("pyarrow", "pandas", "fastavro", "numpy")


@dataclass(frozen=True, slots=True)
class Reading:
    """What one process took: the first time, and the second; and the rows that it got."""

    cold: Cost
    warm: Cost
    rows: int


def read_ours(form_name: str, root: str, devices: int) -> Reading:
    """All readings of all devices, twice."""
    form = FORMS[form_name]
    ids = [form.name_device(index) for index in range(devices)]
    costs, n_rows = [], 0
    for _ in range(2):
        with measure_cost(Counter()) as cost:
            paths = list_paths(form.pattern, WINDOW)
            opened = source.open_readings(
                Folder(Path(root)), paths, form.columns, WINDOW, ReadingOptions(), form.pattern, ids
            )
            n_rows = opened.read_devices(ids).rows
            opened.close()
        costs.append(cost)
    return Reading(*costs, n_rows)


def read_by_pandas(form_name: str, root: str, devices: int) -> Reading:  # noqa: ARG001  # as `read_ours`
    """The same by pandas, as its documents advise."""
    costs, n_rows = [], 0
    for _ in range(2):
        with measure_cost(Counter()) as cost:
            n_rows = FORMS[form_name].read_by_pandas(Path(root))
        costs.append(cost)
    return Reading(*costs, n_rows)


@dataclass(frozen=True, slots=True)
class Row:
    """The medians of one form."""

    form: Form
    files: int
    ours: Reading
    pandas: Reading

    def format(self, devices: int) -> str:
        """A line of the table."""
        n_rows = devices * self.form.rows
        ours, other = self.ours.warm.cpu, self.pandas.warm.cpu
        per_file = f"{1e6 * ours / self.files:.0f}" if self.files >= devices else "-"
        peak = "-" if self.ours.cold.mebibytes is None else f"{self.ours.cold.mebibytes:.0f}"
        return (
            f"| {self.form.name} | {self.files:,} | {1e6 * ours / n_rows:.3f} | {1e6 * other / n_rows:.3f} | "
            f"{ours / other:.2f} | {self.form.goal} | {1e6 * ours / devices:.1f} | {per_file} | "
            f"{self.ours.cold.cpu / self.pandas.cold.cpu:.2f} | {peak} |"
        )


def measure_form(form: Form, devices: int, rounds: int) -> Row:
    """Ours and pandas in turn."""
    with tempfile.TemporaryDirectory() as root:
        form.write(Path(root), devices, FILES)
        files = sum(path.is_file() for path in Path(root).rglob("*"))
        ours, other = list[Reading](), list[Reading]()
        for _ in range(rounds):
            ours.append(run_alone(read_ours, form.name, root, devices))
            other.append(run_alone(read_by_pandas, form.name, root, devices))
    for readings in (ours, other):
        assert {reading.rows for reading in readings} == {devices * form.rows}, form.name
    return Row(form, files, _take_medians(ours), _take_medians(other))


def _take_medians(readings: Sequence[Reading]) -> Reading:
    cold, warm = (
        Cost(
            cpu=statistics.median(getattr(reading, kind).cpu for reading in readings),
            mebibytes=max((getattr(reading, kind).mebibytes or 0 for reading in readings), default=0) or None,
        )
        for kind in ("cold", "warm")
    )
    return Reading(cold, warm, readings[0].rows)


def format_rows(rows: Sequence[Row], devices: int) -> str:
    """The table."""
    head = (
        "| Form | files | ours, µs a row | pandas | ratio | wanted | µs a device | µs a file | ratio, cold | MiB |\n"
        "|---|---:|---:|---:|---:|---|---:|---:|---:|---:|"
    )
    return "\n".join([head, *(row.format(devices) for row in rows)])


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.readings", description=__doc__)
    parser.add_argument("--devices", type=int, default=DEVICES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--measured", type=int, default=MEASURED, help="devices of the table of memory")
    parser.add_argument("--forms", nargs="*", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--into", type=Path)
    options = parser.parse_args(arguments)
    machine = describe_machine(PACKAGES)
    rows = [measure_form(FORMS[name], options.devices, options.rounds) for name in options.forms]
    memory = [measure_memory(FORMS[name], options.measured) for name in options.forms]
    text = (
        f"{machine} {options.devices:,} devices.\n\n{format_rows(rows, options.devices)}\n\n"
        f"Memory, of {options.measured:,} devices.\n\n{format_memory(memory)}\n"
    )
    write_table(options.into, BEGIN, END, text)


if __name__ == "__main__":
    main()
