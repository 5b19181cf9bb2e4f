"""The benchmark of the control plane runs on Azurite, at its smallest."""

from pathlib import Path

from bench import control_plane
from bench.control_plane import BEGIN, END
from tests.bench.test_control_plane import rows


def test_ticks_and_history_are_measured_on_azurite_too(tmp_path: Path) -> None:
    document = tmp_path / "benchmarks.md"
    document.write_text(f"before\n{BEGIN}old\n{END}\nafter\n")
    control_plane.main(["ticks", "history", "--smallest", "--into", str(document)])
    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}Measured on ")
    assert text.endswith(f"\n{END}\nafter\n")
    kinds = [row[0] for row in rows(text)]
    assert (kinds.count("commit all and close"), kinds.count("prune the run, 91 days later")) == (2, 1)
    requests = {(row[0], row[1]): row[5] for row in rows(text) if row[1] in ("5", "30")}
    for what in {what for what, _ in requests if "prune" not in what}:
        assert requests[what, "5"] == requests[what, "30"], f"{what} costs more with more past runs"
