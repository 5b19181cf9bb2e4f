"""The benchmark of readings reads every row of each form, and writes its tables into a document."""

from pathlib import Path

import pytest

from bench.measure import Cost
from bench.readings import BEGIN, END, Reading, Row, format_rows, main, read_by_pandas, read_ours
from bench.readings_forms import FORMS, Form
from bench.readings_memory import MemoryRow, Peak, format_memory, read_devices

DEVICES = 9


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_all_rows_of_a_form_are_read_at_once_in_passes_and_by_pandas(form: Form, tmp_path: Path) -> None:
    form.write(tmp_path / "all", DEVICES, 2)
    form.write(tmp_path / "few", DEVICES, 2)

    ours, other = (read(form.name, str(tmp_path / "all"), DEVICES) for read in (read_ours, read_by_pandas))
    peaks = [read_devices(form.name, str(tmp_path), DEVICES, passes) for passes in (1, 4)]

    assert {ours.rows, other.rows, *(peak.rows for peak in peaks)} == {DEVICES * form.rows}
    assert all(peak.estimate > 0 for peak in peaks)


def test_the_tables_take_the_place_of_what_stands_between_the_marks(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")

    main(["--devices=2", "--rounds=1", "--measured=9", "--forms", "wide CSV", "--into", str(document)])

    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}Measured on ")
    assert text.endswith(f"{END}\nafter\n")
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| wide")] == ["| wide CSV"] * 2


def test_a_line_says_what_a_row_a_device_and_a_file_cost() -> None:
    ours = Reading(Cost(cpu=0.4, mebibytes=50.0), Cost(cpu=0.2), 1200)
    other = Reading(Cost(cpu=0.8), Cost(cpu=0.4), 1200)
    lines = format_rows([Row(FORMS["one CSV a device"], 20, ours, other)], 20).splitlines()
    assert lines[2:] == [
        "| one CSV a device | 20 | 166.667 | 333.333 | 0.50 | 45 µs a file | 10000.0 | 10000 | 0.50 | 50 |"
    ]


def test_a_line_says_what_a_form_takes_of_what_was_estimated() -> None:
    peaks = Peak(3 * 2**20, 2**20, 6.0, 60), Peak(3 * 2**20, 2**20, None, 60)
    lines = format_memory([MemoryRow(FORMS["wide CSV"], 2**21, *peaks)]).splitlines()
    assert lines[2:] == ["| wide CSV | 2 | 1 | 3 | 6 | 1.5 | - |"]
